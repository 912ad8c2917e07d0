"""A function's process, in a process group that cannot outlive this one."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# Seconds between SIGTERM and SIGKILL.
GRACE = 0.5

# Leads the group and reads from a pipe whose other end this process alone holds: however this one
# ends, by SIGKILL too, the pipe closes, and the group goes. PR_SET_PDEATHSIG would be Linux only,
# ends the child with the thread that started it, and spares what the child has started.
_GUARD = "trap '' TERM; read -r _; kill -KILL 0"


class FunctionProcess:
    """A running program with everything that it starts, unless that leaves the group."""

    def __init__(self, program: Path, environment: Mapping[str, str], output: Path) -> None:
        """Starts ``program`` in its folder; what it prints is appended to ``output``.

        Raises OSError if it cannot be run.
        """
        self._ending = threading.Lock()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            with output.open("ab") as log:
                self._process = subprocess.Popen(
                    [program],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=program.parent,
                    env=dict(environment),
                    process_group=self._guard.pid,
                )
        except OSError:
            self._end_group()
            raise

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def wait(self) -> int:
        """Waits for the end, and ends what is left behind; the code, or minus the signal."""
        code = self._process.wait()
        self._end_group()
        return code

    def stop(self) -> None:
        """Asks the group to end, and ends it after ``GRACE``."""
        with self._ending:
            self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self.kill()

    def kill(self) -> None:
        """Ends the group at once."""
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        with self._ending:
            self._signal(signal.SIGKILL)
            if self._guard.stdin:
                self._guard.stdin.close()
            self._guard.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Once the guard was waited for, its id may be another group's.
        if self._guard.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, number)

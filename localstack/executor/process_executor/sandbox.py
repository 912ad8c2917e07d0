"""One process of a function with the Runtime API that it talks to."""

import errno
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from .errors import InitFailed, error, exit_error, timed_out
from .process import FunctionProcess
from .runtime_api import Answer, Invocation, RuntimeApi

# Seconds that a running invocation may still take when the sandbox is to stop.
BUSY_GRACE = 2.0


class Ended(Exception):
    """The process ended before it took the invocation: a new one can have it."""


class Sandbox:
    """A process that starts with this value and serves one invocation at a time until it ends."""

    def __init__(self, bootstrap: Path, variables: Mapping[str, str], output: Path) -> None:
        """Starts ``bootstrap``, which is not ready yet.

        Raises InitFailed if it is no program.
        """
        self._bootstrap = bootstrap
        self._version = _version(bootstrap)
        self._exit_code: int | None = None
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._api = RuntimeApi()
        try:
            environment = {**variables, "AWS_LAMBDA_RUNTIME_API": self._api.address}
            self._process = FunctionProcess(bootstrap, environment, output)
        except OSError as failure:
            self._api.close()
            raise InitFailed(_not_a_program(bootstrap, failure)) from failure
        threading.Thread(target=self._watch, name="lambda-process", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self, seconds: float) -> float:
        """Waits for the process's first call for an invocation; the seconds since its start.

        Raises InitFailed, after the process has ended, if there is none.
        """
        if self._api.wait_until_ready(seconds):
            return time.monotonic() - self._started
        # Looked at before it is killed here.
        said, code = self._api.init_error, self._exit_code
        self.kill()
        if said is not None:
            raise InitFailed(said)
        raise InitFailed(timed_out(seconds) if code is None else exit_error(code))

    def invoke(self, invocation: Invocation, seconds: float) -> Answer:
        """The function's answer, or what Lambda answers for a process that crashed or took longer.

        Then the process is gone: see ``is_usable``. Raises Ended if it was before.
        """
        deadline_ms = int((time.time() + seconds) * 1000)
        answer = self._api.invoke(invocation, deadline_ms, seconds)
        if answer is not None:
            return answer
        code, was_taken = self._exit_code, self._api.was_taken
        if code is None:
            self.kill()
            payload = timed_out(seconds, invocation.request_id)
            return Answer(payload, is_error=True, by_lambda=True)
        if not was_taken:
            raise Ended
        payload = exit_error(code, invocation.request_id)
        return Answer(payload, is_error=True, by_lambda=True)

    @property
    def is_usable(self) -> bool:
        """Whether the process runs."""
        return not self._ended.is_set()

    @property
    def is_outdated(self) -> bool:
        """Whether there is another ``bootstrap`` now than the one that runs."""
        now = _version(self._bootstrap)
        # Not while it is away, being built anew.
        return now is not None and now != self._version

    def stop(self) -> None:
        """Ends the process; an invocation that runs may take ``BUSY_GRACE`` to end by itself."""
        self._api.wait_until_idle(BUSY_GRACE)
        self._process.stop()
        self._ended.wait()

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._ended.wait()

    def _watch(self) -> None:
        self._exit_code = self._process.wait()
        self._api.close()
        self._ended.set()


def _version(program: Path) -> tuple[int, ...] | None:
    try:
        status = program.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _not_a_program(bootstrap: Path, failure: OSError) -> bytes:
    if failure.errno == errno.ENOENT and not bootstrap.exists():
        what = f"Couldn't find valid bootstrap(s): [{bootstrap}]"
    else:
        # Also for a script whose interpreter is missing, and a program for another architecture.
        what = f"fork/exec {bootstrap}: {os.strerror(failure.errno or 0).lower()}"
    return error("Runtime.InvalidEntrypoint", what)

"""An execution environment: what of a function lives on while its processes come and go."""

import json
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InitFailed, error
from .runtime_api import Answer, Invocation
from .sandbox import Ended, Sandbox

# Seconds of AWS's init phase. A function that takes longer is started once more within the time
# of its first invocation; here the first start goes on for as long.
INIT_SECONDS = 10.0


@dataclass(frozen=True)
class Function:
    """What has to be known of a function to run it."""

    task_root: Path
    variables: Mapping[str, str]
    timeout_seconds: float
    memory_mb: int
    version: str = "$LATEST"
    # Whether a new bootstrap replaces the process that runs the old one.
    hot_reload: bool = False


@dataclass(frozen=True)
class Result:
    """What an invocation came to, and what the function printed, as in its log stream."""

    payload: bytes
    is_error: bool
    logs: str


class Environment:
    """Runs one invocation at a time, in the same process as long as that lives."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._folder = Path(tempfile.mkdtemp(prefix="lambda-"))
        self._output = self._folder / "output.log"
        self._read = 0
        self._init_ms: float | None = None
        # Held where a process starts, so that none can after ``stop``.
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._stopped = False

    def start(self) -> Sandbox:
        """Starts the function's process and waits until it is ready.

        Raises InitFailed if it does not get there.
        """
        with self._lock:
            if self._stopped:
                raise InitFailed(error("Sandbox.Failure", "the environment was stopped"))
            bootstrap = self._function.task_root / "bootstrap"
            sandbox = self._sandbox = Sandbox(bootstrap, self._variables(), self._output)
        seconds = sandbox.wait_until_ready(INIT_SECONDS + self._function.timeout_seconds)
        self._init_ms = seconds * 1000
        return sandbox

    def invoke(self, invocation: Invocation) -> Result:
        """Runs one invocation, in a new process if the last one is gone or outdated."""
        request = invocation.request_id
        before = ""
        try:
            sandbox = self._ready_sandbox()
            before = self._new_output()
            started = time.monotonic()
            answer = self._answer(sandbox, invocation)
        except InitFailed as failure:
            started = time.monotonic()
            answer = Answer(failure.payload, is_error=True)
        took_ms = (time.monotonic() - started) * 1000
        lines = [
            f"START RequestId: {request} Version: {self._function.version}",
            *self._new_output().splitlines(),
            *_noted(answer),
            f"END RequestId: {request}",
            self._report(request, took_ms),
        ]
        return Result(answer.payload, answer.is_error, before + "\n".join(lines) + "\n")

    def stop(self) -> None:
        """Ends the process for good, and removes the environment's files."""
        with self._lock:
            self._stopped = True
            sandbox = self._sandbox
        if sandbox is not None:
            sandbox.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The process that runs, or ran last."""
        return self._sandbox.pid if self._sandbox else None

    def output(self) -> str:
        """All that the function printed; nothing any more once it was stopped."""
        return self._output_from(0).decode(errors="replace")

    def _ready_sandbox(self) -> Sandbox:
        sandbox = self._sandbox
        if sandbox is not None and sandbox.is_usable:
            if not (self._function.hot_reload and sandbox.is_outdated):
                return sandbox
            sandbox.stop()
        return self.start()

    def _answer(self, sandbox: Sandbox, invocation: Invocation) -> Answer:
        seconds = self._function.timeout_seconds
        try:
            return sandbox.invoke(invocation, seconds)
        except Ended:
            # It ended after its last answer, which was not seen before: nobody's failure.
            sandbox = self.start()
        try:
            return sandbox.invoke(invocation, seconds)
        except Ended as ended:
            failure = error("Runtime.ExitError", "Runtime exited", invocation.request_id)
            raise InitFailed(failure) from ended

    def _variables(self) -> dict[str, str]:
        """A clean environment: nothing of LocalStack's own gets in."""
        home, temporary = self._folder / "home", self._folder / "tmp"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LANG": "en_US.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(temporary),
            **self._function.variables,
            "LAMBDA_TASK_ROOT": str(self._function.task_root),
        }
        # Each invocation has its own, in a header; what is here would be another's.
        variables.pop("_X_AMZN_TRACE_ID", None)
        return variables

    def _report(self, request: str, took_ms: float) -> str:
        init_ms, self._init_ms = self._init_ms, None
        fields = [
            f"REPORT RequestId: {request}",
            f"Duration: {took_ms:.2f} ms",
            f"Billed Duration: {math.ceil(took_ms + (init_ms or 0))} ms",
            f"Memory Size: {self._function.memory_mb} MB",
        ]
        if init_ms is not None:
            fields.append(f"Init Duration: {init_ms:.2f} ms")
        return "\t".join(fields)

    def _new_output(self) -> str:
        """What was printed since this was called last."""
        new = self._output_from(self._read)
        self._read += len(new)
        return new.decode(errors="replace")

    def _output_from(self, offset: int) -> bytes:
        try:
            with self._output.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""


def _noted(answer: Answer) -> list[str]:
    """What Lambda adds to the log of an invocation that it answered itself."""
    return [json.loads(answer.payload)["errorMessage"]] if answer.by_lambda else []

"""What Lambda answers with when it is not the function that answers."""

import json
import signal


def error(kind: str, message: str, request_id: str | None = None) -> bytes:
    """The payload of a failed invocation; during init no request is known."""
    prefix = f"RequestId: {request_id} " if request_id else ""
    return json.dumps({"errorType": kind, "errorMessage": f"{prefix}Error: {message}"}).encode()


def exit_error(code: int, request_id: str | None = None) -> bytes:
    """The payload for a process that ended: ``code`` is as in ``subprocess``."""
    if code == 0:
        reason = "Runtime exited without providing a reason"
    elif code > 0:
        reason = f"Runtime exited with error: exit status {code}"
    else:
        name = signal.strsignal(-code) or str(-code)
        reason = f"Runtime exited with error: signal: {name.lower()}"
    return error("Runtime.ExitError", reason, request_id)


def timed_out(seconds: float, request_id: str | None = None) -> bytes:
    """The payload for a function that took longer than it may."""
    return error("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds", request_id)


class InitFailed(Exception):
    """The function's process is not ready; ``payload`` is what its caller is told."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload.decode(errors="replace"))
        self.payload = payload

"""The Lambda Runtime API for one process, on a free port of 127.0.0.1.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from .errors import error

# Bytes of a function's answer that Lambda takes: 6 MB and a little, as AWS says in its error.
RESPONSE_LIMIT = 6 * 1024 * 1024 + 100

_RUNTIME = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Invocation:
    """What a function is invoked with."""

    request_id: str
    function_arn: str
    trace_id: str
    payload: bytes


@dataclass(frozen=True)
class Answer:
    """What an invocation is answered with."""

    payload: bytes
    is_error: bool
    # Not by the function, which crashed, took too long, or said too much.
    by_lambda: bool = False


class RuntimeApi:
    """Hands invocations to the process that asks for them, one at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready = False
        self._closed = False
        self._init_error: bytes | None = None
        self._invocation: Invocation | None = None
        self._deadline_ms = 0
        self._taken = False
        self._answer: Answer | None = None
        self._server = _Server(self)
        threading.Thread(target=self._serve, name="lambda-runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        """What AWS_LAMBDA_RUNTIME_API says."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def wait_until_ready(self, seconds: float) -> bool:
        """Whether the process asked for its first invocation, and did so in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._init_error or self._closed, seconds)
            return self._ready

    @property
    def init_error(self) -> bytes | None:
        """What the process said before its first invocation, if that it cannot serve."""
        return self._init_error

    def invoke(self, invocation: Invocation, deadline_ms: int, seconds: float) -> Answer | None:
        """The answer; none if the API was closed first, or after ``seconds``."""
        with self._changed:
            self._invocation, self._deadline_ms = invocation, deadline_ms
            self._taken, self._answer = False, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answer or self._closed, seconds)
            self._invocation = None
            self._changed.notify_all()
            return self._answer

    @property
    def was_taken(self) -> bool:
        """Whether the last invocation reached the process."""
        return self._taken

    def wait_until_idle(self, seconds: float) -> None:
        """Waits for the answer to a running invocation."""
        with self._changed:
            self._changed.wait_for(lambda: self._invocation is None or self._closed, seconds)

    def close(self) -> None:
        """Wakes all who wait, and frees the port soon."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        # It waits for the server to look up, which happens twice a second.
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def _serve(self) -> None:
        with self._server:
            self._server.serve_forever()

    # What the process calls.

    def take(self) -> tuple[Invocation, int] | None:
        """The next invocation and its deadline, waited for; none once the API is closed."""
        with self._changed:
            self._ready = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or (self._invocation and not self._taken))
            if self._closed or self._invocation is None:
                return None
            self._taken = True
            return self._invocation, self._deadline_ms

    def accept(self, request_id: str, answer: Answer) -> HTTPStatus:
        """Takes the answer to the invocation that runs."""
        with self._changed:
            running = self._invocation if self._taken and not self._answer else None
            if running is None or running.request_id != request_id:
                return HTTPStatus.BAD_REQUEST
            status = HTTPStatus.ACCEPTED
            if len(answer.payload) > RESPONSE_LIMIT:
                what = f"exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
                payload = error("Function.ResponseSizeTooLarge", f"Response payload size {what}")
                answer = Answer(payload, is_error=True, by_lambda=True)
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            self._answer = answer
            self._changed.notify_all()
            return status

    def fail_init(self, payload: bytes) -> HTTPStatus:
        """Takes what the process says about an init that failed."""
        with self._changed:
            if self._ready:
                return HTTPStatus.FORBIDDEN
            self._init_error = payload
            self._changed.notify_all()
            return HTTPStatus.ACCEPTED


class _Server(ThreadingMixIn, TCPServer):
    # Not an HTTPServer: that looks the host's name up, which may take seconds.
    daemon_threads = True

    def __init__(self, api: RuntimeApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        # A process that was killed while it spoke is nothing to report.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != f"{_RUNTIME}invocation/next":
            return self._answer(HTTPStatus.NOT_FOUND)
        taken = self.server.api.take()
        if taken is None:
            self.close_connection = True
            return None
        invocation, deadline_ms = taken
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        return self._answer(HTTPStatus.OK, invocation.payload, headers)

    def do_POST(self) -> None:
        body = self._body()
        match self.path.removeprefix(_RUNTIME).split("/"):
            case ["init", "error"]:
                status = self.server.api.fail_init(body)
            case ["invocation", request_id, "response" | "error" as what]:
                status = self.server.api.accept(request_id, Answer(body, what == "error"))
            case _:
                status = HTTPStatus.NOT_FOUND
        self._answer(status)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # A function that streams its answer: Lambda hands it on whole to those who do not stream.
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return bytes(body)

    def _answer(
        self, status: HTTPStatus, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> None:
        if body is None:
            body = json.dumps({"status": "OK"} if status < 400 else _refusal(status)).encode()
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing: LocalStack logs invocations."""


def _refusal(status: HTTPStatus) -> dict[str, str]:
    kinds = {
        HTTPStatus.BAD_REQUEST: "InvalidRequestID",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
        HTTPStatus.FORBIDDEN: "InvalidStateTransition",
    }
    return {"errorType": kinds.get(status, "NotFound"), "errorMessage": status.phrase}

"""Programs to run as functions: Python without a dependency, and the shell."""

import io
import sys
import zipfile
from pathlib import Path

# Serves invocations for ever; the event says what to do.
FUNCTION = f"""#!{sys.executable} -IS
import http.client, json, os, signal, subprocess, sys, time

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
count = 0

def call(method, path, body=None):
    api.request(method, "/2018-06-01/runtime/" + path, body)
    answer = api.getresponse()
    return answer, answer.read()

def handle(event, context):
    match event.get("do"):
        case "env":
            return dict(os.environ)
        case "context":
            return {{name.lower(): value for name, value in context.items()}}
        case "print":
            print(event["text"], flush=True)
        case "exit":
            os._exit(event["code"])
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "child":
            return subprocess.Popen(["sleep", "600"]).pid
        case "big":
            return "x" * event["size"]
        case "raise":
            raise ValueError("no such order")
        case "quit":
            sys.exit_after = True
    if "Records" in event:
        failed = [r["messageId"] for r in event["Records"] if r["body"] == "bad"]
        print("bodies:", json.dumps([r["body"] for r in event["Records"]]), flush=True)
        return {{"batchItemFailures": [{{"itemIdentifier": id}} for id in failed]}}
    return {{"pid": os.getpid(), "count": count, "version": VERSION}}

VERSION = 1
print("starting", flush=True)
while not hasattr(sys, "exit_after"):
    context, body = call("GET", "invocation/next")
    id, count = context.headers["Lambda-Runtime-Aws-Request-Id"], count + 1
    try:
        answer = handle(json.loads(body), context.headers)
        call("POST", f"invocation/{{id}}/response", json.dumps(answer))
    except ValueError as error:
        answer = {{"errorType": "ValueError", "errorMessage": str(error)}}
        call("POST", f"invocation/{{id}}/error", json.dumps(answer))
"""

# Says that it cannot start, as a runtime does whose init fails.
INIT_ERROR = f"""#!{sys.executable} -IS
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
body = json.dumps({{"errorType": "ConfigError", "errorMessage": "DATABASE_URL is not set"}})
api.request("POST", "/2018-06-01/runtime/init/error", body)
print(api.getresponse().status)
"""

EXITS = "#!/bin/sh\necho cannot >&2\nexit 7\n"

NEVER_READY = "#!/bin/sh\nsleep 600\n"


def write(folder: Path, text: str, mode: int = 0o755) -> None:
    """Makes ``text`` the folder's bootstrap, replacing an older one in one step."""
    new = folder / "bootstrap.new"
    new.write_text(text)
    new.chmod(mode)
    new.rename(folder / "bootstrap")


def zipped(text: str) -> bytes:
    """A deployment package."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(entry, text)
    return archive.getvalue()

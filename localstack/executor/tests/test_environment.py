"""A function's processes, without LocalStack."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from process_executor import environment as environment_module
from process_executor.environment import Environment, Function, Result
from process_executor.errors import InitFailed
from process_executor.runtime_api import RESPONSE_LIMIT, Invocation

from . import bootstraps

# Seconds that anything may take that should take milliseconds.
DEADLINE = 60.0


def runs(pid: int) -> bool:
    """Whether a process exists; one that ended and was not waited for does not."""
    if Path("/proc/self/stat").exists():
        # A small image has no ps.
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].strip()
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        ps = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")


def until(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {DEADLINE} s")
        time.sleep(0.02)


class EnvironmentTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def environment(self, bootstrap: str | None, **settings: object) -> Environment:
        """An environment that was not started; one request takes as long as it takes."""
        if bootstrap is not None:
            bootstraps.write(self.folder, bootstrap)
        defaults = {"variables": {}, "timeout_seconds": DEADLINE, "memory_mb": 128}
        environment = Environment(Function(self.folder, **(defaults | settings)))
        self.addCleanup(environment.stop)
        return environment

    def started(self, bootstrap: str = bootstraps.FUNCTION, **settings: object) -> Environment:
        environment = self.environment(bootstrap, **settings)
        environment.start()
        return environment

    def invoke(self, environment: Environment, event: object, request: str = "r-1") -> Result:
        arn, trace = "arn:aws:lambda:eu-west-1:000000000000:function:f", "Root=1-2-3;Sampled=1"
        payload = json.dumps(event).encode()
        return environment.invoke(Invocation(request, arn, trace, payload))

    def answer(self, environment: Environment, event: object) -> dict:
        result = self.invoke(environment, event)
        self.assertFalse(result.is_error, result.payload)
        return json.loads(result.payload)

    def failure(self, environment: Environment, event: object) -> dict:
        result = self.invoke(environment, event)
        self.assertTrue(result.is_error, result.payload)
        return json.loads(result.payload)

    def init_failure(self, environment: Environment) -> dict:
        with self.assertRaises(InitFailed) as caught:
            environment.start()
        return json.loads(caught.exception.payload)


class Invocations(EnvironmentTest):
    def test_a_process_serves_one_invocation_after_another(self) -> None:
        environment = self.started()
        first, second = (self.answer(environment, {}) for _ in range(2))
        self.assertEqual((first["count"], second["count"]), (1, 2))
        self.assertEqual(first["pid"], second["pid"])

    def test_an_invocation_comes_with_what_aws_says_about_it(self) -> None:
        environment = self.started(timeout_seconds=100)
        context = self.answer(environment, {"do": "context"})
        self.assertEqual(context["lambda-runtime-aws-request-id"], "r-1")
        self.assertEqual(context["lambda-runtime-trace-id"], "Root=1-2-3;Sampled=1")
        arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
        self.assertEqual(context["lambda-runtime-invoked-function-arn"], arn)
        remaining = int(context["lambda-runtime-deadline-ms"]) / 1000 - time.time()
        self.assertTrue(100 - DEADLINE < remaining <= 100, remaining)

    def test_a_function_s_own_error_is_handed_on_and_the_process_lives_on(self) -> None:
        environment = self.started()
        failure = self.failure(environment, {"do": "raise"})
        self.assertEqual(failure, {"errorType": "ValueError", "errorMessage": "no such order"})
        self.assertEqual(self.answer(environment, {})["count"], 2)

    def test_an_answer_that_is_too_large_is_an_error(self) -> None:
        environment = self.started()
        # Two quotation marks more than the limit allows.
        failure = self.failure(environment, {"do": "big", "size": RESPONSE_LIMIT - 1})
        self.assertEqual(failure["errorType"], "Function.ResponseSizeTooLarge")
        event = {"do": "big", "size": RESPONSE_LIMIT - 2}
        self.assertEqual(len(self.answer(environment, event)), RESPONSE_LIMIT - 2)

    def test_two_environments_run_side_by_side(self) -> None:
        slow, quick = self.started(), self.started()
        hanging = threading.Thread(target=self.invoke, args=(slow, {"do": "hang"}))
        hanging.start()
        answers = [self.answer(quick, {}) for _ in range(3)]
        self.assertNotEqual(answers[0]["pid"], slow.pid)
        self.assertTrue(hanging.is_alive())
        with patch("process_executor.sandbox.BUSY_GRACE", 0):
            slow.stop()
        hanging.join(DEADLINE)
        self.assertFalse(hanging.is_alive())


class Failures(EnvironmentTest):
    def test_an_exit_fails_the_invocation_and_the_next_has_a_new_process(self) -> None:
        environment = self.started()
        pid = environment.pid
        failure = self.failure(environment, {"do": "exit", "code": 3})
        self.assertEqual(failure["errorType"], "Runtime.ExitError")
        wanted = "RequestId: r-1 Error: Runtime exited with error: exit status 3"
        self.assertEqual(failure["errorMessage"], wanted)
        next_one = self.answer(environment, {})
        self.assertEqual(next_one["count"], 1)
        self.assertNotEqual(next_one["pid"], pid)

    def test_a_signal_is_named(self) -> None:
        failure = self.failure(self.started(), {"do": "kill"})
        self.assertTrue(failure["errorMessage"].endswith("signal: killed"), failure)

    def test_a_time_out_ends_the_process_and_the_next_has_a_new_one(self) -> None:
        environment = self.started(timeout_seconds=0.5)
        pid = environment.pid
        failure = self.failure(environment, {"do": "hang"})
        self.assertEqual(failure["errorType"], "Sandbox.Timedout")
        self.assertIn("Task timed out after 0.50 seconds", failure["errorMessage"])
        self.assertFalse(runs(pid))
        environment._function = Function(self.folder, {}, DEADLINE, 128)
        self.assertEqual(self.answer(environment, {})["count"], 1)

    def test_a_process_that_ends_between_invocations_fails_none(self) -> None:
        environment = self.started()
        pids = {self.answer(environment, {"do": "quit"})["pid"] for _ in range(5)}
        self.assertEqual(len(pids), 5)

    def test_a_new_process_that_does_not_start_fails_the_invocation(self) -> None:
        environment = self.started()
        bootstraps.write(self.folder, bootstraps.EXITS)
        self.failure(environment, {"do": "exit", "code": 1})
        result = self.invoke(environment, {})
        self.assertIn(b"exit status 7", result.payload)
        self.assertIn("\ncannot\n", result.logs)


class Init(EnvironmentTest):
    def test_what_the_process_says_about_its_init_is_handed_on(self) -> None:
        failure = self.init_failure(self.environment(bootstraps.INIT_ERROR))
        wanted = {"errorType": "ConfigError", "errorMessage": "DATABASE_URL is not set"}
        self.assertEqual(failure, wanted)

    def test_an_exit_before_the_first_invocation_is_a_failed_init(self) -> None:
        environment = self.environment(bootstraps.EXITS)
        failure = self.init_failure(environment)
        self.assertEqual(failure["errorType"], "Runtime.ExitError")
        self.assertIn("exit status 7", failure["errorMessage"])
        self.assertEqual(environment.output(), "cannot\n")

    def test_an_init_that_takes_too_long_is_ended(self) -> None:
        environment = self.environment(bootstraps.NEVER_READY, timeout_seconds=0.1)
        with patch.object(environment_module, "INIT_SECONDS", 0.1):
            self.assertEqual(self.init_failure(environment)["errorType"], "Sandbox.Timedout")
        self.assertFalse(runs(environment.pid))

    def test_a_missing_bootstrap_is_named(self) -> None:
        failure = self.init_failure(self.environment(None))
        self.assertEqual(failure["errorType"], "Runtime.InvalidEntrypoint")
        self.assertIn(f"[{self.folder}/bootstrap]", failure["errorMessage"])

    def test_a_bootstrap_that_is_not_executable_is_named(self) -> None:
        bootstraps.write(self.folder, bootstraps.FUNCTION, mode=0o644)
        failure = self.init_failure(self.environment(None))
        self.assertEqual(failure["errorType"], "Runtime.InvalidEntrypoint")
        self.assertIn(f"{self.folder}/bootstrap: permission denied", failure["errorMessage"])

    def test_a_bootstrap_without_its_interpreter_is_named(self) -> None:
        failure = self.init_failure(self.environment("#!/nowhere/python\n"))
        self.assertIn(f"{self.folder}/bootstrap: no such file", failure["errorMessage"])


class Surroundings(EnvironmentTest):
    def test_the_process_sees_what_lambda_sets_and_nothing_else(self) -> None:
        given = {"AWS_REGION": "eu-west-1", "OWN": "1", "_X_AMZN_TRACE_ID": "Root=1"}
        with patch.dict(os.environ, {"LOCALSTACK_SECRET": "1", "HOME": "/root"}):
            variables = self.answer(self.started(variables=given), {"do": "env"})
        own = {"PATH", "LANG", "HOME", "TMPDIR", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_RUNTIME_API"}
        added_by_python = {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}
        self.assertEqual(set(variables) - added_by_python, own | {"AWS_REGION", "OWN"})
        self.assertEqual(variables["LAMBDA_TASK_ROOT"], str(self.folder))
        self.assertNotEqual(variables["HOME"], "/root")
        self.assertTrue(Path(variables["TMPDIR"]).is_dir())

    def test_the_logs_are_one_invocation_s_with_the_init_before_the_first(self) -> None:
        environment = self.started(version="7")
        first = self.invoke(environment, {"do": "print", "text": "one"}).logs.splitlines()
        second = self.invoke(environment, {"do": "print", "text": "two"}, "r-2").logs.splitlines()
        start, end = "START RequestId: r-1 Version: 7", "END RequestId: r-1"
        self.assertEqual(first[:4], ["starting", start, "one", end])
        self.assertRegex(
            first[4],
            r"^REPORT RequestId: r-1\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms"
            r"\tMemory Size: 128 MB\tInit Duration: [\d.]+ ms$",
        )
        self.assertEqual(second[1], "two")
        self.assertNotIn("Init Duration", second[3])
        self.assertEqual(len(second), 4)

    def test_a_hot_reloaded_function_is_the_new_one_at_its_next_invocation(self) -> None:
        environment = self.started(hot_reload=True)
        self.assertEqual(self.answer(environment, {})["version"], 1)
        new = bootstraps.FUNCTION.replace("VERSION = 1", "VERSION = 22")
        (self.folder / "bootstrap").unlink()
        self.assertEqual(self.answer(environment, {})["count"], 2)
        bootstraps.write(self.folder, new)
        self.assertEqual(self.answer(environment, {})["version"], 22)

    def test_any_other_function_stays_what_it_was(self) -> None:
        environment = self.started()
        bootstraps.write(self.folder, bootstraps.FUNCTION.replace("VERSION = 1", "VERSION = 22"))
        self.assertEqual(self.answer(environment, {})["version"], 1)


class Ends(EnvironmentTest):
    def test_stopping_ends_the_process_and_what_it_started(self) -> None:
        environment = self.started()
        child = self.answer(environment, {"do": "child"})
        self.assertTrue(runs(child))
        environment.stop()
        self.assertFalse(runs(environment.pid))
        until("the end of what it started", lambda: not runs(child))
        self.assertFalse(environment._folder.exists())

    def test_a_crash_ends_what_the_process_started(self) -> None:
        environment = self.started()
        child = self.answer(environment, {"do": "child"})
        self.failure(environment, {"do": "kill"})
        until("the end of what it started", lambda: not runs(child))

    def test_nothing_starts_in_an_environment_that_was_stopped(self) -> None:
        environment = self.started()
        environment.stop()
        pid = environment.pid
        self.failure(environment, {})
        self.assertEqual(environment.pid, pid)

    def test_stopping_lets_a_running_invocation_end(self) -> None:
        environment = self.started()
        results: list[Result] = []
        taken = self.folder / "taken"
        waits = bootstraps.FUNCTION.replace(
            "time.sleep(600)", f"open({str(taken)!r}, 'w').close(); time.sleep(0.2)"
        )
        environment = self.started(waits)
        running = threading.Thread(
            target=lambda: results.append(self.invoke(environment, {"do": "hang"}))
        )
        running.start()
        until("the invocation's start", taken.exists)
        with patch("process_executor.sandbox.BUSY_GRACE", DEADLINE):
            environment.stop()
        running.join(DEADLINE)
        self.assertFalse(results[0].is_error, results[0].payload)

    def test_no_process_outlives_a_killed_localstack(self) -> None:
        bootstraps.write(self.folder, bootstraps.FUNCTION)
        # The function itself would end with its connection; what it started would not.
        program = (
            "import pathlib, sys, time\n"
            "from process_executor.environment import Environment, Function\n"
            "from process_executor.runtime_api import Invocation\n"
            "environment = Environment(Function(pathlib.Path(sys.argv[1]), {}, 30, 128))\n"
            "environment.start()\n"
            "result = environment.invoke(Invocation('r', 'a', 't', b'{\"do\": \"child\"}'))\n"
            "print(environment.pid, result.payload.decode(), flush=True)\n"
            "time.sleep(600)\n"
        )
        owner = subprocess.Popen(
            [sys.executable, "-c", program, str(self.folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "TMPDIR": str(self.folder)},
        )
        with owner:
            pids = [int(pid) for pid in owner.stdout.readline().split()]
            self.assertEqual([runs(pid) for pid in pids], [True, True])
            owner.send_signal(signal.SIGKILL)
        until("the function's end", lambda: not any(runs(pid) for pid in pids))


if __name__ == "__main__":
    unittest.main()

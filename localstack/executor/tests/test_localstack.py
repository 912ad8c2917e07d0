"""The package in a running LocalStack: the one that FANFARE_LOCALSTACK_URL names."""

import base64
import json
import os
import tempfile
import unittest
import urllib.request
import uuid
from pathlib import Path

import boto3
from botocore.config import Config

from . import bootstraps
from .test_environment import until

URL = os.environ.get("FANFARE_LOCALSTACK_URL")

ROLE = "arn:aws:iam::000000000000:role/executor-tests"


def why_not() -> str | None:
    """Why the tests cannot run, if they cannot."""
    if URL is None:
        return "FANFARE_LOCALSTACK_URL is not set"
    with urllib.request.urlopen(f"{URL}/_localstack/info", timeout=30) as answer:
        in_docker = json.load(answer)["is_docker"]
    return "LocalStack runs in Docker, and functions in containers" if in_docker else None


class LocalStackTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        if why := why_not():
            raise unittest.SkipTest(why)

    def setUp(self) -> None:
        options = {
            "endpoint_url": URL,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(retries={"max_attempts": 1}),
        }
        self.functions = boto3.client("lambda", **options)
        self.sqs = boto3.client("sqs", **options)
        self.logs = boto3.client("logs", **options)
        self.name = f"executor-{uuid.uuid4().hex[:8]}"

    def create(self, code: dict | str = bootstraps.FUNCTION, **settings: object) -> None:
        """Makes the function, which goes with the test."""
        self.functions.create_function(
            FunctionName=self.name,
            Handler="bootstrap",
            Role=ROLE,
            Code={"ZipFile": bootstraps.zipped(code)} if isinstance(code, str) else code,
            **{"Runtime": "provided.al2023", "Timeout": 30, **settings},
        )
        self.addCleanup(self.functions.delete_function, FunctionName=self.name)

    def invoke(self, event: object) -> dict:
        return self.functions.invoke(
            FunctionName=self.name, Payload=json.dumps(event), LogType="Tail"
        )

    def answer(self, event: object) -> dict:
        result = self.invoke(event)
        payload = result["Payload"].read()
        self.assertNotIn("FunctionError", result, payload)
        return json.loads(payload)

    def failure(self, event: object) -> dict:
        result = self.invoke(event)
        self.assertEqual(result["FunctionError"], "Unhandled")
        return json.loads(result["Payload"].read())

    def test_a_zipped_function_runs_with_its_settings(self) -> None:
        self.create(MemorySize=256, Environment={"Variables": {"OWN": "1"}})
        variables = self.answer({"do": "env"})
        wanted = {
            "AWS_ENDPOINT_URL": URL,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_REGION": "us-east-1",
            "_HANDLER": "bootstrap",
            "OWN": "1",
        }
        self.assertEqual({name: variables.get(name) for name in wanted}, wanted)
        self.assertTrue(variables["AWS_ACCESS_KEY_ID"] and variables["AWS_SECRET_ACCESS_KEY"])
        self.assertTrue({"GATEWAY_LISTEN", "PYTHONPATH"}.isdisjoint(variables), variables)
        context = self.answer({"do": "context"})
        self.assertRegex(context["lambda-runtime-trace-id"], "^Root=1-[0-9a-f-]+;Parent=.+;Sampled")
        self.assertTrue(context["lambda-runtime-invoked-function-arn"].endswith(self.name))

    def test_failures_are_what_callers_of_lambda_know(self) -> None:
        self.create()
        self.assertEqual(self.failure({"do": "raise"})["errorType"], "ValueError")
        self.assertEqual(self.answer({})["count"], 2)
        self.assertEqual(self.failure({"do": "exit", "code": 1})["errorType"], "Runtime.ExitError")
        self.assertEqual(self.answer({})["count"], 1)

    def test_a_time_out_is_in_the_answer_and_in_the_log(self) -> None:
        self.create(Timeout=1)
        result = self.invoke({"do": "hang"})
        self.assertEqual(result["FunctionError"], "Unhandled")
        failure = json.loads(result["Payload"].read())
        self.assertIn("Task timed out after 1.00 seconds", failure["errorMessage"])
        tail = base64.b64decode(result["LogResult"]).decode()
        self.assertIn("Task timed out after 1.00 seconds", tail)

    def test_an_init_that_fails_is_a_failed_invocation(self) -> None:
        self.create(bootstraps.INIT_ERROR)
        for _ in range(2):
            failure = self.failure({})
            self.assertEqual(failure["errorMessage"], "DATABASE_URL is not set")

    def test_a_folder_is_run_in_place_and_again_when_it_changed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bootstraps.write(Path(folder), bootstraps.FUNCTION)
            self.create({"S3Bucket": "hot-reload", "S3Key": folder})
            self.assertEqual(self.answer({})["version"], 1)
            self.assertEqual(self.answer({"do": "env"})["LAMBDA_TASK_ROOT"], folder)
            new = bootstraps.FUNCTION.replace("VERSION = 1", "VERSION = 22")
            bootstraps.write(Path(folder), new)
            self.assertEqual(self.answer({})["version"], 22)

    def test_an_update_replaces_code_and_settings(self) -> None:
        self.create()
        self.assertEqual(self.answer({})["version"], 1)
        code = bootstraps.zipped(bootstraps.FUNCTION.replace("VERSION = 1", "VERSION = 22"))
        self.functions.update_function_code(FunctionName=self.name, ZipFile=code)
        waiter = self.functions.get_waiter("function_updated_v2")
        waiter.wait(FunctionName=self.name, WaiterConfig={"Delay": 1})
        self.assertEqual(self.answer({})["version"], 22)
        self.functions.update_function_configuration(
            FunctionName=self.name, Environment={"Variables": {"OWN": "2"}}
        )
        waiter.wait(FunctionName=self.name, WaiterConfig={"Delay": 1})
        self.assertEqual(self.answer({"do": "env"})["OWN"], "2")

    def test_output_is_in_the_answer_and_in_the_log_stream(self) -> None:
        self.create()
        result = self.invoke({"do": "print", "text": "hello from it"})
        tail = base64.b64decode(result["LogResult"]).decode()
        request = result["ResponseMetadata"]["RequestId"]
        self.assertIn(f"START RequestId: {request} Version: $LATEST\nhello from it\nEND", tail)

        until("the log stream", lambda: "hello from it" in self.logged())

    def test_other_runtimes_are_refused_with_the_reason(self) -> None:
        self.create(Runtime="python3.12")
        failure = self.failure({})
        self.assertIn("a runtime provided.*, not python3.12", failure["errorMessage"])

    def test_an_event_source_mapping_takes_back_what_failed(self) -> None:
        self.create()
        queue = self.queue(f"{self.name}-queue", VisibilityTimeout="600")
        mapping = self.functions.create_event_source_mapping(
            FunctionName=self.name,
            EventSourceArn=self.arn(queue),
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )["UUID"]
        self.addCleanup(self.functions.delete_event_source_mapping, UUID=mapping)
        bodies = [f"good {number}" for number in range(5)] + ["bad"]
        self.sqs.send_message_batch(
            QueueUrl=queue,
            Entries=[{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)],
        )

        # The failed one waits for its visibility time-out; the others are gone.
        until("the good messages' end", lambda: self.counts(queue) == (0, 1))
        until("the log stream", lambda: set(self.delivered()) == set(bodies))

    def logged(self) -> list[str]:
        """The lines that the function's invocations left."""
        try:
            events = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{self.name}")["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].strip() for event in events]

    def delivered(self) -> list[str]:
        """The bodies of the messages that the function was invoked with."""
        prefix = "bodies: "
        lines = [line.removeprefix(prefix) for line in self.logged() if line.startswith(prefix)]
        return [body for line in lines for body in json.loads(line)]

    def queue(self, name: str, **attributes: str) -> str:
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.addCleanup(self.sqs.delete_queue, QueueUrl=url)
        return url

    def arn(self, queue: str) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]

    def counts(self, queue: str) -> tuple[int, int]:
        """Messages that wait, and those in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        got = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return int(got[names[0]]), int(got[names[1]])


if __name__ == "__main__":
    unittest.main()

"""The Runtime API as a runtime calls it."""

import http.client
import json
import threading
import unittest

from process_executor.runtime_api import Answer, Invocation, RuntimeApi

DEADLINE = 30.0


class RuntimeApiTest(unittest.TestCase):
    def setUp(self) -> None:
        self.api = RuntimeApi()
        self.addCleanup(self.api.close)
        self.answer: Answer | None = None

    def call(self, method: str, path: str, body: object = None, **options: object) -> tuple:
        connection = http.client.HTTPConnection(self.api.address, timeout=DEADLINE)
        self.addCleanup(connection.close)
        connection.request(method, f"/2018-06-01/runtime/{path}", body, **options)
        response = connection.getresponse()
        return response.status, response.read()

    def invoke(self) -> threading.Thread:
        """Invokes, on a thread of its own, until there is an answer."""

        def run() -> None:
            self.answer = self.api.invoke(Invocation("r-1", "arn", "Root=1", b"{}"), 0, DEADLINE)

        thread = threading.Thread(target=run)
        thread.start()
        self.assertEqual(self.call("GET", "invocation/next"), (200, b"{}"))
        return thread

    def test_an_answer_to_another_request_is_refused(self) -> None:
        thread = self.invoke()
        status, body = self.call("POST", "invocation/r-0/response", "{}")
        self.assertEqual((status, json.loads(body)["errorType"]), (400, "InvalidRequestID"))
        self.assertEqual(self.call("POST", "invocation/r-1/response", "1")[0], 202)
        self.assertEqual(self.call("POST", "invocation/r-1/response", "2")[0], 400)
        thread.join(DEADLINE)
        self.assertEqual(self.answer, Answer(b"1", is_error=False))

    def test_an_answer_in_chunks_is_put_together(self) -> None:
        thread = self.invoke()
        chunks = iter([b'{"a":', b" 1}"])
        status, _ = self.call("POST", "invocation/r-1/response", chunks, encode_chunked=True)
        self.assertEqual(status, 202)
        thread.join(DEADLINE)
        self.assertEqual(self.answer, Answer(b'{"a": 1}', is_error=False))

    def test_init_cannot_fail_once_it_is_over(self) -> None:
        thread = self.invoke()
        self.assertEqual(self.call("POST", "init/error", "{}")[0], 403)
        self.assertIsNone(self.api.init_error)
        self.api.close()
        thread.join(DEADLINE)
        self.assertIsNone(self.answer)

    def test_a_call_that_does_not_exist_is_refused(self) -> None:
        self.assertEqual(self.call("GET", "invocation/last")[0], 404)
        self.assertEqual(self.call("POST", "exit/error", "{}")[0], 404)


if __name__ == "__main__":
    unittest.main()

"""What LocalStack calls to run functions: a thin layer over ``environment``."""

import logging

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import (
    LambdaRuntimeException,
    RuntimeExecutor,
)

from .environment import Environment, Function
from .errors import InitFailed, error
from .runtime_api import Invocation

LOG = logging.getLogger(__name__)

# Functions run on the machine that LocalStack runs on.
_HOST = "127.0.0.1"

# Characters of a function's output that are logged when its init fails: nothing else shows them.
_LOGGED_OUTPUT = 2000


class ProcessRuntimeExecutor(RuntimeExecutor):
    """One execution environment of LocalStack's, whose function is a process of this machine."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:  # noqa: A002
        super().__init__(id=id, function_version=function_version)
        self._environment: Environment | None = None

    def start(self, env_vars: dict[str, str]) -> None:
        """Returns when the function is ready for its first invocation."""
        version = self.function_version
        runtime = version.config.runtime or "an image's"
        # Not when it is created: LocalStack cannot delete a function that failed then.
        if not runtime.startswith("provided"):
            what = f"without Docker functions run that have a runtime provided.*, not {runtime}"
            raise StatusErrorException(what, payload=error("Runtime.Unsupported", what))
        self._environment = Environment(
            Function(
                task_root=version.config.code.get_unzipped_code_location(),
                # Some of LocalStack's are numbers.
                variables={name: str(value) for name, value in env_vars.items()},
                timeout_seconds=version.config.timeout,
                memory_mb=version.config.memory_size,
                version=version.id.qualifier,
                hot_reload=version.config.code.is_hot_reloading(),
            )
        )
        try:
            self._environment.start()
        except InitFailed as failure:
            output = self._environment.output()[-_LOGGED_OUTPUT:]
            LOG.warning("Init of %s: %s\n%s", version.qualified_arn, failure, output)
            # LocalStack answers the invocation with the payload, and stops this environment.
            raise StatusErrorException(str(failure), payload=failure.payload) from failure

    def stop(self) -> None:
        """Ends the function's process."""
        if self._environment:
            self._environment.stop()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Runs one invocation.

        A crash or time-out is a result too: the next invocation gets a new process.
        """
        if self._environment is None:
            raise LambdaRuntimeException(f"environment {self.id} was not started")
        request_id = payload["invoke-id"]
        result = self._environment.invoke(
            Invocation(
                request_id=request_id,
                function_arn=payload["invoked-function-arn"],
                trace_id=payload["trace-id"],
                payload=payload["payload"].encode(),
            )
        )
        return InvocationResult(request_id, result.payload, result.is_error, result.logs)

    def get_logs(self) -> str:
        """All that the function printed."""
        return self._environment.output() if self._environment else ""

    def get_address(self) -> str:
        """Where the function runs, seen from LocalStack."""
        return _HOST

    def get_endpoint_from_executor(self) -> str:
        """Where LocalStack runs, seen from the function."""
        return _HOST

    def get_runtime_endpoint(self) -> str:
        """Where LocalStack's own init would report to: there is none, nobody calls it."""
        return f"http://{_HOST}"

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unzips the code."""
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Nothing: the code on the disk is LocalStack's."""

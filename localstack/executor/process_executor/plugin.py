"""How LocalStack finds the executor: the entry point in ``pyproject.toml`` names this class."""

from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """Loaded if LAMBDA_RUNTIME_EXECUTOR is ``process``."""

    name = "process"

    def load(self, *args: object, **kwargs: object) -> type:
        """The executor's class."""
        # Late: it imports much that LocalStack does not need before the first function.
        from .executor import ProcessRuntimeExecutor

        return ProcessRuntimeExecutor

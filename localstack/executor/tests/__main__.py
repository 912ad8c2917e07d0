"""Runs the tests, with a line each: ``ok …``, ``FAILED …`` or ``skipped …``."""

import sys
import unittest
from pathlib import Path


class _Lines(unittest.TestResult):
    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802, unittest's names
        self._say("ok", test)

    def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._say("FAILED", test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addError(test, err)
        self._say("FAILED", test, self.errors[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._say("skipped", test, reason)

    def _say(self, what: str, test: unittest.TestCase, why: str = "") -> None:
        name = test.id().removeprefix("tests.")
        print(f"{what} {name}{': ' * bool(why)}{why.rstrip()}", flush=True)


def main() -> None:
    folder = Path(__file__).parent
    suite = unittest.defaultTestLoader.discover(str(folder), top_level_dir=str(folder.parent))
    sys.exit(not suite.run(_Lines()).wasSuccessful())


main()

"""Decides which failed tests run once more, alone on the machine.

About 8,000 tests take twenty minutes on two cores, and a few of them measure time. On a busy machine, one of these can
fail although it passes in every other run. If a test passes when it runs again, the whole run passes, but the last line
of the output names the test: the cause is a fault of the test or of the product and has to be found. More than
MAX_TESTS failures, a crash, or a test that could not be collected always fail the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["MAX_TESTS", "TESTS_FAILED", "FailedTests", "failed_tests"]

MAX_TESTS = 3
"Most failed tests of a whole run that may run again. A change that breaks something usually breaks more."
TESTS_FAILED = 1
"Pytest's exit status if all tests ran and some failed. Other statuses (but 0) mean that some tests did not run."


@dataclass(frozen=True, slots=True)
class FailedTests:
    """Remembers which tests failed. Each run of pytest has a cache folder of its own for that."""

    folder: Path

    def options(self, name: str) -> tuple[str, ...]:
        """Return the arguments that make pytest remember its failed tests. name: name of the run."""
        return ("-o", f"cache_dir={self._cache(name)}")

    def to_repeat(self, names: Iterable[str]) -> list[str]:
        """Return the node ids of the tests that failed in these runs, or none if they may not be repeated."""
        tests = []
        for name in names:
            failed = self._of(name)
            if not failed or not all("::" in test for test in failed):  # an id without "::" is a file not collected
                return []
            tests += failed
        return tests if len(tests) <= MAX_TESTS else []

    def _of(self, name: str) -> list[str]:
        try:
            return sorted(json.loads((self._cache(name) / "v/cache/lastfailed").read_text(encoding="utf-8")))
        except FileNotFoundError:  # pytest was killed, or the command was not pytest
            return []

    def _cache(self, name: str) -> Path:
        return self.folder / name.replace(" ", "-")


@contextmanager
def failed_tests() -> Iterator[FailedTests]:
    """Provide a FailedTests whose folder is deleted afterwards."""
    with TemporaryDirectory(prefix="vivavoce-tests-") as folder:
        yield FailedTests(Path(folder))

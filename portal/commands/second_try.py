"""Tests that failed run once more, alone on the machine.

Some 8,000 tests take half an hour on two cores, and a few of them measure time. On a busy machine one can fail that
passes in every other run. A test that passes when it runs again does not fail the whole, but it is named as the last
thing that is said: its cause is a fault of the test or of the product, and has to be found. More than MOST_TESTS
failures, a crash, or a test that could not be collected are never excused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["MOST_TESTS", "TESTS_FAILED", "FailedTests", "failed_tests"]

MOST_TESTS = 3
"In one run of everything. A change that breaks something usually breaks more."
TESTS_FAILED = 1
"Pytest's exit status where every test was run and some failed; all others mean that some did not run."


@dataclass(frozen=True, slots=True)
class FailedTests:
    """Remembers which tests failed, each run of pytest in a folder of its own."""

    folder: Path

    def options(self, name: str) -> tuple[str, ...]:
        """Arguments with which pytest remembers them.

        name: what the run is called.
        """
        return ("-o", f"cache_dir={self._cache(name)}")

    def to_repeat(self, names: Iterable[str]) -> list[str]:
        """Node ids of the tests that failed in these runs; none if they are not to be repeated."""
        tests = []
        for name in names:
            failed = self._of(name)
            if not failed or not all("::" in test for test in failed):  # a whole file: it could not be collected
                return []
            tests += failed
        return tests if len(tests) <= MOST_TESTS else []

    def _of(self, name: str) -> list[str]:
        try:
            return sorted(json.loads((self._cache(name) / "v/cache/lastfailed").read_text(encoding="utf-8")))
        except FileNotFoundError:  # it was killed, or was no run of pytest
            return []

    def _cache(self, name: str) -> Path:
        return self.folder / name.replace(" ", "-")


@contextmanager
def failed_tests() -> Iterator[FailedTests]:
    """FailedTests in a folder that is deleted afterwards."""
    with TemporaryDirectory(prefix="vivavoce-tests-") as folder:
        yield FailedTests(Path(folder))

"""`python launch.py test`: everything that CI runs, in the order in which it fails fastest.

`python launch.py test quick` leaves out whatever takes long: for the one who is editing. It takes two to three minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from portal.commands.environment import (
    apt_offers_firefox,
    find_chromium,
    find_firefox,
    install_chromium,
    install_firefox,
)

__all__ = ["BROWSERS", "Browser", "run_checks"]

ROOT = Path(__file__).resolve().parents[2]
PYTHON_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("mypy", "--package", "tests"))
STATIC_CHECKS = (*PYTHON_CHECKS, ("tests.scripts",))
QUICK = "quick"
NOT_SLOW = ("-m", "not slow")
QUICK_ONLY = ("-m", "not slow and not thorough")
BESIDE = ("tests/pipeline", "tests/portal")
"Two lanes share the processor: these tests, and those that are neither here nor in a browser."
FIRST_LANE = ("tests", "--ignore=tests/browser", *(f"--ignore={folder}" for folder in BESIDE), *NOT_SLOW)
SECOND_LANE = (*BESIDE, *NOT_SLOW)
BROWSER_TESTS = ("tests/browser", *NOT_SLOW)
"They come last and have the processor to themselves: they measure how sound and picture keep time."
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"In the two lanes: libraries that use all cores would only wait for each other there."
TEST_TIMEOUT_S = 300
"No single test may take so long: one that hangs shows where."


class Module(Protocol):
    """Runs `python -m ...` in the project's folder with extra environment variables, returns its exit status."""

    def __call__(self, arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
        """What it says goes to `output`; without that, where ours goes."""


def run_module(arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
    """The real Module."""
    command, environment = [sys.executable, "-m", *arguments], {**os.environ, **extra}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=output, stderr=output).returncode


@dataclass(frozen=True, slots=True)
class Browser:
    """One in which pages are tested."""

    name: str
    variable: str
    "environment variable that names another one than find() would"
    find: Callable[[], Path | None]
    install: Callable[[Callable[[str], None]], Path | None]
    is_due: Callable[[], bool]
    "whether it is a fault, in CI, if it cannot be had"
    remedy: str


BROWSERS = (
    Browser("Chromium", "CHROMIUM", find_chromium, install_chromium, lambda: True, "apt install chromium"),
    Browser(
        *("Firefox", "FIREFOX", find_firefox, install_firefox, apt_offers_firefox),
        remedy="apt install firefox-esr pulseaudio",
    ),
)


def run_checks(
    pytest_arguments: Sequence[str],
    *,
    say: Callable[[str], None],
    run: Module = run_module,
    browsers: Sequence[Browser] = BROWSERS,
) -> int:
    """Lint, types and tests; with arguments, pytest alone with these. Returns the exit status.

    If the first argument is `quick`, lint, types and the tests that are neither slow nor thorough, without a browser;
    pytest gets the other arguments as well. Everything is run even if something failed before. What has failed is said
    before the tests in browsers, whose closing line is the last.
    """
    if pytest_arguments and pytest_arguments[0] == QUICK:
        failed = _failures(PYTHON_CHECKS, say, run)
        failed += _failures_of_lanes(say, run, (*QUICK_ONLY, *pytest_arguments[1:]))
        say(f"Failed: {', '.join(failed)}" if failed else "All of it passed.")
        return 1 if failed else 0
    extra = {}
    for browser in browsers:
        path = browser.find() or browser.install(say)
        if path is not None:
            extra[browser.variable] = str(path)
        else:
            say(_missing(browser))
    if pytest_arguments:
        return _last([], pytest_arguments, extra, say, run)
    failed = [*_failures(STATIC_CHECKS, say, run), *_failures_of_lanes(say, run)]
    return _last(failed, BROWSER_TESTS, extra, say, run)


def _failures(checks: Sequence[Sequence[str]], say: Callable[[str], None], run: Module) -> list[str]:
    """Run the checks one after the other; gives those that failed."""
    failed = []
    for check in checks:
        say(f"--- {' '.join(check)}")
        if run(check, {}) != 0:
            failed.append(" ".join(check))
    return failed


def _failures_of_lanes(say: Callable[[str], None], run: Module, more: Sequence[str] = ()) -> list[str]:
    """Run the tests that need no browser, in two lanes at once; returns the names of those that failed.

    more: further arguments of pytest. Of two `-m` the later one counts.

    What the first lane says is kept until both have ended, so that their words do not mix.
    """
    say("--- pytest, without a browser: two lanes at once")
    with tempfile.TemporaryFile() as kept, ThreadPoolExecutor(1) as beside:
        first = beside.submit(run, _pytest((*FIRST_LANE, *more)), ONE_THREAD, kept)
        second_status = run(_pytest((*SECOND_LANE, *more)), ONE_THREAD)
        first_status = first.result()
        kept.seek(0)
        say(f"--- what the other lane said\n{kept.read().decode(errors='replace')}")
    statuses = {"tests of pipeline and portal": second_status, "other tests without a browser": first_status}
    return [name for name, status in statuses.items() if status != 0]


def _last(
    failed: Sequence[str], tests: Sequence[str], extra: Mapping[str, str], say: Callable[[str], None], run: Module
) -> int:
    say("--- pytest")
    if failed:
        say(f"Failed so far: {', '.join(failed)}")
    return run(_pytest(tests), extra) or (1 if failed else 0)


def _pytest(arguments: Sequence[str]) -> tuple[str, ...]:
    return ("pytest", f"--timeout={TEST_TIMEOUT_S}", *arguments)


def _missing(browser: Browser) -> str:
    verdict = "fail" if os.environ.get("CI") == "true" and browser.is_due() else "are skipped"
    return (
        f"No {browser.name} could be had, so the tests in it {verdict}. "
        f"Remedy: {browser.remedy}, or name one with {browser.variable}=/path/to/it."
    )

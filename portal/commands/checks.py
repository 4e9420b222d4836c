"""`python launch.py test`: everything that CI runs, in the order in which it fails fastest.

`python launch.py test quick` leaves out whatever takes long: for the one who is editing, in a minute or two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portal.commands.environment import (
    apt_offers_firefox,
    find_chromium,
    find_firefox,
    install_chromium,
    install_firefox,
)

__all__ = ["BROWSERS", "Browser", "run_checks"]

ROOT = Path(__file__).resolve().parents[2]
PYTHON_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
STATIC_CHECKS = (*PYTHON_CHECKS, ("tests.scripts",))
ORDINARY_TESTS = ("-m", "not slow")
QUICK = "quick"
QUICK_TESTS = ("--ignore=tests/browser", "-m", "not slow and not thorough")
TEST_TIMEOUT_S = 300
"No single test may take so long: one that hangs shows where."

Module = Callable[[Sequence[str], Mapping[str, str]], int]
"Runs `python -m ...` in the project's folder with extra environment variables, returns its exit status."


def run_module(arguments: Sequence[str], extra: Mapping[str, str]) -> int:
    """The real Module."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **extra}, check=False
    ).returncode


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
    pytest gets the other arguments as well. Everything is run even if something failed before, and pytest's closing
    line is the last.
    """
    if pytest_arguments and pytest_arguments[0] == QUICK:
        return _run_all(PYTHON_CHECKS, (*QUICK_TESTS, *pytest_arguments[1:]), {}, say, run)
    extra = {}
    for browser in browsers:
        path = browser.find() or browser.install(say)
        if path is not None:
            extra[browser.variable] = str(path)
        else:
            say(_missing(browser))
    if pytest_arguments:
        return _run_all((), pytest_arguments, extra, say, run)
    return _run_all(STATIC_CHECKS, ORDINARY_TESTS, extra, say, run)


def _run_all(
    checks: Sequence[Sequence[str]],
    tests: Sequence[str],
    extra: Mapping[str, str],
    say: Callable[[str], None],
    run: Module,
) -> int:
    failed = []
    for check in checks:
        say(f"--- {' '.join(check)}")
        if run(check, {}) != 0:
            failed.append(" ".join(check))
    say("--- pytest")
    if failed:
        say(f"Failed so far: {', '.join(failed)}")
    status = run(["pytest", f"--timeout={TEST_TIMEOUT_S}", *tests], extra)
    return status or (1 if failed else 0)


def _missing(browser: Browser) -> str:
    verdict = "fail" if os.environ.get("CI") == "true" and browser.is_due() else "are skipped"
    return (
        f"No {browser.name} could be had, so the tests in it {verdict}. "
        f"Remedy: {browser.remedy}, or name one with {browser.variable}=/path/to/it."
    )

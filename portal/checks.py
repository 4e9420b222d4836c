"""`python launch.py test`: everything that CI runs, in the order in which it fails fastest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from portal.environment import find_chromium, install_chromium

__all__ = ["run_checks"]

ROOT = Path(__file__).resolve().parent.parent
STATIC_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
ORDINARY_TESTS = ("-m", "not slow")
TEST_TIMEOUT_S = 300
"No single test may take so long: one that hangs shows where."

Module = Callable[[Sequence[str], Mapping[str, str]], int]
"Runs `python -m ...` in the project's folder with extra environment variables, returns its exit status."


def run_module(arguments: Sequence[str], extra: Mapping[str, str]) -> int:
    """The real Module."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **extra}, check=False
    ).returncode


def run_checks(
    pytest_arguments: Sequence[str],
    *,
    say: Callable[[str], None],
    run: Module = run_module,
    find_browser: Callable[[], Path | None] = find_chromium,
    install_browser: Callable[[Callable[[str], None]], Path | None] = install_chromium,
) -> int:
    """Lint, types and tests; with arguments, pytest alone with these. Returns the exit status.

    Everything is run even if something failed before, and pytest's closing line is the last.
    """
    browser = find_browser() or install_browser(say)
    if browser is None:
        say(
            "No Chromium could be had, so the browser tests "
            + ("fail." if os.environ.get("CI") == "true" else "are skipped.")
            + " Remedy: apt install chromium, or name one with CHROMIUM=/path/to/chrome."
        )
    failed = []
    if not pytest_arguments:
        for check in STATIC_CHECKS:
            say(f"--- {' '.join(check)}")
            if run(check, {}) != 0:
                failed.append(" ".join(check))
    say("--- pytest")
    if failed:
        say(f"Failed so far: {', '.join(failed)}")
    chosen = pytest_arguments or ORDINARY_TESTS
    extra = {"CHROMIUM": str(browser)} if browser else {}
    status = run(["pytest", f"--timeout={TEST_TIMEOUT_S}", *chosen], extra)
    return status or (1 if failed else 0)

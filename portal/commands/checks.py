"""`python launch.py test`: everything that CI runs.

Ruff comes first, since it fails fastest. Types, scripts and the tests without a browser run in two lanes at once, each
a sequence of commands. The tests in browsers come last, with the machine to themselves: they measure how sound and
picture keep time. Beside two lanes that yielded to them, tests of both kinds missed their deadlines on two slow cores.
Up to three tests that failed run once more after that (see second_try.py).

`python launch.py test quick` leaves out whatever takes long, for a person who is editing: two to three minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
from portal.commands.second_try import TESTS_FAILED, FailedTests, failed_tests

__all__ = ["BROWSERS", "Browser", "run_checks"]

ROOT = Path(__file__).resolve().parents[2]
FIRST_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."))
TYPE_CHECKS = (("tests.typed",),)
SCRIPT_CHECKS = (("tests.scripts",),)
QUICK = "quick"
NOT_SLOW = ("-m", "not slow")
QUICK_ONLY = ("-m", "not slow and not thorough")
BESIDE = ("tests/pipeline", "tests/portal")
"Folders with a lane of their own. What is neither here nor in a browser is in another."
OTHER_TESTS = ("tests", "--ignore=tests/browser", *(f"--ignore={folder}" for folder in BESIDE), *NOT_SLOW)
BESIDE_TESTS = (*BESIDE, *NOT_SLOW)
BROWSER_TESTS = ("tests/browser", *NOT_SLOW)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"In lanes without a browser: libraries that use all cores would only wait for each other there."
TEST_TIMEOUT_S = 300
"No single test may take so long: one that hangs shows where."


class Module(Protocol):
    """Runs `python -m ...` in the project's folder with extra environment variables, returns its exit status."""

    def __call__(self, arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
        """What it says goes to `output`; without that, where ours goes."""


def run_module(arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
    """The real Module."""
    command, environment = [sys.executable, "-m", *arguments], {**os.environ, **extra}
    # The tests start hundreds of processes. Without bytecode each compiles what it imports: 8 s of a portal's 25.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=output, stderr=output).returncode


@dataclass(frozen=True, slots=True)
class Lane:
    """Commands that run one after another, beside other lanes."""

    commands: Mapping[str, Sequence[str]]
    "what a command is called when it has failed -> arguments of `python -m`"
    extra: Mapping[str, str]
    "environment variables"

    def failures(self, run: Module, output: IO[bytes] | None = None) -> dict[str, int]:
        """Run all of them, whatever fails; returns the names of those that failed, with their exit status."""
        statuses = {name: run(command, self.extra, output) for name, command in self.commands.items()}
        return {name: status for name, status in statuses.items() if status != 0}


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

    If the first argument is `quick`: lint, types and the tests that are neither slow nor thorough, without a browser;
    pytest gets the other arguments as well. Everything runs even if something failed before. The last line says what
    has failed.
    """
    if pytest_arguments and pytest_arguments[0] == QUICK:
        more = (*QUICK_ONLY, *pytest_arguments[1:])
        return _verdict(_run_all(_computing(TYPE_CHECKS, more), say, run), say)
    if pytest_arguments:
        return run(_pytest(pytest_arguments), _had(browsers, say))
    with ThreadPoolExecutor(1) as pool, failed_tests() as remembered:
        coming = pool.submit(_had, browsers, say)  # apt-get takes a minute, mostly of waiting

        def in_browsers() -> Lane:
            name = "tests in browsers"
            return Lane({name: _pytest((*BROWSER_TESTS, *remembered.options(name)))}, coming.result())

        lanes = _computing((*TYPE_CHECKS, *SCRIPT_CHECKS), remembered=remembered)
        failed = _run_all(lanes, say, run, last=in_browsers)
        if _pass_alone(remembered, failed, coming.result(), run, say):
            return 0
        return _verdict(failed, say)


def _pass_alone(
    remembered: FailedTests,
    failed: Mapping[str, int],
    extra: Mapping[str, str],
    run: Module,
    say: Callable[[str], None],
) -> bool:
    """Whether nothing failed but a few tests that pass when they run once more. They are named last."""
    if set(failed.values()) != {TESTS_FAILED}:
        return False
    tests = remembered.to_repeat(failed)
    if not tests:
        return False
    say(f"--- once more: {', '.join(tests)}")
    if run(_pytest(tests), extra) != 0:
        return False
    say("All of it passed, some of it only when it ran again, alone. The cause of that is a fault: please find it.")
    say(f"Passed at the second try: {', '.join(tests)}")
    return True


def _had(browsers: Sequence[Browser], say: Callable[[str], None]) -> dict[str, str]:
    """Find browsers or install them: as environment variables. Of each that cannot be had that is said."""
    extra = {}
    for browser in browsers:
        path = browser.find() or browser.install(say)
        if path is not None:
            extra[browser.variable] = str(path)
        else:
            say(_missing(browser))
    return extra


def _computing(
    checks: Sequence[Sequence[str]], more: Sequence[str] = (), remembered: FailedTests | None = None
) -> tuple[Lane, Lane]:
    """The lanes without a browser. The tests of the second take less time, so the static checks are there.

    more: further arguments of pytest. Of two `-m` the later one counts.
    """
    named = {" ".join(check): check for check in checks}
    beside, others = "tests of pipeline and portal", "other tests without a browser"
    remember = remembered.options if remembered else lambda _name: ()
    return (
        Lane({beside: _pytest((*BESIDE_TESTS, *more, *remember(beside)))}, ONE_THREAD),
        Lane({**named, others: _pytest((*OTHER_TESTS, *more, *remember(others)))}, ONE_THREAD),
    )


def _run_all(
    lanes: Sequence[Lane], say: Callable[[str], None], run: Module, last: Callable[[], Lane] | None = None
) -> dict[str, int]:
    """Ruff, then the lanes at once, then the last one alone, which is made only then.

    Returns what failed, with its exit status.

    What the first lane says is seen at once. What another says is kept until all have ended, so that their words do not
    mix.
    """
    failed: dict[str, int] = {}
    for check in FIRST_CHECKS:
        name = " ".join(check)
        say(f"--- {name}")
        failed |= Lane({name: check}, {}).failures(run)
    first, *others = lanes
    say(f"--- {len(lanes)} lanes at once. This one: {', '.join(first.commands)}")
    with ThreadPoolExecutor(len(others)) as pool, ExitStack() as stack:
        beside = []
        for lane in others:
            kept = stack.enter_context(tempfile.TemporaryFile())
            beside.append((lane, kept, pool.submit(lane.failures, run, kept)))
        failed |= first.failures(run)
        for lane, kept, outcome in beside:
            failed |= outcome.result()
            kept.seek(0)
            say(f"--- another lane: {', '.join(lane.commands)}\n{kept.read().decode(errors='replace')}")
    if last is not None:
        alone = last()
        say(f"--- {', '.join(alone.commands)}")
        failed |= alone.failures(run)
    return failed


def _verdict(failed: Mapping[str, int], say: Callable[[str], None]) -> int:
    say(f"Failed: {', '.join(failed)}" if failed else "All of it passed.")
    return 1 if failed else 0


def _pytest(arguments: Sequence[str]) -> tuple[str, ...]:
    return ("pytest", f"--timeout={TEST_TIMEOUT_S}", *arguments)


def _missing(browser: Browser) -> str:
    verdict = "fail" if os.environ.get("CI") == "true" and browser.is_due() else "are skipped"
    return (
        f"No {browser.name} could be had, so the tests in it {verdict}. "
        f"Remedy: {browser.remedy}, or name one with {browser.variable}=/path/to/it."
    )

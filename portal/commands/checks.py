"""`python launch.py test`: everything that CI runs.

Ruff comes first, since it fails fastest. Types, scripts and most tests then run in three lanes at the same time; each
lane is a sequence of commands, and one of them has the tests in browsers, which mostly wait. Tests with the marker
`alone` run last, with nothing beside them, because they measure the timing of sound and pictures: beside other lanes,
they missed their deadlines on two slow cores. Up to three tests that failed then run once more (see second_try.py).

`python launch.py test quick` leaves out whatever takes long, for a person who is editing. It takes 2 to 3 minutes.
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
TOGETHER = ("-m", "not slow and not alone")
QUICK_ONLY = ("-m", "not slow and not thorough")
PORTAL_TESTS = ("tests/portal", *TOGETHER)
NOTEBOOK_TESTS = "tests/test_notebooks.py"
OTHER_TESTS = ("tests", "--ignore=tests/browser", "--ignore=tests/portal", f"--ignore={NOTEBOOK_TESTS}", *TOGETHER)
BROWSER_TESTS = ("tests/browser", NOTEBOOK_TESTS, *TOGETHER)
"With the notebooks, its lane takes as long as the others."
TIMING_TESTS = ("tests/browser", "tests/clients", "-m", "not slow and alone")
"The folders that have tests with the marker `alone`: to collect all others takes long."
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"Set in lanes without a browser. The lanes share the cores, so threads of numeric libraries would only wait there."
TEST_TIMEOUT_S = 300
"Limit for a single test. A test that hangs is ended, and its stack shows where it hung."
SLOWEST_SHOWN = 25
"Number of its slowest tests that each run of pytest lists, because that is where time can be saved."


class Module(Protocol):
    """Runs `python -m ...` in the project's folder with extra environment variables. Returns its exit status."""

    def __call__(self, arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
        """Run the module. Its output goes to `output`, or if that is None, to where ours goes."""


def run_module(arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None, /) -> int:
    """Run a module in a child process. This is the implementation of Module outside tests."""
    command, environment = [sys.executable, "-m", *arguments], {**os.environ, **extra}
    # The tests start hundreds of processes. Without bytecode files each would compile what it imports. For a portal
    # that is 8 of the 25 s that it takes to start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, stdout=output, stderr=output).returncode


@dataclass(frozen=True, slots=True)
class Lane:
    """Commands that run one after another, at the same time as other lanes."""

    commands: Mapping[str, Sequence[str]]
    "Name of each command, as shown when it fails -> arguments of `python -m`."
    find_extra: Callable[[], Mapping[str, str]] = dict
    "Returns additional environment variables. It is called when the lane begins, and may wait for a browser."

    def failures(self, run: Module, output: IO[bytes] | None = None) -> dict[str, int]:
        """Run all commands, even if some fail. Return the names of those that failed, with their exit status."""
        extra = self.find_extra()
        statuses = {name: run(command, extra, output) for name, command in self.commands.items()}
        return {name: status for name, status in statuses.items() if status != 0}


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser in which pages are tested."""

    name: str
    variable: str
    "Environment variable by which a person names a browser, instead of the one that find() finds."
    find: Callable[[], Path | None]
    install: Callable[[Callable[[str], None]], Path | None]
    is_due: Callable[[], bool]
    "Whether CI fails if this browser cannot be found or installed."
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
    """Run lint, types and tests. With arguments, run only pytest with these. Return the exit status.

    If the first argument is `quick`, run lint, types, and the tests that are neither slow nor thorough, without a
    browser; pytest then gets the other arguments as well. Everything runs even if something failed before. The last
    line names what failed.
    """
    if pytest_arguments and pytest_arguments[0] == QUICK:
        more = (*QUICK_ONLY, *pytest_arguments[1:])
        return _verdict(_run_all(_computing(more), say, run), say)
    if pytest_arguments:
        return run(_pytest(pytest_arguments), _find_browsers(browsers, say))
    with ThreadPoolExecutor(1) as pool, failed_tests() as remembered:
        coming = pool.submit(
            _find_browsers, browsers, say
        )  # in the background: apt-get takes a minute and mostly waits

        def in_browsers(name: str, tests: Sequence[str], checks: Sequence[Sequence[str]] = ()) -> Lane:
            return Lane({**_named(checks), name: _pytest((*tests, *remembered.options(name)))}, coming.result)

        lanes = (
            *_computing(remembered=remembered),
            in_browsers("tests in browsers and notebooks", BROWSER_TESTS, SCRIPT_CHECKS),
        )
        failed = _run_all(lanes, say, run, last=in_browsers("tests that measure time", TIMING_TESTS))
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
    """Run failed tests once more, if they are few. Return whether everything has passed then, and name those tests."""
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


def _find_browsers(browsers: Sequence[Browser], say: Callable[[str], None]) -> dict[str, str]:
    """Find or install browsers, and return the environment variables that name them. Report those that are missing."""
    extra = {}
    for browser in browsers:
        path = browser.find() or browser.install(say)
        if path is not None:
            extra[browser.variable] = str(path)
        else:
            say(_missing(browser))
    return extra


def _computing(more: Sequence[str] = (), remembered: FailedTests | None = None) -> tuple[Lane, Lane]:
    """Return the two lanes without a browser. The first has the types as well; with them, the lanes take equally long.

    more: further arguments of pytest. If `-m` is given twice, pytest uses the later one.
    """
    of_portal, others = "tests of the portal", "other tests without a browser"
    remember = remembered.options if remembered else lambda _name: ()
    portal_tests = _pytest((*PORTAL_TESTS, *more, *remember(of_portal)))
    return (
        Lane({**_named(TYPE_CHECKS), of_portal: portal_tests}, ONE_THREAD.copy),
        Lane({others: _pytest((*OTHER_TESTS, *more, *remember(others)))}, ONE_THREAD.copy),
    )


def _named(checks: Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    return {" ".join(check): check for check in checks}


def _run_all(
    lanes: Sequence[Lane], say: Callable[[str], None], run: Module, last: Lane | None = None
) -> dict[str, int]:
    """Run Ruff, then all lanes at the same time, then the last lane alone. Return what failed, with its exit status.

    The output of the first lane is shown at once. The output of the others is shown when all have ended, so that their
    lines do not mix.
    """
    failed: dict[str, int] = {}
    for check in FIRST_CHECKS:
        name = " ".join(check)
        say(f"--- {name}")
        failed |= Lane({name: check}).failures(run)
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
        say(f"--- {', '.join(last.commands)}")
        failed |= last.failures(run)
    return failed


def _verdict(failed: Mapping[str, int], say: Callable[[str], None]) -> int:
    say(f"Failed: {', '.join(failed)}" if failed else "All of it passed.")
    return 1 if failed else 0


def _pytest(arguments: Sequence[str]) -> tuple[str, ...]:
    return ("pytest", f"--timeout={TEST_TIMEOUT_S}", f"--durations={SLOWEST_SHOWN}", *arguments)


def _missing(browser: Browser) -> str:
    verdict = "fail" if os.environ.get("CI") == "true" and browser.is_due() else "are skipped"
    return (
        f"No {browser.name} could be had, so the tests in it {verdict}. "
        f"Remedy: {browser.remedy}, or name one with {browser.variable}=/path/to/it."
    )

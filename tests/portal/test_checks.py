"""`launch.py test`: what is run, in which order, and what counts as failed. Nothing is run here."""

from __future__ import annotations

import json
import re
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from portal.commands import environment
from portal.commands.checks import (
    BROWSER_TESTS,
    FIRST_CHECKS,
    OTHER_TESTS,
    PORTAL_TESTS,
    QUICK_ONLY,
    ROOT,
    SCRIPT_CHECKS,
    TIMING_TESTS,
    TYPE_CHECKS,
    Browser,
    run_checks,
    run_module,
)
from portal.commands.environment import (
    apt_offers_firefox,
    find_chromium,
    find_firefox,
    install_chromium,
    install_firefox,
)
from portal.commands.second_try import MAX_TESTS, FailedTests


def test_processes_of_the_tests_keep_their_bytecode(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Though the shell around them is set up to write none; what else is set reaches them."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert run_module(["timeit", "-n1", "-r1", "import sys; assert not sys.dont_write_bytecode"], {}) == 0
    assert run_module(["timeit", "-n1", "-r1", "import sys; assert sys.warnoptions == ['error']"], {}) == 0
    capfd.readouterr()


class Runs:
    """Remembers `python -m` calls; those that contain `failing` fail."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[tuple[str, ...]] = []
        self.extra: list[dict[str, str]] = []
        self.under_way, self.under_way_at_last = 0, 0

    def __call__(self, arguments, extra, output=None):
        self.calls.append(tuple(arguments))
        self.extra.append(dict(extra))
        self.under_way += 1
        self.under_way_at_last = self.under_way
        if output is not None:
            output.write(b"1 passed")
        self.under_way -= 1
        return int(bool(self.failing) and self.failing in arguments)

    def tests(self):
        """What pytest was asked for, but for where it remembers what failed."""
        return {without_memory(call)[3:] for call in self.calls if call[0] == "pytest"}


def without_memory(call: tuple[str, ...]) -> tuple[str, ...]:
    return call[:-2] if call[-1].startswith("cache_dir=") else call


def check(runs, arguments=(), browser: str = "/bin/chromium", say=lambda _text: None, due: bool = True):
    """With one browser: the named one, or none."""
    found = Path(browser) if browser else None
    one = Browser("Chromium", "CHROMIUM", lambda: found, lambda _say: None, lambda: due, "apt install chromium")
    return run_checks(arguments, say=say, run=runs, browsers=[one])


def test_everything_is_run_once() -> None:
    """Ruff before all else; then types, scripts, and every test that is not slow. What was kept is said as well."""
    runs, said = Runs(), []
    assert check(runs, say=said.append) == 0
    assert tuple(runs.calls[:2]) == FIRST_CHECKS
    others = runs.calls[2:]
    assert {call for call in others if call[0] != "pytest"} == {*TYPE_CHECKS, *SCRIPT_CHECKS}
    assert runs.tests() == {PORTAL_TESTS, OTHER_TESTS, BROWSER_TESTS, TIMING_TESTS}
    assert len(others) == len(TYPE_CHECKS) + len(SCRIPT_CHECKS) + 4
    assert sum(text.count("1 passed") for text in said) == len(SCRIPT_CHECKS) + 2
    assert said[-1] == "All of it passed."


def test_the_tests_in_browsers_know_their_browser() -> None:
    """It alone is given to them: its portals compute as they do elsewhere."""
    runs = Runs()
    check(runs)
    in_browsers = (BROWSER_TESTS, TIMING_TESTS)
    extra = [runs.extra[index] for index, call in enumerate(runs.calls) if without_memory(call)[3:] in in_browsers]
    assert extra == [{"CHROMIUM": "/bin/chromium"}] * 2


def test_the_tests_that_measure_time_come_last_and_alone() -> None:
    """How sound and picture keep time: nothing of ours may take the processor from them."""
    runs = Runs()
    check(runs)
    assert without_memory(runs.calls[-1])[3:] == TIMING_TESTS
    assert runs.under_way_at_last == 1


def test_a_browser_is_fetched_while_other_tests_run() -> None:
    """They need none, and a package manager mostly waits; the tests in browsers wait for it."""
    runs, under_way = Runs(), threading.Event()

    def run(arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None) -> int:
        if arguments[0] == "pytest":
            under_way.set()
        return int(runs(arguments, extra, output))

    def install(_say: Callable[[str], None]) -> Path | None:
        return Path("/bin/chromium") if under_way.wait(60) else None

    one = Browser("Chromium", "CHROMIUM", lambda: None, install, lambda: True, "apt install chromium")
    assert run_checks((), say=lambda _text: None, run=run, browsers=[one]) == 0
    assert runs.extra[-1] == {"CHROMIUM": "/bin/chromium"}


def test_every_test_is_in_one_run(pytestconfig: pytest.Config) -> None:
    """The lanes are all there are: a place that nobody names is among the other tests."""
    tests = pytestconfig.rootpath / "tests"
    left_out = {argument.partition("=")[2] for argument in OTHER_TESTS if argument.startswith("--ignore=")}
    elsewhere = {argument for run in (PORTAL_TESTS, BROWSER_TESTS) for argument in run if argument.startswith("tests")}
    assert OTHER_TESTS[0] == "tests" and left_out == elsewhere
    for run in (PORTAL_TESTS, OTHER_TESTS, BROWSER_TESTS):
        assert run[-1] == "not slow and not alone"
    *places, _, chosen = TIMING_TESTS
    assert chosen == "not slow and alone"
    with_marker = [path for path in tests.rglob("*.py") if re.search(r"\bmark\.alone\b", path.read_text())]
    assert {f"tests/{path.relative_to(tests).parts[0]}" for path in with_marker} == set(places)
    assert all((tests.parent / place).exists() for place in elsewhere)


@pytest.mark.parametrize(
    ("failing", "name"),
    [
        ("format", "ruff format --check ."),
        ("tests.typed", "tests.typed"),
        ("tests.scripts", "tests.scripts"),
        (OTHER_TESTS[1], "other tests without a browser"),
        (PORTAL_TESTS[0], "tests of the portal"),
        (TIMING_TESTS[-1], "tests that measure time"),
        (BROWSER_TESTS[0], "tests in browsers and notebooks, tests that measure time"),
    ],
)
def test_any_failure_fails_the_whole(failing, name: str) -> None:
    """A failed check gives a failed status and is named at the end; everything else is run all the same."""
    runs, said = Runs(failing), []
    assert check(runs, say=said.append) == 1
    assert said[-1] == f"Failed: {name}"
    assert runs.tests() == {PORTAL_TESTS, OTHER_TESTS, BROWSER_TESTS, TIMING_TESTS}


class Unsteady(Runs):
    """The tests of `failing` fail with `status`; whether they pass at the second try is to be said."""

    def __init__(self, failing: str, tests: Sequence[str], *, status: int = 1, again: int = 0) -> None:
        super().__init__()
        self.failing_lane, self.failed, self.status, self.again = failing, tests, status, again

    def __call__(self, arguments, extra, output=None):
        super().__call__(arguments, extra, output)
        if self.failing_lane not in arguments:
            return self.again if arguments[-1] in self.failed else 0
        if self.failed:
            folder = Path(arguments[-1].removeprefix("cache_dir=")) / "v/cache"
            folder.mkdir(parents=True)
            (folder / "lastfailed").write_text(json.dumps(dict.fromkeys(self.failed, True)))
        return self.status


LATE = "tests/browser/test_page.py::test_late[a b]"


def test_a_test_that_passes_when_it_runs_alone_is_named() -> None:
    """It does not fail the whole; it runs last, in the browser, and what is said last names it."""
    runs, said = Unsteady(TIMING_TESTS[-1], [LATE]), []
    assert check(runs, say=said.append) == 0
    assert runs.calls[-1][3:] == (LATE,) and runs.extra[-1] == {"CHROMIUM": "/bin/chromium"}
    assert LATE in said[-1] and "All of it passed." not in said


@pytest.mark.parametrize(
    ("runs", "tries"),
    [
        pytest.param(Unsteady(OTHER_TESTS[0], [LATE], again=1), 1, id="fails again"),
        pytest.param(Unsteady(OTHER_TESTS[0], [f"{LATE}{n}" for n in range(MAX_TESTS + 1)]), 0, id="too many"),
        pytest.param(Unsteady(OTHER_TESTS[0], ["tests/test_it.py"]), 0, id="a file that could not be collected"),
        pytest.param(Unsteady(OTHER_TESTS[0], []), 0, id="killed"),
        pytest.param(Unsteady(OTHER_TESTS[0], [LATE], status=3), 0, id="pytest broke off"),
    ],
)
def test_other_failures_are_not_excused(runs: Unsteady, tries: int) -> None:
    """What fails twice fails; and where some tests may not have run, or many failed, there is no second try."""
    said: list[str] = []
    assert check(runs, say=said.append) == 1
    assert said[-1] == "Failed: other tests without a browser"
    assert len(runs.calls) == len(FIRST_CHECKS) + len(TYPE_CHECKS) + len(SCRIPT_CHECKS) + 4 + tries


def test_a_failed_check_has_no_second_try() -> None:
    """Beside a test that would pass: whatever else failed, failed."""
    runs = Unsteady(TIMING_TESTS[-1], [LATE])

    def run(arguments: Sequence[str], extra: Mapping[str, str], output: IO[bytes] | None = None) -> int:
        return max(int(runs(arguments, extra, output)), int("tests.typed" in arguments))

    said: list[str] = []
    assert check(run, say=said.append) == 1
    assert said[-1] == "Failed: tests.typed, tests that measure time"


def test_pytest_itself_remembers_what_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The real one, run with our options, leaves what we read."""
    file = tmp_path / "test_it.py"
    file.write_text("def test_bad(): assert 0\ndef test_good(): pass\n")
    failed = FailedTests(tmp_path / "memory")
    command = ["pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), *failed.options("a lane"), str(file)]
    assert run_module(command, {}) == 1
    capfd.readouterr()
    assert failed.to_repeat(["a lane"]) == ["test_it.py::test_bad"]
    assert failed.to_repeat(["a lane", "another"]) == []


def test_arguments_choose_tests() -> None:
    """With arguments pytest alone is run, with these."""
    runs = Runs()
    check(runs, ["-k", "settings"])
    assert [call[-2:] for call in runs.calls] == [("-k", "settings")]


def test_the_quick_check_looks_for_no_browser() -> None:
    """Lint, types and the tests that take little time, with what else pytest is to know; nothing is installed."""
    runs, said = Runs(), []
    assert check(runs, ["quick", "-x"], browser=None, say=said.append) == 0
    assert {call for call in runs.calls if call[0] != "pytest"} == {*FIRST_CHECKS, *TYPE_CHECKS}
    assert runs.tests() == {(*lane, *QUICK_ONLY, "-x") for lane in (OTHER_TESTS, PORTAL_TESTS)}
    assert not any("Chromium" in text for text in said)


@pytest.mark.parametrize("failing", ["tests.typed", OTHER_TESTS[0], PORTAL_TESTS[0]])
def test_a_failed_quick_check_fails(failing) -> None:
    """Its status counts the static checks and both lanes; what failed is said last."""
    said: list[str] = []
    assert check(Runs(failing), ["quick"], say=said.append) == 1
    assert said[-1].startswith("Failed: ")


@pytest.mark.parametrize(
    ("ci", "due", "verdict"), [("true", True, "fail."), ("true", False, "are skipped."), ("", True, "are skipped.")]
)
def test_a_missing_browser_is_said(monkeypatch: pytest.MonkeyPatch, ci: str, due: bool, verdict: str) -> None:
    """Where no browser can be had that is said, and in CI it is a failure if it could have been had."""
    monkeypatch.setenv("CI", ci)
    said: list[str] = []
    runs = Runs()
    check(runs, browser=None, say=said.append, due=due)
    assert any(verdict in text for text in said)
    assert runs.extra[-1] == {}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A bare machine: no browser on PATH, apt-get there, we are root. Gives the folder that is PATH."""
    for variable in ("CHROMIUM", "FIREFOX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "_playwright_chromium", lambda: None)
    monkeypatch.setattr(environment.os, "geteuid", lambda: 0)
    program(tmp_path / "apt-get")
    return tmp_path


def program(path: Path, status: int = 0) -> Path:
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_a_browser_on_path_is_found(machine) -> None:
    """The first Chromium on PATH that starts is taken; one that does not start is passed over."""
    assert find_chromium() is None
    program(machine / "chromium-browser", status=1)
    chrome = program(machine / "google-chrome")
    assert find_chromium() == chrome


def test_a_named_browser_comes_first(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHROMIUM is taken before any other, and not replaced in silence if it does not start."""
    program(machine / "chromium")
    named = program(machine / "mine")
    monkeypatch.setenv("CHROMIUM", str(named))
    assert find_chromium() == named
    monkeypatch.setenv("CHROMIUM", str(machine / "absent"))
    assert find_chromium() is None


def test_a_browser_is_installed_by_apt(machine) -> None:
    """As root apt-get brings Chromium, and Playwright is not asked."""
    commands = []

    def run(command):
        commands.append(list(command))
        if "install" in command:
            program(machine / "chromium")
        return 0

    assert install_chromium(lambda _text: None, run) == machine / "chromium"
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]


def test_playwright_is_asked_where_apt_does_not_help(machine) -> None:
    """A failed apt-get leads to Playwright's own; if that fails too there is none."""
    commands = []
    assert install_chromium(lambda _text: None, lambda command: commands.append(list(command)) or 100) is None
    assert commands[-1][1:] == ["-m", "playwright", "install", "--with-deps", "chromium"]


def test_apt_is_left_alone_without_root(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root or a silent sudo no system package is touched."""
    monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
    commands = []
    install_chromium(lambda _text: None, lambda command: commands.append(list(command)) or 1)
    assert [command[1:] for command in commands] == [["-m", "playwright", "install", "chromium"]]


def test_a_firefox_counts_where_it_has_a_speaker(machine) -> None:
    """Without one it would play nothing, so apt-get is asked for both."""
    firefox = program(machine / "firefox-esr")
    assert find_firefox() is None
    commands = []

    def run(command):
        commands.append(list(command))
        if "install" in command:
            program(machine / "pulseaudio")
        return 0

    assert install_firefox(lambda _text: None, run) == firefox
    assert commands[-1][-2:] == ["firefox-esr", "pulseaudio"]


def test_firefox_is_due_only_where_apt_has_it(machine) -> None:
    """On Debian its absence is a fault; elsewhere there is no such package, or no apt at all."""
    assert not apt_offers_firefox(lambda _command: 0)
    program(machine / "apt-cache")
    assert apt_offers_firefox(lambda _command: 0)
    assert not apt_offers_firefox(lambda _command: 100)


def test_only_tests_that_are_there_are_excused_from_types() -> None:
    """The list of mypy's exceptions names no module of the product, and none that is gone."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    excused = [name for one in overrides if one.get("ignore_errors") for name in one["module"]]
    assert excused
    gone = [name for name in excused if not (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()]
    assert gone == [] and all(name.startswith("tests.") for name in excused)

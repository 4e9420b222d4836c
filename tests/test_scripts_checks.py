"""Which checks `python -m tests.scripts` runs if the npm registry can be reached, and if it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import __main__ as scripts


class Runs:
    """Stands in for Node: records its calls, and fails for those that contain `failing`."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self.served: list[str] = []
        self._failing = failing

    def __call__(self, *arguments: object, folder: Path = scripts.ROOT, served: Path | None = None) -> int:
        if served is not None:
            self.served = sorted(path.relative_to(served).as_posix() for path in served.rglob("*.js"))
        self.calls.append(" ".join(map(str, arguments)))
        return int(bool(self._failing) and self._failing in self.calls[-1])


def checked(monkeypatch: pytest.MonkeyPatch, runs: Runs, *, tools: bool, ci: str = "") -> int:
    monkeypatch.setattr(scripts, "node", runs)
    monkeypatch.setattr(scripts, "has_tools", lambda: tools)
    monkeypatch.setenv("CI", ci)
    return scripts.main()


def test_lint_types_and_all_unit_tests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESLint, TypeScript, and every test in the two folders run."""
    runs = Runs()
    assert checked(monkeypatch, runs, tools=True) == 0
    lint, types, unit = runs.calls
    assert "eslint" in lint and "tsc" in types
    assert set(unit.split()) >= {str(path) for path in scripts.HERE.glob("*/*.test.js")}
    assert {"player.js", "talk/state.js"} <= set(runs.served)


@pytest.mark.parametrize("failing", ["eslint", "tsc", "--test"])
def test_any_failure_fails_the_whole_and_hides_nothing(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """The other checks still run."""
    runs = Runs(failing)
    assert checked(monkeypatch, runs, tools=True) == 1
    assert len(runs.calls) == 3


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_without_the_registry_plain_tests_run_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, status: int
) -> None:
    """Without the registry a person's run passes, while in CI it fails. Both print the remedy."""
    runs = Runs()
    assert checked(monkeypatch, runs, tools=False, ci=ci) == status
    (unit,) = runs.calls
    assert str(scripts.HERE / "plain" / "hush.test.js") in unit and "dom" not in unit
    assert "npm config set registry" in capsys.readouterr().err


def test_tools_are_fetched_once_for_each_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are not fetched again for the same lock, but for a changed one, and after a failure."""
    runs = Runs()
    monkeypatch.setattr(scripts, "node", runs)
    monkeypatch.setattr(scripts, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(scripts, "MARK", tmp_path / "mark")
    (tmp_path / "lock").write_text("one")
    assert scripts.has_tools() and scripts.has_tools()
    assert len(runs.calls) == 1
    (tmp_path / "lock").write_text("two")
    monkeypatch.setattr(scripts, "node", Runs("ci"))
    assert not scripts.has_tools()
    monkeypatch.setattr(scripts, "node", runs)
    assert scripts.has_tools()
    assert len(runs.calls) == 2

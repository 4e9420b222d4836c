"""Checks tests/typed.py, and that the list of tests without types only gets shorter."""

from __future__ import annotations

import tomllib

import pytest

from tests.typed import MAX_EXCUSED_MODULES, complaints, excused

FAULT = "tests/portal/test_app.py:107: error: Incompatible return value type  [return-value]"
FAULT_OF_THE_PRODUCT = "portal/app.py:12: error: Incompatible return value type  [return-value]"

MANY = [f"n{number}" for number in range(MAX_EXCUSED_MODULES + 1)]
TOO_MANY = [FAULT.replace("test_app", name) for name in MANY], frozenset(f"tests.portal.{name}" for name in MANY)


@pytest.mark.parametrize(
    ("report", "on_list", "word"),
    [
        ([FAULT], frozenset(), "test_app.py:107"),
        ([FAULT_OF_THE_PRODUCT], frozenset(), "app.py:12"),
        ([], frozenset({"tests.portal.test_app"}), "take it off the list"),
        (*TOO_MANY, "give the new ones types"),
    ],
    ids=["a fault", "a fault of the product", "an excuse that is not needed", "a longer list"],
)
def test_what_is_wrong_is_said(report: list[str], on_list: frozenset[str], word: str) -> None:
    """It reports a fault of a module that is not excused, an excuse without a fault, and one excuse too many."""
    (line,) = complaints(report, on_list)
    assert word in line


def test_a_fault_that_is_excused_is_not_told() -> None:
    """A fault of an excused module is not reported, nor are mypy's notes or its last line."""
    report = [FAULT, "tests/portal/test_app.py:107: note: see the manual", "Found 1 error in 1 file"]
    assert not list(complaints(report, frozenset({"tests.portal.test_app"})))


def test_the_list_is_as_long_as_it_may_be(pytestconfig: pytest.Config) -> None:
    """The limit equals the length of the list, so whoever shortens the list lowers it and it cannot grow again."""
    settings = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert len(excused(settings)) == MAX_EXCUSED_MODULES

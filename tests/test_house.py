"""The house stays as it was put in order: no figure of tests/benchmarks/house.py is worse than before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.house import Reading, product, read
from tests.test_layering import ROOT

LONGEST_MODULE, LONGEST_FUNCTION, MAX_METHODS, MAX_ATTRIBUTES = 434, 81, 28, 23
"Those of the reading of 2026-11-28."
MAX_ANY_TYPES = 59


@pytest.fixture(scope="module")
def now() -> Reading:
    return read(product(ROOT), ROOT)


def beyond(counts: dict[str, int], most: int) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count > most}


def test_nothing_outgrows_the_house(now: Reading) -> None:
    """A module or a class beyond that has two concerns; a function beyond that cannot be read aloud."""
    assert beyond(now.modules, LONGEST_MODULE) == {}
    assert beyond(now.functions, LONGEST_FUNCTION) == {}
    assert beyond(now.methods, MAX_METHODS) == {}
    assert beyond(now.attributes, MAX_ATTRIBUTES) == {}


def test_few_things_have_any_type(now: Reading) -> None:
    assert now.any_names <= MAX_ANY_TYPES
    assert now.typed == now.slots


def test_what_catches_everything_says_why(now: Reading) -> None:
    assert now.bare == now.unexplained == []


def test_a_house_is_counted_as_it_stands(tmp_path: Path) -> None:
    """One that is not in order is found out."""
    untidy = (
        "from typing import Any\n\n\n"
        "class Box:\n    def open(self, key: Any, hand) -> Any:\n        self.key = key\n\n"
        "    def close(self) -> None:\n        try:\n            self.lid = 1\n        except Exception:\n"
        "            pass\n"
    )
    (tmp_path / "box.py").write_text(untidy)
    counted = read([tmp_path / "box.py"], tmp_path)
    assert counted.any_names == 2
    assert (counted.slots, counted.typed) == (4, 3)
    assert beyond(counted.methods, 1) == {"box.py Box": 2} and beyond(counted.attributes, 1) == {"box.py Box": 2}
    assert counted.unexplained == ["box.py:11"]

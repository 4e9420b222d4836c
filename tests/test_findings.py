"""The tables of findings (tests/findings.md, livetalking_faults.md): each row names existing tests, or says why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLES = (ROOT / "tests" / "findings.md", ROOT / "tests" / "livetalking_faults.md")
STATES = ("mended", "right as it is", "open")
ROWS_OF_PARTS = {"A": 26, "B": 8, "C": 15, "D": 25, "E": 1, "F": 9, "G": 14, "H": 10}
"Number of rows in each part, so that no row gets lost."
MIN_LETTERS = 15
"A mechanism or a reason needs at least this many letters to mean anything."
JS_TEST = re.compile(r"^test\(\"([^\"]+)\"", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    part: str
    name: str
    state: str
    how: str
    "what mended it, as `file::name`, or the reason why nothing was changed"
    tests: tuple[str, ...]


def rows_of(text: str) -> Iterator[Row]:
    """Give the rows of every table below a heading "## Part X"."""
    part = ""
    for line in text.splitlines():
        if heading := re.match(r"## Part ([A-Z])\b", line):
            part = heading[1]
        elif line.startswith("| ") and part and not line.startswith("| row |"):
            name, state, how, tests = (cell.strip() for cell in line.strip("|").split("|"))
            yield Row(part, name, state, how, tuple(re.findall(r"`([^`]+)`", tests)))


def faults_of(row: Row) -> Iterator[str]:
    """Give what is wrong with a row; nothing if it is in order."""
    named = re.findall(r"`([^`]+)`", row.how)
    if row.state not in STATES:
        yield f"{row.state!r} is no state"
    if row.state == "mended" and not (row.tests and named):
        yield "it is mended, and names no test or nothing that mended it"
    if len(re.sub(r"`[^`]*`|\W", "", row.how)) < MIN_LETTERS:
        yield "it does not say how, or why not"
    for test in row.tests:
        if not re.fullmatch(r"tests/\S+::.+", test) or not exists(test):
            yield f"there is no test {test}"
    for place in named:
        if "/" in place and not exists(place):
            yield f"there is no {place}"


def exists(place: str) -> bool:
    """Whether the file exists and, if the place has `::`, defines that test, class or function."""
    file, _, name = place.partition("::")
    path = ROOT / file
    return path.is_file() and (not name or name in names_in(path))


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names that a file defines: `name`, `Class::name`. Of a script all words, of its tests their titles."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return frozenset(_defined(ast.parse(source).body))
    return frozenset(JS_TEST.findall(source) if path.name.endswith(".test.js") else re.findall(r"\w+", source))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name
        elif isinstance(one, ast.ClassDef):
            yield one.name
            yield from (f"{one.name}::{inner}" for inner in _defined(one.body))
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


ROWS = [row for table in TABLES for row in rows_of(table.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.part} {row.name}")
def test_each_row_is_held_by_tests_or_says_why_not(row: Row) -> None:
    """Everything that a row names exists."""
    assert list(faults_of(row)) == []


def test_no_row_is_lost() -> None:
    """Each part has the expected number of rows."""
    assert {part: sum(row.part == part for row in ROWS) for part in ROWS_OF_PARTS} == ROWS_OF_PARTS
    assert len({(row.part, row.name) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("| x | mended | the limit of `portal/http/bodies.py::Bodies` | |", "names no test"),
        ("| x | mended | the limit of everything | `tests/test_findings.py::test_no_row_is_lost` |", "nothing that"),
        ("| x | mended | the limit of `portal/http/bodies.py::Bodies` | `tests/test_findings.py::test_x` |", "no test"),
        ("| x | mended | the limit of `portal/http/bodies.py::Nobody` | `tests/test_x.py::test_x` |", "there is no p"),
        ("| x | right as it is | | |", "does not say"),
        ("| x | done | the limit of `portal/http/bodies.py::Bodies` | |", "no state"),
    ],
)
def test_a_row_that_cannot_be_believed_is_told(line: str, fault: str) -> None:
    """No test, a test that does not exist, no reason, or a mechanism that is gone."""
    (row,) = rows_of(f"## Part A\n{line}\n")
    assert any(fault in one for one in faults_of(row))

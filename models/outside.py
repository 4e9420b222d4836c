"""Backends of other packages, found by the entry-point group `vivavoce.backends`.

An entry leads to a `pipeline.registry.BackendRow`, or to several of them in a tuple or list. Face formats, weights and
the registry each take from the rows what is theirs. So each sees the same rows, and importing one needs no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

__all__ = ["GROUP", "Entry", "OutsideRow", "entries", "imported", "outside_rows"]

GROUP = "vivavoce.backends"


@runtime_checkable
class OutsideRow(Protocol):
    """What the layers below the registry read of a row."""

    @property
    def name(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def manifest(self) -> Path | None: ...
    @property
    def face_format(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry point, read."""

    source: str
    "the entry and the package that it is of, for a person"
    rows: tuple[OutsideRow, ...] = ()
    problem: str = ""
    "why it gives no rows; empty: it does"


@cache
def entries() -> tuple[Entry, ...]:
    """All entries of the group, in the order of their names. Each is read once per process; what fails is noted."""
    return tuple(_read(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name))


def outside_rows() -> Iterator[OutsideRow]:
    """The rows of all entries that could be read."""
    return (row for entry in entries() for row in entry.rows)


def imported(path: str) -> Any:
    """What is at `module:NAME`. Raises ImportError, AttributeError, or what importing the module raises."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _read(point: EntryPoint) -> Entry:
    source = f"{point.name} ({point.dist.name if point.dist else 'of no package'})"
    try:
        given = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code may raise anything
        # The portal has to start without it. The doctor reports the problem.
        return Entry(source, problem=f"{point.value} cannot be imported: {type(error).__name__}: {error}")
    rows = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not all(isinstance(row, OutsideRow) for row in rows):
        return Entry(source, problem=f"{point.value} is neither a BackendRow nor a tuple of them")
    return Entry(source, rows)

"""Backends of other packages, found by the entry-point group `vivavoce.backends`.

An entry leads to a `pipeline.registry.BackendRow`, or to a tuple or list of them. Face formats, weights and the
registry each read their own part of the rows. So all see the same rows, and none has to import another.
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
    """The part of a row that layers below the registry read."""

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
    """One entry point, after loading it."""

    source: str
    "name of the entry and its package, for people"
    rows: tuple[OutsideRow, ...] = ()
    problem: str = ""
    "why it has no rows; empty if it has"


@cache
def entries() -> tuple[Entry, ...]:
    """Return all entries of the group, ordered by name. Each is loaded once per process; failures are noted."""
    return tuple(_read(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name))


def outside_rows() -> Iterator[OutsideRow]:
    """Return the rows of all entries that could be loaded."""
    return (row for entry in entries() for row in entry.rows)


def imported(path: str) -> Any:
    """Import the object at `module:NAME`. Raises ImportError, AttributeError, or what importing the module raises."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _read(point: EntryPoint) -> Entry:
    source = f"{point.name} ({point.dist.name if point.dist else 'of no package'})"
    try:
        given = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code may raise anything
        # The portal has to start anyway. The doctor reports the problem.
        return Entry(source, problem=f"{point.value} cannot be imported: {type(error).__name__}: {error}")
    rows = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not all(isinstance(row, OutsideRow) for row in rows):
        return Entry(source, problem=f"{point.value} is neither a BackendRow nor a tuple of them")
    return Entry(source, rows)

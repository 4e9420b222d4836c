"""The table of all backends. A new backend is one file plus one row in the file of its kind in `pipeline/rows/`.

A row has what is needed to list a backend, in both languages, without importing it. Everything that lists backends
reads them here: the settings, the doctor, the API, the page and the table of docs/backends.md. Other packages add rows
through the entry-point group `vivavoce.backends` (models/outside.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from models.outside import entries, imported
from models.weights import known_manifest
from pipeline.errors import UnknownBackend
from pipeline.rows import hearing, language_models, lip_sync, transports, voices
from pipeline.rows.row import BackendRow, Label

__all__ = [
    "AUTO",
    "BACKENDS",
    "BackendRow",
    "Label",
    "Refusal",
    "backend_class",
    "create",
    "kinds",
    "names",
    "outside_rows",
    "prepared_names",
    "refusals",
    "row",
    "rows",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of another package that cannot be used."""

    source: str
    reason: str
    remedy: str


AUTO = "auto"
"For kinds that listen: use the first row that can run here."
MEND_IT = "Update or uninstall that package."
_ROWS = (*language_models.ROWS, *voices.ROWS, *lip_sync.ROWS, *transports.ROWS, *hearing.ROWS)


def _by_kind(table: Iterable[BackendRow]) -> dict[str, dict[str, BackendRow]]:
    kinds: dict[str, dict[str, BackendRow]] = {}
    for one in table:
        kinds.setdefault(one.kind, {})[one.name] = one
    return kinds


BACKENDS = _by_kind(_ROWS)
"kind -> name -> our own backends, the default of each kind first"


def kinds() -> tuple[str, ...]:
    """Return every kind that has a backend."""
    return tuple(BACKENDS)


def rows(kind: str) -> tuple[BackendRow, ...]:
    """Return the backends of one kind: the default first, those of other packages last."""
    return (*BACKENDS[kind].values(), *(one for one in outside_rows() if one.kind == kind))


def names(kind: str) -> tuple[str, ...]:
    """Return the names of one kind's backends, the default first."""
    return tuple(one.name for one in rows(kind))


def prepared_names() -> tuple[str, ...]:
    """Return the names of the lip-sync backends that avatars are prepared for."""
    return tuple(one.name for one in rows("lipsync") if one.face_format)


def outside_rows() -> tuple[BackendRow, ...]:
    """Return the rows that other packages have added."""
    return _outside()[0]


def refusals() -> tuple[Refusal, ...]:
    """Return the rows of other packages that cannot be used, with the reasons."""
    return _outside()[1]


@cache
def _outside() -> tuple[tuple[BackendRow, ...], tuple[Refusal, ...]]:
    """Return the usable rows of other packages, and the refused ones."""
    taken: dict[tuple[str, str], BackendRow] = {}
    refused: list[Refusal] = []
    for entry in entries():
        if entry.problem:
            refused.append(Refusal(entry.source, entry.problem, MEND_IT))
        for one in entry.rows:
            reason, remedy = _fault_of(one, taken)
            if reason:
                refused.append(Refusal(entry.source, reason, remedy))
            elif isinstance(one, BackendRow):
                taken[one.kind, one.name] = one
    return tuple(taken.values()), tuple(refused)


def _fault_of(one: object, taken: Mapping[tuple[str, str], BackendRow]) -> tuple[str, str]:
    """Return why a row of another package cannot be used, and the remedy; both empty if it can."""
    if not isinstance(one, BackendRow):
        return f"{one!r} is no BackendRow", MEND_IT
    if one.kind not in BACKENDS:
        return f"there is no kind of backend {one.kind!r}", f"There are: {', '.join(BACKENDS)}."
    if one.name in BACKENDS[one.kind] or (one.kind, one.name) in taken:
        return f"there is a {one.kind} backend {one.name!r} already", "Uninstall the package, or rename its backend."
    if one.weights and one.weights not in known_manifest().backends:
        return f"{one.manifest or 'our manifest'} lists no weights {one.weights!r}, or cannot be read", MEND_IT
    if one.face_format:
        # Imported only here: settings read this table at each start, and face formats import OpenCV.
        from avatars.face_formats import face_formats

        if one.name not in face_formats():
            return f"{one.face_format} is no FaceFormat named {one.name!r}, or cannot be imported", MEND_IT
    return "", ""


def row(kind: str, name: str) -> BackendRow:
    """Return the row of that name. Raises UnknownBackend."""
    known = {one.name: one for one in rows(kind)} if kind in BACKENDS else {}
    if name not in known:
        raise UnknownBackend(f"There is no {kind} backend '{name}'.", f"Choose one of: {', '.join(known)}.")
    return known[name]


def backend_class(kind: str, name: str) -> type[Any]:
    """Import and return the class of that backend.

    Raises UnknownBackend.
    """
    cls: type[Any] = imported(row(kind, name).path)
    return cls


def create(kind: str, name: str, /, **options: object) -> Any:
    """Build the backend of that name.

    Raises UnknownBackend, BackendUnavailable.
    """
    return backend_class(kind, name)(**options)

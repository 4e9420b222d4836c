"""One table of all backends. A new backend is one file plus one row in the file of its kind in `pipeline/rows/`.

A row says what is needed to list a backend, in both languages, without importing it. Everything that lists backends
reads it here: the settings, the doctor, the API, the page and the table of docs/backends.md. Other packages add rows by
the entry-point group `vivavoce.backends` (models/outside.py).
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
    """Something from outside that cannot be taken."""

    source: str
    reason: str
    remedy: str


AUTO = "auto"
"Of kinds that listen: the first row that can run here."
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
    """Every kind of which there is a backend."""
    return tuple(BACKENDS)


def rows(kind: str) -> tuple[BackendRow, ...]:
    """One kind's backends, the default first, those from outside last."""
    return (*BACKENDS[kind].values(), *(one for one in outside_rows() if one.kind == kind))


def names(kind: str) -> tuple[str, ...]:
    """Names of one kind's backends, the default first."""
    return tuple(one.name for one in rows(kind))


def prepared_names() -> tuple[str, ...]:
    """Names of the lip-sync backends that avatars are prepared for."""
    return tuple(one.name for one in rows("lipsync") if one.face_format)


def outside_rows() -> tuple[BackendRow, ...]:
    """Rows that other packages have added."""
    return _outside()[0]


def refusals() -> tuple[Refusal, ...]:
    """What packages from outside offer and cannot be taken."""
    return _outside()[1]


@cache
def _outside() -> tuple[tuple[BackendRow, ...], tuple[Refusal, ...]]:
    """Rows from outside that are taken, and what is refused."""
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
    """Why a row from outside cannot be taken, and the remedy; empty if it can."""
    if not isinstance(one, BackendRow):
        return f"{one!r} is no BackendRow", MEND_IT
    if one.kind not in BACKENDS:
        return f"there is no kind of backend {one.kind!r}", f"There are: {', '.join(BACKENDS)}."
    if one.name in BACKENDS[one.kind] or (one.kind, one.name) in taken:
        return f"there is a {one.kind} backend {one.name!r} already", "Uninstall the package, or rename its backend."
    if one.weights and one.weights not in known_manifest().backends:
        return f"{one.manifest or 'our manifest'} lists no weights {one.weights!r}, or cannot be read", MEND_IT
    if one.face_format:
        # Imported here only: settings read this table at each start, and face formats bring OpenCV along.
        from avatars.face_formats import face_formats

        if one.name not in face_formats():
            return f"{one.face_format} is no FaceFormat named {one.name!r}, or cannot be imported", MEND_IT
    return "", ""


def row(kind: str, name: str) -> BackendRow:
    """Raises UnknownBackend."""
    known = {one.name: one for one in rows(kind)} if kind in BACKENDS else {}
    if name not in known:
        raise UnknownBackend(f"There is no {kind} backend '{name}'.", f"Choose one of: {', '.join(known)}.")
    return known[name]


def backend_class(kind: str, name: str) -> type[Any]:
    """Import the class behind a name.

    Raises UnknownBackend.
    """
    cls: type[Any] = imported(row(kind, name).path)
    return cls


def create(kind: str, name: str, /, **options: object) -> Any:
    """Build a backend.

    Raises UnknownBackend, BackendUnavailable.
    """
    return backend_class(kind, name)(**options)

"""The table of all backends in docs/backends.md. `python -m portal.commands.listing` writes it to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from avatars.face_formats import face_format
from pipeline import registry
from pipeline.registry import BackendRow

__all__ = ["backends_table", "own_rows"]

_HEAD = ("| kind | name | called | features | needs |", "|---|---|---|---|---|")


def backends_table(rows: Iterable[BackendRow]) -> str:
    """The rows as Markdown."""
    return "\n".join((*_HEAD, *(_line(row) for row in rows)))


def own_rows() -> Iterator[BackendRow]:
    """The rows that come with the program: documents tell of these only."""
    return (row for rows in registry.BACKENDS.values() for row in rows.values())


def _line(row: BackendRow) -> str:
    features = f"`{row.features}`" if row.features else ""
    needs = "; ".join(_needs(row)) or "nothing"
    return f"| {row.kind} | `{row.name}` | {row.label.en} | {features} | {needs} |"


def _needs(row: BackendRow) -> Iterator[str]:
    if row.packages:
        yield f"packages: {', '.join(row.packages)}"
    if row.weights:
        yield f"weights: `{row.weights}`"
    if row.face_format:
        known = face_format(row.name)
        yield f"avatars prepared with {known.rows} of {known.side_px} px"
        if known.own_network:
            yield "a network per avatar"
    if row.online:
        yield "a service on the network"


if __name__ == "__main__":
    sys.stdout.write(backends_table(own_rows()) + "\n")

"""The names of backends on the page in English and Chinese, taken from their rows in the registry."""

from __future__ import annotations

from pipeline import registry

__all__ = ["backend_texts"]


def backend_texts(language: str, *kinds: str) -> dict[str, str]:
    """Return texts by key: `KIND.NAME` for a backend's label, `told.NAME` for a note to viewers who choose a voice."""
    rows = [row for kind in kinds for row in registry.rows(kind)]
    labels = {f"{row.kind}.{row.name}": getattr(row.label, language) for row in rows}
    notes = {f"told.{row.name}": getattr(row.note, language) for row in rows if row.kind == "tts" and row.note}
    return labels | notes

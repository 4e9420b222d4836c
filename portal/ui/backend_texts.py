"""What backends are called on the page, in English and Chinese, as their rows in the registry say."""

from __future__ import annotations

from pipeline import registry

__all__ = ["backend_texts"]


def backend_texts(language: str, *kinds: str) -> dict[str, str]:
    """`KIND.NAME` -> the backend's label, and `told.NAME` -> what a viewer should know who chooses that voice."""
    rows = [row for kind in kinds for row in registry.rows(kind)]
    labels = {f"{row.kind}.{row.name}": getattr(row.label, language) for row in rows}
    notes = {f"told.{row.name}": getattr(row.note, language) for row in rows if row.kind == "tts" and row.note}
    return labels | notes

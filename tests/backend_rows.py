"""Replaces the class behind a row of the registry during one test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline import registry


def replace_backend(monkeypatch: pytest.MonkeyPatch, kind: str, name: str, path: str) -> None:
    """Set another class for a row, and keep the rest of the row. path: `module:Class`."""
    monkeypatch.setitem(registry.BACKENDS[kind], name, replace(registry.row(kind, name), path=path))

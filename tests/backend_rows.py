"""Another class behind a row of the registry, for one test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline import registry


def replace_backend(monkeypatch: pytest.MonkeyPatch, kind: str, name: str, path: str) -> None:
    """The rest of the row stays; `path` is `module:Class`."""
    monkeypatch.setitem(registry.BACKENDS[kind], name, replace(registry.row(kind, name), path=path))

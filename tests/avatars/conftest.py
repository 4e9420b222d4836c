from __future__ import annotations

import pytest


@pytest.fixture
def read_here(monkeypatch):
    """Uploads are read in the test's own process, so that the test can measure that and change its limits."""
    monkeypatch.setattr(
        "avatars.prepare.run_confined", lambda task, _limits, on_item, *arguments: task(on_item, *arguments)
    )

from __future__ import annotations

import numpy as np
import pytest

from avatars.idle_life import idle_life


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads are read in the test's own process, so that the test can measure that and change its limits."""
    monkeypatch.setattr(
        "avatars.prepare.run_confined", lambda task, _limits, on_item, *arguments: task(on_item, *arguments)
    )


@pytest.fixture
def short_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparation gives stills loops of 30 frames."""
    whole = idle_life(0)
    few = whole.subset(slice(30), np.arange(30, dtype=np.int32))
    monkeypatch.setattr("avatars.prepare.idle_life", lambda _seed: few)

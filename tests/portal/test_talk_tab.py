"""What the Talk tab offers to choose from."""

from __future__ import annotations

import pytest

from pipeline import registry
from pipeline.errors import BackendUnavailable
from portal.ui.talk import backend_choices
from portal.ui.talk_text import HEADER_TEXTS, TALK_TEXTS


class OutOfReach:
    """A voice whose package is missing."""

    def __init__(self) -> None:
        raise BackendUnavailable("far", "its package is missing", "pip install far")


def test_every_backend_is_offered_the_default_first() -> None:
    """All registered voices are listed in the registry's order, with their own voices."""
    choices = backend_choices("tts", {})
    assert [choice["name"] for choice in choices] == list(registry.names("tts"))
    beep = choices[-1]
    assert beep == {"name": "beep", "ready": True, "reason": "", "voices": ["beep"]}


def test_a_backend_that_cannot_run_here_is_listed_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not ready is not hidden: it says what it needs."""
    monkeypatch.setitem(registry.BACKENDS, "tts", {"far": f"{__name__}:OutOfReach"})
    assert backend_choices("tts", {}) == [{"name": "far", "ready": False, "reason": "pip install far", "voices": []}]


@pytest.mark.parametrize("texts", [TALK_TEXTS, HEADER_TEXTS], ids=["talk", "header"])
def test_both_languages_say_everything(texts: dict[str, dict[str, str]]) -> None:
    """Every text is there in both and none is empty; the server's own errors are English, so only Chinese has more."""
    only_chinese = texts["zh"].keys() - texts["en"].keys()
    assert texts["en"].keys() <= texts["zh"].keys()
    assert all(key.startswith(("error.", "hint.")) for key in only_chinese)
    assert all(text for words in texts.values() for text in words.values())

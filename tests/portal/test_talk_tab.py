"""What the Talk tab offers to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import registry
from pipeline.errors import BackendUnavailable
from portal.backends import backend_options
from portal.settings import Settings
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


def test_lip_syncs_without_weights_say_how_to_fetch_them(tmp_path: Path) -> None:
    """Each is listed under a name of its own; a network without weights names the command that brings them."""
    choices = backend_choices("lipsync", backend_options(Settings(data_dir=tmp_path)))
    assert [choice["name"] for choice in choices] == list(registry.names("lipsync"))
    assert all(f"lipsync.{choice['name']}" in TALK_TEXTS[language] for choice in choices for language in TALK_TEXTS)
    reasons = {choice["name"]: choice["reason"] for choice in choices if not choice["ready"]}
    assert {"musetalk15", "musetalk10", "wav2lip256", "wav2lip96"} <= reasons.keys()
    assert all(f"launch.py fetch {name}" in reason for name, reason in reasons.items())
    assert not {"viseme", "null"} & reasons.keys()


@pytest.mark.parametrize("texts", [TALK_TEXTS, HEADER_TEXTS], ids=["talk", "header"])
def test_both_languages_say_everything(texts: dict[str, dict[str, str]]) -> None:
    """Every text is there in both and none is empty; the server's own errors are English, so only Chinese has more."""
    only_chinese = texts["zh"].keys() - texts["en"].keys()
    assert texts["en"].keys() <= texts["zh"].keys()
    assert all(key.startswith(("error.", "hint.")) for key in only_chinese)
    assert all(text for words in texts.values() for text in words.values())

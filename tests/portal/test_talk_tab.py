"""What the Talk tab offers to choose from."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import registry
from pipeline.clock import ManualClock
from pipeline.errors import BackendUnavailable
from pipeline.registry import BackendRow, Label
from portal.backends import BackendCatalogue, BackendChoice, backend_choices, backend_options
from portal.settings import Settings
from portal.ui.online import OnlineVoices
from portal.ui.talk import catalogue
from portal.ui.talk_text import HEADER_TEXTS, TALK_TEXTS
from portal.ui.text import DESK_TEXTS


class OutOfReach:
    """A voice whose package is missing."""

    def __init__(self) -> None:
        raise BackendUnavailable("far", "its package is missing", "pip install far")


def test_every_backend_is_offered_the_default_first() -> None:
    """All registered voices are listed in the registry's order, with their own voices."""
    choices = backend_choices("tts", {})
    assert [choice.name for choice in choices] == list(registry.names("tts"))
    assert choices[-1] == BackendChoice("beep", ("beep",), None)


def test_a_backend_that_cannot_run_here_is_listed_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not ready is not hidden: it says what it needs."""
    far = BackendRow(kind="tts", name="far", path=f"{__name__}:OutOfReach", label=Label("Far", "远"))
    monkeypatch.setitem(registry.BACKENDS, "tts", {"far": far})
    (choice,) = backend_choices("tts", {})
    assert (choice.name, choice.ready, choice.voices) == ("far", False, ())
    assert choice.lacking is not None and choice.lacking.hint == "pip install far"


def test_lip_syncs_without_weights_say_how_to_fetch_them(tmp_path: Path) -> None:
    """Each is listed under a name of its own; a network without weights names the command that brings them."""
    choices = backend_choices("lipsync", backend_options(Settings(data_dir=tmp_path)))
    assert [choice.name for choice in choices] == list(registry.names("lipsync"))
    assert all(f"lipsync.{choice.name}" in TALK_TEXTS[language] for choice in choices for language in TALK_TEXTS)
    reasons = {choice.name: str(choice.lacking) for choice in choices if choice.lacking is not None}
    assert {"musetalk15", "musetalk10", "wav2lip256", "wav2lip96"} <= reasons.keys()
    assert all(f"launch.py fetch {name}" in reason for name, reason in reasons.items())
    assert not {"viseme", "null"} & reasons.keys()


def test_the_menus_have_a_line_for_each_backend(tmp_path: Path) -> None:
    """The catalogue of the page is plain data, with the remedy of what cannot run."""
    settings = Settings(data_dir=tmp_path)
    context: Any = SimpleNamespace(
        settings=settings,
        sessions=SimpleNamespace(default_avatar="mira"),
        backends=BackendCatalogue(settings, ManualClock()),
    )
    lines = catalogue(context)
    assert lines["tts"][-1] == {
        "name": "beep",
        "ready": True,
        "remedy": "",
        "fetched": False,
        "measuring": True,
        "voices": ["beep"],
        "online": [],
        "speeds": [1.0, 1.0],
    }
    assert lines["defaults"]["recording"] is True  # type: ignore[index]
    (wav2lip,) = (line for line in lines["lipsync"] if line["name"] == "wav2lip96")
    assert not wav2lip["ready"] and wav2lip["fetched"] and "launch.py fetch wav2lip96" in wav2lip["remedy"]


@pytest.mark.parametrize("texts", [TALK_TEXTS, HEADER_TEXTS], ids=["talk", "header"])
def test_both_languages_say_everything(texts: dict[str, dict[str, str]]) -> None:
    """Every text is there in both and none is empty; the server's own errors are English, so only Chinese has more."""
    only_chinese = texts["zh"].keys() - texts["en"].keys()
    assert texts["en"].keys() <= texts["zh"].keys()
    assert all(key.startswith(("error.", "hint.")) for key in only_chinese)
    assert all(text for words in texts.values() for text in words.values())


@pytest.mark.parametrize(
    "word",
    [
        *("您", "头像", "drawn anew", "word for word", "wants a click", "(asked for)", "and engine"),
        *("is it called", "not ready here", "这里没有会说", "已说完"),
    ],
)
def test_one_word_for_one_thing(word: str) -> None:
    """Words that strangers stumbled over do not come back: a viewer is 你, and an avatar 数字人, on every tab."""
    texts = [text for tab in (HEADER_TEXTS, TALK_TEXTS, DESK_TEXTS) for told in tab.values() for text in told.values()]
    assert [text for text in texts if word in text] == []


def test_nothing_says_that_it_listens_while_no_microphone_is_on() -> None:
    """The badge of a silent session is about the avatar; only what is heard is called listening."""
    assert (TALK_TEXTS["en"]["state.listening"], TALK_TEXTS["zh"]["state.listening"]) == ("Ready for you", "等你提问")


def test_every_reason_of_a_fallback_has_words() -> None:
    """Whatever keeps WebRTC away can be told in both languages."""
    script = (Path(__file__).parents[2] / "portal" / "static" / "media-choice.js").read_text(encoding="utf-8")
    table = script.partition("export const REASONS = {")[2].partition("}")[0]
    codes = re.findall(r"^  (\w+):", table, re.MULTILINE)
    assert codes and all(f"reason.{code}" in TALK_TEXTS[language] for code in codes for language in TALK_TEXTS)


async def test_the_online_voices_are_looked_for_once_a_minute() -> None:
    """However many viewers look at the voices; what was found is believed for a while, then asked anew."""
    clock = ManualClock()
    asked: list[float] = []

    async def probe() -> None:
        asked.append(clock.now_s())
        if len(asked) == 1:
            raise BackendUnavailable("edge", "the service cannot be reached", "")

    online = OnlineVoices(probe, clock)
    assert [await online.are_reachable() for _ in range(5)] == [False] * 5
    assert len(asked) == 1
    await clock.advance(61)
    assert await online.are_reachable() and len(asked) == 2


def test_everything_that_is_told_of_the_connection_has_words() -> None:
    """Each way, how it stands, and why it does not work, in both languages."""
    script = (Path(__file__).parents[2] / "portal" / "static" / "ways.js").read_text(encoding="utf-8")
    kinds = {"Way": "way", "Standing": "standing", "Why": "why"}
    for kind, prefix in kinds.items():
        (union,) = re.findall(rf"@typedef \{{([^{{}}]*)\}} {kind}$", script, re.MULTILINE)
        for word in re.findall(r'"(\w+)"', union):
            for texts in TALK_TEXTS.values():
                assert f"{prefix}.{word}" in texts or f"reason.{word}" in texts

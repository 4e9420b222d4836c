"""Speech events as LiveTalking's clients get them, from the messages of a session."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from portal.api.messages import MAX_EVENT_CHARACTERS
from portal.livetalking.routes import Human
from portal.livetalking.speech_events import SpeechEvent, SpeechEvents


def played(events: SpeechEvents, *messages: dict[str, object]) -> list[SpeechEvent]:
    return [event for message in messages for event in events.of(message)]


def turn(number: int, state: str) -> dict[str, object]:
    return {"type": "turn", "turn": number, "state": state}


def subtitle(number: int, text: str) -> dict[str, object]:
    return {"type": "subtitle", "turn": number, "text": text, "start": 0.0, "end": 1.0, "spoken": True}


def test_a_text_has_one_start_and_one_end_with_what_came_with_it() -> None:
    """However many sentences it has."""
    events = SpeechEvents()
    events.expect(1, unit="whole", text="One. Two.", extra={"tts": {"emotion": "glad"}})
    told = played(
        events, turn(1, "thinking"), turn(1, "speaking"), subtitle(1, "One."), subtitle(1, "Two."), turn(1, "done")
    )
    facts = {"text": "One. Two.", "tts": {"emotion": "glad"}}
    assert told == [{"status": "start", **facts}, {"status": "end", **facts}]


def test_an_answer_has_them_for_each_sentence() -> None:
    """A sentence ends when the next one begins, or the turn ends."""
    events = SpeechEvents()
    events.expect(1, unit="sentences")
    told = played(events, turn(1, "speaking"), subtitle(1, "One."), subtitle(1, "Two."), turn(1, "done"))
    assert told == [
        {"status": "start", "text": "One."},
        {"status": "end", "text": "One."},
        {"status": "start", "text": "Two."},
        {"status": "end", "text": "Two."},
    ]


def test_a_recording_has_no_text() -> None:
    """As in LiveTalking."""
    events = SpeechEvents()
    events.expect(3, unit="whole")
    assert played(events, turn(3, "speaking"), turn(3, "done")) == [{"status": "start"}, {"status": "end"}]


def test_what_is_interrupted_ends_only_if_it_had_started() -> None:
    """A client that waits for the end of what it was told of gets it; of a turn that waited it hears nothing."""
    events = SpeechEvents()
    events.expect(1, unit="whole", text="a")
    events.expect(2, unit="whole", text="b")
    told = played(events, turn(1, "speaking"), turn(1, "interrupted"), turn(2, "interrupted"), turn(1, "done"))
    assert told == [{"status": "start", "text": "a"}, {"status": "end", "text": "a"}]


def test_turns_of_nobody_mean_nothing() -> None:
    """Messages without a turn, and of turns that were not expected, are passed over."""
    assert not played(SpeechEvents(), turn(9, "speaking"), subtitle(9, "x"), {"type": "pong"}, turn(9, "done"))


def test_what_is_sent_along_with_the_events_is_small() -> None:
    """It waits in memory with the turn, and with each stream of events, where it is thirty times as large."""
    asked = {"sessionid": "s", "text": "a", "type": "echo"}
    assert Human.model_validate_json(json.dumps({**asked, "tts": {"emotion": "glad"}})).tts == {"emotion": "glad"}
    with pytest.raises(ValidationError, match=f"more than {MAX_EVENT_CHARACTERS} characters"):
        Human.model_validate_json(json.dumps({**asked, "tts": {"a": [[]] * MAX_EVENT_CHARACTERS}}))

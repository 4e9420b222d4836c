"""What a caller sends along with a text comes back when its speech begins, and when it has ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeline.errors import BadRequest
from pipeline.types import SubtitleEvent, TextEvent, TurnEvent, TurnState
from portal.api.event_points import EventPoints
from portal.api.messages import MAX_EVENT_CHARACTERS, Hello, MessageTooLarge, Say, parse
from tests.portal.session_house import House, open_house


def told(points: EventPoints, turn: int, *states: TurnState) -> list[tuple[object, object, object]]:
    return [
        (message["event"], message["begins"], message["outcome"])
        for state in states
        for message in points.of(TurnEvent(turn, state))
    ]


def test_it_comes_back_at_the_beginning_and_at_the_end() -> None:
    """Once each, also when speech was held and went on; other turns and other events tell nothing."""
    points = EventPoints()
    points.expect(1, {"page": 7})
    points.expect(2, None)
    states = (TurnState.QUEUED, TurnState.THINKING, TurnState.SPEAKING, TurnState.SPEAKING, TurnState.DONE)
    assert told(points, 1, *states) == [({"page": 7}, True, ""), ({"page": 7}, False, "done")]
    assert told(points, 1, TurnState.DONE) == told(points, 2, *states) == []
    assert not [*points.of(TextEvent(1, "a")), *points.of(SubtitleEvent(1, "a", 0, 1))]


def test_what_never_began_has_an_end_all_the_same() -> None:
    """Whoever waits for it learns that nothing will come."""
    points = EventPoints()
    points.expect(3, "three")
    assert told(points, 3, TurnState.QUEUED, TurnState.INTERRUPTED) == [("three", False, "interrupted")]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as one:
        yield one


async def test_a_viewer_gets_it_over_the_socket(house: House) -> None:
    """Any JSON, as it was; more than a note is refused, and a text without one tells nothing more than before."""
    viewer = await house.viewer()
    await viewer.hello()
    event: Any = {"slide": 3, "parts": ["a", None, 1.5]}
    viewer.tell("say", text="One.", mode="echo", event=event)
    assert (await viewer.hear("turn"))["state"] == "queued"
    for state in (TurnState.SPEAKING, TurnState.DONE):
        house.session.events.offer(TurnEvent(1, state))
    heard = [await viewer.hear_any() for _ in range(4)]
    assert [message["type"] for message in heard] == ["turn", "speech", "turn", "speech"]
    assert heard[1] == {"type": "speech", "turn": 1, "event": event, "begins": True, "outcome": ""}
    assert (heard[3]["event"], heard[3]["outcome"]) == (event, "done")
    viewer.tell("say", text="Two.", mode="echo", event="x" * MAX_EVENT_CHARACTERS)
    assert (await viewer.hear("error"))["code"] == "bad_request"


async def test_what_is_interrupted_while_an_avatar_loads_has_its_end(house: House) -> None:
    """The text waits behind the avatar, and never reaches a voice."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("avatar", id="slow")
    viewer.tell("say", text="One.", mode="echo", event="one")
    viewer.tell("interrupt")
    assert (await viewer.hear("turn"))["state"] == "queued"
    house.session.events.offer(TurnEvent(1, TurnState.INTERRUPTED))
    await viewer.hear("turn")
    assert (await viewer.hear("speech"))["outcome"] == "interrupted"
    house.sessions.loaded.set()


MANY: list[Any] = [[[]] * 60_000, [1] * 60_000, {str(number): 1 for number in range(20_000)}, ["x"] * 40_000]


@pytest.mark.parametrize("event", MANY, ids=["lists", "numbers", "names", "texts"])
def test_a_message_of_very_many_values_is_refused_before_they_are_made(
    event: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take a tenth of a second of everybody's time."""
    monkeypatch.setattr("portal.api.messages._ADAPTER", None)
    with pytest.raises(MessageTooLarge, match="too many values"):
        parse(json.dumps({"type": "say", "text": "Hi.", "event": event}, separators=(",", ":")))


@pytest.mark.parametrize("text", ['"' + '\\"' * 100_000, '"' + "\\" * 200_001, '"' * 200_001])
def test_a_message_without_an_end_is_told_from_one_of_many_values(text: str) -> None:
    """Its strings are looked at once, however many quotes it has."""
    with pytest.raises(BadRequest):
        parse(text)


@pytest.mark.parametrize("sign", ["1", " ", "]", ":"])
def test_a_long_message_of_few_values_is_not_looked_at(sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at it would take longer than to find that it makes no sense."""
    monkeypatch.setattr("portal.api.messages._TOKEN", None)
    with pytest.raises(BadRequest, match=r"valid JSON|understood|type"):
        parse(sign * 250_000)


def test_the_largest_messages_have_few_values() -> None:
    """What counts are values, and not the signs in texts."""
    remark = {"role": "user", "content": '[{,"' * 60}
    identity = {f"name{number}": "[" * 100 for number in range(16)}
    assert isinstance(parse(json.dumps({"type": "hello", "history": [remark] * 200, "identity": identity})), Hello)
    event = [0] * ((MAX_EVENT_CHARACTERS - 2) // 3)
    assert isinstance(parse(json.dumps({"type": "say", "text": "[," * 4000, "event": event})), Say)

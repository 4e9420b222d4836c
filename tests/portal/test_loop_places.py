"""Which place of the loop is shown, told in few words."""

from __future__ import annotations

import numpy as np

from pipeline.types import SAMPLES_PER_PICTURE, MediaFrame
from portal.api.event_messages import ServerMessage
from portal.api.loop_places import LoopPlaces


def told(places: list[int]) -> list[tuple[object, object, object]]:
    """Number, place and step of what is said while frames show these places."""
    messages: list[ServerMessage] = []
    output = LoopPlaces(messages.append)
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    for number, place in enumerate(places):
        output.send(MediaFrame(np.zeros((2, 2, 3), np.uint8), silence, number + 100, loop_index=place))
    assert all(message["type"] == "place" for message in messages)
    return [(message["number"], message["place"], message["step"]) for message in messages]


def test_a_loop_that_goes_on_is_told_once_a_round() -> None:
    """One message for the first frame, and one where the loop begins anew."""
    assert told([7, 8, 9, 0, 1, 2]) == [(100, 7, 1), (103, 0, 1)]


def test_a_head_that_sways_or_stands_still_is_told_as_such() -> None:
    """Backwards, standing and forwards again: a message each, not one for every frame."""
    assert told([7, 6, 5, 4, 4, 4, 5, 6]) == [(100, 7, 1), (101, 6, -1), (104, 4, 0), (106, 5, 1)]


def test_a_jump_is_told() -> None:
    """As into a gesture, whose places come after those of the loop."""
    assert told([7, 8, 50, 51]) == [(100, 7, 1), (102, 50, 1)]

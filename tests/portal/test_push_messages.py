"""A viewer sends the session to a streaming server, over the session socket."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import BadRequest
from pipeline.push_child import TROUBLES
from portal.pushes import check_allowed
from portal.settings import Settings
from portal.ui.talk_text import TALK_TEXTS
from tests.portal.session_house import House

ALLOWED = "rtmp://a.example/live/secret"


async def test_a_viewer_hears_how_a_stream_goes(house: House) -> None:
    """When it begins, when its state changes, and when it is ended; the key is not repeated."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("push", to=ALLOWED)
    told = await viewer.hear("push")
    assert told["state"] == "live" and told["host"] == "a.example"
    assert "secret" not in str(told)
    (push,) = house.session.outputs.added
    push.state, push.trouble, push.trouble_code = "waiting", "the server takes nothing", "silent"
    push.tell()
    told = await viewer.hear("push")
    assert (told["state"], told["trouble"], told["code"]) == ("waiting", "the server takes nothing", "silent")
    viewer.tell("push")
    assert (await viewer.hear("push"))["state"] == "closed"
    assert house.session.outputs.added == []
    push.tell()  # it is being closed; nobody wants to know
    viewer.tell("push")  # there is none any more
    await viewer.caught_up()
    assert viewer.unread == 0


def test_the_page_has_words_for_every_trouble() -> None:
    """In both languages; what the server says is English."""
    for texts in TALK_TEXTS.values():
        told = [key.removeprefix("stream.why.") for key in texts if key.startswith("stream.why.")]
        assert told == [*TROUBLES]


async def test_another_address_takes_the_place_of_the_first(house: House) -> None:
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("push", to=ALLOWED)
    await viewer.hear("push")
    viewer.tell("push", to="rtmp://a.example/live/other")
    assert [(await viewer.hear("push"))["state"] for _ in range(2)] == ["closed", "live"]
    assert len(house.session.outputs.added) == 1


@pytest.mark.parametrize("to", ["rtmp://evil.example/live/key", "http://127.0.0.1/", "", "x" * 801, 7])
async def test_other_servers_are_refused(house: House, to: Any) -> None:
    """With the reason; the session goes on, and nothing is sent."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("push", to=to)
    assert (await viewer.hear("error"))["code"] == "bad_request"
    assert house.session.outputs.added == []


def test_a_kiosk_sends_nothing() -> None:
    """Whoever stands before it is nobody's streamer, whatever servers are allowed."""
    with pytest.raises(BadRequest):
        check_allowed(Settings(push_to=("rtmp://a.example/live",), kiosk=True), ALLOWED)

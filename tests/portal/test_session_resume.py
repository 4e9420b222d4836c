"""A session over a broken socket, and how it ends."""

from __future__ import annotations

import pytest

from pipeline.types import TextEvent
from portal.api.seats import SUPERSEDED
from tests.portal.session_house import House


async def test_a_broken_socket_is_forgiven_for_the_grace(house: House) -> None:
    """Within 30 s the token brings the viewer back to the same session, with what was missed, and a fresh token."""
    first = await house.viewer()
    welcome = await first.hello()
    await first.ask("media", use="websocket")
    await first.break_off()
    assert house.session.transport is None
    house.session.events.offer(TextEvent(1, "missed"))
    await house.clock.advance(29.9)
    second = await house.viewer()
    resumed = await second.hello(token=welcome["token"])
    assert (resumed["session"], resumed["resumed"]) == (welcome["session"], True)
    assert resumed["token"] != welcome["token"]
    assert (await second.hear("text"))["delta"] == "missed"
    await house.clock.advance(60)
    assert not house.session.closed
    assert len(house.sessions.opened) == 1


async def test_a_peer_outlives_a_broken_socket(house: House) -> None:
    """Pictures over WebRTC go on while the socket is being mended."""
    viewer, peer = await house.watched()
    await viewer.break_off()
    assert house.session.transport is peer


async def test_after_the_grace_the_session_is_closed(house: House) -> None:
    """Nobody came back within 30 s: the session is closed and its token leads nowhere."""
    first = await house.viewer()
    welcome = await first.hello()
    await first.break_off()
    await house.clock.advance(30)
    assert house.session.closed
    second = await house.viewer()
    second.tell("hello", token=welcome["token"])
    assert (await second.hear("error"))["code"] == "unknown_token"


async def test_a_token_works_once(house: House) -> None:
    """A used token is refused, and the session stays with who used it first."""
    first = await house.viewer()
    token = (await first.hello())["token"]
    await first.break_off()
    second = await house.viewer()
    await second.hello(token=token)
    thief = await house.viewer()
    thief.tell("hello", token=token)
    assert (await thief.hear("error"))["code"] == "unknown_token"
    second.tell("say", text="mine")
    await second.hear("turn")
    assert (await thief.hello())["session"] == "s2"


async def test_a_resume_before_the_break_is_noticed_takes_the_seat(house: House) -> None:
    """A half-dead socket, even one that a send hangs in, is superseded by the viewer's new one; nothing is lost."""
    first = await house.viewer()
    token = (await first.hello())["token"]
    first.stuck.clear()
    house.session.events.offer(TextEvent(1, "stuck"))
    await house.settle()
    second = await house.viewer()
    await second.hello(token=token)
    assert (await second.hear("text"))["delta"] == "stuck"
    first.stuck.set()
    await house.settle()
    closes = []
    while not first._from_app.empty():
        closes.append(await first.hear_raw())
    assert closes[-1]["code"] == SUPERSEDED
    first.tell("interrupt")
    await first.break_off()
    await house.clock.advance(60)
    assert not house.session.closed
    assert house.session.interrupts == 0


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_tab_that_is_closed_ends_its_session_at_once(house: House, code: int) -> None:
    """A socket that the viewer closes properly (a closed or reloaded tab) leaves no session behind."""
    viewer = await house.viewer()
    token = (await viewer.hello())["token"]
    await viewer.break_off(code)
    assert house.session.closed
    other = await house.viewer()
    other.tell("hello", token=token)
    assert (await other.hear("error"))["code"] == "unknown_token"


async def test_a_session_that_ends_by_itself_is_told(house: House) -> None:
    """When the server closes the session, the viewer learns it."""
    viewer = await house.viewer()
    await viewer.hello()
    await house.sessions.close(house.session)
    assert (await viewer.hear("error"))["code"] == "session_closed"


async def test_shutdown_closes_every_session_even_those_that_wait(house: House) -> None:
    """aclose() ends occupied and waiting seats at once, and may be called twice."""
    first = await house.viewer()
    await first.hello()
    second = await house.viewer()
    await second.hello()
    await first.break_off()
    await house.socket.aclose()
    await house.socket.aclose()
    assert all(session.closed for session in house.sessions.opened)

"""What one viewer, one address and all together may ask of the session socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pipeline.types import LISTEN_RATE_HZ, TextEvent
from portal.api.allowances import GREETINGS, OFFERS_EACH, REFUSALS
from portal.api.connection import EXPIRES_S, GREETED_WITHIN_S
from portal.api.outbox import OUTBOX_BOUND
from portal.api.session_socket import GRACE_S
from portal.api.sound_messages import SOUND_HEADER, SOUND_KIND
from portal.api.viewer_socket import FLOODED, PATIENCE_S, SEND_WITHIN_S, TRY_AGAIN_LATER
from portal.http.people import Person, Role
from tests.portal.session_house import House
from tests.portal.socket_viewer import Viewer


def sound_of_40_ms(number: int) -> bytes:
    """The piece of that number of a microphone's sound."""
    return SOUND_HEADER.pack(SOUND_KIND, 0, number & 0xFFFF, 640 * number) + bytes(1280)


def close_of(viewer: Viewer) -> dict[str, Any]:
    """The server's close of a socket."""
    return next(message for message in viewer.all_heard() if message["type"] == "websocket.close")


async def test_a_slow_viewer_stalls_nobody(house: House) -> None:
    """A socket that takes nothing keeps at most a bounded backlog, and another viewer's session is served meanwhile."""
    slow = await house.viewer()
    await slow.hello()
    slow_session = house.session
    slow.stuck.clear()
    for number in range(3 * OUTBOX_BOUND):
        slow_session.events.offer(TextEvent(1, str(number)))
        await asyncio.sleep(0)
    await house.settle()
    assert not len(slow_session.events)
    other = await house.viewer()
    await other.hello()
    other.tell("say", text="hi")
    await other.hear("turn")
    slow.stuck.set()
    heard = [(await slow.hear("text"))["delta"] for _ in range(OUTBOX_BOUND + 1)]  # one was on its way
    assert heard[-1] == str(3 * OUTBOX_BOUND - 1)


class TestFloods:
    @pytest.mark.parametrize(
        "text",
        [
            '{"type": "ping", "t": 1}',
            '{"type": "say", "text": "more"}',
            '{"type": "interrupt"}',
            '{"type": "media", "use": "websocket"}',
            '{"type": "avatar", "id": "man"}',
            '{"type": "offer", "sdp": "v=0"}',
            '{"type": "candidate", "candidate": "candidate:1"}',
            "no json",
        ],
    )
    async def test_who_floods_is_put_off_and_then_closed(self, house: House, text: str) -> None:
        """After what is granted at once, messages are served at a bounded pace; who goes on is closed for good."""
        viewer = await house.viewer()
        await viewer.hello()
        sent = 0
        while not viewer.over and sent < 2000:
            viewer.tell_raw(text)
            await house.clock.advance(0.01)
            sent += 1
        assert viewer.over
        assert viewer.unread > 40
        assert house.session.closed
        closes = [message for message in viewer.all_heard() if message["type"] == "websocket.close"]
        assert [(close["code"], close["reason"]) for close in closes] == [(FLOODED, "Too many messages.")]

    async def test_a_page_that_connects_and_is_used_briskly_is_not_put_off(self, house: House) -> None:
        """An offer, 64 candidates, then a minute of pings with three messages a second cost no waiting."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("offer", sdp="v=0")
        await viewer.hear("answer")
        for number in range(64):
            viewer.tell("candidate", candidate=f"candidate:{number}")
        for second in range(60):
            for _ in range(3):
                viewer.tell("say", text="hi")
            viewer.tell("ping", t=second)
            await viewer.all_read()
            await house.clock.advance(1)
        assert len(house.session.said) == 180

    async def test_one_session_offers_a_few_times_at_once(self, house: House) -> None:
        """Three networks within a moment are possible, more are no viewer's; offers that fail count like all others."""
        viewer = await house.viewer()
        await viewer.hello()
        for sdp in ("v=0", "no sdp", "v=0"):
            viewer.tell("offer", sdp=sdp)
        for kind in ("answer", "error", "answer"):
            await viewer.hear(kind)
        viewer.tell("offer", sdp="v=0")
        refused = await viewer.hear("error")
        assert (refused["code"], refused["hint"]) == ("too_often", "Wait 5 s, then try again.")
        await house.clock.advance(5)
        viewer.tell("offer", sdp="v=0")
        await viewer.hear("answer")

    async def test_one_address_offers_no_more_by_having_many_sessions(self, house: House) -> None:
        """Sessions that are opened and left one after another share one allowance; other addresses keep theirs."""
        for _ in range(OFFERS_EACH // 3):
            viewer = await house.viewer("203.0.113.7")
            await viewer.hello()
            for _ in range(3):
                viewer.tell("offer", sdp="v=0")
                await viewer.hear("answer")
            await viewer.ask("bye")
        one_more = await house.viewer("203.0.113.7")
        await one_more.hello()
        one_more.tell("offer", sdp="v=0")
        assert (await one_more.hear("error"))["code"] == "too_often"
        other = await house.viewer("203.0.113.8")
        await other.hello()
        other.tell("offer", sdp="v=0")
        await other.hear("answer")

    async def test_a_flood_leaves_a_turn_to_others_after_each_message(self, house: House) -> None:
        """What has come already can be read without waiting; another viewer is served in between all the same."""
        flooding, other = await house.viewer(), await house.viewer()
        await other.hello()
        for _ in range(150):
            flooding.tell("ping", t=0)
        other.tell("ping", t=1)
        await other.hear("pong")
        assert flooding.unread > 100

    async def test_sound_that_comes_as_it_is_spoken_costs_nothing(self, house: House) -> None:
        """A minute of sound in 40 ms, all of it heard, and the allowance of the other messages is as it was."""
        viewer = await house.viewer()
        await viewer.hello()
        for number in range(1500):
            viewer.tell_bytes(sound_of_40_ms(number))
            await viewer.all_read()
            await house.clock.advance(0.04)
        assert sum(map(len, house.session.heard)) == 60 * LISTEN_RATE_HZ
        for _ in range(45):
            viewer.tell("say", text="hi")
        await viewer.all_read()
        await house.settle()
        assert len(house.session.said) == 45

    async def test_sound_that_waited_two_seconds_is_heard(self, house: House) -> None:
        """A network that stood still hands over all it held at once; more than 2 s of it are dropped."""
        viewer = await house.viewer()
        await viewer.hello()
        for number in range(60):
            viewer.tell_bytes(sound_of_40_ms(number))
        await viewer.all_read()
        assert sum(map(len, house.session.heard)) == 2 * LISTEN_RATE_HZ
        assert not viewer.over

    async def test_who_floods_with_sound_is_closed(self, house: House) -> None:
        """Ten times as much sound as time passes is no microphone."""
        viewer = await house.viewer()
        await viewer.hello()
        sent = 0
        while not viewer.over and sent < 4000:
            viewer.tell_bytes(sound_of_40_ms(sent))
            await house.clock.advance(0.004)
            sent += 1
        assert viewer.over
        assert house.session.closed

    async def test_large_messages_cost_more(self, house: House) -> None:
        """A message of the largest size costs as much as many small ones, so bytes are bounded too."""
        viewer = await house.viewer()
        for _ in range(10):
            viewer.tell_raw("x" * 250_000)
        viewer.tell("ping", t=0)
        await house.clock.advance(0)
        assert viewer.unread > 2
        await house.clock.advance(2 * PATIENCE_S)
        assert viewer.over


class TestDeadlines:
    async def test_who_takes_nothing_is_aborted_and_the_place_is_free(self, house: House) -> None:
        """A send that hangs ends the connection, not its buffer; after the grace the session is closed."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.stuck.clear()
        house.session.events.offer(TextEvent(1, "hangs"))
        await house.clock.advance(SEND_WITHIN_S + 1)
        assert viewer.aborted and viewer.over
        assert not house.session.closed
        await house.clock.advance(30)
        assert house.session.closed

    async def test_who_takes_slowly_is_kept(self, house: House) -> None:
        """Each send has the whole deadline: a slow connection that takes one thing after another is alive."""
        viewer = await house.viewer()
        await viewer.hello()
        for number in range(5):
            viewer.stuck.clear()
            house.session.events.offer(TextEvent(1, str(number)))
            await house.clock.advance(SEND_WITHIN_S - 2)
            viewer.stuck.set()
            assert (await viewer.hear("text"))["delta"] == str(number)
        assert not viewer.aborted

    async def test_a_superseded_socket_that_takes_nothing_ends_too(self, house: House) -> None:
        """Its close cannot be told to it, so it is aborted; the session stays with who resumed it."""
        first = await house.viewer()
        token = (await first.hello())["token"]
        first.stuck.clear()
        house.session.events.offer(TextEvent(1, "hangs"))
        await house.settle()
        second = await house.viewer()
        await second.hello(token=token)
        await house.clock.advance(SEND_WITHIN_S + 1)
        assert first.over
        assert not house.session.closed

    @pytest.mark.parametrize("fault", [RuntimeError("close was sent"), OSError("gone")])
    async def test_a_send_on_a_closed_socket_is_no_error(
        self, house: House, fault: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever the server's library says of a socket that has closed, the session waits for its viewer."""
        viewer = await house.viewer()
        token = (await viewer.hello())["token"]
        viewer.fault = fault
        viewer.tell("ping", t=0)
        house.session.events.offer(TextEvent(1, "missed"))
        await house.settle()
        await viewer.break_off()
        second = await house.viewer()
        await second.hello(token=token)
        assert (await second.hear("text"))["delta"] == "missed"
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    async def test_who_never_says_hello_is_closed(self, house: House) -> None:
        """Pings are no greeting. A hello that was refused, or a bye, leaves time for another."""
        silent, refused, left = [await house.viewer() for _ in range(3)]
        refused.tell("hello", avatar="nobody")
        await refused.hear("error")
        await left.hello()
        await left.ask("bye")
        silent.tell("ping", t=0)
        await house.clock.advance(GREETED_WITHIN_S + 1)
        assert silent.over and not refused.over and not left.over
        await left.hello()
        assert close_of(silent)["reason"] == "Nobody said hello."
        await house.clock.advance(EXPIRES_S)
        assert refused.over and not left.over
        assert close_of(refused)["reason"].startswith("The hello was refused")
        await left.ask("bye")
        await house.clock.advance(EXPIRES_S + 1)
        assert close_of(left)["reason"].startswith("Nobody said hello again")

    async def test_who_stays_after_the_end_of_a_session_is_closed(self, house: House) -> None:
        """When it has ended by itself, e.g. because nobody said anything. Nobody collects sockets that way."""
        viewer = await house.viewer()
        await viewer.hello()
        await house.sessions.close(house.session)
        assert (await viewer.hear("error"))["code"] == "session_closed"
        await house.clock.advance(EXPIRES_S - 1)
        assert not viewer.over
        await house.clock.advance(2)
        assert viewer.over and close_of(viewer)["reason"] == "The session has ended."
        await house.clock.advance(GRACE_S)
        assert not len(house.socket.seating.seats)


class TestAddresses:
    HOME, OTHER = "203.0.113.7", "198.51.100.9"

    async def test_an_address_has_so_many_sockets(self, house: House) -> None:
        """Who comes when there are as many is told why, and closed; a socket that ends makes room."""
        of_home = [await house.viewer(self.HOME) for _ in range(12)]
        late = await house.viewer(self.HOME)
        assert (await late.hear("error"))["code"] == "too_many"
        assert (await late.hear_raw())["code"] == TRY_AGAIN_LATER
        await house.settle()
        assert late.over
        await of_home[0].break_off()
        of_home.append(await house.viewer(self.HOME))
        await of_home[-1].hello()

    async def test_a_person_has_so_many_sockets(self, house: House) -> None:
        """From whatever addresses: one login cannot keep all others out."""
        eve, bob = Person("eve", Role.VIEWER), Person("bob", Role.VIEWER)
        for number in range(12):
            await house.viewer(f"198.51.100.{number}", eve)
        late = await house.viewer("198.51.100.12", eve)
        assert (await late.hear("error"))["code"] == "too_many"
        await (await house.viewer("198.51.100.13", bob)).hello()

    async def test_a_person_changes_avatars_at_a_pace(self, house: House) -> None:
        """In all sessions together, from whatever addresses: each change may load an avatar, which all wait for."""
        eve, outcomes = Person("eve", Role.VIEWER), []
        house.sessions.admission.capacity = 30
        for number in range(5):
            viewer = await house.viewer(f"198.51.100.{number}", eve)
            await viewer.hello()
            for _ in range(5):
                viewer.tell("avatar", id="cat")
                outcomes.append((await viewer.hear_any()).get("code", "changed"))
        assert outcomes == ["changed"] * 20 + ["too_often"] * 5
        bob = await house.viewer("198.51.100.9", Person("bob", Role.VIEWER))
        await bob.hello()
        bob.tell("avatar", id="cat")
        await bob.hear("avatar")

    async def test_a_socket_that_asks_for_nothing_makes_room(self, house: House) -> None:
        """The one that has been without a session for longest ends; where all have a session, newcomers are refused."""
        house.sessions.admission.capacity = 30
        viewers = [await house.viewer(f"198.51.100.{number}") for number in range(30)]
        for viewer in viewers[1:]:
            await viewer.hello()
        late = await house.viewer(self.HOME)
        await late.hello()
        assert (await viewers[0].hear_raw())["code"] == TRY_AGAIN_LATER
        await house.settle()
        assert viewers[0].over and not any(viewer.over for viewer in viewers[1:])
        refused = await house.viewer(self.OTHER)
        assert (await refused.hear("error"))["code"] == "too_many"
        await late.break_off()
        await (await house.viewer(self.OTHER)).caught_up()

    async def test_an_address_that_connects_again_and_again_is_refused(self, house: House) -> None:
        """After the burst at a bounded pace; others are let in."""
        for _ in range(int(GREETINGS)):
            viewer = await house.viewer(self.HOME)
            await viewer.break_off()
        refused = await house.viewer(self.HOME)
        assert (await refused.hear("error"))["code"] == "too_often"
        await (await house.viewer(self.OTHER)).hello()
        await house.clock.advance(1)
        await (await house.viewer(self.HOME)).hello()

    async def test_of_an_address_that_goes_on_no_more_sockets_are_taken(self, house: House) -> None:
        """Why is told in words so many times; then the handshake is refused, and nothing is read of what follows it."""
        for _ in range(int(GREETINGS + REFUSALS)):
            viewer = await house.viewer(self.HOME)
            await viewer.break_off()
        denied = Viewer(house.app, self.HOME)
        answer = await denied.knock()
        assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 429)
        assert json.loads((await denied.hear_raw())["body"])["error"]["code"] == "too_often"
        await (await house.viewer(self.OTHER)).hello()

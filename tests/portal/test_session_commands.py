"""What a viewer may say within a session, and what is answered."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import SpeechError
from pipeline.types import (
    SAMPLES_PER_PICTURE,
    EarsEvent,
    EarsState,
    ErrorEvent,
    GestureEvent,
    HoldEvent,
    MediaFrame,
    TextEvent,
    TranscriptEvent,
)
from portal.api.lane import LANE_BOUND
from portal.api.sound_messages import SOUND_HEADER, SOUND_KIND
from tests.portal.session_house import House


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ('"hello"', "bad_request"),
        ("[" * 5000, "bad_request"),
        ('{"type": "dance"}', "bad_request"),
        ('{"type": 7}', "bad_request"),
        ('{"type": "say"}', "bad_request"),
        ('{"type": "say", "text": 5}', "bad_request"),
        ('{"type": "say", "text": "\\ud800"}', "bad_request"),
        ('{"type": "say", "text": "hi", "mode": "sing"}', "bad_request"),
        ('{"type": "say", "text": ""}', "bad_request"),
        ('{"type": "say", "text": "crash"}', "error"),
        ('{"type": "media", "use": "pigeon"}', "bad_request"),
        ('{"type": "ping", "t": NaN}', "bad_request"),
        ('{"type": "ping", "t": 1e999}', "bad_request"),
        ('{"type": "hello"}', "bad_request"),
        ('{"type": "offer", "sdp": "no sdp"}', "bad_request"),
        ('{"type": "candidate", "candidate": "candidate:1"}', "bad_request"),
        ('{"type": "avatar", "id": "nobody"}', "avatar_not_found"),
        ('{"type": "gesture", "name": "dance"}', "gesture_not_found"),
        ('{"type": "gesture", "name": 3}', "bad_request"),
        ('{"type": "say", "text": "' + "a" * 262_144 + '"}', "too_large"),
        ('{"type": "say", "text": "' + "说" * 100_000 + '"}', "too_large"),
    ],
)
async def test_bad_input_gets_an_error_and_the_session_lives_on(house: House, text: str, code: str) -> None:
    """Malformed, unknown or oversized messages are answered with a coded error; the next message is served."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell_raw(text)
    error = await viewer.hear("error")
    assert error["code"] == code
    assert error["message"]
    viewer.tell("say", text="still here")
    assert (await viewer.hear("turn"))["state"] == "queued"
    assert house.session.said == [("still here", "chat")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        SOUND_HEADER.pack(1, 0, 0, 0) + bytes(640),
        SOUND_HEADER.pack(SOUND_KIND, 0, 0, 0),
        SOUND_HEADER.pack(SOUND_KIND, 0, 0, 0) + bytes(318),
        SOUND_HEADER.pack(SOUND_KIND, 0, 0, 0) + bytes(641),
        SOUND_HEADER.pack(SOUND_KIND, 0, 0, 0) + bytes(3842),
    ],
    ids=["empty", "no header", "another kind", "no sound", "too short", "half a sample", "too long"],
)
async def test_bad_binary_input_gets_an_error(house: House, data: bytes) -> None:
    """What is no sound of 10 to 120 ms is answered with a coded error, and never reaches the session."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell_bytes(data)
    assert (await viewer.hear("error"))["code"] == "bad_request"
    assert not house.session.heard


class TestMicrophone:
    async def test_listen_and_sound_reach_the_session(self, house: House) -> None:
        """The mode and the language come through; 16-bit samples arrive as float32 in [-1, 1], in their order."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("listen", mode="open", language="zh")
        viewer.tell_bytes(sound(0, np.array([16384, -32768] * 100)))
        viewer.tell_bytes(sound(200, np.zeros(160)))
        await viewer.ask("listen", mode="off")
        assert house.session.listens == [("open", "zh"), ("off", None)]
        first, second = house.session.heard
        assert first.dtype == np.float32
        assert first[:2].tolist() == [0.5, -1.0]
        assert second.tolist() == [0.0] * 160

    async def test_what_was_left_out_is_silence(self, house: House) -> None:
        """A page that could not send for 20 ms does not shorten the time that has passed."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell_bytes(sound(0, np.full(320, 100)))
        viewer.tell_bytes(sound(640, np.full(320, 100)))
        await viewer.caught_up()
        assert [len(samples) for samples in house.session.heard] == [320, 640]
        assert not house.session.heard[1][:320].any()
        assert house.session.heard[1][320:].all()

    async def test_sound_without_a_session_is_dropped(self, house: House) -> None:
        """What was on its way when the session ended is no mistake of the viewer's."""
        viewer = await house.viewer()
        viewer.tell_bytes(sound(0, np.zeros(640)))
        await viewer.hello()
        await viewer.ask("bye")
        viewer.tell_bytes(sound(640, np.zeros(640)))
        await viewer.caught_up()
        assert not house.session.heard

    async def test_the_viewer_sees_what_was_understood(self, house: House) -> None:
        """The state of the ears and the transcripts reach the viewer, in order."""
        viewer = await house.viewer()
        await viewer.hello()
        house.session.events.offer(EarsEvent(EarsState.HEARING))
        house.session.events.offer(TranscriptEvent("Who are", False, "en"))
        house.session.events.offer(TranscriptEvent("Who are you?", True, "en"))
        assert (await viewer.hear("ears"))["state"] == "hearing"
        assert await viewer.hear("transcript") == {
            "type": "transcript",
            "text": "Who are",
            "final": False,
            "language": "en",
        }
        assert (await viewer.hear("transcript"))["final"]

    async def test_a_language_that_is_none_is_refused(self, house: House) -> None:
        """A language is a short code, so no text of a viewer's gets into the log or to a recogniser by it."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("listen", mode="open", language="English, please")
        assert (await viewer.hear("error"))["code"] == "bad_request"


def sound(position: int, samples: np.ndarray) -> bytes:
    return SOUND_HEADER.pack(SOUND_KIND, 0, 0, position) + samples.astype("<i2").tobytes()


async def test_pong_tells_the_media_clock(house: House) -> None:
    """A ping within a session is answered with the place of the media clock in seconds."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("ping", t=1)
    assert (await viewer.hear("pong"))["media"] == 2.0


async def test_events_reach_the_viewer_in_order(house: House) -> None:
    """What the session emits is told as JSON, in order."""
    viewer = await house.viewer()
    await viewer.hello()
    for delta in ("Hel", "lo"):
        house.session.events.offer(TextEvent(1, delta))
    assert [(await viewer.hear("text"))["delta"] for _ in range(2)] == ["Hel", "lo"]


async def test_gestures_reach_the_session_and_are_told(house: House) -> None:
    """The welcome names them; one is begun and ended by the socket, and what is shown of it comes back."""
    viewer = await house.viewer()
    welcome = await viewer.hello()
    assert welcome["gestures"] == ["wave"]
    await viewer.ask("gesture", name="wave")
    await viewer.ask("gesture")
    assert house.session.gestures == ["wave", None]
    house.session.events.offer(GestureEvent("wave", begins=True))
    assert await viewer.hear("gesture") == {"type": "gesture", "name": "wave", "begins": True}


async def test_the_place_in_the_loop_is_told_who_asks(house: House) -> None:
    """From the next frame on, until it is asked no longer; asked twice, there is still one who tells."""
    viewer = await house.viewer()
    await viewer.hello()
    for _ in range(2):
        await viewer.ask("places", on=True)
    (places,) = house.session.outputs.added
    silence = np.zeros(SAMPLES_PER_PICTURE, np.float32)
    places.send(MediaFrame(np.zeros((2, 2, 3), np.uint8), silence, 12, loop_index=7))
    assert await viewer.hear("place") == {"type": "place", "number": 12, "place": 7, "step": 1}
    await viewer.ask("places", on=False)
    assert house.session.outputs.added == []


async def test_say_interrupt_and_avatar_reach_the_session(house: House) -> None:
    """say, interrupt and avatar do what they say; a swap is confirmed with the new picture size."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("say", text="hi", mode="echo")
    await viewer.hear("turn")
    await viewer.ask("interrupt")
    viewer.tell("avatar", id="cat")
    swapped = await viewer.hear("avatar")
    assert (swapped["avatar"]["id"], swapped["width"]) == ("cat", 256)
    assert house.session.said == [("hi", "echo")]
    assert house.session.interrupts == 1


async def test_a_viewer_is_told_of_a_hold_and_says_what_was_played(house: House) -> None:
    """`hold` comes when speech is held; `reached` and the delay of `stats` come to the session in seconds."""
    viewer = await house.viewer()
    await viewer.hello()
    house.session.events.offer(HoldEvent(3, held=True))
    assert await viewer.hear("hold") == {"type": "hold", "turn": 3, "held": True}
    await viewer.ask("reached", at=12.5)
    await viewer.ask("stats", fps=25.0)
    await viewer.ask("stats", delayMs=180)
    await viewer.ask("seen", turn=3, delayMs=90)
    assert house.session.seen == [(3, 0.09)]
    assert house.session.reached_s == [12.5]
    assert house.session.delays_s == [0.18]


async def test_frames_go_to_a_peer_once_it_is_connected(house: House) -> None:
    """An offer is answered at once; the WebRTC transport is attached when it is connected, not before."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    assert (await viewer.hear("answer"))["sdp"] == "v=0 answer"
    await viewer.ask("candidate", candidate="candidate:1", sdpMid="0", sdpMLineIndex=0)
    peer = house.transports.made[-1]
    assert peer.candidates == ["candidate:1"]
    assert house.session.transport is None
    peer.connected.set()
    await house.settle()
    assert house.session.transport is peer


async def test_a_lost_peer_is_let_go(house: House) -> None:
    """When the peer's connection closes, the session goes on without it."""
    _, peer = await house.watched()
    peer.closed.set()
    await house.settle()
    assert house.session.transport is None
    assert not house.session.closed


async def test_media_moves_to_the_socket_in_mid_turn(house: House) -> None:
    """media use=websocket attaches the socket in place of a peer, and binary messages come over the same socket."""
    viewer, peer = await house.watched()
    await viewer.ask("media", use="websocket", reason="no picture within 2.5 s")
    assert peer.closed.is_set()
    await house.session.play(7)
    assert (await viewer.hear_raw())["bytes"] == b"\x01\x07\x00\x00\x00"


async def test_a_peer_that_connects_too_late_does_not_take_the_media_back(house: House) -> None:
    """After the fallback, the peer that was being connected is closed and never attached."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("offer", sdp="v=0")
    await viewer.hear("answer")
    peer = house.transports.made[-1]
    await viewer.ask("media", use="websocket")
    peer.connected.set()
    await house.settle()
    assert peer.closed.is_set()
    assert house.session.transport is house.transports.made[-1]
    assert house.transports.made[-1].name == "websocket"


async def test_media_leaves_the_socket_on_demand(house: House) -> None:
    """media use=webrtc stops pictures on the socket; the session waits for an offer."""
    viewer = await house.viewer()
    await viewer.hello()
    await viewer.ask("media", use="websocket")
    await viewer.ask("media", use="webrtc")
    assert house.session.transport is None


async def test_bye_closes_the_session_at_once(house: House) -> None:
    """bye ends the session without a grace; the socket may greet again."""
    viewer = await house.viewer()
    await viewer.hello()
    await viewer.ask("bye")
    assert house.sessions.opened[0].closed
    assert (await viewer.hello())["session"] == "s2"


class TestSlowCommands:
    async def test_a_ping_is_answered_and_an_interrupt_heard_while_an_avatar_loads(self, house: House) -> None:
        """Loading takes its time; what is quick does not wait for it."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        viewer.tell("interrupt")
        viewer.tell("ping", t=7)
        assert (await viewer.hear("pong"))["t"] == 7
        assert house.session.interrupts == 1
        house.sessions.loaded.set()
        assert (await viewer.hear("avatar"))["avatar"]["id"] == "slow"

    async def test_an_interrupt_is_obeyed_while_nothing_can_be_sent(self, house: House) -> None:
        """A congested line holds up the answers, not the commands behind them; the answers come once it is free."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.stuck.clear()
        viewer.tell("ping", t=7)
        viewer.tell("avatar", id="nobody")
        viewer.tell_raw("no json")
        viewer.tell("interrupt")
        await house.settle()
        assert house.session.interrupts == 1
        viewer.stuck.set()
        assert [(await viewer.hear(type_))["type"] for type_ in ("pong", "error", "error")]
        viewer.stuck.clear()
        viewer.tell("ping", t=8)
        viewer.tell("bye")
        await house.settle()
        assert house.session.closed

    async def test_media_does_not_wait_for_an_avatar(self, house: House) -> None:
        """An offer is answered, its candidates are taken and media is moved to the socket while an avatar loads."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        viewer.tell("offer", sdp="v=0")
        viewer.tell("candidate", candidate="candidate:1")
        await viewer.hear("answer")
        await viewer.ask("media", use="websocket")
        assert house.transports.made[0].candidates == ["candidate:1"]
        assert house.session.transport is house.transports.made[1]

    async def test_what_is_said_after_an_avatar_is_said_by_it(self, house: House) -> None:
        """say keeps its place behind avatar; when it is interrupted there, it is told as any turn that was."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        await viewer.ask("say", text="too early")
        assert house.session.said == []
        viewer.tell("interrupt")
        assert (await viewer.hear("turn"))["state"] == "queued"
        assert house.session.said == [("too early", "chat")] and house.session.interrupts == 1
        await viewer.ask("say", text="hello")
        house.sessions.loaded.set()
        await viewer.hear("avatar")
        await viewer.hear("turn")
        assert house.session.said[1:] == [("hello", "chat")]

    async def test_bye_waits_for_nothing(self, house: House) -> None:
        """Who leaves while an avatar loads gives the place back at once; loading is broken off."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        await viewer.ask("bye")
        assert house.session.closed
        await viewer.hello()

    async def test_commands_that_wait_have_a_bound(self, house: House) -> None:
        """More than wait already are refused, not kept."""
        viewer = await house.viewer()
        await viewer.hello()
        viewer.tell("avatar", id="slow")
        for _ in range(LANE_BOUND + 2):
            viewer.tell("say", text="more")
            await house.clock.advance(1)
        assert (await viewer.hear("error"))["code"] == "too_often"


async def test_a_recording_is_begun_and_ended(house: House) -> None:
    """Its id comes at once, and its end is told."""
    viewer = await house.viewer()
    await viewer.hello()
    viewer.tell("record", on=True)
    assert await viewer.hear("recording") == {"type": "recording", "state": "on", "id": "r1", "name": "Woman - now"}
    viewer.tell("record", on=False)
    assert await viewer.hear("recording") == {"type": "recording", "state": "done", "id": "r1", "name": "Woman - now"}
    viewer.tell("record", on=False)
    assert (await viewer.hear("error"))["code"] == "bad_request"


async def test_an_error_inside_a_turn_says_its_cause(house: House) -> None:
    """As every other error does: the page has words for each."""
    viewer = await house.viewer()
    await viewer.hello()
    house.session.events.offer(ErrorEvent.of(SpeechError("It is busy.", "Wait.", cause="busy")))
    facts = {"code": "speech_failed", "message": "It is busy.", "hint": "Wait.", "cause": "busy"}
    assert await viewer.hear("error") == {"type": "error", **facts}


async def test_a_voice_is_changed_and_what_is_in_force_is_told(house: House) -> None:
    """`choice` says it; null takes a wish back; what is left out stays; welcome and `avatar` say it too."""
    viewer = await house.viewer()
    welcome = await viewer.hello()
    assert welcome["choice"]["tts"] == "auto"
    viewer.tell("change", tts="beep", voice="low", speed=1.5)
    told = await viewer.hear("choice")
    assert told["changed"] is True
    assert told["choice"] == {**welcome["choice"], "tts": "beep", "voice": "low", "speed": 1.5}
    viewer.tell("change", voice=None)
    assert (await viewer.hear("choice"))["choice"] == {**told["choice"], "voice": None}
    viewer.tell("avatar", id="cat")
    assert (await viewer.hear("avatar"))["choice"]["tts"] == "beep"


async def test_a_voice_that_cannot_be_had_is_refused_and_what_stays_is_told(house: House) -> None:
    """First the error, then what is in force; one that is no wish at all is an error alone."""
    viewer = await house.viewer()
    welcome = await viewer.hello()
    viewer.tell("change", voice="nobody's")
    heard = [await viewer.hear_any(), await viewer.hear_any()]
    assert sorted(message["type"] for message in heard) == ["choice", "error"]
    (refusal,) = (message for message in heard if message["type"] == "error")
    (told,) = (message for message in heard if message["type"] == "choice")
    assert (refusal["code"], refusal["cause"]) == ("bad_request", "no_voice")
    assert told == {"type": "choice", "changed": False, "choice": welcome["choice"]}
    viewer.tell("change", speed=9)
    assert (await viewer.hear("error"))["code"] == "bad_request"

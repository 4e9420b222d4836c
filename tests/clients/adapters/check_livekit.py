"""vivavoce_client.livekit against a running portal ($PORTAL), with LiveKit's own runner, queue and media sources.

There is no server here: the room is a stand-in, and what is published in it is read back from the published tracks,
through LiveKit's native library.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.avatar import AudioSegmentEnd
from vivavoce_client import AsyncSession
from vivavoce_client.livekit import Avatar, AvatarVideo

RATE_HZ = 24_000
WITHIN_S = 60.0
LOUD = 0.2


class Room:
    """As much of rtc.Room as publishing needs, connected."""

    def __init__(self) -> None:
        self.tracks: dict[str, Any] = {}
        self.published = asyncio.Event()
        self.local_participant = self

    def isconnected(self) -> bool:
        return True

    def on(self, event: str, callback: object) -> None: ...

    def off(self, event: str, callback: object) -> None: ...

    async def publish_track(self, track: Any, options: object) -> SimpleNamespace:
        self.tracks[track.name] = track
        if len(self.tracks) == 2:
            self.published.set()

        async def wait_for_subscription() -> None: ...

        return SimpleNamespace(wait_for_subscription=wait_for_subscription)


def tones(seconds: float) -> Iterator[rtc.AudioFrame]:
    """Pieces of 20 ms, as a voice gives them."""
    for start in range(0, round(seconds * RATE_HZ), RATE_HZ // 50):
        times_s = np.arange(start, start + RATE_HZ // 50) / RATE_HZ
        tone = (8000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16)
        yield rtc.AudioFrame(tone.tobytes(), RATE_HZ, 1, len(tone))


class Speaker:
    """Speaks as an AgentSession does: captures frames, flushes, clears, and waits for the end of playback."""

    def __init__(self) -> None:
        self.output = SimpleNamespace(audio=None)
        self.started = 0
        self._ends: asyncio.Queue[Any] = asyncio.Queue()

    def follow(self) -> None:
        self.output.audio.on("playback_started", lambda event: setattr(self, "started", self.started + 1))
        self.output.audio.on("playback_finished", self._ends.put_nowait)

    async def ended(self) -> Any:
        """The next end of playback."""
        return await self._ends.get()

    async def say(self, seconds: float) -> None:
        for piece in tones(seconds):
            await self.output.audio.capture_frame(piece)
        self.output.audio.flush()

    def interrupt(self) -> None:
        self.output.audio.clear_buffer()


@pytest.fixture
async def room() -> Room:
    return Room()


@pytest.fixture
async def agent(room: Room) -> AsyncIterator[Speaker]:
    agent, avatar = Speaker(), Avatar(os.environ["PORTAL"], avatar="mira")
    async with asyncio.timeout(3 * WITHIN_S):
        await avatar.start(agent, room)
        agent.follow()
        await room.published.wait()
        yield agent
        await avatar.aclose()
        await avatar.aclose()


class Viewer:
    """Sees and hears what is published."""

    def __init__(self, room: Room) -> None:
        self.pictures: list[Any] = []
        self.levels: list[float] = []
        "of each 100 ms of sound, of full scale"
        self.hears_speech = asyncio.Event()
        self._video = rtc.VideoStream(room.tracks["avatar_video"], format=rtc.VideoBufferType.RGB24)
        self._audio = rtc.AudioStream(
            room.tracks["avatar_audio"], sample_rate=48_000, num_channels=1, frame_size_ms=100
        )
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._listen())]

    @property
    def spoken_s(self) -> float:
        return sum(level > LOUD for level in self.levels) / 10

    @property
    def saw_flashes(self) -> bool:
        """Whether white was drawn, which the lip-sync `flash` does while there is sound."""
        brightness = [float(picture.mean()) for picture in self.pictures]
        return max(brightness) - min(brightness) > 20

    @property
    def is_quiet(self) -> bool:
        return len(self.levels) >= 3 and max(self.levels[-3:]) < LOUD

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Pictures and sound come through LiveKit's own threads: what has been played is received later."""
        async with asyncio.timeout(WITHIN_S):
            while not is_so():  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.02)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._video.aclose()
        await self._audio.aclose()

    async def _watch(self) -> None:
        async for event in self._video:
            frame = event.frame
            self.pictures.append(np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3))

    async def _listen(self) -> None:
        async for event in self._audio:
            self.levels.append(float(np.abs(np.frombuffer(event.frame.data, np.int16)).max()) / 32768)
            if self.levels[-1] > LOUD:
                self.hears_speech.set()


@pytest.fixture
async def viewer(agent: Speaker, room: Room) -> AsyncIterator[Viewer]:
    viewer = Viewer(room)
    yield viewer
    await viewer.leave()


async def test_what_the_agent_says_is_published_with_pictures(agent: Speaker, viewer: Viewer) -> None:
    """The sound as it was sent, as long as it was; pictures of one size, and others while it speaks."""
    await agent.say(2.0)
    ended = await agent.ended()
    assert agent.started == 1
    assert not ended.interrupted and ended.playback_position == pytest.approx(2.0, abs=0.1)
    await viewer.until(lambda: viewer.spoken_s > 1.6 and viewer.is_quiet and len(viewer.pictures) > 25)
    assert viewer.spoken_s == pytest.approx(2.0, abs=0.3)
    assert len({picture.shape for picture in viewer.pictures}) == 1
    async with asyncio.timeout(WITHIN_S):
        while not viewer.saw_flashes:  # on a busy machine pictures come late, or not at all, while the sound goes on
            await agent.say(1.0)
            await agent.ended()


async def test_an_interruption_is_silent_at_once_and_the_next_answer_is_heard(agent: Speaker, viewer: Viewer) -> None:
    """The agent is told how much was heard. Nothing of what was cleared comes later."""
    await agent.say(20.0)
    await viewer.hears_speech.wait()
    agent.interrupt()
    cut = await agent.ended()
    assert cut.interrupted and 0 < cut.playback_position < 5
    await viewer.until(lambda: viewer.is_quiet)  # what was in the track's own buffer of 100 ms has been heard
    viewer.levels.clear()
    await agent.say(1.0)
    ended = await agent.ended()
    assert not ended.interrupted and ended.playback_position == pytest.approx(1.0, abs=0.1)
    assert agent.started == 2
    await viewer.until(lambda: viewer.spoken_s > 0.6 and viewer.is_quiet)
    assert viewer.spoken_s == pytest.approx(1.0, abs=0.3)


async def test_answers_one_behind_another_end_one_by_one() -> None:
    """Also where nobody waits between them; their sound is as long as both."""
    async with asyncio.timeout(WITHIN_S), AsyncSession(os.environ["PORTAL"], avatar="mira", greeting="") as session:
        video = AvatarVideo(session)
        for _ in range(2):
            for piece in tones(0.6):
                await video.push_audio(piece)
            await video.push_audio(AudioSegmentEnd())
        spoken_s = [0.0]
        async for frame in video:
            if isinstance(frame, AudioSegmentEnd):
                spoken_s.append(0.0)
            elif isinstance(frame, rtc.AudioFrame):
                spoken_s[-1] += frame.duration
            if len(spoken_s) == 3:
                break
    assert spoken_s == pytest.approx([0.6, 0.6, 0.0], abs=0.13)


async def test_a_session_of_an_agent_speaks_and_is_interrupted(room: Room) -> None:
    """LiveKit's own AgentSession, with ready speech: it learns how far the avatar came."""
    avatar, session = Avatar(os.environ["PORTAL"], avatar="mira"), AgentSession()

    async def speech(seconds: float) -> AsyncIterator[rtc.AudioFrame]:
        for piece in tones(seconds):
            yield piece

    async with asyncio.timeout(2 * WITHIN_S):
        await avatar.start(session, room)
        await session.start(Agent(instructions=""))
        heard: list[Any] = []
        begun: asyncio.Queue[Any] = asyncio.Queue()
        session.output.audio.on("playback_finished", heard.append)
        session.output.audio.on("playback_started", begun.put_nowait)
        whole = session.say("A short one.", audio=speech(0.8))
        await whole.wait_for_playout()
        await begun.get()
        assert not whole.interrupted
        cut = session.say("A long one.", audio=speech(20.0))
        await begun.get()
        await session.interrupt()
        await cut.wait_for_playout()
        assert cut.interrupted
        await session.aclose()
        await avatar.aclose()
    assert [event.interrupted for event in heard] == [False, True]
    assert heard[0].playback_position == pytest.approx(0.8, abs=0.1)
    assert 0 < heard[1].playback_position < 5

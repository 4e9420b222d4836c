"""An avatar for LiveKit agents: the agent's voice goes to a portal, whose pictures and sound go into the room.

    from vivavoce_client.livekit import Avatar

    avatar = Avatar("http://127.0.0.1:7860", avatar="mira")
    await avatar.start(agent_session, room=ctx.room)
    await agent_session.start(agent=..., room=ctx.room, room_options=RoomOptions(audio_output=False))

It needs livekit-agents (`pip install vivavoce-client[livekit]`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Unpack

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice.avatar import (
    AudioReceiver,
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    QueueAudioOutput,
    VideoGenerator,
)

from vivavoce_client._agent_voice import AgentVoice
from vivavoce_client._session import AsyncSession
from vivavoce_client._types import SAMPLE_RATE_HZ, Frame, Wish

__all__ = ["Avatar", "AvatarVideo", "avatar_runner"]


class AvatarVideo(VideoGenerator):
    """The VideoGenerator that an AvatarRunner reads. session: must be open, with media."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._voice: AgentVoice[AudioSegmentEnd] = AgentVoice(session)

    @property
    def options(self) -> AvatarOptions:
        """The size and rate of the pictures, and the form of the sound."""
        told = self._session.welcome
        return AvatarOptions(
            video_width=told["width"],
            video_height=told["height"],
            video_fps=told["fps"],
            audio_sample_rate=SAMPLE_RATE_HZ,
            audio_channels=1,
        )

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Speak a piece of sound, or end the segment. Waits while 10 s are not heard yet. Raises PortalError."""
        if isinstance(frame, AudioSegmentEnd):
            await self._voice.end(frame)
        else:
            await self._voice.say(bytes(frame.data), frame.sample_rate, frame.num_channels)

    async def clear_buffer(self) -> None:
        """Stop speaking at once, because the agent was interrupted. Raises PortalError."""
        await self._voice.clear()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        """Yield 25 pictures per second, and while the avatar speaks the sound of each.

        Raises PortalError if the connection to the portal breaks.
        """
        async for frame in self._session.frames():
            yield await asyncio.to_thread(_picture, frame)
            if self._voice.is_audible(frame):
                yield _sound(frame)
            for end in self._voice.ended_by(frame):
                yield end


def avatar_runner(session: AsyncSession, room: rtc.Room, audio: AudioReceiver) -> AvatarRunner:
    """Return a runner that publishes the avatar in a room and lets it speak what `audio` receives.

    audio: for example DataStreamAudioReceiver(room), for a worker that is a participant of its own.
    """
    video = AvatarVideo(session)
    return AvatarRunner(room, audio_recv=audio, video_gen=video, options=video.options)


class Avatar:
    """Lets the agent of this process speak through an avatar, which the agent's own participant publishes.

    url, headers, wish: see AsyncSession. The avatar says no greeting, unless the wish has one: greeting is the agent's.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, **wish: Unpack[Wish]) -> None:
        wish.setdefault("greeting", "")
        self._session = AsyncSession(url, headers=headers, **wish)
        self._runner: AvatarRunner | None = None

    async def start(self, agent_session: AgentSession, room: rtc.Room) -> None:
        """Open the session and publish the avatar. Call it before the agent's session starts.

        The agent's session must not publish sound itself (`audio_output=False`). Raises PortalError (no place, no such
        avatar, ...), OSError (there is no server).
        """
        await self._session.__aenter__()
        audio = QueueAudioOutput(wait_playback_start=True)
        self._runner = avatar_runner(self._session, room, audio)
        try:
            await self._runner.start()
        except BaseException:
            await self.aclose()
            raise
        agent_session.output.audio = audio

    async def aclose(self) -> None:
        """Remove the avatar and end its session. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.aclose()
        await self._session.aclose()


def _picture(frame: Frame) -> rtc.VideoFrame:
    height, width, _ = frame.image.shape
    return rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, frame.image.tobytes())


def _sound(frame: Frame) -> rtc.AudioFrame:
    samples = (frame.sound * 32768).astype("<i2")
    return rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE_HZ, 1, len(samples))

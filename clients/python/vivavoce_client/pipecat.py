"""An avatar in a Pipecat pipeline. It stands after the voice (TTS) and before the transport's output.

    from vivavoce_client.pipecat import AvatarProcessor

    Pipeline([transport.input(), stt, ..., llm, tts, AvatarProcessor("http://127.0.0.1:7860"), transport.output(), ...])

It needs pipecat-ai (`pip install vivavoce-client[pipecat]`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Unpack

from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from vivavoce_client import _types
from vivavoce_client._agent_voice import AgentVoice
from vivavoce_client._session import AsyncSession
from vivavoce_client._types import SAMPLE_RATE_HZ, PortalError, Wish

__all__ = ["AvatarProcessor"]


class AvatarProcessor(FrameProcessor):
    """Takes the voice (TTSAudioRawFrame) out of the pipeline and puts it back together with the avatar's pictures.

    It pushes 25 OutputImageRawFrames (RGB) per second. While the avatar speaks, a TTSAudioRawFrame of 40 ms at 48 kHz
    follows each of them. A TTSStoppedFrame is held back until the last sound. An InterruptionFrame silences the avatar.

    url, headers, wish: see AsyncSession. The avatar says no greeting, unless the wish has one.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, **wish: Unpack[Wish]) -> None:
        super().__init__()
        wish.setdefault("greeting", "")
        self._session = AsyncSession(url, headers=headers, **wish)
        self._voice: AgentVoice[TTSStoppedFrame] = AgentVoice(self._session)
        self._showing: asyncio.Task[None] | None = None
        self._is_open = False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Open the session. If that fails, an ErrorFrame says why, and the voice is heard without an avatar."""
        await super().setup(setup)
        try:
            await self._session.__aenter__()
            self._is_open = True
        except (PortalError, OSError) as error:
            await self.push_error(f"The avatar cannot be shown: {error}", error)

    async def cleanup(self) -> None:
        self._is_open = False
        if self._showing is not None:
            await self.cancel_task(self._showing)
            self._showing = None
        await self._session.aclose()
        await super().cleanup()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if self._is_open:
            try:
                if await self._took(frame):
                    return
            except PortalError as error:
                await self._give_up(error)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame) and self._is_open:
            self._showing = self.create_task(self._show())

    async def _took(self, frame: Frame) -> bool:
        """Give a frame to the avatar. Return whether it was taken out of the pipeline, to come back later."""
        match frame:
            case TTSAudioRawFrame():
                await self._voice.say(frame.audio, frame.sample_rate, frame.num_channels)
                return True
            case TTSStoppedFrame():
                return await self._voice.end(frame)
            case InterruptionFrame():
                await self._voice.clear()
            case EndFrame():
                await self._voice.heard()
        return False

    async def _show(self) -> None:
        try:
            async for frame in self._session.frames():
                await self.push_frame(await asyncio.to_thread(_picture, frame))
                if self._voice.is_audible(frame):
                    await self.push_frame(TTSAudioRawFrame(_sound(frame), SAMPLE_RATE_HZ, 1))
                for stopped in self._voice.ended_by(frame):
                    await self.push_frame(stopped)
        except PortalError as error:
            await self._give_up(error)

    async def _give_up(self, error: PortalError) -> None:
        """Tell why the avatar is gone, once. The voice is heard without it from now on."""
        if self._is_open:
            self._is_open = False
            await self.push_error(f"The avatar is gone: {error}", error)


def _picture(frame: _types.Frame) -> OutputImageRawFrame:
    height, width, _ = frame.image.shape
    return OutputImageRawFrame(image=frame.image.tobytes(), size=(width, height), format="RGB")


def _sound(frame: _types.Frame) -> bytes:
    return (frame.sound * 32768).astype("<i2").tobytes()

"""vivavoce_client.pipecat in a pipeline of Pipecat, against a running portal ($PORTAL)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from vivavoce_client.pipecat import AvatarProcessor

RATE_HZ = 24_000
SOUND_S = 0.04


def avatar() -> AvatarProcessor:
    return AvatarProcessor(os.environ["PORTAL"], avatar="mira")


def speech(seconds: float) -> list[Frame]:
    """What a voice puts into a pipeline."""
    times_s = np.arange(RATE_HZ // 10) / RATE_HZ
    piece = (8000 * np.sin(2 * np.pi * 440 * times_s)).astype(np.int16).tobytes()
    pieces = [TTSAudioRawFrame(piece, RATE_HZ, 1) for _ in range(round(10 * seconds))]
    return [TTSStartedFrame(), *pieces, TTSStoppedFrame()]


def heard_s(frames: Sequence[Frame]) -> float:
    return sum(frame.num_frames / frame.sample_rate for frame in frames if isinstance(frame, TTSAudioRawFrame))


async def test_a_voice_comes_back_with_pictures() -> None:
    """All of its sound, each 40 ms behind its picture; the end of speech comes after it, and the pipeline waits."""
    frames, _ = await run_test(avatar(), frames_to_send=speech(1.5), start_timeout=30)
    assert heard_s(frames) == pytest.approx(1.5, abs=0.1)
    sounds = [at for at, frame in enumerate(frames) if isinstance(frame, TTSAudioRawFrame)]
    assert all(isinstance(frames[at - 1], OutputImageRawFrame) for at in sounds)
    (stopped,) = (at for at, frame in enumerate(frames) if isinstance(frame, TTSStoppedFrame))
    assert stopped > sounds[-1]
    picture = next(frame for frame in frames if isinstance(frame, OutputImageRawFrame))
    assert picture.format == "RGB" and len(picture.image) == 3 * picture.size[0] * picture.size[1]
    first = frames[sounds[5]]
    assert first.sample_rate == 48_000 and np.abs(np.frombuffer(first.audio, np.int16)).max() > 6000


async def test_an_interruption_silences_the_avatar() -> None:
    """What waited is dropped, and its end does not come; what is said later is heard whole."""
    sent = [*speech(20.0)[:-1], SleepFrame(4.0), InterruptionFrame(), SleepFrame(1.0), *speech(0.6)]
    frames, _ = await run_test(avatar(), frames_to_send=sent, start_timeout=30)
    cut = next(at for at, frame in enumerate(frames) if isinstance(frame, InterruptionFrame))
    assert 0 < heard_s(frames[:cut]) < 10  # of 20, on a machine that may be slow to begin, and to sleep
    assert heard_s(frames[cut:]) == pytest.approx(0.6, abs=0.1)
    assert sum(isinstance(frame, TTSStoppedFrame) for frame in frames) == 1
    assert sum(isinstance(frame, OutputImageRawFrame) for frame in frames[cut:]) > 20, "it is still seen"


async def test_without_a_portal_the_voice_is_heard() -> None:
    """An error says why there is no avatar, and the conversation goes on without one."""
    processor = AvatarProcessor("http://127.0.0.1:9")
    frames, up = await run_test(processor, frames_to_send=speech(0.5), start_timeout=30)
    assert heard_s(frames) == pytest.approx(0.5)
    assert any(isinstance(frame, TTSStoppedFrame) for frame in frames)
    assert not any(isinstance(frame, OutputImageRawFrame) for frame in frames)
    assert all(isinstance(frame, ErrorFrame) for frame in up)

"""CodedFrames: what a coding says reaches the encoders of pictures and sound."""

from __future__ import annotations

import io
from dataclasses import replace

import av
import numpy as np
import pytest
from av.error import FFmpegError

from pipeline.clip_writer import MADE, RECORDED
from pipeline.coded_frames import CodedFrames, Coding
from pipeline.push_child import CODING
from pipeline.types import PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray


def voice(pictures: int) -> FloatArray:
    """A vowel of 150 Hz, and a little noise."""
    at_s = np.arange(pictures * SAMPLES_PER_PICTURE) / PLAYOUT_RATE_HZ
    tones = [np.sin(2 * np.pi * 150 * n * at_s) / n for n in range(1, 30)]
    noise = np.random.default_rng(0).normal(0, 0.01, len(at_s))
    return np.asarray(0.2 * sum(tones) + noise, np.float32)


def coded(coding: Coding, sound: FloatArray) -> bytes:
    """The sound with one grey picture, as an FLV."""
    kept = io.BytesIO()
    frames = CodedFrames(av.open(kept, "w", format="flv"), 64, 64, coding)
    picture: np.ndarray | None = np.full((64, 64, 3), 128, np.uint8)
    for number, piece in enumerate(sound.reshape(-1, SAMPLES_PER_PICTURE)):
        frames.write(picture, piece, number)
        picture = None
    frames.finish()
    return kept.getvalue()


def heard(data: bytes) -> FloatArray:
    with av.open(io.BytesIO(data), "r") as file:
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def test_options_of_the_sound_reach_its_encoder() -> None:
    """One that no encoder knows is refused, so the others are not lost on the way."""
    with pytest.raises(FFmpegError):
        coded(replace(CODING, sound_encoder={"aac_coder": "none of these"}), voice(3))


@pytest.mark.parametrize("live", [CODING, RECORDED.pictures], ids=["push", "recording"])
def test_sound_beside_a_live_session_is_coded_quickly_and_well(live: Coding) -> None:
    """Another coder than that of clips which are made once, and a voice comes out as it went in."""
    sound = voice(25)
    data = coded(live, sound)
    assert data != coded(replace(live, sound_encoder=MADE.pictures.sound_encoder), sound)
    delay = 1024  # of FFmpeg's AAC
    shown = heard(data)[delay:][: len(sound) - delay]
    wrong = shown - sound[: len(shown)]
    assert 10 * np.log10(np.mean(np.square(sound)) / np.mean(np.square(wrong[4096:]))) > 20

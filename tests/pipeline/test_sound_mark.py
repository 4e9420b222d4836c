"""The mark in the sound of finished clips: what it changes, and what it leaves as it was."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from models.errors import WrongArchitecture
from pipeline.clip_writer import MADE, RECORDED, ClipCoding, ClipWriter
from pipeline.errors import NotMarked
from pipeline.sound_mark import mark_sound, marked_share
from pipeline.types import LISTEN_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray, MediaFrame

TONE_HZ, PICTURES, CLICK = 3000, 300, 250


class ToneMark:
    """Marks by a tone, and counts the pieces in which it hears it."""

    def mark_of(self, samples: FloatArray) -> FloatArray:
        times = np.arange(len(samples)) / LISTEN_RATE_HZ
        return np.asarray(0.05 * np.sin(2 * np.pi * TONE_HZ * times), np.float32)

    def marked_share(self, pieces: list[FloatArray]) -> float:
        heard = []
        for piece in pieces:
            strength = np.abs(np.fft.rfft(piece))
            heard.append(strength[round(TONE_HZ * len(piece) / LISTEN_RATE_HZ)] > 20 * np.median(strength))
        return float(np.mean(heard))


async def write_clip(path: Path, coding: ClipCoding) -> Path:
    """Twelve seconds of noise that moves and of soft noise that is heard, with a click and a white picture."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 200, (48, 64, 3), np.uint8)
    async with ClipWriter(path, 64, 48, title="Ada - now", coding=coding) as writer:
        for number in range(PICTURES):
            sound = (0.001 * random.standard_normal(SAMPLES_PER_PICTURE)).astype(np.float32)
            picture = np.roll(noise, number, 1)
            if number == CLICK:
                sound[:480], picture = 0.9, np.full_like(noise, 255)
            await writer.send(MediaFrame(picture, sound, number))
        await writer.finish()
    return path


def pictures_of(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as file:
        return [(frame.time or 0.0, frame.to_ndarray(format="gray").tobytes()) for frame in file.decode(video=0)]


def click_s(path: Path) -> float:
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return float(frames[0].time or 0) + int(np.argmax(np.abs(sound) > 0.4)) / frames[0].sample_rate


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def told_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as file:
        return {key: value for key, value in file.metadata.items() if key in ("title", "AIGC", "DigitalSourceType")}


@pytest.mark.parametrize("coding", [MADE, RECORDED], ids=["made", "recorded"])
async def test_the_sound_is_marked_and_all_else_stays(coding: ClipCoding, tmp_path: Path) -> None:
    """Pictures and their times, the metadata, and the place of a click; in both pieces of the sound."""
    clip, mark = await write_clip(tmp_path / "clip.mp4", coding), ToneMark()
    pictures, click, told = pictures_of(clip), click_s(clip), told_of(clip)
    assert marked_share(clip, mark) == 0.0 and len(told) == 3
    mark_sound(clip, mark)
    assert marked_share(clip, mark) == 1.0
    assert pictures_of(clip) == pictures and told_of(clip) == told
    assert abs(click_s(clip) - click) < 0.001 and abs(click - CLICK / 25) < 0.03
    assert names_in(tmp_path) == ["clip.mp4"]


async def test_what_cannot_be_marked_is_left_as_it_was(tmp_path: Path) -> None:
    """A network that fails, and a file that is no clip; nothing lies beside them."""

    class Broken(ToneMark):
        def mark_of(self, samples: FloatArray) -> FloatArray:
            raise WrongArchitecture("It is another network.", "Get the file again.")

    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    text = tmp_path / "text.mp4"
    text.write_bytes(b"no clip")
    for path, mark in ((clip, Broken()), (text, ToneMark()), (tmp_path / "gone.mp4", ToneMark())):
        content = path.read_bytes() if path.exists() else b""
        with pytest.raises(NotMarked, match="no mark"):
            mark_sound(path, mark)
        assert (path.read_bytes() if path.exists() else b"") == content
    assert names_in(tmp_path) == ["clip.mp4", "text.mp4"]

"""A recording as the speech of a turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import SPEECH_DBFS, speech_dbfs
from pipeline.errors import RenderError
from pipeline.recording import open_recording
from tests.recordings import RATE_HZ, spoken, write_recording

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("gain_db", [-34.0, 0.0, 14.0])
async def test_a_recording_has_the_level_of_all_voices(tmp_path: Path, gain_db: float) -> None:
    """Faint or loud, it is heard as loud as everybody else, and no sample is clipped."""
    voice = spoken(3) * np.float32(10 ** (gain_db / 20))
    soundfile.write(tmp_path / "speech", voice, RATE_HZ, format="WAV", subtype="FLOAT")
    chunks = [chunk async for chunk in (await open_recording(tmp_path / "speech")).speech()]
    sound = np.concatenate([chunk.samples for chunk in chunks])
    assert abs(speech_dbfs(sound, RATE_HZ) - SPEECH_DBFS) < 3 and np.abs(sound).max() < 1
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [chunk.start_sample for chunk in chunks] == np.cumsum(
        [0, *(len(one.samples) for one in chunks[:-1])]
    ).tolist()


async def test_a_damaged_recording_is_noticed(tmp_path: Path) -> None:
    """The person is told how much is missing; of a whole one nothing is said."""
    path = write_recording(tmp_path / "speech", spoken(20)[None], "mp3", "libmp3lame")
    assert (await open_recording(path)).notices == ()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + len(data) // 10] = bytes(len(data) // 10)
    path.write_bytes(data)
    (notice,) = (await open_recording(path)).notices
    assert notice.code == "recording_damaged" and "seconds" in notice.message and notice.hint


@pytest.mark.parametrize("content", [b"", b"this is text, not sound", b"RIFF\x00\x00\x00\x00WAVEfmt "])
async def test_a_file_without_sound_is_told_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    """Empty, foreign and truncated recordings raise RenderError that names formats."""
    (tmp_path / "speech.wav").write_bytes(content)
    with pytest.raises(RenderError) as caught:
        await open_recording(tmp_path / "speech.wav")
    assert "WAV" in caught.value.hint and caught.value.code == "unsupported_media"


async def test_a_recording_that_is_too_long_is_told(tmp_path: Path) -> None:
    """As soon as more seconds have come than are taken."""
    path = write_recording(tmp_path / "speech", spoken(3)[None], "flac", "flac")
    with pytest.raises(RenderError, match="more than"):
        await open_recording(path, longest_s=2)


async def test_reading_ends_when_it_is_given_up(tmp_path: Path) -> None:
    """What the progress callback raises comes out, and so does a cancellation, without waiting for the reader."""
    path = write_recording(tmp_path / "speech", spoken(3)[None], "wav", "pcm_s16le")

    def cancel(_seconds: float) -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        await open_recording(path, on_read=cancel)
    reading = asyncio.create_task(open_recording(path))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

"""A session's recording: what was played, in step, with its words; and what happens when writing is slow or fails."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from avatars.errors import DiskFull
from pipeline import recorder as module
from pipeline.clip_writer import RECORDED, ClipWriter
from pipeline.coded_frames import even_size
from pipeline.recorder import PICTURES_BOUND, Recorder
from pipeline.types import SAMPLES_PER_PICTURE, LoopPosition, MediaFrame, SubtitleEvent

WITHIN_S = 60.0


def frame_of(bundle: AvatarBundle, number: int, *, speaking: bool = False, text: str = "") -> MediaFrame:
    """Speaking: a white picture with a tone; else the idle loop and silence."""
    if not speaking:
        return MediaFrame(
            LoopPosition(bundle, number % len(bundle.loop)), np.zeros(SAMPLES_PER_PICTURE, np.float32), number
        )
    white = np.full((bundle.height, bundle.width, 3), 255, np.uint8)
    tone = np.sin(2 * np.pi * 1000 * np.arange(SAMPLES_PER_PICTURE) / 48_000).astype(np.float32) * 0.5
    events = (SubtitleEvent(1, text, number / 25, number / 25 + 1),) if text else ()
    return MediaFrame(white, tone, number, speaking=True, turn=1, events=events)


def decoded(path: Path) -> tuple[list[tuple[float, float]], np.ndarray]:
    """(time, brightness) of the pictures, and the sound."""
    with av.open(str(path)) as file:
        pictures = [(frame.time, frame.to_ndarray(format="rgb24").mean()) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])
    return pictures, sound


def clips_in(folder: Path) -> list[Path]:
    """Complete or not."""
    return list(folder.glob("*mp4"))


def writer_of(bundle: AvatarBundle, folder: Path, title: str = "") -> ClipWriter:
    return ClipWriter(folder / "a.mp4", *even_size(bundle.width, bundle.height), title=title, coding=RECORDED)


async def test_it_holds_what_was_played_in_step(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """Begun at frame 100: the file begins at 0, and the white pictures are those that sound."""
    recorder = Recorder(writer_of(small_bundle, tmp_path, title="Alpha"))
    for number in range(100, 150):
        recorder.send(
            frame_of(small_bundle, number, speaking=120 <= number < 140, text="Hello" if number == 120 else "")
        )
    await recorder.aclose()
    await recorder.aclose()
    assert recorder.trouble is None and recorder.pictures_dropped == 0 and recorder.duration_s == 2.0
    pictures, sound = decoded(tmp_path / "a.mp4")
    assert [round(time * 25) for time, _ in pictures] == list(range(50))
    assert [index for index, (_, brightness) in enumerate(pictures) if brightness > 240] == list(range(20, 40))
    loud = [np.abs(sound[k * 1920 : (k + 1) * 1920]).max() > 0.2 for k in range(50)]
    assert next(k for k in range(50) if loud[k]) == 20 and not any(loud[:19]) and not any(loud[42:])
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert json.loads(file.metadata["AIGC"])["Label"] == "1" and file.metadata["title"] == "Alpha"
    assert [(entry.text, round(entry.start_s, 6)) for entry in recorder.transcript.entries] == [("Hello", 20 / 25)]


async def test_another_avatar_fits_into_the_picture(
    small_bundle: AvatarBundle, make_bundle: Callable[..., AvatarBundle], tmp_path: Path
) -> None:
    """The avatar was swapped for one of another size: the recording goes on, nothing of it is cut off."""
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    recorder.send(frame_of(small_bundle, 0))
    wide = np.full((32, 200, 3), 255, np.uint8)
    recorder.send(MediaFrame(wide, np.zeros(SAMPLES_PER_PICTURE, np.float32), 1))
    await recorder.aclose()
    pictures, _ = decoded(tmp_path / "a.mp4")
    assert len(pictures) == 2 and recorder.trouble is None


def viewer_says(seconds: float) -> np.ndarray:
    """A tone, as the microphone has it."""
    return (0.5 * np.sin(2 * np.pi * 500 * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.float32)


async def test_the_viewers_own_sound_is_on_it(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """Said at 0.4 s, in pieces that come unevenly, it is heard from 0.6 s on without a gap, as long as it lasted."""
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    said = np.split(viewer_says(0.8), [4800, 6400])  # 0.3, 0.1 and 0.4 s
    for number in range(50):
        for piece in {10: said[:1], 17: said[1:2], 18: said[2:]}.get(number, []):
            recorder.hear(piece)
        recorder.send(frame_of(small_bundle, number))
    await recorder.aclose()
    recorder.hear(viewer_says(0.1))  # its session may still have some for it
    _, sound = decoded(tmp_path / "a.mp4")
    loud = [np.abs(sound[k * 1920 : (k + 1) * 1920]).max() > 0.3 for k in range(50)]
    assert [k for k in range(50) if loud[k]] == list(range(15, 35))


async def test_both_sides_are_heard_at_once_and_not_distorted(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """Together louder than a sample can be, they are cut off there; the avatar's own samples stay as they are."""
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    recorder.hear(2 * viewer_says(0.3))
    frames = [frame_of(small_bundle, number, speaking=True) for number in range(12)]
    for frame in frames:
        recorder.send(frame)
    await recorder.aclose()
    _, sound = decoded(tmp_path / "a.mp4")
    loudest = [np.abs(sound[k * 1920 : (k + 1) * 1920]).max() for k in range(12)]
    assert max(loudest[1:4]) < 0.7 and 0.8 < max(loudest[6:11]) < 1.2
    assert all(np.abs(frame.audio).max() <= 0.5 for frame in frames)


async def test_a_microphone_that_is_too_fast_loses_its_oldest_sound(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """What waits has a bound: of two seconds at once only the last moment is kept."""
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    recorder.hear(viewer_says(2.0))
    for number in range(50):
        recorder.send(frame_of(small_bundle, number))
    await recorder.aclose()
    _, sound = decoded(tmp_path / "a.mp4")
    loud = [np.abs(sound[k * 1920 : (k + 1) * 1920]).max() > 0.3 for k in range(50)]
    assert [k for k in range(50) if loud[k]] == list(range(5, 10))


async def test_slow_writing_costs_pictures_and_no_sound(
    small_bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the writer stands still the clock does not: later all sound is there, and the pictures of the last 2 s."""
    gate, write = threading.Event(), ClipWriter._write

    def gated(self: ClipWriter, frame: MediaFrame, picture: bool) -> None:
        assert gate.wait(WITHIN_S)
        write(self, frame, picture)

    monkeypatch.setattr(ClipWriter, "_write", gated)
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    count = 3 * PICTURES_BOUND
    recorder.send(frame_of(small_bundle, 0))
    await asyncio.sleep(0)
    for number in range(1, count):
        recorder.send(frame_of(small_bundle, number))
    gate.set()
    await recorder.aclose()
    pictures, sound = decoded(tmp_path / "a.mp4")
    assert len(sound) >= count * SAMPLES_PER_PICTURE
    assert recorder.pictures_dropped == count - len(pictures) > PICTURES_BOUND
    assert round(pictures[-1][0] * 25) == count - 1


async def test_a_writer_that_is_far_behind_ends_the_recording(
    small_bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded: the recording ends, what was taken is kept, and it is said why."""
    monkeypatch.setattr(module, "SOUND_BOUND", 10)
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    for number in range(30):
        recorder.send(frame_of(small_bundle, number))
    await recorder.aclose()
    assert recorder.trouble is not None and recorder.duration_s == 10 / 25
    assert len(decoded(tmp_path / "a.mp4")[0]) == 10


async def test_a_full_disk_ends_it_and_leaves_nothing_half(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """The room is looked at each second; the session is not disturbed."""

    def no_room() -> None:
        raise DiskFull("The disk is full.", "Free some space.")

    recorder = Recorder(writer_of(small_bundle, tmp_path), check_room=no_room)
    recorder.send(frame_of(small_bundle, 0))
    async with asyncio.timeout(WITHIN_S):
        await recorder.over.wait()
    recorder.send(frame_of(small_bundle, 1))
    assert isinstance(recorder.trouble, DiskFull) and not clips_in(tmp_path)


async def test_it_ends_by_itself_after_its_time(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """Nobody has to stop it; the file is complete."""
    recorder = Recorder(writer_of(small_bundle, tmp_path), longest_s=1.0)
    for number in range(40):
        recorder.send(frame_of(small_bundle, number))
    async with asyncio.timeout(WITHIN_S):
        await recorder.over.wait()
    assert recorder.trouble is None and len(decoded(tmp_path / "a.mp4")[0]) == 25


async def test_without_a_frame_there_is_no_file(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """It was stopped before anything was played."""
    recorder = Recorder(writer_of(small_bundle, tmp_path))
    await recorder.aclose()
    assert not clips_in(tmp_path)

import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from avatars.bundle import AvatarBundle
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import RenderError
from pipeline.recording import open_recording
from pipeline.render import MARGIN_PICTURES, render
from pipeline.turn import Utterance
from pipeline.turn_context import Choice, TurnContext
from pipeline.types import SubtitleEvent

pytestmark = pytest.mark.thorough

PER_PICTURE = 1920


@pytest.fixture
async def context(small_bundle: AvatarBundle) -> AsyncIterator[TurnContext]:
    engine = Engine(clock=ManualClock())
    await engine.start()
    yield await engine.context_for(small_bundle, Choice(llm="echo", tts="beep", lipsync="flash"))
    await engine.aclose()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of the mouth (pictures,), sound (samples,)."""
    with av.open(str(path)) as file:
        mouths = [frame.to_ndarray(format="rgb24")[32, 32].mean() for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])
    return np.array(mouths), sound


async def test_a_clip_plays_with_sound_and_picture_in_step(context: TurnContext, tmp_path: Path) -> None:
    """Decoded again, the mouth is white in the pictures whose own 40 ms sound, and in no others."""
    events = await render(context, Utterance(text="one two three four five six"), tmp_path / "clip.mp4")
    mouths, sound = decoded(tmp_path / "clip.mp4")
    count = len(sound) // PER_PICTURE
    assert abs(count - len(mouths)) <= 1
    loud = np.sqrt(np.mean(sound[: count * PER_PICTURE].reshape(count, PER_PICTURE) ** 2, axis=1)) > 0.02
    # AAC smears an edge into the picture beside it; pictures well inside sound or silence tell.
    inside = [k for k in range(1, count - 1) if loud[k - 1] == loud[k] == loud[k + 1]]
    white = mouths > 200
    assert white[MARGIN_PICTURES:-MARGIN_PICTURES].sum() >= 15
    assert [bool(white[k]) for k in inside] == [bool(loud[k]) for k in inside]
    assert [event.text for event in events if isinstance(event, SubtitleEvent)]


async def test_a_clip_says_that_it_was_made_by_ai(context: TurnContext, tmp_path: Path) -> None:
    """A comment for people's programs, and the key that China's GB 45438-2025 asks for, with the clip's own number."""
    await render(context, Utterance(text="one"), tmp_path / "clip.mp4", title="Ada - 你好")
    with av.open(str(tmp_path / "clip.mp4")) as file:
        told = file.metadata
    assert told["title"] == "Ada - 你好"
    assert told["comment"].startswith("AI-generated")
    aigc = json.loads(told["AIGC"])
    assert (aigc["Label"], aigc["ContentProducer"], aigc["ProduceID"]) == ("1", "Vivavoce", "clip")
    assert len(aigc) == 7 and all(isinstance(value, str) for value in aigc.values())


async def test_a_recording_is_spoken_from_its_first_to_its_last_sample(context: TurnContext, tmp_path: Path) -> None:
    """Silence inside and at the start of a recording is kept: the clip is as long as the recording and its margins."""
    tone = 0.3 * np.sin(np.arange(8_000) * 0.3)
    recording = np.concatenate([np.zeros(8_000), tone, np.zeros(4_000), tone])
    soundfile.write(tmp_path / "speech.wav", recording, 16_000)
    recorded = await open_recording(tmp_path / "speech.wav")
    await render(context, Utterance(speech=recorded.speech()), tmp_path / "clip.mp4")
    mouths, _ = decoded(tmp_path / "clip.mp4")
    white = np.flatnonzero(mouths > 200) - MARGIN_PICTURES
    assert len(mouths) == 2 * MARGIN_PICTURES + 44  # 1.75 s in whole pictures
    assert (white.min(), white.max()) == (12, 43)
    assert not set(range(26, 31)) & set(white.tolist())


async def test_a_cancelled_rendering_leaves_no_file(context: TurnContext, tmp_path: Path) -> None:
    """What the progress callback raises ends the job with nothing written."""

    def cancel(count: int) -> None:
        if count > 8:
            raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        await render(
            context, Utterance(text="one two three four five six seven"), tmp_path / "out" / "clip.mp4", cancel
        )
    assert names(tmp_path / "out") == set()


async def test_an_older_clip_survives_a_rendering_that_fails(context: TurnContext, tmp_path: Path) -> None:
    """The file is replaced only by a whole one."""
    output = tmp_path / "clip.mp4"
    output.write_bytes(b"older")
    with pytest.raises(RenderError, match="nothing") as told:
        await render(context, Utterance(text="🎉 …"), output)
    assert told.value.code == "nothing_spoken"  # as in a session, so that it is told in Chinese too
    assert output.read_bytes() == b"older"
    assert names(tmp_path) == {"clip.mp4", "small"}


async def test_a_clip_that_does_not_fit_leaves_no_file(context: TurnContext, tmp_path: Path) -> None:
    """The system refuses to let the file grow: that is told, and even completing it in vain leaves nothing behind."""
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(RenderError, match="cannot be written: file too large") as told:
            await render(context, Utterance(text="one two three four five six seven"), tmp_path / "out" / "clip.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "space" in told.value.hint and told.value.code == "render_failed"
    assert names(tmp_path / "out") == set()


async def test_a_place_that_cannot_be_written_is_told(context: TurnContext, tmp_path: Path) -> None:
    """A folder that is a file is told like a full disk."""
    (tmp_path / "out").touch()
    with pytest.raises(RenderError, match="cannot be written"):
        await render(context, Utterance(text="one"), tmp_path / "out" / "clip.mp4")

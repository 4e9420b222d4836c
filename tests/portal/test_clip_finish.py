"""What is done to a clip when it is complete: the mark in its sound, then its signature; and what is told of both."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from avatars.errors import BadMedia
from pipeline.clip_writer import MADE
from pipeline.errors import NotMarked
from portal.clip_finish import ClipFinish, sound_mark
from portal.commands import cli
from portal.commands.marks import marks_of
from portal.settings import Settings
from tests.certificates import verdict_of
from tests.pipeline.test_sound_mark import ToneMark, write_clip
from tests.tiny_audioseal import write_audioseal_weights

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audioseal_weights(tmp_path_factory.mktemp("weights"))


async def test_the_sound_is_marked_before_the_clip_is_signed(weights: Path, tmp_path: Path) -> None:
    """So the signature holds; a portal that asks for neither leaves the clip alone."""
    pytest.importorskip("c2pa")
    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    content = clip.read_bytes()
    assert ClipFinish(Settings(data_dir=tmp_path / "data")).finish(clip) == [] and clip.read_bytes() == content
    finish = ClipFinish(Settings(data_dir=tmp_path / "data", sound_mark=True, c2pa=True, weights_dir=weights))
    finish.check()
    assert finish.finish(clip) == []
    assert verdict_of(clip).state == "Valid"
    assert sound_of(clip) != sound_of_bytes(content, tmp_path)


def sound_of(clip: Path) -> bytes:
    with av.open(str(clip)) as file:
        return b"".join(frame.to_ndarray().tobytes() for frame in file.decode(audio=0))


def sound_of_bytes(content: bytes, folder: Path) -> bytes:
    path = folder / "before.mp4"
    path.write_bytes(content)
    return sound_of(path)


async def test_without_its_weights_a_clip_is_kept_and_signed_all_the_same(tmp_path: Path) -> None:
    """The operator is told at the start, and whoever has made the clip with it."""
    pytest.importorskip("c2pa")
    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    finish = ClipFinish(Settings(data_dir=tmp_path / "data", sound_mark=True, c2pa=True, weights_dir=tmp_path))
    with pytest.raises(NotMarked, match=r"generator_base\.pth") as caught:
        finish.check()
    assert "fetch audioseal" in caught.value.hint
    (lack,) = finish.finish(clip)
    assert lack.code == "not_marked" and verdict_of(clip).state == "Valid"


async def test_damaged_weights_cost_the_mark_and_not_the_clip(tmp_path: Path) -> None:
    """Which is found when a clip is to be marked."""
    for role in ("generator", "detector"):
        (tmp_path / f"{role}_base.pth").write_bytes(b"PK\3\4 and no more")
    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    content = clip.read_bytes()
    (lack,) = ClipFinish(Settings(data_dir=tmp_path, sound_mark=True, weights_dir=tmp_path)).finish(clip)
    assert lack.code == "not_marked" and "damaged" in f"{lack.message} {lack.hint}"
    assert clip.read_bytes() == content


async def test_the_marks_of_a_clip_are_told(tmp_path: Path) -> None:
    """By the command's words; a file without any says so, and what is no clip is refused."""
    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    lines = list(marks_of(clip, ToneMark()))
    assert lines[0].endswith("made by AI") and "compositeWithTrained" in lines[1] and lines[2] == "sound: 0% is marked"
    bare = tmp_path / "bare.mp4"
    with av.open(str(clip)) as read, av.open(str(bare), "w") as written:
        copied = written.add_stream_from_template(read.streams.audio[0])
        for packet in read.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copied
                written.mux(packet)
    assert [line.partition(": ")[2] for line in marks_of(bare, None)][:2] == ["none", "none"]
    assert "fetch audioseal" in list(marks_of(bare, None))[2]
    with pytest.raises(BadMedia):
        list(marks_of(tmp_path / "gone.mp4", None))


async def test_the_command_tells_them(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`launch.py marks CLIP`, with and without the weights."""
    clip = await write_clip(tmp_path / "clip.mp4", MADE)
    assert cli.main(["marks", str(clip), "--weights", str(weights), "--data-dir", str(tmp_path)]) == 0
    assert "is marked" in capsys.readouterr().out
    assert cli.main(["marks", str(clip), "--weights", str(tmp_path), "--data-dir", str(tmp_path)]) == 0
    assert "not looked at" in capsys.readouterr().out
    assert sound_mark(weights) is sound_mark(weights), "it is loaded once"

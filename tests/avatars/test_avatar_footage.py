"""Clips as people have them: covers, changing sizes, half-pictures, damage, many containers; and what is not taken."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.container import OutputContainer
from av.video.stream import VideoStream
from clips import grey_levels, moving_portrait, write_clip
from PIL import Image

from avatars.errors import BadMedia
from avatars.footage import probe_footage
from avatars.media import clip_frames, probe, read_photo
from tests.recordings import playlists

pytestmark = pytest.mark.thorough

Picture = npt.NDArray[np.uint8]


def striped(shift: int, side: int = 128) -> Picture:
    """Upright bars, moved to the right: what shows combs best."""
    row = ((np.arange(side) - shift) // 16 % 2 * 180 + 30).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], side, 0), 3, 2)


def woven(count: int, side: int = 128) -> list[Picture]:
    """Pictures of two half-pictures taken at different times: even rows of one, odd rows of the next."""
    pictures = []
    for index in range(count):
        picture = striped(index * 8, side)
        picture[1::2] = striped(index * 8 + 4, side)[1::2]
        pictures.append(picture)
    return pictures


def combing(rgb: Picture) -> float:
    """How much rows differ from their neighbours' mean, against how much every other row differs."""
    grey = rgb[..., 1].astype(float)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


def write_stream(output: OutputContainer, pictures: Iterable[Picture], stream: VideoStream) -> None:
    for index, rgb in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts = index
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def add_video(output: OutputContainer, codec: str, size: int, rate: int = 25, **options: object) -> VideoStream:
    stream = output.add_stream(codec, rate=rate, options={key: str(value) for key, value in options.items()})
    assert isinstance(stream, VideoStream)
    stream.width = stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return stream


def put_cover_first(path: Path) -> None:
    """Tell of the cover before the tracks, as some programs do: it is the first stream then."""
    data = bytearray(path.read_bytes())
    start = data.index(b"moov") + 4
    stop = start - 8 + int.from_bytes(data[start - 8 : start - 4], "big")
    boxes: list[bytes] = []
    at = start
    while at < stop:
        boxes.append(bytes(data[at : (at := at + int.from_bytes(data[at : at + 4], "big"))]))
    order = [b"mvhd", b"udta"]

    def place(box: bytes) -> int:
        return order.index(box[4:8]) if box[4:8] in order else 2

    in_order: list[bytes] = sorted(boxes, key=place)
    data[start:stop] = b"".join(in_order)
    path.write_bytes(data)


def test_a_cover_before_the_clip_is_passed_over(tmp_path: Path) -> None:
    """Where a picture of its own comes first in a file, the clip behind it is read, though it is smaller."""
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        cover = add_video(output, "mjpeg", 256)
        clip = add_video(output, "libx264", 128)
        cover.disposition = av.stream.Disposition.attached_pic
        write_stream(output, [np.full((256, 256, 3), 250, np.uint8)], cover)
        write_stream(output, grey_levels([60] * 10, 128), clip)
    put_cover_first(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert [stream.codec_context.name for stream in file.streams.video] == ["mjpeg", "h264"]
    frames = list(clip_frames(tmp_path / "a.mp4"))
    assert probe(tmp_path / "a.mp4").width == 128
    assert len(frames) == 10
    assert abs(frames[0].mean() - 60) < 4


def test_a_track_of_one_thumbnail_is_passed_over(tmp_path: Path) -> None:
    """A thumbnail that is not marked as one has only one picture."""
    with av.open(str(tmp_path / "a.mov"), "w") as output:
        thumbnail, clip = add_video(output, "mjpeg", 96), add_video(output, "libx264", 128)
        write_stream(output, [np.full((96, 96, 3), 250, np.uint8)], thumbnail)
        write_stream(output, grey_levels([60] * 10, 128), clip)
    assert next(clip_frames(tmp_path / "a.mov")).shape[:2] == (128, 128)


def test_only_a_cover_is_no_clip(tmp_path: Path) -> None:
    """A song with a cover is refused as sound."""
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        cover = add_video(output, "mjpeg", 96)
        cover.disposition = av.stream.Disposition.attached_pic
        write_stream(output, [np.full((96, 96, 3), 250, np.uint8)], cover)
    with pytest.raises(BadMedia, match="only sound"):
        probe(tmp_path / "a.mp4")


def test_another_size_in_mid_file_is_not_squeezed(tmp_path: Path) -> None:
    """Pictures of another shape come between bars: a circle stays round."""
    disc = np.zeros((192, 192, 3), np.uint8)
    y, x = np.mgrid[:192, :192]
    disc[(x - 96) ** 2 + (y - 96) ** 2 < 60**2] = 220
    wide = np.pad(disc, ((0, 0), (96, 96), (0, 0)))
    path = tmp_path / "a.ts"
    data = b""
    for name, picture in (("1.ts", disc), ("2.ts", wide)):
        with av.open(str(tmp_path / name), "w") as output:
            stream = add_video(output, "mpeg2video", 192)
            stream.width = picture.shape[1]
            write_stream(output, [picture] * 5, stream)
        data += (tmp_path / name).read_bytes()
    path.write_bytes(data)
    frames = list(clip_frames(path))
    assert {frame.shape for frame in frames} == {(192, 192, 3)}
    bright = frames[-1][..., 1] > 110
    assert frames[-1][:20].max() < 20
    assert abs(bright.any(0).sum() - bright.any(1).sum()) <= 4


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_pixels_that_are_not_square_are_widened(tmp_path: Path, suffix: str) -> None:
    """Camcorders and discs store narrow pictures that are shown wide: a circle is round in the avatar."""
    y, x = np.mgrid[:192, :96]
    narrow = np.zeros((192, 96, 3), np.uint8)
    narrow[(2 * x - 96) ** 2 + (y - 96) ** 2 < 60**2] = 220
    with av.open(str(tmp_path / f"a.{suffix}"), "w") as output:
        stream = add_video(output, "mpeg4", 192)
        stream.width = 96
        stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        write_stream(output, [narrow] * 5, stream)
    frame = next(clip_frames(tmp_path / f"a.{suffix}"))
    bright = frame[..., 1] > 110
    assert frame.shape == (192, 192, 3)
    assert abs(bright.any(0).sum() - bright.any(1).sum()) <= 4


@pytest.mark.parametrize("flagged", [True, False])
def test_half_pictures_are_made_whole(tmp_path: Path, flagged: bool) -> None:
    """Interlaced clips come without combs, whether or not the flag is set."""
    options: dict[str, Any] = {"flags": "+ildct+ilme", "x264-params": "tff=1"} if flagged else {}
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = add_video(output, "libx264", 128, crf=4, **options)
        write_stream(output, woven(20), stream)
    frames = list(clip_frames(tmp_path / "a.mp4"))
    assert len(frames) == 20
    assert combing(woven(20)[10]) > 20
    assert max(combing(frame) for frame in frames[8:]) < 6


def test_whole_pictures_are_left_alone(tmp_path: Path) -> None:
    """A moving clip of whole pictures loses none of its rows."""
    fine = [np.roll(moving_portrait(1)[0], index * 3, axis=1) for index in range(20)]
    path = write_clip(tmp_path / "a.mp4", fine)
    frames = list(clip_frames(path))
    assert len(frames) == 20
    assert max(np.abs(frame.astype(int) - wanted).mean() for frame, wanted in zip(frames, fine, strict=True)) < 6


def test_damaged_pictures_are_left_out(tmp_path: Path) -> None:
    """A clip with a damaged place in its middle is read to its end."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 128, 128, 3), np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        write_stream(output, noise, add_video(output, "mjpeg", 128))
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    (tmp_path / "a.mkv").write_bytes(data)
    assert len(list(clip_frames(tmp_path / "a.mkv"))) >= 55


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "mjpeg"), (".webm", "libvpx")])
def test_a_clip_that_has_lost_its_end_is_refused(tmp_path: Path, suffix: str, codec: str) -> None:
    """A file that tells its size is half there: its person would speak with half of what was filmed."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 128, 128, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as output:
        write_stream(output, noise, add_video(output, codec, 128))
    assert len(list(clip_frames(path))) == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadMedia, match="end is missing") as refused:
        list(clip_frames(path))
    assert refused.value.cause == "damaged"


def test_a_clip_without_a_length_is_read(tmp_path: Path) -> None:
    """What a browser records says nothing of its length."""
    with av.open(str(tmp_path / "a.webm"), "w", options={"live": "1"}) as output:
        write_stream(output, moving_portrait(10), add_video(output, "libvpx", 192))
    assert probe(tmp_path / "a.webm").duration_s is None
    assert len(list(clip_frames(tmp_path / "a.webm"))) == 10


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mpegts", "libx264", {}),
        ("mpegts", "libx264", {"mpegts_m2ts_mode": "1"}),
        ("vob", "mpeg2video", {}),
        ("mpeg2video", "mpeg2video", {}),
        ("3gp", "mpeg4", {}),
        ("flv", "libx264", {}),
        ("asf", "wmv2", {}),
        ("avi", "mpeg4", {}),
        ("matroska", "libx264", {}),
    ],
)
def test_many_containers_are_taken(tmp_path: Path, container: str, codec: str, options: dict[str, str]) -> None:
    """Clips of cameras, phones, discs and old programs are read, whatever they are called."""
    path = tmp_path / "upload"
    with av.open(str(path), "w", format=container, options=options) as output:
        write_stream(output, grey_levels([90] * 30, 128), add_video(output, codec, 128))
    frames = list(clip_frames(path))
    assert probe(path).kind == "clip"
    assert 25 <= len(frames) <= 31
    assert abs(frames[5].mean() - 90) < 6


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("png", {}), ("webp", {"lossless": True}), ("avif", {})])
def test_moving_pictures_are_clips(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    """GIF, animated PNG, WebP and AVIF move: each picture is shown for its time."""
    levels = [40, 100, 160, 220]
    first, *others = (Image.fromarray(picture) for picture in grey_levels(levels))
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=others, duration=200, **options)
    assert (probe(path).kind, probe(path).format) == ("clip", suffix.upper())
    shown = np.array([frame.mean() for frame in clip_frames(path)])
    assert abs(len(shown) - 20) <= 3
    assert np.abs(shown[[1, 8, 13, 18]] - levels).max() < 8


def test_a_gif_of_one_picture_is_a_photo(tmp_path: Path) -> None:
    """A GIF that does not move is read as a photo."""
    Image.fromarray(grey_levels([120])[0]).save(tmp_path / "a.gif")
    assert probe(tmp_path / "a.gif").kind == "photo"
    assert read_photo(tmp_path / "a.gif").shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("head", "named", "way_out"),
    [
        (b"%PDF-1.7\n", "PDF", "JPEG"),
        (b"8BPS\0\1", "Photoshop", "JPEG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG", "PNG"),
        (b"  <SVG>", "SVG", "PNG"),
        (b"\0\0\0\x18ftypheic", "HEIC", "JPEG"),
        (b"\0\0\0\x18ftypcrx ", "Raw", "JPEG"),
        (b"II*\0\x10\0\0\0CR\2", "raw", "JPEG"),
        (b"MM\0*", "TIFF", "JPEG"),
        (b"\xff\x0a", "JPEG XL", "JPEG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "JPEG"),
        (b"\x1f\x8b\x08\0", ".gz", ".zip"),
        (b"Rar!\x1a\x07", ".rar", ".zip"),
        (bytes(257) + b"ustar", ".tar", ".zip"),
        (b"PK\x03\x04", "archive", ".zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Documents", "JPEG"),
        (b"%!PS-Adobe-3.0", "PostScript", "PNG"),
        (b"II+\0\x08\0\0\0", "TIFF", "JPEG"),
        (b"MMOR\0\0", "Raw", "JPEG"),
        (b"P6\n2 2\n255\n\x80", "unusual", "JPEG"),
        (b"qoif\0\0\1\0", "unusual", "JPEG"),
        (bytes(40) + b" EMF", "metafile", "JPEG"),
        (b"MSCF\0\0\0\0", ".cab", ".zip"),
        (b"DKIF\0\0", "Clips", "MP4"),
        (b"\0\0\0\1\x67\x42", "Clips", "MP4"),
        (b"\xff\xfb\x90\x64", "only sound", "MP4"),
        (b"\xff\xf1\x50\x80", "only sound", "MP4"),
        (b"FORM\0\0\0\0AIFF", "only sound", "MP4"),
        (b"<!-- made by a program --><svg>", "SVG", "PNG"),
        (b"<head><title>Error</title></head>", "web page", "Save"),
        ("<html>".encode("utf-16"), "web page", "Save"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "text", "editor"),
        (b'{"error": "not found"}', "text", "editor"),
        (b"RIFF\0\0\0\0WAVEfmt ", "only sound", "MP4"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "web page", "Save"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist", "clip itself"),
    ],
)
def test_what_is_not_taken_is_named(tmp_path: Path, head: bytes, named: str, way_out: str) -> None:
    """Each kind of file that people try is refused by its name, with what to do instead."""
    (tmp_path / "photo.jpg").write_bytes(head + bytes(300))
    with pytest.raises(BadMedia) as refused:
        probe(tmp_path / "photo.jpg")
    assert named in refused.value.message
    assert way_out in refused.value.hint


@pytest.mark.parametrize("suffix", ["", ".mp4", ".m3u8", ".ts"])
@pytest.mark.parametrize("kind", sorted(playlists("")))
def test_nothing_that_names_another_file_is_opened(tmp_path: Path, kind: str, suffix: str) -> None:
    """A clip beside a playlist does not come in through it, whatever the playlist is called."""
    clip = write_clip(tmp_path / "secret.mp4", grey_levels([60] * 10))
    for target in (f"file://{clip}", str(clip), clip.name):
        path = tmp_path / f"upload{suffix}"
        path.write_text(playlists(target)[kind])
        for look in (probe, lambda path: next(clip_frames(path)), read_photo, lambda path: probe_footage(path, "mp4")):
            with pytest.raises(BadMedia):
                look(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "bmp", "gif"])
@pytest.mark.parametrize("kept", [0.02, 0.5])
def test_a_picture_that_is_cut_off_is_called_damaged(tmp_path: Path, suffix: str, kept: float) -> None:
    """What begins as a picture is no unknown file, however early it ends."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: max(30, int(kept * path.stat().st_size))])
    with pytest.raises(BadMedia) as refused:
        read_photo(path)
    assert refused.value.cause == "damaged"


def test_a_clip_of_one_picture_is_told(tmp_path: Path) -> None:
    """It is neither called sound, nor made an avatar that stands still."""
    write_clip(tmp_path / "a.mp4", grey_levels([60]))
    with pytest.raises(BadMedia) as refused:
        probe(tmp_path / "a.mp4")
    assert refused.value.cause == "one_picture" and "JPEG" in refused.value.hint


def test_a_clip_of_countless_pictures_is_not_decoded_to_its_end(tmp_path: Path) -> None:
    """240 in a second are slow motion; more make work of which nothing is used."""
    slow = write_clip(tmp_path / "slow.mp4", grey_levels([60] * 480), times_s=[index / 240 for index in range(480)])
    assert abs(len(list(clip_frames(slow))) - 50) <= 1
    times_s = [index / 1000 for index in range(1000)]
    countless = write_clip(tmp_path / "countless.mp4", grey_levels([60] * 1000), times_s=times_s)
    with pytest.raises(BadMedia) as refused:
        list(clip_frames(countless, limit_s=1.0))
    assert refused.value.cause == "too_many_pictures"


def test_a_clip_that_begins_late_is_as_long_as_it_is(tmp_path: Path) -> None:
    """A piece of a long recording keeps the recording's times: they are no length."""
    times_s = [3600 + index / 25 for index in range(10)]
    path = write_clip(tmp_path / "a.mkv", grey_levels([60] * 10), times_s=times_s)
    duration_s = probe(path).duration_s
    assert duration_s is not None and duration_s < 1
    assert len(list(clip_frames(path))) == 10


@pytest.mark.parametrize(("suffix", "codec"), [("3gp", "h263"), ("flv", "flv"), ("mov", "mjpeg"), ("avi", "mpeg4")])
def test_damage_in_the_middle_is_passed_over(tmp_path: Path, suffix: str, codec: str) -> None:
    """Whatever error a decoder has for damaged pictures, those around them are shown."""
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as output:
        stream = add_video(output, codec, 128, g=5)
        stream.height = 96
        noise = np.random.default_rng(0).integers(0, 256, (50, 96, 128, 3), np.uint8)
        write_stream(output, noise, stream)
    data = bytearray(path.read_bytes())
    middle, tenth = len(data) // 2, len(data) // 10
    data[middle : middle + tenth] = np.random.default_rng(1).integers(0, 256, tenth, np.uint8).tobytes()
    path.write_bytes(data)
    assert len(list(clip_frames(path))) >= 40


def test_pictures_do_not_stay_in_memory(tmp_path: Path) -> None:
    """Garbage collection comes too late: a minute of 4K took gigabytes, and was refused for that."""
    path = write_clip(tmp_path / "clip.mp4", grey_levels(range(60, 120)))
    gc.collect()
    gc.disable()
    try:
        frames = clip_frames(path)
        for _ in range(50):
            next(frames)
        assert sum(type(one) is av.VideoFrame for one in gc.get_objects()) < 10  # isinstance() fails with weak proxies
    finally:
        gc.enable()

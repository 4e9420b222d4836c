"""Uploads are read by what is in them, upright, at 25 pictures a second, within limits, or refused with a remedy."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import grey_levels, moving_portrait, tag_turn, write_clip, write_sound
from PIL import Image

from avatars.errors import BadMedia
from avatars.media import clip_frames, probe, read_photo
from avatars.media_limits import MAX_CLIP_S
from avatars.pieces import check_pieces


def save_photo(path: Path, width: int = 96, height: int = 64, mode: str = "RGB", **options: Any) -> Path:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None].repeat(height, 0)
    Image.fromarray(ramp).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("avif", "AVIF")])
def test_photos_are_read_as_rgb(tmp_path: Path, suffix: str, kind: str) -> None:
    """A photo of each common format comes as uint8 RGB of its own size."""
    path = save_photo(tmp_path / f"photo.{suffix}")
    assert (probe(path).kind, probe(path).format) == ("photo", kind)
    rgb = read_photo(path)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (64, 96, 3)


def test_the_type_is_told_by_the_bytes(tmp_path: Path) -> None:
    """A PNG named .mp4 is a photo all the same."""
    path = save_photo(tmp_path / "clip.mp4", format="PNG")
    assert probe(path).kind == "photo"


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    """A photo that a phone has stored on its side comes upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    path = save_photo(tmp_path / "side.jpg", exif=exif)
    rgb = read_photo(path)
    assert (probe(path).width, probe(path).height) == (64, 96)
    assert rgb.shape == (96, 64, 3)
    assert rgb[2].mean() < 30
    assert rgb[-3].mean() > 225


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    """What is transparent in a picture becomes white, not black."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 32:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    rgb = read_photo(tmp_path / "cut.png")
    assert rgb[:, :32].min() == 255
    assert rgb[:, 32:].max() == 0


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "I;16"])
def test_other_colour_modes_are_converted(tmp_path: Path, mode: str) -> None:
    """Grey, palette, print and deep pictures keep their brightness."""
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    if mode == "I;16":
        Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(64, 0)).save(path)
    else:
        save_photo(path, mode=mode)
    rgb = read_photo(path)
    assert rgb[:, 0].mean() < 20
    assert rgb[:, -1].mean() > 235


def test_large_photos_are_scaled_down_to_even_sides(tmp_path: Path) -> None:
    """The longer side is brought to the limit, the sides stay even."""
    assert read_photo(save_photo(tmp_path / "a.jpg", 2001, 999), max_side=500).shape == (250, 500, 3)
    assert read_photo(save_photo(tmp_path / "b.png", 101, 67)).shape == (66, 100, 3)


def test_a_hundred_megapixels_are_refused_by_the_header(tmp_path: Path) -> None:
    """A giant picture is refused before its pixels are decoded, and the size is named."""
    path = save_photo(tmp_path / "giant.png", 10_000, 64)
    data = bytearray(path.read_bytes())
    data[20:24] = (10_000).to_bytes(4, "big")  # the header says 10,000 rows; decoding them would fail
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(BadMedia, match="100 megapixels") as refused:
        read_photo(path)
    assert refused.value.hint


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_looking_at_an_upload_decodes_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The server itself only reads headers: what decoding costs, the worker pays."""
    path = save_photo(tmp_path / f"a.{suffix}", 300, 200)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _image: pytest.fail("decoded"))
    assert (probe(path).width, probe(path).height) == (300, 200)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am a picture", b"%PDF-1.7\n" + bytes(500), b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"],
    ids=["empty", "text", "pdf", "playlist"],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """What is neither a picture nor a clip is refused with a hint; a playlist is never followed."""
    (tmp_path / "upload.mp4").write_bytes(content)
    with pytest.raises(BadMedia) as refused:
        probe(tmp_path / "upload.mp4")
    assert refused.value.hint


def test_a_jpeg_that_is_drawn_over_and_over_is_refused(tmp_path: Path) -> None:
    """Twenty thousand passes over a picture take minutes; those of an ordinary progressive one are taken."""
    path = tmp_path / "photo.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, progressive=True)
    assert probe(path).kind == "photo"
    data = path.read_bytes()
    last = data[data.rindex(b"\xff\xda") : -2]
    path.write_bytes(data[:-2] + last * 120 + data[-2:])
    with pytest.raises(BadMedia, match="takes minutes"):
        probe(path)


def test_a_damaged_heic_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Of an iPhone's photo whose description is missing, JPEG is the way out."""
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    with pytest.raises(BadMedia, match="HEIC") as refused:
        probe(tmp_path / "a.heic")
    assert "JPEG" in refused.value.hint


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated_photos_are_refused(tmp_path: Path, suffix: str) -> None:
    """A photo that was cut off on its way is refused, not filled with grey."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{suffix}")
    data = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadMedia) as refused:
        read_photo(tmp_path / "cut")
    assert refused.value.hint


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.webm", "libvpx")])
def test_clips_come_at_25_pictures_a_second(tmp_path: Path, name: str, codec: str) -> None:
    """A clip of 25 pictures a second gives each of its pictures once."""
    path = write_clip(tmp_path / name, moving_portrait(10), codec=codec)
    frames = list(clip_frames(path))
    assert probe(path).kind == "clip"
    assert len(frames) == 10
    assert frames[0].shape == (192, 192, 3)
    assert np.abs(frames[4].astype(int) - moving_portrait(10)[4]).mean() < 8


@pytest.mark.parametrize(("rate", "expected"), [(30, 50), (60, 50), (12, 50)])
def test_other_rates_drop_or_repeat_pictures(tmp_path: Path, rate: int, expected: int) -> None:
    """Two seconds are 50 pictures at any rate, each the nearest in time."""
    levels = [round(20 + 200 * index / (2 * rate)) for index in range(2 * rate)]
    path = write_clip(tmp_path / "a.mp4", grey_levels(levels), rate=rate)
    shown = [frame.mean() for frame in clip_frames(path)]
    wanted = [20 + 200 * index / 50 for index in range(50)]
    assert abs(len(shown) - expected) <= 1
    count = min(len(shown), 50)
    assert np.abs(np.subtract(shown[:count], wanted[:count])).max() < 200 / (2 * min(rate, 25)) + 6


def test_varying_timestamps_are_followed(tmp_path: Path) -> None:
    """A picture held for half a second is shown for half a second."""
    times_s = [0.0, 0.04, 0.08, 0.57, 0.61, 0.65]
    path = write_clip(tmp_path / "a.mp4", grey_levels([20, 60, 100, 140, 180, 220]), times_s=times_s)
    shown = np.array([frame.mean() for frame in clip_frames(path)])
    nearest = [np.argmin(np.abs(np.array(times_s) - index / 25)) for index in range(len(shown))]
    assert len(shown) == 17
    assert np.abs(shown - np.array([20, 60, 100, 140, 180, 220])[nearest]).max() < 6


def test_rotation_tags_are_respected(tmp_path: Path) -> None:
    """A clip with a quarter turn in its header comes upright."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 220  # bright on the left: on top, once turned clockwise
    path = write_clip(tmp_path / "a.mov", [picture] * 3)
    tag_turn(path)
    frame = next(clip_frames(path))
    assert frame.shape == (96, 64, 3)
    assert frame[:40].mean() > 200
    assert frame[56:].mean() < 20


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), "top left"),
        ((-1, 0, 0, 1), "top right"),
        ((1, 0, 0, -1), "bottom left"),
        ((-1, 0, 0, -1), "bottom right"),
        ((0, 1, -1, 0), "top right"),
        ((0, -1, 1, 0), "bottom left"),
        ((0, 1, 1, 0), "top left"),
        ((0, -1, -1, 0), "bottom right"),
    ],
)
def test_clips_are_mirrored_as_they_say(tmp_path: Path, matrix: tuple[int, ...], corner: str) -> None:
    """A clip of a front camera may be stored mirrored; it is not shown upside down for that."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:24, :24] = 220
    path = write_clip(tmp_path / "a.mov", [picture] * 3)
    tag_turn(path, *matrix)
    frame = next(clip_frames(path))
    assert frame.shape == ((64, 96, 3) if matrix[0] else (96, 64, 3))
    bright = frame[:20] if "top" in corner else frame[-20:]
    assert (bright[:, :20] if "left" in corner else bright[:, -20:]).mean() > 200


def test_large_clips_are_scaled_down(tmp_path: Path) -> None:
    """The longer side is brought within the limit."""
    path = write_clip(tmp_path / "a.mp4", [np.zeros((120, 320, 3), np.uint8)] * 2)
    assert next(clip_frames(path, max_side=160)).shape == (60, 160, 3)


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    """No more is decoded than is used."""
    path = write_clip(tmp_path / "a.mp4", moving_portrait(20))
    assert len(list(clip_frames(path, limit_s=0.2))) == 5


def test_a_long_clip_is_refused_by_its_header(tmp_path: Path) -> None:
    """Half an hour is refused before anything is decoded."""
    path = write_clip(tmp_path / "a.mp4", grey_levels([10, 20, 30]), times_s=[0.0, 900.0, 1800.0])
    with pytest.raises(BadMedia, match="30 minutes") as refused:
        next(clip_frames(path))
    assert "Cut it" in refused.value.hint
    assert MAX_CLIP_S < 1800


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    """A file with sound and no picture is no clip."""
    with pytest.raises(BadMedia, match="only sound"):
        probe(write_sound(tmp_path / "a.mp4"))


def test_a_refusal_tells_nothing_of_our_disk(tmp_path: Path) -> None:
    """What FFmpeg says is passed on without its number and the path of the upload."""
    (tmp_path / "upload.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(2000))
    with pytest.raises(BadMedia, match="cannot be read") as refused:
        probe(tmp_path / "upload.mp4")
    assert "upload.mp4" not in str(refused.value) and "Errno" not in str(refused.value)


@pytest.mark.parametrize("faststart", [False, True])
def test_truncated_clips_are_refused(tmp_path: Path, faststart: bool) -> None:
    """A clip that was cut off on its way is refused, wherever its index lies."""
    path = write_clip(tmp_path / "a.mp4", moving_portrait(60), faststart=faststart)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadMedia) as refused:
        list(clip_frames(path))
    assert "again" in refused.value.hint


def test_a_png_of_countless_chunks_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks without pixels are counted by their lengths alone; a PNG with many pieces of pixels is an ordinary one."""
    png = save_photo(tmp_path / "photo.png").read_bytes()
    head, rest = png[:33], png[33:]  # the signature and IHDR
    text = (5).to_bytes(4, "big") + b"tEXta\0bcd"
    text += zlib.crc32(text[4:]).to_bytes(4, "big")
    (tmp_path / "few.png").write_bytes(head + 20 * text + rest)
    assert probe(tmp_path / "few.png").kind == "photo"
    (tmp_path / "many.png").write_bytes(head + 3000 * text + rest)
    opened: list[object] = []
    monkeypatch.setattr("avatars.photos._opened", opened.append)
    with pytest.raises(BadMedia, match="minutes to decode") as caught:
        probe(tmp_path / "many.png")
    assert caught.value.hint
    assert not opened
    (tmp_path / "pixels.png").write_bytes(head + 3000 * ((0).to_bytes(4, "big") + b"IDAT\x35\xaf\x06\x1e") + rest)
    check_pieces(tmp_path / "pixels.png")

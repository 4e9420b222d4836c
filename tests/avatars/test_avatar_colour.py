"""Photos and clips end in the colours that a colour-managed viewer shows, and what is written says how it is coded.

The references are computed here from the standards, in floating point, and share nothing with the code under test.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from avatars.colour import bt709_frame, matrix_profile
from avatars.errors import BadMedia
from avatars.media import clip_frames, read_photo
from avatars.preview import encode_preview
from pipeline.clip_writer import ClipWriter
from pipeline.types import SAMPLES_PER_PICTURE, MediaFrame

pytestmark = pytest.mark.thorough

Colours = npt.NDArray[np.float64]
"R'G'B' or linear light (..., 3)"
Curve = Callable[[Colours], Colours]

TOLERANCE = 3
PATCHES = np.array(
    [(200, 30, 30), (40, 150, 60), (40, 60, 170), (224, 172, 150), (141, 85, 60), (60, 40, 30), (235, 235, 235)], float
)
"sRGB: three strong colours, three skins, nearly white"
PATCH_PX = 32

TO_XYZ = {
    "bt709": [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]],
    "p3": [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0, 0.0451134, 1.0439444]],
    "bt2020": [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0.0, 0.0280727, 1.0609851]],
    "bt601": [[0.3935209, 0.3652581, 0.1916769], [0.2123764, 0.7010599, 0.0865638], [0.0187391, 0.1119339, 0.9583847]],
    "pal": [[0.4305538, 0.3415498, 0.1783523], [0.2220043, 0.7066548, 0.0713409], [0.0201822, 0.1295534, 0.9393222]],
    "adobe": [[0.5766690, 0.1855582, 0.1882286], [0.2973450, 0.6273636, 0.0752915], [0.0270314, 0.0706889, 0.9913375]],
}
LUMA = {5: (0.299, 0.114), 6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
"red's and blue's part in luma by YUV matrix"
P3_CHROMATICITIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def linear(srgb: npt.ArrayLike) -> Colours:
    part = np.asarray(srgb, float) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def srgb_curve(light: Colours) -> Colours:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def light_in(space: str, srgb: npt.ArrayLike = PATCHES) -> Colours:
    """Linear light of sRGB colours in the primaries of another space, 0..1."""
    return linear(srgb) @ (np.linalg.inv(TO_XYZ[space]) @ TO_XYZ["bt709"]).T


def pq_curve(light: Colours) -> Colours:
    """1.0 is the white of a usual screen, 203 nits."""
    power = np.clip(light * 203 / 10_000, 0, 1) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg_curve(light: Colours) -> Colours:
    """The same on a display of 1,000 nits."""
    shown = light * 203 / 1000
    luminance = shown @ np.array(TO_XYZ["bt2020"][1])
    scene = shown * np.maximum(luminance, 1e-9)[..., None] ** (-0.2 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * np.maximum(scene, 0)), bright)


def as_patches(values: npt.ArrayLike, height: int = PATCH_PX) -> npt.NDArray[Any]:
    """Colours (n, 3) as a row of plain squares (height, n * 32, 3)."""
    return np.repeat(np.repeat(np.asarray(values)[None], height, 0), PATCH_PX, 1)


def seen(rgb: npt.NDArray[Any], height: int = PATCH_PX) -> Colours:
    """The colours in the middle of each square."""
    return rgb[height // 2, PATCH_PX // 2 :: PATCH_PX].astype(float)


def assert_colours(rgb: npt.NDArray[Any], wanted: Colours = PATCHES, height: int = PATCH_PX) -> None:
    assert np.abs(seen(rgb, height) - wanted).max() <= TOLERANCE, (seen(rgb, height) - wanted).round().tolist()


def save_png(path: Path, values: npt.ArrayLike, chunks: Iterable[tuple[bytes, bytes]] = (), **options: object) -> Path:
    """A PNG of patches with further chunks before its data."""
    Image.fromarray(np.round(as_patches(values, 64)).astype(np.uint8)).save(path, "PNG", **options)
    data = path.read_bytes()
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    path.write_bytes(data[:33] + extra + data[33:])
    return path


def write_coded_clip(
    path: Path,
    coded: Colours,
    matrix: int = 1,
    full: bool = False,
    size: tuple[int, int] | None = None,
    deep: bool = False,
    tags: tuple[int, int, int, int] | None = None,
    sampling: str = "444",
) -> Path:
    """A lossless clip of two pictures: R'G'B' (n, 3) in 0..1, turned into YUV by the formulas of the standards.

    sampling: 444, 422 or 420, how often colour is sampled; cameras write 420.
    tags: primaries, transfer, matrix and range as they are written down; None writes nothing.
    """
    width, height = size or (PATCH_PX * len(coded), 64)
    rgb = np.repeat(np.repeat(coded[None], height, 0), PATCH_PX, 1)
    rgb = np.pad(rgb, ((0, 0), (0, width - rgb.shape[1]), (0, 0)), mode="edge")
    red, blue = LUMA[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    unit = 4 if deep else 1
    scale, start, swing = (
        (255 * unit + unit - 1, 0, 255 * unit + unit - 1) if full else (219 * unit, 16 * unit, 224 * unit)
    )
    planes = [luma * scale + start, *(plane * swing + 128 * unit for plane in chroma)]
    across, down = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}[sampling]
    planes[1:] = [plane.reshape(height // down, down, width // across, across).mean((1, 3)) for plane in planes[1:]]
    pixels = f"yuv{sampling}p10le" if deep else f"yuv{sampling}p"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags or (2, 2, 2, 0)
        for _ in range(2):
            frame = av.VideoFrame(width, height, pixels)
            for plane, values in zip(frame.planes, planes, strict=True):
                line = plane.line_size // (2 if deep else 1)
                whole = np.zeros((len(values), line), np.uint16 if deep else np.uint8)
                whole[:, : values.shape[1]] = np.round(values)
                plane.update(whole.tobytes())
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


# photos


@pytest.mark.parametrize(
    ("suffix", "options"), [("png", {}), ("jpg", {"quality": 98, "subsampling": 0}), ("webp", {"lossless": True})]
)
def test_a_display_p3_photo_is_shown_in_its_own_colours(
    tmp_path: Path, suffix: str, options: Mapping[str, Any]
) -> None:
    """The wide colours of a phone's photo are converted by its profile, in every format that carries one."""
    coded = np.round(255 * light_in("p3") ** (1 / 2.2))
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(as_patches(coded, 64).astype(np.uint8)).save(
        path, icc_profile=matrix_profile(P3_CHROMATICITIES, 2.2), **options
    )
    assert_colours(read_photo(path), height=64)


def test_adobe_rgb_by_the_camera_s_word_for_it(tmp_path: Path) -> None:
    """Cameras write no profile for Adobe RGB but a number into EXIF."""
    coded = np.round(255 * np.clip(light_in("adobe"), 0, 1) ** (256 / 563))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    path = tmp_path / "photo.jpg"
    Image.fromarray(as_patches(coded, 64).astype(np.uint8)).save(path, quality=98, subsampling=0, exif=exif)
    assert_colours(read_photo(path), height=64)


def test_grey_by_its_profile(tmp_path: Path) -> None:
    """A grey photo whose profile has another curve keeps the brightness that is meant."""
    grey = b"GRAY".join(matrix_profile(P3_CHROMATICITIES, 1.8).split(b"RGB "))
    grey = grey.replace(b"rTRC", b"kTRC")
    levels = np.array([40.0, 90, 128, 200])
    coded = np.round(255 * linear(levels) ** (1 / 1.8)).astype(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(as_patches(coded[:, None], 64)[..., 0]).save(path, icc_profile=grey)
    assert_colours(read_photo(path), np.repeat(levels[:, None], 3, 1), height=64)


def test_print_colours_by_their_profile(tmp_path: Path) -> None:
    """A CMYK photo is converted by its profile instead of by the rule of thumb."""
    path = tmp_path / "photo.jpg"
    ink = Image.new("CMYK", (64, 64), (0, 255, 0, 0))
    ink.save(path, icc_profile=cmyk_profile(magenta_lab=(48, 68, -4)), quality=98, subsampling=0)
    assert np.abs(read_photo(path)[32, 32].astype(float) - lab_as_srgb(48, 68, -4)).max() <= TOLERANCE


def test_png_by_gamma_and_primaries(tmp_path: Path) -> None:
    """A PNG without a profile says its colours by gAMA and cHRM."""
    coded = 255 * light_in("p3") ** (1 / 1.8)
    primaries = struct.pack(">8I", *(round(value * 100_000) for value in P3_CHROMATICITIES))
    chunks = [(b"gAMA", struct.pack(">I", round(100_000 / 1.8))), (b"cHRM", primaries)]
    assert_colours(read_photo(save_png(tmp_path / "a.png", coded, chunks)), height=64)


def test_png_that_is_srgb_is_left_alone(tmp_path: Path) -> None:
    """Beside an sRGB chunk the gamma chunk is for old viewers only."""
    chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0")]
    assert np.array_equal(seen(read_photo(save_png(tmp_path / "a.png", PATCHES, chunks)), 64), PATCHES)


@pytest.mark.parametrize(("curve", "transfer"), [(srgb_curve, 13), (pq_curve, 16), (hlg_curve, 18)])
def test_png_by_code_points(tmp_path: Path, curve: Curve, transfer: int) -> None:
    """A PNG with a cICP chunk is converted by it, HDR included."""
    coded = 255 * curve(light_in("bt2020"))
    path = save_png(tmp_path / "a.png", coded, [(b"cICP", bytes([9, transfer, 0, 1]))])
    error = np.abs(seen(read_photo(path), 64) - PATCHES)
    assert error[3:].max() <= TOLERANCE
    assert error.max() <= 2 * TOLERANCE  # rounding strong colours to 8 bits of BT.2020 alone costs 3


def test_avif_by_code_points(tmp_path: Path) -> None:
    """An AVIF without a profile is converted by its nclx box."""
    coded = 255 * srgb_curve(light_in("p3"))
    path = tmp_path / "a.avif"
    Image.fromarray(np.round(as_patches(coded, 64)).astype(np.uint8)).save(path, quality=100, subsampling="4:4:4")
    data = bytearray(path.read_bytes())
    at = data.index(b"colrnclx") + 8
    data[at : at + 2] = struct.pack(">H", 12)
    path.write_bytes(data)
    assert_colours(read_photo(path), height=64)


@pytest.mark.parametrize("profile", [b"no profile at all", matrix_profile(P3_CHROMATICITIES, 2.2)[:150]])
def test_a_damaged_profile_is_passed_over(tmp_path: Path, profile: bytes) -> None:
    """Viewers show such a photo as it is; so do we."""
    path = tmp_path / "a.png"
    Image.fromarray(as_patches(PATCHES, 64).astype(np.uint8)).save(path, icc_profile=profile)
    assert np.array_equal(seen(read_photo(path), 64), PATCHES)


def test_transparency_outlives_the_conversion(tmp_path: Path) -> None:
    """A cut-out portrait in Display P3 is laid on white in its own colours."""
    coded = as_patches(np.round(255 * light_in("p3") ** (1 / 2.2)), 64)
    alpha = np.full((*coded.shape[:2], 1), 255)
    alpha[:8] = 0
    path = tmp_path / "a.png"
    pixels = np.concatenate([coded, alpha], 2).astype(np.uint8)
    Image.fromarray(pixels).save(path, icc_profile=matrix_profile(P3_CHROMATICITIES, 2.2))
    rgb = read_photo(path)
    assert rgb[:8].min() == 255
    assert_colours(rgb, height=64)


# clips


@pytest.mark.parametrize(
    ("name", "matrix", "options"),
    [
        ("bt601 by its tag", 5, {"size": (1280, 720), "tags": (1, 1, 6, 1)}),
        ("bt601 by its size", 5, {}),
        ("bt709 by its tag", 1, {"tags": (1, 1, 1, 1)}),
        ("bt709 by its size", 1, {"size": (1280, 720)}),
        ("full range", 1, {"full": True, "tags": (1, 1, 1, 2)}),
        ("10 bits", 1, {"deep": True, "tags": (1, 1, 1, 1)}),
        ("10 bits, full range", 1, {"deep": True, "full": True, "tags": (1, 1, 1, 2)}),
    ],
)
@pytest.mark.parametrize("chroma", ["444", "420"])
def test_clips_by_their_matrix_and_range(
    tmp_path: Path, name: str, matrix: int, options: Mapping[str, Any], chroma: str
) -> None:
    """A clip's YUV is undone as it was made: by its tags, and without them by its size."""
    path = write_coded_clip(tmp_path / "a.mkv", PATCHES / 255, matrix, sampling=chroma, **options)
    height = options.get("size", (0, 64))[1]
    rgb = next(clip_frames(path))
    assert np.abs(seen(rgb, height)[: len(PATCHES)] - PATCHES).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("space", "curve", "primaries", "transfer", "matrix", "chroma"),
    [
        ("p3", srgb_curve, 12, 13, 1, "420"),
        ("p3", srgb_curve, 12, 1, 1, "444"),
        ("bt2020", srgb_curve, 9, 14, 9, "422"),
        ("bt2020", hlg_curve, 9, 18, 9, "420"),
        ("bt2020", pq_curve, 9, 16, 9, "420"),
        ("bt2020", pq_curve, 9, 16, 9, "444"),
    ],
)
def test_clips_of_wide_colours_and_hdr(
    tmp_path: Path, space: str, curve: Curve, primaries: int, transfer: int, matrix: int, chroma: str
) -> None:
    """Wide primaries are converted; of HLG and PQ, what is no brighter than a usual screen's white looks as meant."""
    coded = curve(np.maximum(light_in(space), 0))
    tags = (primaries, transfer, matrix, 1)
    path = write_coded_clip(tmp_path / "a.mkv", coded, matrix, deep=True, tags=tags, sampling=chroma)
    assert_colours(next(clip_frames(path)), height=64)


STRONG = np.array(
    [(0, 255, 0), (20, 200, 40), (0, 120, 0), (255, 0, 0), (0, 0, 255), (0, 200, 220), (250, 220, 0), (128, 128, 128)],
    float,
)
"sRGB: what a shirt, a wall or a logo may have"


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(
    ("space", "curve", "primaries", "transfer", "matrix"),
    [
        ("p3", srgb_curve, 12, 13, 1),
        ("bt2020", srgb_curve, 9, 14, 9),
        ("bt2020", hlg_curve, 9, 18, 9),
        ("bt2020", pq_curve, 9, 16, 9),
        ("bt601", srgb_curve, 6, 6, 6),
        ("pal", srgb_curve, 5, 6, 5),
    ],
)
def test_strong_colours_of_a_tagged_clip(
    tmp_path: Path, space: str, curve: Curve, primaries: int, transfer: int, matrix: int, chroma: str
) -> None:
    """Colours at the edge of what a screen can show are as near as skins are."""
    wanted = np.minimum(STRONG, 229) if transfer in (16, 18) else STRONG  # brighter HDR is drawn together on purpose
    coded = curve(np.maximum(light_in(space, wanted), 0))
    if space in ("bt601", "pal"):  # narrower than sRGB in places: what is wanted is what the file can say
        wanted = 255 * srgb_curve(linear(255 * coded) @ np.linalg.inv(np.linalg.inv(TO_XYZ[space]) @ TO_XYZ["bt709"]).T)
    path = write_coded_clip(
        tmp_path / "a.mkv", coded, matrix, deep=True, tags=(primaries, transfer, matrix, 1), sampling=chroma
    )
    assert_colours(next(clip_frames(path)), np.clip(wanted, 0, 255), height=64)


@pytest.mark.parametrize(("curve", "transfer"), [(hlg_curve, 18), (pq_curve, 16)])
def test_hdr_lights_keep_their_shape_and_skins_their_level(tmp_path: Path, curve: Curve, transfer: int) -> None:
    """Up to level 235 nothing changes; above, brighter stays brighter up to 1,000 nits, in its own hue."""
    greys = np.repeat(linear(np.array([60.0, 128, 180, 220, 235]))[:, None], 3, 1)
    lights = np.repeat(np.array([1.0, 1.5, 2.5, 4.9])[:, None], 3, 1)
    orange = 3 * linear(np.array([[255, 180, 120]]))
    wide = np.concatenate([greys, lights, orange]) @ (np.linalg.inv(TO_XYZ["bt2020"]) @ TO_XYZ["bt709"]).T
    path = write_coded_clip(tmp_path / "a.mkv", curve(wide), 9, deep=True, tags=(9, transfer, 9, 1), sampling="420")
    got = seen(next(clip_frames(path)), 64)
    assert np.abs(got[:5] - np.array([60, 128, 180, 220, 235])[:, None]).max() <= TOLERANCE
    assert np.all(np.diff(got[4:9, 1]) >= 2) and got[8].max() < 255
    assert linear(got[9, 1]) / linear(got[9, 0]) == pytest.approx(linear(180), abs=0.03)


@pytest.mark.parametrize("full", [True, False])
def test_grey_clips_by_their_range(tmp_path: Path, full: bool) -> None:
    """A clip without colours is shown with its own black and white."""
    levels = np.array([0.0, 60, 128, 200, 255])
    coded = levels if full else 16 + levels * 219 / 255
    picture = np.round(as_patches(coded, 64)).astype(np.uint8)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], 64, "gray"
        stream.codec_context.color_range = 2 if full else 1
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        output.mux(stream.encode(None))
    assert_colours(next(clip_frames(path)), np.repeat(levels[:, None], 3, 1), height=64)


def test_an_unknown_matrix_is_refused_by_name(tmp_path: Path) -> None:
    """Colours that cannot be undone are refused with a remedy, never shown green."""
    path = write_coded_clip(tmp_path / "a.mkv", PATCHES / 255, 9, deep=True, tags=(9, 16, 14, 1))
    with pytest.raises(BadMedia, match="colours") as refused:
        next(clip_frames(path))
    assert "HDR" in refused.value.hint


# what we write


def decoded_as_tagged(path: Path) -> Colours:
    """The colours of the first picture by the tags in the file, in floating point, after checking the tags."""
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        assert (int(context.colorspace), int(context.color_primaries), int(context.color_trc)) == (1, 1, 1)
        assert int(context.color_range) == 1
        frame = next(file.decode(video=0))
    planes = [
        np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].astype(float)
        for plane in frame.planes
    ]
    luma = (planes[0] - 16) / 219
    blue, red = ((plane.repeat(2, 0).repeat(2, 1) - 128) / 224 for plane in planes[1:])
    rgb = np.stack([luma + 1.5748 * red, luma - 0.1873 * blue - 0.4681 * red, luma + 1.8556 * blue], 2)
    return np.clip(255 * rgb, 0, 255)


def test_previews_are_coded_and_tagged_as_bt709(tmp_path: Path) -> None:
    """A browser that goes by the tags shows a preview in the avatar's colours."""
    encode_preview([as_patches(PATCHES, 64).astype(np.uint8)] * 3, tmp_path / "preview.mp4")
    assert np.abs(seen(decoded_as_tagged(tmp_path / "preview.mp4"), 64) - PATCHES).mean() <= TOLERANCE


def test_made_clips_are_coded_and_tagged_as_bt709(tmp_path: Path) -> None:
    """A made clip shows the avatar's colours within three levels in a viewer that goes by the tags."""
    picture = as_patches(PATCHES, 64).astype(np.uint8)

    async def write() -> None:
        async with ClipWriter(tmp_path / "clip.mp4", picture.shape[1], 64) as writer:
            for index in range(3):
                await writer.send(MediaFrame(picture, np.zeros(SAMPLES_PER_PICTURE, np.float32), index))
            await writer.finish()

    asyncio.run(write())
    assert_colours(decoded_as_tagged(tmp_path / "clip.mp4"), height=64)


def test_a_coded_frame_is_within_a_rounding(tmp_path: Path) -> None:
    """The conversion itself costs less than one level of luma and chroma."""
    frame = bt709_frame(as_patches(PATCHES, 64).astype(np.uint8))
    luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(64, -1)[32, 16 : PATCH_PX * len(PATCHES) : PATCH_PX]
    assert np.abs(luma - (16 + 219 * (PATCHES / 255) @ [0.2126, 0.7152, 0.0722])).max() < 1


def lab_as_srgb(lightness: float, a: float, b: float) -> Colours:
    """CIE Lab (D50) as sRGB in floating point."""
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    from_d50 = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    return 255 * srgb_curve(np.array(from_d50) @ xyz)


def cmyk_profile(magenta_lab: tuple[int, int, int]) -> bytes:
    """A tiny ICC profile of a printer: a table with two steps an ink, in which pure magenta has that colour."""
    grid = []
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        pure = (cyan, magenta, yellow, black) == (0, 1, 0, 0)
        lightness, a, b = magenta_lab if pure else (100 * (1 - (cyan + magenta + yellow) / 3) * (1 - black), 0, 0)
        grid += [round(lightness * 2.55), a + 128, b + 128]
    identity = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(grid) + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 24
    tags = struct.pack(">I", 2) + b"A2B0" + struct.pack(">II", start, len(table) + len(table) % 4)
    table = table.ljust(-(-len(table) // 4) * 4, b"\0")
    tags += b"wtpt" + struct.pack(">II", start + len(table), len(white))
    size = start + len(table) + len(white)
    header = struct.pack(">I4x4s4s4s4s12x4s28x", size, b"\x02\x10\0\0", b"prtr", b"CMYK", b"Lab ", b"acsp")
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + tags + table + white

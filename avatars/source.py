"""Decodes what may become an avatar; these functions are tasks for avatars.confined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from avatars.bundle import encode_jpeg
from avatars.confined import Emit, Limits
from avatars.disk import disk_full_explained
from avatars.errors import BadMedia
from avatars.importers.reading import check_import, is_import, read_import
from avatars.media import clip_frames, probe, read_alpha, read_photo
from avatars.media_limits import FPS, MAX_SIDE_PX
from avatars.mouth_look import MouthLook
from avatars.records import DecodedRecord, SourceRecord
from avatars.workspace import FrameFile, PhotoFile
from models.arrays import ImageArray

__all__ = ["Upload", "check_source", "decode_source", "decoding_limits", "with_progress"]

Progress = Callable[[float], None]

PHOTO_SIDE_PX: Final = 4096
"A photo is kept up to this size until the place of the face is known."
MIN_FRAMED_PX: Final = 64

DECODING: Final = Limits(patience_s=120, cpu_s=1800, memory_bytes=1536 * 2**20, written_bytes=2 * 2**30)
IMPORTING: Final = Limits(patience_s=120, cpu_s=600, memory_bytes=3 * 2**30, written_bytes=2 * 2**30)
"""An import needs more memory: some projects store all pictures in one pickle. It needs less processor time than a
clip, whose pictures may be many more than are used, and depend on each other."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo, a clip or a foreign avatar (a folder or zip), and what is known about it."""

    path: Path
    avatar_id: str
    "from AvatarLibrary.new_id(); chosen once, so that `write` makes the same avatar when it is run again"
    name: str
    "the name that its owner gives the avatar"
    closed_eyes: Path | None = None
    "the same photo with closed eyes, if there is one"
    mouth_look: MouthLook | None = None
    "colours of the inside of a drawn mouth; None: `viseme` chooses them by the light in the picture"
    framing: Sequence[float] | None = None
    "the part of a photo or clip to use: x, y, width, height as fractions of the picture; None for all of it"
    cutout: bool = False
    "whether to cut the person out of a clip; for a photo this is always done"
    side_px: int = MAX_SIDE_PX
    "limit for the longer side of the avatar's picture; the cost of a live picture grows with its square"
    source: SourceRecord = field(default_factory=SourceRecord)
    "facts for the manifest: file name, consent, licence"


def check_source(emit: Emit, path: Path) -> bool:
    """Read the header of a photo or clip, or the names in a zipped foreign avatar; nothing is decoded.

    Return whether it is anything but a photo, so that making an avatar of it may take minutes. Raises BadMedia,
    BadImport.
    """
    if is_import(path):
        check_import(path)
        return True
    return probe(path).kind != "photo"


def decoding_limits(path: Path) -> Limits:
    """Return the limits for decode_source() with this upload."""
    return IMPORTING if is_import(path) else DECODING


def decode_source(emit: Emit, upload: Upload, output: Path) -> DecodedRecord:
    """Write the pictures of an upload into `output`, as a PhotoFile or a FrameFile.

    Emits the progress, 0 to 1. Returns kind, number of frames, and source facts.
    Raises BadMedia, BadImport, DiskFull.
    """
    with disk_full_explained():
        if is_import(upload.path):
            return read_import(upload.path, output, emit)
        return _read_media(upload, output, emit)


def with_progress(jpegs: Iterable[bytes], expected: float, progress: Progress) -> Iterator[bytes]:
    """Pass the JPEGs through, and report the progress relative to the expected number."""
    for index, jpeg in enumerate(jpegs):
        if index % 10 == 0:
            progress(min(1.0, index / max(1.0, expected)))
        yield jpeg


def _read_media(upload: Upload, output: Path, progress: Progress) -> DecodedRecord:
    info = probe(upload.path)
    frames = 1
    if info.kind == "photo":
        photo = _framed(read_photo(upload.path, PHOTO_SIDE_PX), upload.framing)
        closed = None if upload.closed_eyes is None else read_photo(upload.closed_eyes, PHOTO_SIDE_PX)
        alpha = read_alpha(upload.path, PHOTO_SIDE_PX)
        PhotoFile(output).write(photo, closed, None if alpha is None else _framed(alpha, upload.framing))
    else:
        expected = (info.duration_s or 10.0) * FPS
        jpegs = (encode_jpeg(_framed(rgb, upload.framing)) for rgb in clip_frames(upload.path))
        frames = FrameFile(output).write(with_progress(jpegs, expected, progress))
    source: SourceRecord = {
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "duration_s": info.duration_s,
        "fps": info.fps,
    }
    return {"kind": "still" if info.kind == "photo" else "clip", "frames": frames, "source": source}


def _framed(rgb: ImageArray, framing: Sequence[float] | None) -> ImageArray:
    """Return the part of a picture that a person chose, with even sides, as video needs them. Raises BadMedia."""
    if framing is None:
        return rgb
    height, width = rgb.shape[:2]
    x0, y0 = int(framing[0] * width), int(framing[1] * height)
    across = int(min(framing[2] * width, width - x0)) & ~1
    down = int(min(framing[3] * height, height - y0)) & ~1
    if min(across, down) < MIN_FRAMED_PX:
        raise BadMedia(
            f"What was chosen of the picture is only {min(across, down)} px wide.",
            "Choose a larger part of it, or upload a larger picture.",
            cause="part_too_small",
        )
    return np.ascontiguousarray(rgb[y0 : y0 + down, x0 : x0 + across])

"""What may become an avatar, seen where it is safe to open it: tasks for avatars.confined."""

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

__all__ = ["Upload", "check_source", "counted", "decode_source", "decoding_limits"]

Progress = Callable[[float], None]

PHOTO_SIDE_PX: Final = 4096
"photos are kept this large until it is known where the face is"
MIN_FRAMED_PX: Final = 64

DECODING: Final = Limits(patience_s=120, cpu_s=1800, memory_bytes=1536 * 2**20, written_bytes=2 * 2**30)
IMPORTING: Final = Limits(patience_s=120, cpu_s=1800, memory_bytes=3 * 2**30, written_bytes=2 * 2**30)
"Some projects keep all pictures in one pickle."


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo, a clip or a foreign avatar (a folder or zip), and what is known about it."""

    path: Path
    avatar_id: str
    "of AvatarLibrary.new_id(): chosen once, so that every run of `write` makes the same avatar"
    name: str
    "as the person calls the avatar"
    closed_eyes: Path | None = None
    "the same photo with closed eyes, where there is one"
    mouth_look: MouthLook | None = None
    "the inside of a drawn mouth; None judges it by the light in the picture"
    framing: Sequence[float] | None = None
    "x, y, width, height of what is used of a photo or clip, in parts of its picture; None for all of it"
    cutout: bool = False
    "whether the person is cut out of a clip; of a photo they are in any case"
    side_px: int = MAX_SIDE_PX
    "longer side of the avatar's picture at most: what a live picture costs grows with its square"
    source: SourceRecord = field(default_factory=SourceRecord)
    "kept in the manifest: file name, consent, licence"


def check_source(emit: Emit, path: Path) -> None:
    """Look at the header of a photo or clip, or at the names in a zipped foreign avatar; nothing is decoded.

    Raises BadMedia, BadImport.
    """
    if is_import(path):
        check_import(path)
    else:
        probe(path)


def decoding_limits(path: Path) -> Limits:
    """What decode_source() may use for this upload."""
    return IMPORTING if is_import(path) else DECODING


def decode_source(emit: Emit, upload: Upload, output: Path) -> DecodedRecord:
    """Write the pictures of an upload into `output`: a PhotoFile or a FrameFile.

    Emits how much of it is done, 0 to 1. Returns what is known of it: kind, frames, and the source facts.
    Raises BadMedia, BadImport, DiskFull.
    """
    with disk_full_explained():
        if is_import(upload.path):
            return read_import(upload.path, output, emit)
        return _read_media(upload, output, emit)


def counted(jpegs: Iterable[bytes], expected: float, progress: Progress) -> Iterator[bytes]:
    """The same, reporting how much of the expected number has been taken."""
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
        frames = FrameFile(output).write(counted(jpegs, expected, progress))
    source: SourceRecord = {
        "format": info.format,
        "width": info.width,
        "height": info.height,
        "duration_s": info.duration_s,
        "fps": info.fps,
    }
    return {"kind": "still" if info.kind == "photo" else "clip", "frames": frames, "source": source}


def _framed(rgb: ImageArray, framing: Sequence[float] | None) -> ImageArray:
    """The part of a picture that a person chose; its sides are even, as video needs them. Raises BadMedia."""
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

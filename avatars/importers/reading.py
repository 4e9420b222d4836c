"""Turns a foreign avatar into the source of an ordinary preparation: its pictures become a clip at 25 a second.

Our own analyzer finds the face in them, as in any clip. The project's boxes are compared with what it found. With their
masks they are kept for the backend whose crops they are (`crops`). The project's latents (latents.pt) are not loaded:
backends compute their own from the pictures. A network trained for the avatar is taken over unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import encode_jpeg
from avatars.errors import BadImport
from avatars.importers.crops import whole_boxes
from avatars.importers.folder import READ_HINT, ForeignFolder, is_import, open_folder
from avatars.importers.foreign import ForeignAvatar, ForeignReader, Pictures
from avatars.importers.livetalking import UltralightReader, Wav2LipReader
from avatars.importers.musetalk import MuseTalkReader
from avatars.importers.openavatarchat import OpenAvatarChatReader
from avatars.media_limits import FPS, MAX_SIDE_PX, USED_CLIP_S, fit_within
from avatars.records import DecodedRecord, ImportRecord, SourceRecord
from avatars.workspace import ForeignFiles, FrameFile, PhotoFile
from models.arrays import ImageArray

__all__ = ["check_import", "is_import", "open_foreign", "read_import"]

logger = logging.getLogger(__name__)

MAX_PIXELS: Final = round(USED_CLIP_S * FPS) * 2560 * 1440
"""Most pixels of all pictures of an import together: decoding takes time in proportion to them, and others wait for the
worker meanwhile. Of larger pictures fewer are used."""

READERS: Final[tuple[ForeignReader, ...]] = (
    OpenAvatarChatReader(),
    MuseTalkReader(),
    UltralightReader(),
    Wav2LipReader(),
)
"The first one that recognises a folder reads it."


def check_import(path: Path) -> None:
    """Check only the names in a folder or zip. Raises BadImport if it is hostile, damaged or not a foreign avatar."""
    with open_folder(path) as folder:
        _reader_of(folder)


@contextmanager
def open_foreign(path: Path) -> Iterator[ForeignAvatar]:
    """Open the foreign avatar in a folder or zip; pictures can be decoded inside the block only. Raises BadImport."""
    with open_folder(path) as folder:
        yield _reader_of(folder).read(folder)


def read_import(path: Path, output: Path, progress: Callable[[float], None]) -> DecodedRecord:
    """Write the pictures as the `read_source` stage does (a PhotoFile or a FrameFile), the boxes and the networks.

    Returns what that stage records about them: kind, frames, and the source facts. Raises BadImport.
    """
    with open_foreign(path) as foreign:
        kept = ForeignFiles(output)
        for backend, copy_to in foreign.networks.items():
            copy_to(kept.new_network(backend))
        height, width = foreign.pictures.decode(0).shape[:2]
        used = foreign.pictures.first(min(round(USED_CLIP_S * FPS), MAX_PIXELS // (width * height)))
        # Pictures are scaled down to MAX_SIDE_PX, so the boxes have to be scaled in the same way.
        boxes = foreign.boxes[: used.count] * np.float32(min(1.0, MAX_SIDE_PX / max(width, height)))
        kept.write_boxes(boxes)
        if max(width, height) <= MAX_SIDE_PX:  # masks cannot be scaled: that would change their edges
            _keep_masks(foreign, boxes, (width, height), kept)
        pictures = _fitted(used, (height, width), progress)
        frames = 1
        if used.count == 1:
            PhotoFile(output).write(next(pictures))
        else:
            frames = FrameFile(output).write(map(encode_jpeg, pictures))
        imported: ImportRecord = {
            "from": foreign.project,
            "pictures": foreign.pictures.count,
            "used": used.count,
            "doubled": foreign.doubled,
            "ignored": foreign.ignored,
            "crops_of": foreign.crops_of,
            "faceless": int(np.isnan(boxes[:, 0]).sum()),
            "networks": sorted(foreign.networks),
            "noted": dict(foreign.facts),
        }
    source: SourceRecord = {
        "format": "folder" if path.is_dir() else "zip",
        "width": width,
        "height": height,
        "duration_s": None if used.count == 1 else foreign.pictures.count / FPS,
        "fps": None if used.count == 1 else float(FPS),
        "imported": imported,
    }
    return {"kind": "still" if used.count == 1 else "clip", "frames": frames, "source": source}


def _keep_masks(
    foreign: ForeignAvatar, boxes: npt.NDArray[np.float32], size: tuple[int, int], kept: ForeignFiles
) -> None:
    """Write the project's mask for each box; write none at all if one is missing or does not fit."""
    if foreign.mask_of is None or not np.isfinite(boxes).all():
        return
    masks: list[npt.NDArray[np.uint8]] = []
    for index, box in enumerate(whole_boxes(boxes, size).tolist()):
        x0, y0, x1, y1 = box
        try:
            masks.append(cv2.imencode(".png", foreign.mask_of(index, (x0, y0, x1, y1)))[1].reshape(-1))
        except BadImport as error:
            logger.info("the masks of %s are not kept: %s", foreign.project, error)
            return
    kept.write_masks(masks)


def _fitted(pictures: Pictures, shape: tuple[int, int], progress: Callable[[float], None]) -> Iterator[ImageArray]:
    """Give the pictures, scaled down to an avatar's size. Raises BadImport if their sizes differ."""
    for index, rgb in enumerate(pictures):
        if rgb.shape[:2] != shape:
            raise BadImport(
                f"Picture {index} has {rgb.shape[1]} x {rgb.shape[0]} pixels, the first one {shape[1]} x {shape[0]}.",
                "Files of several avatars may be mixed: make the avatar again.",
                cause="mixed",
            )
        if index % 10 == 0:
            progress(index / pictures.count)
        yield fit_within(rgb, MAX_SIDE_PX)


def _reader_of(folder: ForeignFolder) -> ForeignReader:
    for reader in READERS:
        if reader.recognises(folder):
            return reader
    raise BadImport(
        f"The folder {folder.name!r} is of no project that is known: beside coords.pkl there should be full_imgs, and "
        "face_imgs or mask_coords.pkl.",
        READ_HINT,
        cause="unknown",
    )

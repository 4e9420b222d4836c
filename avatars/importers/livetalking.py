"""Avatars of LiveTalking for its wav2lip and ultralight models (for its musetalk: `musetalk`)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from avatars.face_formats import ULTRALIGHT, WAV2LIP96, WAV2LIP256
from avatars.importers.folder import ForeignFolder
from avatars.importers.foreign import (
    COORDS,
    FULL_IMAGES,
    ForeignAvatar,
    boxes_of,
    coords_in,
    match,
    stored_pictures,
    width_of,
)
from avatars.importers.networks import copy_network

__all__ = ["UltralightReader", "Wav2LipReader"]

FACE_IMAGES: Final = "face_imgs"
WAV2LIP_BACKENDS: Final = {known.side_px: known.name for known in (WAV2LIP96, WAV2LIP256)}
"Side of the face pictures -> backend. No network here draws those of 384 px."
WEIGHTS: Final = "ultralight.pth"
MAX_FACE_BYTES: Final = 4 * 2**20
"Limit for a face picture. It is small because the portal itself reads one into memory when a zip is uploaded."


class Wav2LipReader:
    """Reads `full_imgs`, `face_imgs`, and boxes of y1, y2, x1, x2."""

    def recognises(self, folder: ForeignFolder) -> bool:
        return bool(folder.numbered(FACE_IMAGES)) and not _is_ultralight(folder)

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """See ForeignReader."""
        avatar = _read(folder, "LiveTalking wav2lip", (2, 0, 3, 1))
        return replace(avatar, crops_of=WAV2LIP_BACKENDS.get(_face_side_px(folder)))


class UltralightReader:
    """Reads `full_imgs`, `face_imgs` of 168 px, the avatar's own network, and boxes of x1, y1, x2, y2."""

    def recognises(self, folder: ForeignFolder) -> bool:
        return bool(folder.numbered(FACE_IMAGES)) and _is_ultralight(folder)

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """See ForeignReader."""
        avatar = _read(folder, "LiveTalking ultralight", (0, 1, 2, 3))
        networks = {ULTRALIGHT.name: partial(copy_network, folder, WEIGHTS)} if WEIGHTS in folder else {}
        return replace(avatar, crops_of=ULTRALIGHT.name, networks=networks)


def _is_ultralight(folder: ForeignFolder) -> bool:
    return WEIGHTS in folder or _face_side_px(folder) == ULTRALIGHT.side_px  # wav2lip's are 96, 256 or 384


def _face_side_px(folder: ForeignFolder) -> int:
    name = folder.numbered(FACE_IMAGES)[0]
    return width_of(folder.read(name, MAX_FACE_BYTES), name)


def _read(folder: ForeignFolder, project: str, order: tuple[int, int, int, int]) -> ForeignAvatar:
    pictures = stored_pictures(folder)
    match(FULL_IMAGES, pictures.count, len(folder.numbered(FACE_IMAGES)))
    coords = coords_in(folder)
    match(COORDS, len(coords), pictures.count)
    height, width = pictures.decode(0).shape[:2]
    boxes = boxes_of(coords, order, (width, height))
    return ForeignAvatar(project, pictures, boxes, doubled=False, facts={"face_px": _face_side_px(folder)})

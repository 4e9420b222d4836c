"""Avatars of OpenAvatarChat: MuseTalk's layout, with all pictures also in frames.pkl and all masks in masks.pkl."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from avatars.errors import BadImport
from avatars.importers.folder import ForeignFolder
from avatars.importers.foreign import (
    FULL_IMAGES,
    ForeignAvatar,
    Pictures,
    check_size,
    coords_in,
    list_in,
    match,
    written_pictures,
)
from avatars.importers.musetalk import MASK_COORDS, avatar_of
from models.arrays import ImageArray

__all__ = ["OpenAvatarChatReader"]


FRAMES: Final = "frames.pkl"
MASKS: Final = "masks.pkl"
MAX_PICTURES_BYTES: Final = 2**30
"Limit for a pickle of pictures. It is in memory twice while it is read."


class OpenAvatarChatReader:
    """Reads the pictures of `full_imgs` if it exists, otherwise those of frames.pkl."""

    def recognises(self, folder: ForeignFolder) -> bool:
        return MASK_COORDS in folder and FRAMES in folder

    def read(self, folder: ForeignFolder) -> ForeignAvatar:
        """See ForeignReader."""
        coords = coords_in(folder)
        if folder.numbered(FULL_IMAGES):
            pictures, ignored = written_pictures(folder, len(coords))
        else:
            pictures, ignored = _pickled_pictures(folder), 0
            if MASKS in folder:
                match(MASKS, len(list_in(folder, MASKS, MAX_PICTURES_BYTES)), pictures.count)
        return replace(avatar_of(folder, coords, pictures, ignored), project="OpenAvatarChat")


def _pickled_pictures(folder: ForeignFolder) -> Pictures:
    frames = list_in(folder, FRAMES, MAX_PICTURES_BYTES)
    return Pictures(len(frames), lambda index: _rgb(frames[index], index))


def _rgb(bgr: object, index: int) -> ImageArray:
    if not isinstance(bgr, np.ndarray) or bgr.dtype != np.uint8 or bgr.ndim != 3 or bgr.shape[2] != 3:
        raise BadImport(
            f"Entry {index} of {FRAMES} is no picture.", "Make the avatar again with OpenAvatarChat.", cause="damaged"
        )
    check_size(bgr.shape[1], bgr.shape[0], f"Entry {index} of {FRAMES}")
    return np.ascontiguousarray(bgr[:, :, ::-1])

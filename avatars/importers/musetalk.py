"""Avatars of MuseTalk's real-time script, and those that LiveTalking makes for its musetalk model in nearly its layout.

MuseTalk stores the doubled cycle and, since 1.5, its version; LiveTalking stores each picture once and no version.
"""

from __future__ import annotations

from typing import Final

from avatars.errors import BadImport
from avatars.importers.folder import PeerFolder
from avatars.importers.peer import (
    COORDS,
    MIXED,
    PeerAvatar,
    boxes_of,
    coords_in,
    fold,
    info_of,
    list_in,
    match,
    written_pictures,
)

__all__ = ["CORNERS", "MASKS", "MASK_COORDS", "MuseTalkReader", "check_mask_boxes"]

MASKS: Final = "mask"
MASK_COORDS: Final = "mask_coords.pkl"
CORNERS: Final = (0, 1, 2, 3)
"boxes are x1, y1, x2, y2"


class MuseTalkReader:
    """`full_imgs`, `mask`, boxes of x1, y1, x2, y2 and of the masks, and latents that are not loaded."""

    def recognises(self, folder: PeerFolder) -> bool:
        return MASK_COORDS in folder and bool(folder.numbered("full_imgs"))

    def read(self, folder: PeerFolder) -> PeerAvatar:
        """See PeerReader."""
        coords = coords_in(folder)
        pictures, ignored = written_pictures(folder, len(coords))
        check_mask_boxes(folder, len(coords))
        masks = len(folder.numbered(MASKS))
        if masks not in (0, len(coords)):
            match(MASKS, masks, pictures.count)
        single, boxes, doubled = fold(pictures, coords)
        info = info_of(folder)
        peer = "MuseTalk" if doubled or "version" in info else "LiveTalking musetalk"
        height, width = pictures.decode(0).shape[:2]
        return PeerAvatar(peer, single, boxes_of(boxes, CORNERS, (width, height)), doubled, ignored=ignored, facts=info)


def check_mask_boxes(folder: PeerFolder, boxes: int) -> None:
    """Raises BadImport unless mask_coords.pkl is as long as coords.pkl."""
    masks = len(list_in(folder, MASK_COORDS))
    if masks != boxes:
        raise BadImport(f"{MASK_COORDS} has {masks} boxes, but {COORDS} has {boxes}.", MIXED)

"""A lip-sync network in one file: it paints the face in the one colour that its weights are."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.face_crops import CropParameters, wav2lip_boxes
from avatars.face_formats import FaceFormat
from avatars.face_masks import pasted_mask
from avatars.parts import BackendParts
from pipeline.lipsync.patches import RowFormat, open_parts, parts_stamp, patches_of, rows_of
from pipeline.lipsync.torch_device import find_weights
from pipeline.types import FacePatch, LipSyncRequest

FACE = FaceFormat(
    name="toy",
    side_px=24,
    boxes=wav2lip_boxes,
    mask=pasted_mask,
    parameters=("pads",),
    defaults=CropParameters(pads=(0, 7, 0, 0)),
)
_ROWS = RowFormat("faces", (FACE.side_px, FACE.side_px, 3), np.uint8)


class ToyLipSync:
    name = "toy"
    features = "loudness"
    max_batch = 4
    on_device = True
    draws_rest = False

    def __init__(self, weights: Path | None = None) -> None:
        self._file = find_weights(self.name, weights, packages=())["network"]

    def load(self, device: str) -> None:
        self._colour = np.frombuffer(self._file.read_bytes(), np.uint8)

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        return parts_stamp(bundle, self.name, _ROWS)

    def prepare(self, bundle: AvatarBundle) -> BackendParts:
        return open_parts(bundle, self.name, _ROWS)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        drawn = rows_of(requests, "faces")
        drawn[:] = self._colour
        return patches_of(requests, drawn)

    def close(self) -> None:
        pass

"""The boxes by which a peer has cut the crops that an avatar's own network was trained on, kept for that network.

They come from a face detector of the peer's, and a network of one avatar has seen no others: by boxes that are a few
pixels off it draws a mouth that is a few pixels off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from avatars.face_crops import CropParameters, face_boxes
from avatars.importers.account import AGREEMENT, AGREES, PEER_BOXES
from avatars.workspace import read_json

__all__ = ["boxes_of", "given_boxes", "kept_crops"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

TENSOR: Final = "{}/boxes"
"of the bundle; of a lip-sync backend"


def kept_crops(work: Path) -> dict[str, IntArray]:
    """The tensor of such boxes for the bundle that is made in `work`; none where they are not certain to fit it.

    A clip's pictures are the peer's own, each once, so those that are used have its boxes. A still's are made here, and
    the face moves in them. A face that the peer has seen elsewhere, or not in all of them, is nothing to rely on.
    """
    facts = read_json(work / "read_source" / "source.json")
    backend = facts["source"].get("imported", {}).get("crops_of")
    if backend is None or facts["kind"] == "still":
        return {}
    median = read_json(work / "find_faces" / AGREEMENT)["median_iou"]
    with np.load(work / "make_loop" / "loop.npz") as loop:
        first, stop = loop["stretch"]
        size = loop["size"]
    seen: FloatArray = np.load(work / "read_source" / PEER_BOXES)[first:stop]
    if median is None or median < AGREES or not np.isfinite(seen).all():
        return {}
    boxes = np.clip(np.rint(seen), 0, np.tile(size, 2)).astype(np.int32)
    return {TENSOR.format(backend): boxes} if _are_boxes(boxes) else {}


def boxes_of(bundle: AvatarBundle, backend: str, parameters: CropParameters) -> IntArray:
    """Boxes (n, 4) int32 x0, y0, x1, y1 of the face in each frame of an avatar: those it came with for its own network,
    which knows no others, or by the backend's rule.

    Raises KeyError for a backend without a face crop, FaceNotFound, BadParameters, BundleError.
    """
    given = given_boxes(bundle, backend)
    if given is not None:
        return given
    return face_boxes(backend, bundle.landmarks, (bundle.width, bundle.height), parameters)


def given_boxes(bundle: AvatarBundle, backend: str) -> IntArray | None:
    """Those an avatar came with; None if it came without. Raises BundleError if they do not fit the avatar."""
    boxes = bundle.backend_tensors.get(TENSOR.format(backend))
    if boxes is None:
        return None
    edges = (bundle.width, bundle.height) * 2
    whole = boxes.shape == (bundle.frame_count, 4) and boxes.dtype == np.int32
    if not whole or not ((boxes >= 0) & (boxes <= edges)).all() or not _are_boxes(boxes):
        raise BundleError(f"The boxes of the avatar '{bundle.id}' for {backend} are damaged.", "Import it again.")
    return boxes


def _are_boxes(boxes: IntArray) -> bool:
    return bool((boxes[:, 2:] > boxes[:, :2]).all())

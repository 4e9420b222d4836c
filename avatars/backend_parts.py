"""Preparing an avatar for a lip-sync backend: boxes and masks from its landmarks, faces cut out, latents of them.

Faces go in batches, and a batch that is finished is kept in the working directory: after a kill the next run computes
only what is missing. What is there counts only for the same avatar, backend and parameters.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from avatars.face_crops import BACKENDS, CropParameters, face_boxes
from avatars.face_masks import feathered_mask, musetalk_mask
from avatars.latents import FaceEncoder
from avatars.parts import BackendParts, bundle_fingerprint, write_parts
from avatars.workspace import stage_output

__all__ = ["BATCH_FRAMES", "prepare_parts"]

BATCH_FRAMES = 16

ImageArray = npt.NDArray[np.uint8]
Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _FaceFormat:
    side_px: int
    interpolation: int
    "of the original's resizing: a network is used to its sharpness"
    latents: bool = False


_FORMATS = {
    "musetalk15": _FaceFormat(256, cv2.INTER_LANCZOS4, latents=True),
    "musetalk10": _FaceFormat(256, cv2.INTER_LANCZOS4, latents=True),
    "wav2lip256": _FaceFormat(256, cv2.INTER_LINEAR),
    "wav2lip96": _FaceFormat(96, cv2.INTER_LINEAR),
    "ultralight": _FaceFormat(168, cv2.INTER_LINEAR),
}


def prepare_parts(
    bundle: AvatarBundle,
    backend: str,
    weights: Path,
    parameters: CropParameters,
    work: Path,
    progress: Callable[[float], None],
    *,
    device: str = "cpu",
) -> BackendParts:
    """Make and store what `backend` needs of an avatar; MuseTalk's rows are `latents`, the others' `faces`.

    `progress` gets 0 to 1; what it raises ends the preparation, and the next run with the same `work` goes on there.
    Raises AvatarError (no such backend, packages not installed), FaceNotFound, BundleError, DiskFull, WeightsMissing,
    WeightsDamaged, WrongArchitecture.
    """
    if backend not in BACKENDS:
        raise AvatarError(f"Nothing needs to be prepared for {backend!r}.", f"Choose one of {', '.join(BACKENDS)}.")
    face_format = _FORMATS[backend]
    encode: Callable[[ImageArray], Rows] = _as_they_are
    if face_format.latents:
        encode = FaceEncoder(weights, backend, device).encode
    boxes = face_boxes(backend, bundle.landmarks, (bundle.width, bundle.height), parameters)
    batches = work / _digest(bundle, backend, parameters)
    starts = range(0, bundle.frame_count, BATCH_FRAMES)
    for start in starts:
        progress(start / bundle.frame_count)
        if not _batch(batches, start).exists():
            frames = range(start, min(start + BATCH_FRAMES, bundle.frame_count))
            rows = encode(np.stack([_face(bundle.frame(frame), boxes[frame], face_format) for frame in frames]))
            with stage_output(batches, _batch(batches, start).parent.name) as output:
                np.save(output / "rows.npy", rows)
    name = "latents" if face_format.latents else "faces"
    parts = write_parts(
        bundle,
        backend,
        boxes=boxes,
        masks=_masks(bundle, backend, boxes, parameters),
        rows={name: np.concatenate([np.load(_batch(batches, start), allow_pickle=False) for start in starts])},
        parameters=parameters.to_json(),
    )
    progress(1.0)
    return parts


def _as_they_are(faces: ImageArray) -> Rows:
    return faces


def _face(picture: ImageArray, box: npt.NDArray[np.int32], face_format: _FaceFormat) -> ImageArray:
    x0, y0, x1, y1 = box
    side = face_format.side_px
    return np.asarray(
        cv2.resize(picture[y0:y1, x0:x1], (side, side), interpolation=face_format.interpolation), np.uint8
    )


def _masks(
    bundle: AvatarBundle, backend: str, boxes: npt.NDArray[np.int32], parameters: CropParameters
) -> Iterator[ImageArray]:
    for frame, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        if _FORMATS[backend].latents:
            yield musetalk_mask(bundle.landmarks[frame], (x0, y0, x1, y1), parameters)
        else:
            # Ultralight's box begins at the nose, Wav2Lip's at the hair.
            ratio = 0.0 if backend == "ultralight" else parameters.upper_boundary_ratio
            yield feathered_mask(x1 - x0, y1 - y0, ratio)


def _batch(batches: Path, start: int) -> Path:
    return batches / f"batch-{start:05d}" / "rows.npy"


def _digest(bundle: AvatarBundle, backend: str, parameters: CropParameters) -> str:
    what = json.dumps([bundle_fingerprint(bundle), backend, parameters.to_json()])
    return f"{backend}-{zlib.crc32(what.encode()):08x}"

"""Preparing an avatar for a lip-sync backend: boxes from its landmarks, masks, faces cut out, latents of them.

Frames go in batches, and a batch that is finished is kept in the working directory: after a kill the next run computes
only what is missing. What is there counts only for the same avatar, backend and parameters.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from avatars.face_crops import BACKENDS, Box, CropParameters, crop_box, face_boxes
from avatars.face_masks import mask_from_landmarks, musetalk_mask
from avatars.face_parsing import FaceParser, cut_out, find_face_parser
from avatars.latents import FaceEncoder
from avatars.parts import BackendParts, bundle_fingerprint, write_parts
from avatars.workspace import stage_output

__all__ = ["BATCH_FRAMES", "prepare_parts", "softness_warning"]

BATCH_FRAMES = 16

ImageArray = npt.NDArray[np.uint8]
Rows = npt.NDArray[Any]


FAR_LARGER = 1.5
"how many times wider than the network draws a face may be before a person is warned"


def softness_warning(backend: str, boxes: npt.NDArray[np.int32]) -> str:
    """What to tell a person whose avatar's face (boxes (n, 4), px) is far larger than the network draws; '' if not."""
    drawn_px = _FORMATS[backend].side_px
    face_px = int((boxes[:, 2] - boxes[:, 0]).max())
    if face_px <= FAR_LARGER * drawn_px:
        return ""
    return (
        f"The face is {face_px} px wide, and {backend} draws {drawn_px} px: the mouth will look soft. A picture in "
        "which the face is smaller looks better, or try --sharpen 0.5."
    )


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

    MuseTalk's masks are from BiSeNet if its weights are there, else from the landmarks.

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
    parser = find_face_parser(weights, device) if face_format.latents else None
    used = {**parameters.to_json(), "parser": "landmarks" if parser is None else "bisenet"}
    boxes = face_boxes(backend, bundle.landmarks, (bundle.width, bundle.height), parameters)
    batches = work / _digest(bundle, backend, used)
    starts = range(0, bundle.frame_count, BATCH_FRAMES)
    for start in starts:
        progress(start / bundle.frame_count)
        if _batch(batches, start).exists():
            continue
        frames = range(start, min(start + BATCH_FRAMES, bundle.frame_count))
        pictures = [bundle.frame(frame) for frame in frames]
        rows = encode(np.stack([_face(picture, boxes[start + i], face_format) for i, picture in enumerate(pictures)]))
        masks = [
            _mask(bundle, start + i, picture, boxes[start + i], backend, parameters, parser)
            for i, picture in enumerate(pictures)
        ]
        with stage_output(batches, _batch(batches, start).name) as output:
            np.save(output / "rows.npy", rows)
            np.savez_compressed(output / "masks.npz", *masks)
    name = "latents" if face_format.latents else "faces"
    parts = write_parts(
        bundle,
        backend,
        boxes=boxes,
        masks=_kept_masks(batches, starts),
        rows={name: np.concatenate([np.load(_batch(batches, start) / "rows.npy") for start in starts])},
        parameters=used,
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


def _mask(
    bundle: AvatarBundle,
    frame: int,
    picture: ImageArray,
    box: npt.NDArray[np.int32],
    backend: str,
    parameters: CropParameters,
    parser: FaceParser | None,
) -> ImageArray:
    x0, y0, x1, y1 = box.tolist()
    face: Box = (x0, y0, x1, y1)
    if parser is None:
        return mask_from_landmarks(bundle.landmarks[frame], face, backend, parameters)
    crop, _ = crop_box(face)
    return musetalk_mask(parser.classes(cut_out(picture, crop)), face, parameters)


def _kept_masks(batches: Path, starts: Iterable[int]) -> Iterator[ImageArray]:
    for start in starts:
        with np.load(_batch(batches, start) / "masks.npz") as masks:
            yield from (masks[name] for name in masks.files)


def _batch(batches: Path, start: int) -> Path:
    return batches / f"batch-{start:05d}"


def _digest(bundle: AvatarBundle, backend: str, used: Mapping[str, Any]) -> str:
    what = json.dumps([bundle_fingerprint(bundle), backend, used])
    return f"{backend}-{zlib.crc32(what.encode()):08x}"

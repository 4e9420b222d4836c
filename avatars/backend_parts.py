"""Preparing an avatar for a lip-sync backend: boxes from its landmarks, masks, faces cut out, latents of them.

Frames go in batches, and a batch that is finished is kept in the working directory: after a kill the next run computes
only what is missing. What is there counts only for the same avatar, backend, parameters and weights.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from avatars.face_crops import Box, CropParameters, crop_box
from avatars.face_formats import FaceFormat, face_format, face_formats
from avatars.face_masks import musetalk_mask
from avatars.face_parsing import FaceParser, cut_out, find_face_parser
from avatars.importers.crops import GivenMasks, boxes_of, given_masks
from avatars.latents import FaceEncoder
from avatars.parts import PARTS_VERSION, BackendParts, bundle_fingerprint, write_parts
from avatars.workspace import stage_output
from models.arrays import AnyArray, ImageArray

__all__ = ["BATCH_FRAMES", "blindness_warning", "prepare_parts", "softness_warning"]

BATCH_FRAMES = 16
BATCH_VERSION = 2
"of what is kept of a batch in the working directory"
ALL_BUT_WRITTEN = 0.99
"share of the work: at 1 the parts are there"

FROM_LANDMARKS = "masks_from_landmarks"
"beside the parameters of parts: in how many frames the face parser saw no face"
MIN_SEEN = 0.1
"of what the landmarks' mask shows; a parser that shows less than this has not seen the face"

Rows = AnyArray


FAR_LARGER = 1.5
"how many times wider than the network draws a face may be before a person is warned"


def softness_warning(backend: str, boxes: npt.NDArray[np.int32]) -> str:
    """What to tell a person whose avatar's face (boxes (n, 4), px) is far larger than the network draws; '' if not."""
    drawn_px = face_format(backend).side_px
    face_px = int((boxes[:, 2] - boxes[:, 0]).max())
    if face_px <= FAR_LARGER * drawn_px:
        return ""
    return (
        f"The face is {face_px} px wide, and {backend} draws {drawn_px} px: the mouth will look soft. A picture in "
        "which the face is smaller looks better, or try --sharpen 0.5."
    )


def blindness_warning(parameters: Mapping[str, object]) -> str:
    """What to tell a person if the face parser saw no face in some pictures; '' if not.

    parameters: those that the parts were prepared with.
    """
    blind = parameters.get(FROM_LANDMARKS, 0)
    return f"The face parser saw no face in {blind} pictures: their masks are from the landmarks." if blind else ""


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
    """Make and store what `backend` needs of an avatar; the rows are `latents` or `faces`, as its format says.

    An imported avatar keeps its own boxes and masks unless `parameters` has others than it came with. If a face parser
    makes better masks for the format, other masks are from BiSeNet, provided that its weights are there. They are from
    the landmarks if not, and in frames in which BiSeNet sees no face. The number of these is among the parameters.

    `progress` gets 0 to 1; what it raises ends the preparation, and the next run with the same `work` goes on there.
    Raises AvatarError (no such backend, packages not installed), AvatarNotFound (deleted meanwhile), BadParameters,
    FaceNotFound, BundleError, DiskFull, WeightsMissing, WeightsDamaged, WrongArchitecture, and MemoryError or
    torch's RuntimeError if a single face is too much for the device.
    """
    if backend not in face_formats():
        raise AvatarError(
            f"Nothing needs to be prepared for {backend!r}.", f"Choose one of {', '.join(face_formats())}."
        )
    known = face_format(backend)
    encoder = FaceEncoder(weights, backend, device) if known.rows == "latents" else None
    parser = find_face_parser(weights, device) if known.parsed else None
    given = given_masks(bundle, backend, parameters)
    masks_from = "the avatar" if given is not None else "landmarks" if parser is None else "bisenet"
    used = {**parameters.to_json(), "parser": masks_from}
    boxes = boxes_of(bundle, backend, parameters)
    maker = _Maker(bundle, known, parameters, boxes, encoder, parser, given)
    batches = work / _digest(bundle, backend, used, maker.weight_files)
    starts = range(0, bundle.frame_count, BATCH_FRAMES)
    for start in starts:
        progress(start / bundle.frame_count)
        if not _batch(batches, start).exists():
            _make_batch(maker, batches, start, progress)
    blind_frames = sum(int(np.load(_batch(batches, start) / "blind.npy").sum()) for start in starts)
    parts = write_parts(
        bundle,
        backend,
        boxes=boxes,
        masks=_kept_masks(batches, starts),
        rows={known.rows: np.concatenate([np.load(_batch(batches, start) / "rows.npy") for start in starts])},
        parameters={**used, FROM_LANDMARKS: blind_frames} if blind_frames else used,
    )
    progress(1.0)
    return parts


def _make_batch(maker: _Maker, batches: Path, start: int, progress: Callable[[float], None]) -> None:
    """Make rows and masks of the frames from `start` on, and keep them. The batch appears whole or not at all."""
    frames = range(start, min(start + BATCH_FRAMES, maker.bundle.frame_count))
    rows, masks, blind = _made(maker, frames, progress)
    with stage_output(batches, _batch(batches, start).name) as output:
        np.save(output / "rows.npy", rows)
        np.savez_compressed(output / "masks.npz", *masks)
        np.save(output / "blind.npy", blind)


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
    """Rows and masks of frames."""

    bundle: AvatarBundle
    known: FaceFormat
    parameters: CropParameters
    boxes: npt.NDArray[np.int32]
    encoder: FaceEncoder | None
    parser: FaceParser | None
    given: GivenMasks | None

    @property
    def weight_files(self) -> list[Path]:
        of_the_encoder = [] if self.encoder is None else self.encoder.files
        return of_the_encoder if self.parser is None else [*of_the_encoder, self.parser.path]

    def rows(self, frames: range) -> Iterator[Rows]:
        """All of them, a few at a time where they take long."""
        faces = np.stack([self._face(frame) for frame in frames])
        return iter([faces]) if self.encoder is None else self.encoder.encode(faces)

    def mask(self, frame: int) -> tuple[ImageArray, bool]:
        """The mask, and whether the face parser was asked and saw no face."""
        if self.given is not None:
            return self.given[frame], False
        x0, y0, x1, y1 = self.boxes[frame].tolist()
        box: Box = (x0, y0, x1, y1)
        drawn = self.known.mask(self.bundle.landmarks[frame], box, self.parameters)
        if self.parser is None:
            return drawn, False
        crop, _ = crop_box(box)
        seen = musetalk_mask(self.parser.classes(cut_out(self.bundle.frame(frame), crop)), box, self.parameters)
        # An empty mask would be a mouth that never shows, and nothing else would tell why.
        blind = int(seen.sum(dtype=np.int64)) < MIN_SEEN * int(drawn.sum(dtype=np.int64))
        return (drawn, True) if blind else (seen, False)

    def _face(self, frame: int) -> ImageArray:
        x0, y0, x1, y1 = self.boxes[frame]
        size = (self.known.side_px, self.known.side_px)
        face = self.bundle.frame(frame)[y0:y1, x0:x1]
        return np.asarray(cv2.resize(face, size, interpolation=self.known.interpolation), np.uint8)


def _made(
    maker: _Maker, frames: range, progress: Callable[[float], None]
) -> tuple[Rows, list[ImageArray], npt.NDArray[np.bool_]]:
    """Rows and masks of a batch, and in which frames the face parser saw no face.

    Networks take seconds per frame, so progress is reported between frames.
    """
    count = maker.bundle.frame_count
    rows: list[Rows] = []
    for few in maker.rows(frames):
        rows.append(few)
        progress(min(ALL_BUT_WRITTEN, (frames.start + sum(map(len, rows))) / count))
    masks: list[ImageArray] = []
    blind = np.zeros(len(frames), bool)
    for index, frame in enumerate(frames):
        mask, blind[index] = maker.mask(frame)
        masks.append(mask)
        progress(min(ALL_BUT_WRITTEN, frames.stop / count))
    return np.concatenate(rows), masks, blind


def _kept_masks(batches: Path, starts: Iterable[int]) -> Iterator[ImageArray]:
    for start in starts:
        with np.load(_batch(batches, start) / "masks.npz") as masks:
            yield from (masks[name] for name in masks.files)


def _batch(batches: Path, start: int) -> Path:
    return batches / f"batch-{start:05d}"


def _digest(bundle: AvatarBundle, backend: str, used: Mapping[str, object], weight_files: Iterable[Path]) -> str:
    """Another one for whatever would make other batches."""
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weight_files]
    what = json.dumps([BATCH_VERSION, PARTS_VERSION, bundle_fingerprint(bundle), backend, used, stamps])
    return f"{backend}-{zlib.crc32(what.encode()):08x}"

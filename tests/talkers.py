"""A talking person for tests: the drawn woman, whose painted mouths stand for filmed ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from portraits import portrait_bundle

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.geometry import canonical_points, face_axes, face_scale, mouth_boxes, mouth_mask
from avatars.real_mouths import RealMouths, find_real_mouths
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.compositing import compose
from pipeline.lipsync.mouth_shape import MOVING, MouthShape
from pipeline.lipsync.speaking_face import SpeakingFace

_EYE_CORNERS = [33, 263, 133, 362]


def said(name: str) -> np.ndarray:
    """Return the mouth parameters (8,) of a viseme."""
    return MOUTH_SHAPES[VISEMES.index(name)]


def babble(count: int) -> list[np.ndarray]:
    """Return mouth parameters that go from closed lips to one vowel after another, ten pictures each."""
    vowels = [said(name) for name in ("aa", "E", "ou", "ih", "oh")]
    share = [0.5 - 0.5 * np.cos(2 * np.pi * index / 10) for index in range(count)]
    return [part * vowels[index // 10 % len(vowels)] for index, part in enumerate(share)]


class Talker:
    """Pictures uint8 RGB (side, side, 3) of the woman saying `parameters`, and her landmarks in each."""

    def __init__(self, path: Path, parameters: Sequence[np.ndarray], side: int = 256) -> None:
        still = portrait_bundle(path / "talker-still", "woman", side)
        face, points = SpeakingFace(still), still.landmarks[0].astype(np.float64)
        rest, axes, scale = canonical_points(points), face_axes(points), face_scale(points)
        shape, origin = MouthShape(rest), points[_EYE_CORNERS].mean(axis=0)
        self.side = side
        self.pictures = [compose(still.frame(0), face.patch(0, one, 1.0)) for one in parameters]
        moved = []
        for one in parameters:
            head = rest.copy()
            head[list(MOVING)] = shape.pose(one)
            moved.append(scale * head @ axes + origin)
        self.landmarks = np.stack(moved).astype(np.float32)

    def real_mouths(self) -> RealMouths:
        return find_real_mouths(self.landmarks, self.pictures)

    def bundle(self, path: Path, mouths: RealMouths) -> AvatarBundle:
        """Write an avatar of these pictures."""
        boxes = mouth_boxes(self.landmarks, self.side, self.side)
        width, height = (boxes[0, 2:] - boxes[0, :2]).tolist()
        contents = BundleContents(
            id=path.name,
            name="Talker",
            kind="clip",
            frames=[encode_jpeg(picture) for picture in self.pictures],
            width=self.side,
            height=self.side,
            boxes=boxes,
            masks=mouth_mask(width, height)[None],
            landmarks=self.landmarks,
            loop=np.arange(len(self.pictures), dtype=np.int32),
            mouth=mouths.to_json(),
            tensors=mouths.tensors(),
        )
        return write_bundle(contents, path)

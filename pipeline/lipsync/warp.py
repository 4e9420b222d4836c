"""Smooth deformation of a face between two sets of landmarks, one layer above the mouth's seam and one below it.

Both layers are thin-plate splines over the avatar's neutral face, the chart. Their bases depend on the chart only and
so serve every frame of the avatar: a frame is one deformation of the chart (where its landmarks are), a mouth shape is
another (where they shall be), and what a picture needs is the way back along the second and forth along the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import (
    CHEEKS,
    CHIN,
    JAW,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    NOSE_BASE,
    SKULL,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
)
from models.arrays import AnyArray
from pipeline.lipsync.mouth_shape import positions, smoothstep
from pipeline.lipsync.thin_plate import basis

__all__ = ["FALLOFF_IOD", "ChartGrid", "MouthWarp", "inside_face", "rings_round"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

_UPPER_LAYER = tuple(sorted({*UPPER_LIP_OUTER, *UPPER_LIP_INNER[1:-1], *CHEEKS, *JAW}))
_LOWER_LAYER = tuple(sorted({*LOWER_LIP_OUTER, *LOWER_LIP_INNER[1:-1], *CHEEKS, *JAW, *CHIN}))
_PIN_RINGS_IOD = (0.21, 0.33)
"splines are pinned at these distances outside the jaw"
FALLOFF_IOD = (0.12, 0.29)
"movement fades between these distances outside the face: necks, collars and hair stay as they were filmed"
_INVERSIONS = 6


@dataclass(frozen=True)
class ChartGrid:
    """A regular grid over the part of the chart where mouths are drawn."""

    left: float
    top: float
    "chart coordinates of the first node"
    cell: float
    "distance of nodes, IOD"
    columns: int
    rows: int

    @classmethod
    def covering(cls, corners: Array, cell: float = 0.034) -> ChartGrid:
        """The grid that covers all `corners` (n, 2)."""
        low, high = corners.min(axis=0) - cell, corners.max(axis=0) + cell
        columns, rows = np.ceil((high - low) / cell).astype(int) + 1
        return cls(float(low[0]), float(low[1]), cell, int(columns), int(rows))

    def nodes(self) -> Array:
        """Chart coordinates (rows * columns, 2)."""
        y, x = np.mgrid[: self.rows, : self.columns]
        return np.column_stack([self.left + self.cell * x.ravel(), self.top + self.cell * y.ravel()])

    def to_chart(self) -> Array:
        """The affine map (2, 3) from grid coordinates to chart coordinates."""
        return np.array([[self.cell, 0, self.left], [0, self.cell, self.top]])

    def from_chart(self) -> Array:
        """The affine map (2, 3) from chart coordinates to grid coordinates."""
        scale = 1 / self.cell
        return np.array([[scale, 0, -self.left * scale], [0, scale, -self.top * scale]])


class MouthWarp:
    """The two layers of one avatar."""

    def __init__(self, neutral: Array, skull: Array, grid: ChartGrid) -> None:
        """`neutral` (n, 2) are the MOVING landmarks in the chart, `skull` (len(SKULL), 2) the fixed ones."""
        self.grid = grid
        self._neutral = neutral
        jaw = neutral[positions(JAW)]
        middle = neutral[positions((61, 291))].mean(axis=0)
        pins = rings_round(jaw, middle)
        # Of the lower layer only what lies below the seam is seen: the base of the nose need not stay in place there.
        moved_by_lower_lip = np.isin(SKULL, NOSE_BASE)
        nodes = grid.nodes()
        held = inside_face(nodes, np.concatenate([neutral, skull]))[:, None]
        upper_pins, lower_pins = np.concatenate([pins, skull]), np.concatenate([pins, skull[~moved_by_lower_lip]])
        self._upper: Field = basis(nodes, neutral[positions(_UPPER_LAYER)], upper_pins) * held
        self._lower: Field = basis(nodes, neutral[positions(_LOWER_LAYER)], lower_pins) * held
        self._upper_points, self._lower_points = positions(_UPPER_LAYER), positions(_LOWER_LAYER)
        y, x = np.mgrid[: grid.rows, : grid.columns].astype(np.float32)
        self._places = np.ascontiguousarray(np.dstack([x, y]))

    @property
    def nbytes(self) -> int:
        return self._upper.nbytes + self._lower.nbytes

    def backward(self, target: Array, source: Array, upper: slice, lower: slice) -> tuple[Field, Field]:
        """Where the pixels of the target come from: in the upper layer and in the lower one.

        `target` and `source` (n, 2) are MOVING landmarks in the chart. `upper` and `lower` are the rows of the grid in
        which each layer is wanted. Returns twice (rows, columns, 2) float32, of all rows of the grid but 0 in those
        that are not wanted: the displacement x, y from each grid node of the target to the source, in grid cells.
        """
        moves = np.concatenate([target - self._neutral, source - self._neutral], axis=1).astype(np.float32)
        moves /= np.float32(self.grid.cell)
        return (
            self._layer(self._upper @ moves[self._upper_points], upper),
            self._layer(self._lower @ moves[self._lower_points], lower),
        )

    def _layer(self, both: Field, rows: slice) -> Field:
        """(nodes, 4) displacements chart -> target, chart -> source: back along the first, on along the other."""
        fields = both.reshape(self.grid.rows, self.grid.columns, 4)
        from_target, to_source = -fields[..., :2], np.ascontiguousarray(fields[..., 2:])
        places = self._places[rows]
        back = from_target[rows]
        for _ in range(_INVERSIONS):  # fixed point of back(y) = -to_target(y + back(y))
            back = _sample(from_target, places + back)
        moves = np.zeros_like(self._places)
        np.add(back, _sample(to_source, places + back), out=moves[rows])
        return moves


def _sample(image: AnyArray, places: Field) -> AnyArray:
    """The image at places float32 (h, w, 2), x and y in its pixels; bilinear, its rim goes on outside."""
    # OpenCV takes None for the second map when the first holds both coordinates; its stubs do not say so.
    sampled: AnyArray = cv2.remap(  # type: ignore[call-overload]
        image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled


def rings_round(jaw: Array, middle: Array) -> Array:
    """Places outside a jaw (n, 2), seen from the `middle` (2,) of the mouth, that stay as they were filmed."""
    outward = jaw - middle
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return np.concatenate([jaw + ring * outward for ring in _PIN_RINGS_IOD])


def inside_face(nodes: Array, landmarks: Array) -> Field:
    """Weight of each node: 1 in the face, falling to exactly 0 outside of it."""
    outline = cv2.convexHull(landmarks.astype(np.float32))
    distance = np.array([-cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in nodes])
    return (1 - smoothstep(distance, *FALLOFF_IOD)).astype(np.float32)

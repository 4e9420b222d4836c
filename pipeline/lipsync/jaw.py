"""The jaw of a filmed person who says something else than was filmed: it hangs as low as the drawn mouth needs it.

The frame's own pixels are moved. A jaw turns about the ears, so a point of the face drops the more the further it is
before them: the chin drops most, the corner of the jaw hardly, the upper face not at all. Outside the face movement
fades to nothing, so collars and what is behind stay as they were filmed.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import CHIN_TIP, JAW, SKULL
from avatars.mouth_chart import LOOSE_POINTS, POINTS, MouthChart, affine, places
from pipeline.lipsync.affine import then
from pipeline.lipsync.mouth_shape import smoothstep
from pipeline.lipsync.thin_plate import basis
from pipeline.lipsync.warp import FALLOFF_IOD, ChartGrid, inside_face, rings_round

__all__ = ["Jaw", "corners_of"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_CHIN = places((152, 148, 377, 176, 400))
_EARS = (93, 323)
_LIP_SHARES = {61: 0.28, 291: 0.28, 17: 0.8, 200: 1.0}
"how far the skin round the mouth follows the chin"
_CHEEKS = (50, 280, 36, 266, 205, 425)
_TOP_IOD = (-0.16, 0.10)
"above the mouth's middle by more than the first nothing moves; the second is where all of the movement is"
_CELL_IOD = 0.034
_MIN_SHARE = 0.06
"what would move less stays, so that what has to be moved is small"
_MIN_PX = 1 / 32
"OpenCV tells no smaller movements apart"


class Jaw:
    """Of one clip. Places of chins are in the chart, IOD along `down`."""

    def __init__(self, chart: MouthChart) -> None:
        self._to_px = chart.to_px
        down = chart.flat[:, 1]
        self.down: Array = down / np.linalg.norm(down)
        "(2,) the way in the chart in which a chin drops"
        self._places = self.place(chart.points)
        rest = (chart.rest - chart.origin) @ chart.flat.T
        self._rest_place = float(self.place(rest[list(POINTS)]))
        grid = ChartGrid.covering(_reach(rest), _CELL_IOD)
        self._grid_to_chart = grid.to_chart()
        before_ears = chart.rest[list(_EARS), 2].mean() - chart.rest[:, 2]
        self._share = _shares(grid, rest, np.clip(before_ears / before_ears[CHIN_TIP], 0, 1))
        left, top, width, height = cv2.boundingRect((self._share > 0).astype(np.uint8))
        self._corners = affine(self._grid_to_chart, corners_of(left - 1, top - 1, left + width, top + height))
        self._takes = np.zeros(len(POINTS))
        self._takes[places(LOOSE_POINTS)] = _at(self._share, grid, rest[list(LOOSE_POINTS)])

    @property
    def nbytes(self) -> int:
        return self._share.nbytes

    def place(self, points: Array) -> Array:
        """How low the chins of faces (..., m, 2) of POINTS are."""
        return np.asarray(points[..., _CHIN, :].sum(axis=-2) @ self.down / len(_CHIN))

    def hung(self, points: Array, place: float) -> Array:
        """The face `points` (m, 2) with its chin at that place. Lips have their own ways, and stay."""
        drop = place - float(self.place(points))
        return np.asarray(points + drop * self._takes[:, None] * self.down)

    def corners(self, place: float) -> Array:
        """(4, 2) in the chart: round what moves when a chin goes to that place."""
        return np.asarray(self._corners + (place - self._rest_place) * self.down)

    def move(self, picture: Image, to_picture: Array, frame_index: int, place: float) -> None:
        """Hang the jaw in a part of a frame, in place. to_picture: (2, 3) from the chart to the pixels of that part."""
        drop_px = (place - self._places[frame_index]) * to_picture[:, :2] @ self.down
        if float(np.abs(drop_px).max()) < _MIN_PX:
            return
        # What each place has of the drop was worked out for the face at rest, and comes down with the chin.
        grid_to_picture = then(to_picture, self._grid_to_chart)
        grid_to_picture[:, 2] += to_picture[:, :2] @ ((place - self._rest_place) * self.down)
        height, width = picture.shape[:2]
        share = cv2.warpAffine(self._share, grid_to_picture, (width, height), flags=cv2.INTER_LINEAR)
        x = np.arange(width, dtype=np.float32) - np.float32(drop_px[0]) * share
        y = np.arange(height, dtype=np.float32)[:, None] - np.float32(drop_px[1]) * share
        # Cubic takes three times as long, and keeps 7 % more of the detail at the chin.
        picture[:] = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def corners_of(left: float, top: float, right: float, bottom: float) -> Array:
    """(4, 2)."""
    return np.array([[x, y] for x in (left, right) for y in (top, bottom)])


def _reach(rest: Array) -> Array:
    """(2, 2) the corners in the chart of what a jaw may move, of a face (478, 2) at rest."""
    jaw = rest[list(JAW)]
    left, right = jaw[:, 0].min() - FALLOFF_IOD[1], jaw[:, 0].max() + FALLOFF_IOD[1]
    return np.array([[left, _TOP_IOD[0]], [right, jaw[:, 1].max() + FALLOFF_IOD[1]]])


def _shares(grid: ChartGrid, rest: Array, drops: Array) -> Field:
    """float32 (rows, columns): what each node has of the chin's drop, from that of each landmark (478,)."""
    jaw = list(JAW)
    moving, moves = [*jaw, *_LIP_SHARES], np.append(drops[jaw], list(_LIP_SHARES.values()))
    pins = np.concatenate([rings_round(rest[jaw], np.zeros(2)), rest[[*SKULL, *_CHEEKS]]])
    nodes = grid.nodes()
    share = basis(nodes, rest[moving], pins) @ moves
    share *= inside_face(nodes, rest) * smoothstep(nodes[:, 1], *_TOP_IOD)
    share = np.clip((share - _MIN_SHARE) / (1 - _MIN_SHARE), 0, 1)
    return np.asarray(share.reshape(grid.rows, grid.columns), np.float32)


def _at(share: Field, grid: ChartGrid, points: Array) -> Array:
    """Of points (n, 2) of the chart."""
    x, y = affine(grid.from_chart(), points).astype(np.float32).T
    return np.asarray(cv2.remap(share, x, y, cv2.INTER_LINEAR).ravel(), np.float64)

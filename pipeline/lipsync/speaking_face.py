"""One avatar, ready to speak: its frames' mouth regions redrawn for any mouth shape.

Two coordinate systems meet here. Each frame has its own pixels, counted from the corner of its box. The chart is the
avatar's neutral face in its average pose, flat, unit IOD, origin at the mouth; each frame maps to it by an affine map
of its own, so that the deformation bases are made once for the avatar and serve all of its frames.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from avatars.geometry import (
    LOWER_LIP_INNER,
    NOSE_BASE,
    SKULL,
    UPPER_LIP_INNER,
    canonical_points,
    fit_affine_camera,
)
from avatars.mouth_chart import affine
from avatars.mouth_look import look_of
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.lipsync.affine import affine_fits, then
from pipeline.lipsync.detail import between_lips, detail_around, detail_of
from pipeline.lipsync.folds import SkinFolds
from pipeline.lipsync.mouth_interior import MouthInterior, MouthOpening
from pipeline.lipsync.mouth_palette import MouthPalette
from pipeline.lipsync.mouth_regions import MouthRegion, MouthRegions, shows_teeth
from pipeline.lipsync.mouth_shape import MOVING, MouthShape, positions, smoothstep
from pipeline.lipsync.warp import ChartGrid, MouthWarp
from pipeline.types import FacePatch

__all__ = ["SpeakingFace"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_ANCHORS = (*SKULL, *NOSE_BASE, 132, 361, 58, 288, 61, 291, 61, 291, 0, 37, 267, 205, 425, 50, 280, 36, 266)
"Points that place the head in a frame; those named twice count twice, so that the mouth stays where it is."
_UPPER, _LOWER = positions(UPPER_LIP_INNER), positions(LOWER_LIP_INNER)
_LEFT, _RIGHT = positions((61, 291))
_OPEN_SMILE_IOD = 0.03
"a face at rest that shows this much between its lips keeps its own teeth"
_STEADY_IOD = 0.012
"standard deviation of the opening below which a clip is of a person who does not talk"
_REST = 1 / 256
"activity below which a mouth is at rest: the photo's own pixels"
_FADE = 0.12
"activity up to which a picture is mixed with the photo"
_OPEN_MOUTHS = tuple(MOUTH_SHAPES[VISEMES.index(viseme)] for viseme in ("E", "ih", "SS", "aa"))
"mouths that show what is between the lips, by which its sharpness is judged"
_MAX_DETAIL = 1.1
"the detail between the lips, as part of that of the face, above which the interior is made softer"
_SOFTER, _MIN_SOFTNESS_PX = 1.06, 0.5
"the least step to a softer interior, and where it starts"
_MAX_SOFTNESS_IOD = 0.03
"teeth that are softer than this are a white haze"


class SpeakingFace:
    """What the viseme backend keeps of an avatar. About 2 MB, and decoded regions within a budget.

    Raises BundleError: the avatar's landmarks are no face.
    """

    def __init__(self, bundle: AvatarBundle) -> None:
        self.bundle = bundle
        boxes = bundle.boxes.astype(np.float64)
        self._width, self._height = (int(edge) for edge in boxes[0, 2:] - boxes[0, :2])
        landmarks = bundle.landmarks.astype(np.float64)
        in_box = landmarks[:, :, :2] - boxes[:, None, :2]

        with np.errstate(divide="ignore", invalid="ignore"):
            canonical = np.stack([canonical_points(points) for points in landmarks])
        if not np.isfinite(canonical).all():
            raise BundleError(f"The landmarks of the avatar '{bundle.id}' are no face.", "Make the avatar again.")
        gaps = (canonical[:, LOWER_LIP_INNER, 1] - canonical[:, UPPER_LIP_INNER, 1]).max(axis=1)
        most_closed = np.argsort(gaps, kind="stable")[: max(1, len(gaps) // 3)]
        rest = np.median(canonical[most_closed], axis=0)
        self._shape = MouthShape(rest)
        self._openness = smoothstep(gaps, 0.011, 0.043)
        steady_smile = bool(np.median(gaps) > _OPEN_SMILE_IOD and gaps.std() < _STEADY_IOD)

        anchors = list(_ANCHORS)
        self._cameras = np.stack([fit_affine_camera(rest[anchors], points[anchors]) for points in in_box])
        self._scales = np.linalg.svd(self._cameras[:, :, :3], compute_uv=False).mean(axis=1)
        to_chart = (self._cameras[:, :, :3] / self._scales[:, None, None]).mean(axis=0)
        neutral = self._shape.neutral
        middle = neutral[positions((61, 291))].mean(axis=0)
        chart, skull = (neutral - middle) @ to_chart.T, (rest[list(SKULL)] - middle) @ to_chart.T
        self._to_px = affine_fits(chart, neutral @ self._cameras[:, :, :3].transpose(0, 2, 1) + self._translations())
        self._to_chart = np.stack([cv2.invertAffineTransform(matrix) for matrix in self._to_px])
        corners = np.array([[x, y] for x in (0, self._width) for y in (0, self._height)], np.float64)
        covered = np.concatenate([affine(matrix, corners) for matrix in self._to_chart])
        self._warp = MouthWarp(chart, skull, ChartGrid.covering(covered))

        self._sources = in_box[:, list(MOVING)]
        push = 0.016 * self._openness * self._scales
        self._sources[:, _UPPER, 1] -= push[:, None]
        self._sources[:, _LOWER, 1] += push[:, None]

        seam = chart[_UPPER]
        frame = bundle.frame(0)
        self._folds = self._folds_of(frame, landmarks[0]) if bundle.manifest.get("kind") == "still" else None
        palette, look = MouthPalette.in_light_of(frame, landmarks[0]), look_of(bundle.manifest)
        self._palette = palette if look is None else palette.looking(look)
        self._keeps_teeth = steady_smile and shows_teeth(frame, landmarks[0], self._palette.enamel)
        self._regions = MouthRegions(bundle, in_box, self._scales, self._keeps_teeth)
        self._window = _window(self._width, self._height)
        y, x = np.mgrid[: self._height, : self._width].astype(np.float32)
        self._columns, self._rows = np.ascontiguousarray(x), np.ascontiguousarray(y)
        self._interior = self._in_keeping_with(detail_around(frame, landmarks[0]), seam)

    @property
    def nbytes(self) -> int:
        """Memory held now, without the bundle's own tensors."""
        arrays = (
            self._cameras,
            self._to_px,
            self._to_chart,
            self._sources,
            self._window,
            self._columns,
            self._rows,
        )
        return self._warp.nbytes + self._regions.nbytes + sum(array.nbytes for array in arrays)

    def patch(
        self,
        frame_index: int,
        parameters: npt.NDArray[np.floating],
        activity: float,
        read_frame: Callable[[], Image] | None = None,
    ) -> FacePatch:
        """What draw() gives, ready to be pasted into the frame."""
        x0, y0, x1, y1 = (int(edge) for edge in self.bundle.boxes[frame_index])
        pixels = self.draw(frame_index, parameters, activity, read_frame)
        return FacePatch(pixels, (x0, y0, x1, y1), self.bundle.mask(frame_index))

    def draw(
        self,
        frame_index: int,
        parameters: npt.NDArray[np.floating],
        activity: float,
        read_frame: Callable[[], Image] | None = None,
    ) -> Image:
        """The frame's box, uint8 RGB, speaking `parameters` (8,); the untouched pixels where activity is 0.

        read_frame: gives the frame's pixels, where somebody needs them besides; None: they are decoded here
        """
        region = self._regions.of(frame_index, read_frame)
        if activity < _REST:
            return region.pixels.copy()
        patch, _opening = self._speaking(region, self._interior, frame_index, parameters, min(1.0, float(activity)))
        return patch

    def _speaking(
        self,
        region: MouthRegion,
        interior: MouthInterior,
        frame_index: int,
        parameters: npt.NDArray[np.floating],
        activity: float,
    ) -> tuple[Image, MouthOpening]:
        """The region, speaking, and where its lips are parted."""
        source, camera = self._sources[frame_index], self._cameras[frame_index]
        spoken = self._shape.pose(parameters) @ camera[:, :3].T + camera[:, 3]
        target = source + activity * (spoken - source)
        opening = MouthOpening(
            target[_UPPER], target[_LOWER], self._to_chart[frame_index], float(self._scales[frame_index])
        )
        below_seam, meeting = self._below_seam(opening)
        x, y = self._came_from(frame_index, target, source, below_seam, meeting)
        pixels = self._with_folds(region.pixels, frame_index, source, target)
        lips = self._off_teeth(frame_index, x, y, below_seam, source)
        patch = _sampled(pixels, x, y)
        if lips is not None:
            where, lower = lips
            _mix(patch[where], _sampled(pixels, np.ascontiguousarray(x[where]), lower), below_seam[where])
        self._fill(patch, region, interior, opening, parameters, activity, float(self._openness[frame_index]))
        if activity < _FADE:  # lips have hardly moved: what was painted and sharpness come and go unseen
            cv2.addWeighted(patch, activity / _FADE, region.pixels, 1 - activity / _FADE, 0, dst=patch)
        return patch, opening

    def _folds_of(self, frame: Image, landmarks: Array) -> SkinFolds | None:
        to_px = self._to_px[0].copy()
        to_px[:, 2] += self.bundle.boxes[0, :2]
        return SkinFolds.of(frame, landmarks, to_px, float(self._scales[0]), self.bundle.boxes[0].astype(np.float64))

    def _with_folds(self, pixels: Image, frame_index: int, source: Array, target: Array) -> Image:
        """The box as it was filmed, with the folds that the target's mouth leaves of it."""
        if self._folds is None:
            return pixels
        wide, wanted = (float(np.linalg.norm(points[_RIGHT] - points[_LEFT])) for points in (source, target))
        narrower_iod = (wide - wanted) / float(self._scales[frame_index])
        return self._folds.moved(pixels, self._to_chart[frame_index], narrower_iod)

    def _in_keeping_with(self, face_detail: float, seam: Array) -> MouthInterior:
        """A painted interior that is no sharper than the face around it, as far as softness can make it so.

        How soft the picture's edges are does not tell that alone: smooth skin, as in drawings, has sharp edges and
        little detail, and teeth as sharp as those edges catch the eye. Beside a person's own teeth, nothing does.
        """
        scale, softness_px = float(self._scales.max()), self._palette.softness_px
        while True:
            interior = MouthInterior(self._palette, seam, scale, softness_px)
            if self._keeps_teeth:
                return interior
            mouths = (self._speaking(self._regions.of(0), interior, 0, mouth, 1.0) for mouth in _OPEN_MOUTHS)
            detail = np.mean([detail_of(patch, between_lips(opening, patch)) for patch, opening in mouths])
            too_much = float(detail) / max(_MAX_DETAIL * face_detail, 1e-3)
            if too_much <= 1 or softness_px >= _MAX_SOFTNESS_IOD * scale:
                return interior
            # Detail was seen to fall about as fast as softness grows.
            softer_px = max(softness_px, _MIN_SOFTNESS_PX) * max(_SOFTER, too_much)
            softness_px = min(softer_px, _MAX_SOFTNESS_IOD * scale)

    def _translations(self) -> Array:
        return np.asarray(self._cameras[:, None, :, 3])

    def _came_from(
        self, frame_index: int, target: Array, source: Array, below_seam: Field, meeting: slice
    ) -> tuple[Field, Field]:
        """Where in the frame's box each pixel of the patch comes from: x and y, float32 (h, w).

        Most rows show one layer alone: those above the rows `meeting` the upper one, those below them the lower one.
        """
        to_px, to_chart = self._to_px[frame_index], self._to_chart[frame_index]
        px_to_grid = then(self._warp.grid.from_chart(), to_chart)
        seen = (self._grid_rows(px_to_grid, *rows) for rows in ((0, meeting.stop), (meeting.start, self._height)))
        layers = self._warp.backward(affine(to_chart, target), affine(to_chart, source), *seen)
        px_to_cells = (self._warp.grid.cell * to_px[:, :2]).astype(np.float32)
        # Planes: numpy is slow on interleaved pairs, and OpenCV's way with one channel is faster and more exact.
        upper, lower = ((px_to_cells @ moves.reshape(-1, 2).T).reshape(2, *moves.shape[:2]) for moves in layers)
        x, y = (
            self._blend(above, below, px_to_grid, below_seam, meeting, origin)
            for above, below, origin in zip(upper, lower, (self._columns, self._rows), strict=True)
        )
        return x, y

    def _blend(
        self, upper: Field, lower: Field, px_to_grid: Array, below_seam: Field, meeting: slice, origin: Field
    ) -> Field:
        """Coordinates float32 (h, w) from the displacements of both layers at the nodes of the grid."""
        below_to_grid = px_to_grid.copy()
        below_to_grid[:, 2] += meeting.start * px_to_grid[:, 1]
        found = np.empty_like(origin)
        found[: meeting.stop] = _laid(upper, px_to_grid, (self._width, meeting.stop))
        below = _laid(lower, below_to_grid, (self._width, self._height - meeting.start))
        both, beneath = found[meeting], below[: meeting.stop - meeting.start]
        beneath -= both
        beneath *= below_seam[meeting]
        both += beneath
        found[meeting.stop :] = below[meeting.stop - meeting.start :]
        found *= self._window
        found += origin
        return found

    def _grid_rows(self, px_to_grid: Array, top: int, bottom: int) -> slice:
        """The rows of the warp's grid between which these rows of the box lie."""
        rows = affine(px_to_grid, np.array([[x, y] for x in (0, self._width) for y in (top, bottom)]))[:, 1]
        return slice(max(0, int(rows.min())), min(self._warp.grid.rows, int(rows.max()) + 2))

    def _below_seam(self, opening: MouthOpening) -> tuple[Field, slice]:
        """float32 (h, w): 0 above the line where the lips meet, 1 below; and the rows in which it is anything else.

        Beside the mouth the step is a slope.
        """
        seam = 0.5 * (opening.upper + opening.lower)
        order = np.argsort(seam[:, 0], kind="stable")
        columns = np.arange(self._width, dtype=np.float32)
        line = np.interp(columns, seam[order, 0], seam[order, 1]).astype(np.float32)
        left, right = seam[order[0], 0], seam[order[-1], 0]
        outside = np.maximum(0, np.maximum(left - columns, columns - right))
        slope = (1 / (1 + np.minimum(0.8 * outside, 0.24 * opening.px_per_iod))).astype(np.float32)
        reach = 0.5 / slope
        top = min(max(0, int((line - reach).min())), self._height - 1)
        bottom = max(top + 1, min(self._height, int((line + reach).max()) + 2))
        below = np.zeros((self._height, self._width), np.float32)
        below[bottom:] = 1
        below[top:bottom] = np.clip((self._rows[top:bottom] - line) * slope + np.float32(0.5), 0, 1)
        return below, slice(top, bottom)

    def _off_teeth(
        self, frame_index: int, x: Field, y: Field, below_seam: Field, source: Array
    ) -> tuple[tuple[slice, slice], Field] | None:
        """Lips never take pixels from between the lips of the source, so that a closing smile leaves no white line.

        Changes y to where the upper lip comes from, also where the lips meet. Returns the rows and columns of that and
        where the lower lip comes from in them, or None if the source shows nothing between its lips.
        """
        if self._openness[frame_index] == 0:
            return None
        columns = np.arange(self._width, dtype=np.float32)
        upper, lower = (_inside(source[contour], columns) for contour in (_UPPER, _LOWER))
        top, bottom = max(0, int(np.nanmin(upper)) - 2), min(self._height, int(np.nanmax(lower)) + 3)
        reach = slice(max(0, top - (bottom - top) // 2), min(self._height, bottom + 2 * (bottom - top)))
        column = np.clip(np.rint(x[reach]), 0, self._width - 1).astype(np.intp)
        below = np.fmax(y[reach], lower[column])
        y[reach] = np.where(below_seam[reach] < 1, np.fmin(y[reach], upper[column]), below)
        meets = (below_seam[reach] > 0) & (below_seam[reach] < 1) & ~np.isnan(lower[column])
        rows, across = np.flatnonzero(meets.any(axis=1)), np.flatnonzero(meets.any(axis=0))
        if not len(rows):
            return None
        first, last, mouth = int(rows[0]), int(rows[-1]) + 1, slice(int(across[0]), int(across[-1]) + 1)
        where = slice(reach.start + first, reach.start + last), mouth
        return where, np.ascontiguousarray(below[first:last, mouth])

    def _fill(
        self,
        patch: Image,
        region: MouthRegion,
        interior: MouthInterior,
        opening: MouthOpening,
        parameters: npt.NDArray[np.floating],
        activity: float,
        source_open: float,
    ) -> None:
        """Draw what shows between the lips, or the line where they meet."""
        if opening.gap_px > 0.5:
            own_teeth = None if region.own_teeth is None else (region.pixels, region.own_teeth)
            interior.paint(patch, opening, parameters, own_teeth)
        meeting = source_open * activity * (1 - float(smoothstep(opening.gap_px, 0.3, 1.6)))
        if meeting > 0.01:
            _draw_lip_line(patch, opening, self._palette.cavity, 0.55 * meeting)


def _sampled(pixels: Image, x: Field, y: Field) -> Image:
    return np.asarray(cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _laid(plane: Field, px_to_grid: Array, size: tuple[int, int]) -> Field:
    """Values at the nodes of a grid, at the pixels of a box of `size` (w, h)."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, px_to_grid, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _mix(upper: Image, lower: Image, below_seam: Field) -> None:
    """Into `upper` (h, w, 3), in place: the lower lip where its share (h, w) says so, so that no stairs show."""
    share = cv2.merge([below_seam] * 3)
    np.copyto(upper, upper + share * (lower.astype(np.float32) - upper), casting="unsafe")


def _inside(contour: Array, columns: Field) -> Field:
    """Height of a lip contour at each column, NaN beside it."""
    order = np.argsort(contour[:, 0], kind="stable")
    heights: Field = np.interp(columns, contour[order, 0], contour[order, 1], left=np.nan, right=np.nan).astype(
        np.float32
    )
    return heights


def _window(width: int, height: int) -> Field:
    """float32 (h, w): 1 within the box, smoothly 0 on its rim, so that a patch always joins its frame."""
    x, y = (np.minimum(np.arange(size), np.arange(size)[::-1]) / (0.07 * size) for size in (width, height))
    return (smoothstep(x, 0, 1)[None, :] * smoothstep(y, 0, 1)[:, None]).astype(np.float32)


def _draw_lip_line(patch: Image, opening: MouthOpening, colour: Array, strength: float) -> None:
    """The line of closed lips, which a photo of an open smile does not have."""
    seam = 0.5 * (opening.upper + opening.lower)
    margin = 3 + int(0.03 * opening.px_per_iod)
    x0, y0 = np.maximum(np.floor(seam.min(axis=0)).astype(int) - margin, 0)
    x1, y1 = np.ceil(seam.max(axis=0)).astype(int) + margin
    region = patch[y0:y1, x0:x1]
    if not region.size:
        return
    line = np.zeros(region.shape[:2], np.uint8)
    cv2.polylines(line, [np.round((seam - [x0, y0]) * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    weight = cv2.GaussianBlur(line, (0, 0), max(0.9, 0.009 * opening.px_per_iod)).astype(np.float32)
    weight = np.clip(weight * np.float32(1.6 / 255), 0, 1)[..., None] * np.float32(strength)
    region[:] = (region + (1.5 * colour - region) * weight).astype(np.uint8)

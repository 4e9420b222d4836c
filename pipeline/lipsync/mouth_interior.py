"""What shows between parted lips: teeth, tongue and the dark behind them.

Teeth and tongue are painted once per avatar, in its light and as soft as its picture, as small textures in the chart
(unit IOD). A picture samples them where skull and jaw hold them, and shades them under the lips and towards the corners
of the mouth, where a row of teeth ends in the dark.

Pictures are worked on as planes, (3, h, w): numpy takes several times as long where a factor (h, w) meets colours
(h, w, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.arrays import AnyArray
from pipeline.lipsync.mouth_palette import MouthPalette
from pipeline.lipsync.mouth_shape import JAW_DROP_IOD
from pipeline.lipsync.mouth_textures import MouthTexture, paint_lower_teeth, paint_tongue, paint_upper_teeth

__all__ = ["MouthInterior", "MouthOpening"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_UPPER_EDGE = 0.030
"the edge of the upper teeth below the seam of the closed lips, IOD"
_OVERBITE = 0.006
_TIP_FROM, _TIP_RAISED_IOD, _TIP_LIGHT = 0.72, 0.034, np.float32(1.5)
"""Tongue from which its tip is out, as for th; how far above the edge of the upper teeth its soft rim begins; its
light, for it lies before what shades the tongue behind it."""
_ROUND_SHADES = 0.42
"part of the light that rounded lips keep from the teeth"
_ROUND_HIDES_IOD = 0.030
"how far rounded lips, which come forward, cover the upper teeth"
_ARCH_STARTS, _ARCH_SHADES = 0.34, 0.80
"from this part of half the mouth's width outwards, teeth turn away and lose up to this part of the light"


@dataclass(frozen=True)
class MouthOpening:
    """The gap between the lips in one picture, in pixels of the patch."""

    upper: Array
    "(11, 2) lower edge of the upper lip, left to right"
    lower: Array
    "(11, 2) upper edge of the lower lip, left to right"
    to_chart: Array
    "(2, 3) affine map from pixels to the chart"
    px_per_iod: float

    @property
    def gap_px(self) -> float:
        return float((self.lower[:, 1] - self.upper[:, 1]).max())


class MouthInterior:
    """Teeth, tongue and cavity of one avatar."""

    def __init__(self, palette: MouthPalette, seam: Array, px_per_iod: float, softness_px: float) -> None:
        """`seam` (11, 2) is the line of the closed lips in the chart; textures are made for px_per_iod.

        `softness_px` is that of teeth and tongue, a Gaussian's sigma; the edges of the lips are as soft as the palette
        says.
        """
        self._palette = palette
        self._anchor = seam[len(seam) // 2]
        across = seam[-1] - seam[0]
        self._roll = float(np.arctan2(across[1], across[0]))
        self._half_width = 0.5 * float(np.linalg.norm(across))
        density = float(np.clip(px_per_iod, 60, 420))
        self._upper = paint_upper_teeth(palette, density, softness_px)
        self._lower = paint_lower_teeth(palette, density, softness_px)
        self._tongue = paint_tongue(palette, density, softness_px)

    def paint(
        self,
        patch: Image,
        opening: MouthOpening,
        parameters: npt.NDArray[np.floating],
        own_teeth: tuple[Image, Field] | None = None,
    ) -> None:
        """Draw the interior into the opening of `patch`, in place.

        own_teeth: what the photo itself shows between the lips and its weight float32 (h, w), both patch-sized.
        """
        roi = _bounds(opening, patch.shape)
        if roi is None:
            return
        y0, y1, x0, x1 = roi
        origin = np.array([x0, y0])
        upper, lower = opening.upper - origin, opening.lower - origin
        shape = (y1 - y0, x1 - x0)
        coverage = _polygon(np.concatenate([upper, lower[::-1]]), shape)
        blur = float(np.hypot(max(0.6, 0.008 * opening.px_per_iod), self._palette.softness_px))
        alpha = cv2.GaussianBlur(coverage, (0, 0), blur)
        columns, rows = np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)[:, None]
        below_lip = (rows - _curve(upper, columns)) / np.float32(opening.px_per_iod)
        above_lip = (_curve(lower, columns) - rows) / np.float32(opening.px_per_iod)

        colour = self._layers(opening, parameters, shape, origin, below_lip, above_lip)
        if own_teeth is not None:
            pixels, weight = own_teeth
            shade = self._palette.shaded_planes(np.full((1, 1), 1 - _ROUND_SHADES * float(parameters[3]), np.float32))
            colour += (_planes(pixels[y0:y1, x0:x1]) * shade - colour) * weight[y0:y1, x0:x1]
        region = _planes(patch[y0:y1, x0:x1])
        occlusion = cv2.GaussianBlur(coverage, (0, 0), 3 * blur)
        region *= 1 - np.float32(0.20) * occlusion * (1 - alpha)
        colour -= region
        colour *= alpha
        region += colour
        np.clip(region, 0, 255, out=region)
        patch[y0:y1, x0:x1] = cv2.merge(list(region.astype(np.uint8)))

    def _layers(
        self,
        opening: MouthOpening,
        parameters: npt.NDArray[np.floating],
        shape: tuple[int, int],
        origin: Array,
        below_lip: Field,
        above_lip: Field,
    ) -> Field:
        """Colours (3, h, w) float32 of cavity, tongue and teeth, from the back to the front, shaded."""
        jaw, _open, _width, rounding, _press, fv, _teeth, tongue = (float(value) for value in parameters)
        drop = JAW_DROP_IOD * jaw
        edge = _UPPER_EDGE - _ROUND_HIDES_IOD * rounding
        lower_edge = _UPPER_EDGE - _OVERBITE + drop
        # The cavity is darkest under the upper teeth: light falls in from above and in front, onto the tongue.
        depth = _ramp(np.minimum(below_lip, above_lip), 0.0, 0.10)
        cavity = self._palette.cavity.astype(np.float32)[:, None, None]
        colour = np.asarray(cavity * (np.float32(1.45) - np.float32(0.75) * depth), np.float32)

        raised = 0.030 + 0.042 * jaw + min(1.0, tongue) * (0.50 * drop + 0.012)
        # An arch of teeth is round: its sides are farther back and get less light. In units of half the opening.
        left, right = opening.upper[:, 0].min() - origin[0], opening.upper[:, 0].max() - origin[0]
        columns = np.arange(shape[1], dtype=np.float32)
        aside = np.abs(2 * (columns - left) / max(1.0, right - left) - 1)[None]
        arch = 1 - np.float32(_ARCH_SHADES) * _smooth_ramp(aside, _ARCH_STARTS, 0.98)

        tongue_light = (0.62 + 0.38 * _smooth_ramp(below_lip, 0.02, 0.13)) * (0.45 + 0.55 * arch)
        colour = self._over(colour, self._tongue, lower_edge - raised, opening, shape, origin, tongue_light)
        lower_light = (0.80 - 0.25 * jaw) * (0.50 + 0.50 * _ramp(below_lip, 0.0, 0.08)) * arch
        colour = self._over(colour, self._lower, lower_edge, opening, shape, origin, lower_light)
        light = 0.70 + 0.30 * _smooth_ramp(below_lip, -0.012, 0.032)  # under the upper lip's shadow
        light *= 1 - _ROUND_SHADES * rounding
        light += (0.90 - light) * np.float32(fv)
        colour = self._over(colour, self._upper, edge, opening, shape, origin, light * arch)
        if tongue > _TIP_FROM:  # th: the tip comes out between the teeth, before the edge of the upper ones
            opacity = min(1.0, (tongue - _TIP_FROM) / (1 - _TIP_FROM) * 2)
            tip, tip_light = edge - _TIP_RAISED_IOD, _TIP_LIGHT * arch
            colour = self._over(colour, self._tongue, tip, opening, shape, origin, tip_light, opacity)
        low = 0.80 + 0.20 * _ramp(above_lip, -0.006, 0.030)
        colour *= self._palette.shaded_planes(low + (1 - low) * np.float32(0.5 * fv))
        return colour

    def _over(
        self,
        below: Field,
        texture: MouthTexture,
        lowered: float,
        opening: MouthOpening,
        shape: tuple[int, int],
        origin: Array,
        light: Field,
        opacity: float = 1.0,
    ) -> Field:
        """A texture, hung `lowered` IOD under the middle of the seam, over what is below, which it changes.

        `light` 0..1 is (h, w).
        """
        cos, sin = np.cos(self._roll), np.sin(self._roll)
        turn = np.array([[cos, sin], [-sin, cos]])
        to_local = np.column_stack(
            [
                turn @ opening.to_chart[:, :2],
                turn @ (opening.to_chart[:, :2] @ origin + opening.to_chart[:, 2] - self._anchor) - [0, lowered],
            ]
        )
        matrix = np.column_stack(
            [
                texture.from_chart[:, :2] @ to_local[:, :2],
                texture.from_chart[:, :2] @ to_local[:, 2] + texture.from_chart[:, 2],
            ]
        )
        sampled = cv2.warpAffine(
            texture.pixels, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        planes = _planes(sampled)
        if opacity < 1:
            planes *= np.float32(opacity)
        front, uncovered = planes[:3], 1 - planes[3]
        front *= self._palette.shaded_planes(light)
        below *= uncovered
        below += front
        return below


def _bounds(opening: MouthOpening, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Rows and columns y0, y1, x0, x1 around the opening, or None when it is outside or shut."""
    points = np.concatenate([opening.upper, opening.lower])
    margin = 4 + int(0.02 * opening.px_per_iod)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, [shape[1], shape[0]])
    return (int(y0), int(y1), int(x0), int(x1)) if x1 - x0 > 2 and y1 - y0 > 2 else None


def _planes(picture: AnyArray) -> Field:
    """(h, w, n) of any type as float32 (n, h, w)."""
    return picture.transpose(2, 0, 1).astype(np.float32, order="C")  # a quarter of the time of cv2.split()


def _polygon(points: Array, shape: tuple[int, int]) -> Field:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) * np.float32(1 / 255)


def _curve(points: Array, columns: Field) -> Field:
    """Height (1, n) of a lip contour at each column."""
    order = np.argsort(points[:, 0], kind="stable")
    heights: Field = np.interp(columns, points[order, 0], points[order, 1]).astype(np.float32)
    return heights[None]


def _ramp(x: Field, low: float, high: float) -> Field:
    ramp = (x - np.float32(low)) * np.float32(1 / (high - low))
    np.maximum(ramp, 0, out=ramp)  # np.clip() takes twice as long on small arrays
    np.minimum(ramp, 1, out=ramp)
    return np.asarray(ramp, np.float32)


def _smooth_ramp(x: Field, low: float, high: float) -> Field:
    t = _ramp(x, low, high)
    return np.asarray(t * t * (3 - 2 * t), np.float32)

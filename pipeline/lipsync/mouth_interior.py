"""What shows between parted lips: teeth, tongue and the dark behind them.

Teeth and tongue are painted once per avatar, in its light, as small textures in the chart (unit IOD); a picture samples
them where skull and jaw hold them and shades them under the lips.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import eye_rings
from pipeline.lipsync.mouth_shape import JAW_DROP_IOD, smoothstep

__all__ = ["MouthInterior", "MouthOpening", "MouthPalette"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114])
_ENAMEL = np.array([252.0, 240.0, 226.0])
_GUM = np.array([176.0, 92.0, 88.0])
_TONGUE = np.array([186.0, 92.0, 90.0])
_CAVITY = np.array([54.0, 19.0, 18.0])

# Half an arch of teeth from the middle outwards: width of each tooth as seen from the front, IOD.
_UPPER_TEETH = (0.084, 0.066, 0.058, 0.046, 0.036)
_UPPER_EDGE_RISE = (0.000, 0.007, 0.003, 0.010, 0.016)
_LOWER_TEETH = (0.054, 0.056, 0.056, 0.048, 0.040)
_LOWER_EDGE_RISE = (0.000, 0.000, -0.002, 0.004, 0.008)
_UPPER_HEIGHT, _LOWER_HEIGHT = 0.105, 0.090
_UPPER_EDGE = 0.030
"the edge of the upper teeth below the seam of the closed lips, IOD"
_OVERBITE = 0.006
_TEXTURE_SUPERSAMPLING = 4
_SHADOW = np.array([0.46, 0.22, 0.17], np.float32)
_ROUND_SHADES = 0.42
"part of the light that rounded lips keep from the teeth"


@dataclass(frozen=True)
class MouthPalette:
    """Colours of a mouth in the light of a picture: RGB 0..255, float (3,)."""

    enamel: Array
    gum: Array
    tongue: Array
    cavity: Array

    @classmethod
    def in_light_of(cls, frame: Image, landmarks: Array) -> MouthPalette:
        """Judge the light by the eye whites and the brightest skin: cheeks may be dark while teeth are white."""
        height, width = frame.shape[:2]
        face = np.zeros((height, width), np.uint8)
        eyes = np.zeros_like(face)
        hull = cv2.convexHull(landmarks[:468, :2].astype(np.float32))
        cv2.fillConvexPoly(face, hull.round().astype(np.int32), 255)
        for ring in eye_rings(landmarks):
            cv2.fillPoly(eyes, [ring.round().astype(np.int32)], 255)
        skin = frame[(face > 0) & (eyes == 0)].astype(np.float64)
        bright = skin[skin @ _LUMA >= np.percentile(skin @ _LUMA, 92)].mean(axis=0) if len(skin) else np.full(3, 200.0)
        white = frame[eyes > 0].astype(np.float64)
        eye_white = float(np.percentile(white @ _LUMA, 90)) if len(white) else 0.0
        light = float(np.clip(max(eye_white, 1.02 * bright @ _LUMA) / 214, 0.30, 1.0))
        cast = bright / max(bright @ _LUMA, 1.0)
        tint = 0.88 + 0.12 * cast
        return cls(np.minimum(_ENAMEL * light * tint, 250), _GUM * light, _TONGUE * light, _CAVITY * light)


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


@dataclass(frozen=True)
class _Texture:
    pixels: Field
    "(h, w, 4) RGB premultiplied by alpha, then alpha 0..1"
    from_chart: Array
    "(2, 3) affine map from chart coordinates, relative to the anchor, to pixels of the texture"


class MouthInterior:
    """Teeth, tongue and cavity of one avatar."""

    def __init__(self, palette: MouthPalette, seam: Array, px_per_iod: float) -> None:
        """`seam` (11, 2) is the line of the closed lips in the chart; textures are made for px_per_iod."""
        self._palette = palette
        self._anchor = seam[len(seam) // 2]
        across = seam[-1] - seam[0]
        self._roll = float(np.arctan2(across[1], across[0]))
        self._half_width = 0.5 * float(np.linalg.norm(across))
        density = float(np.clip(px_per_iod, 60, 420))
        self._upper = _paint_teeth(palette, _UPPER_TEETH, _UPPER_EDGE_RISE, _UPPER_HEIGHT, density, hanging=True)
        self._lower = _paint_teeth(palette, _LOWER_TEETH, _LOWER_EDGE_RISE, _LOWER_HEIGHT, density, hanging=False)
        self._tongue = _paint_tongue(palette, density)

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
        blur = max(0.6, 0.006 * opening.px_per_iod)
        alpha = cv2.GaussianBlur(coverage, (0, 0), blur)[..., None]
        columns, rows = np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)[:, None]
        below_lip = (rows - _curve(upper, columns)) / np.float32(opening.px_per_iod)
        above_lip = (_curve(lower, columns) - rows) / np.float32(opening.px_per_iod)

        colour = self._layers(opening, parameters, shape, origin, below_lip, above_lip)
        if own_teeth is not None:
            pixels, weight = own_teeth
            shade = _warm(1 - _ROUND_SHADES * float(parameters[3]) * np.ones((1, 1), np.float32))
            colour += (pixels[y0:y1, x0:x1] * shade - colour) * weight[y0:y1, x0:x1, None]
        region = patch[y0:y1, x0:x1].astype(np.float32)
        occlusion = cv2.GaussianBlur(coverage, (0, 0), 3 * blur)[..., None]
        region *= 1 - np.float32(0.20) * occlusion * (1 - alpha)
        region += (colour - region) * alpha
        patch[y0:y1, x0:x1] = np.clip(region, 0, 255).astype(np.uint8)

    def _layers(
        self,
        opening: MouthOpening,
        parameters: npt.NDArray[np.floating],
        shape: tuple[int, int],
        origin: Array,
        below_lip: Field,
        above_lip: Field,
    ) -> Field:
        """Colours (h, w, 3) float32 of cavity, tongue and teeth, from the back to the front, shaded."""
        jaw, _open, _width, rounding, _press, fv, _teeth, tongue = (float(value) for value in parameters)
        drop = JAW_DROP_IOD * jaw
        edge = _UPPER_EDGE
        lower_edge = edge - _OVERBITE + drop
        depth = np.clip(np.minimum(below_lip, above_lip) / 0.07, 0, 1)[..., None].astype(np.float32)
        colour = self._palette.cavity.astype(np.float32) * (np.float32(1.25) - np.float32(0.75) * depth)

        raised = 0.045 * jaw + min(1.0, tongue) * (0.55 * drop + 0.030)
        colour = self._over(colour, self._tongue, lower_edge - raised, opening, shape, origin)
        lower_light = (1 - 0.3 * jaw) * (0.55 + 0.45 * _ramp(below_lip, 0.0, 0.06))
        colour = self._over(colour, self._lower, lower_edge, opening, shape, origin, lower_light)
        if tongue > 0.75:  # th: the tip comes forward between the teeth
            tip = edge - 0.006
            colour = self._over(
                colour, self._tongue, tip, opening, shape, origin, opacity=min(1.0, 6 * (tongue - 0.75))
            )
        colour *= (0.65 + 0.35 * _ramp(below_lip, 0.0, 0.060))[..., None]
        light = 0.74 + 0.26 * _ramp(below_lip, -0.006, 0.028)
        light *= 1 - _ROUND_SHADES * rounding
        light += (0.92 - light) * fv
        colour = self._over(colour, self._upper, edge, opening, shape, origin, light)
        low = 0.84 + 0.16 * _ramp(above_lip, -0.004, 0.018)
        return np.asarray(colour * _warm(low + (1 - low) * np.float32(0.5 * fv)), np.float32)

    def _over(
        self,
        below: Field,
        texture: _Texture,
        lowered: float,
        opening: MouthOpening,
        shape: tuple[int, int],
        origin: Array,
        light: Field | None = None,
        opacity: float = 1.0,
    ) -> Field:
        """A texture, hung `lowered` IOD under the middle of the seam, over what is below; `light` 0..1 is (h, w)."""
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
        if opacity < 1:
            sampled = sampled * np.float32(opacity)
        front = sampled[..., :3] if light is None else sampled[..., :3] * _warm(light)
        return np.asarray(below * (1 - sampled[..., 3:]) + front, np.float32)


def _bounds(opening: MouthOpening, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Rows and columns y0, y1, x0, x1 around the opening, or None when it is outside or shut."""
    points = np.concatenate([opening.upper, opening.lower])
    margin = 4 + int(0.02 * opening.px_per_iod)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + margin, [shape[1], shape[0]])
    return (int(y0), int(y1), int(x0), int(x1)) if x1 - x0 > 2 and y1 - y0 > 2 else None


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
    ramp: Field = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return ramp


def _warm(light: Field) -> Field:
    """Factors (h, w, 3) for light 0..1 (h, w): in a mouth the shadows are red, not grey."""
    return np.asarray(_SHADOW + (1 - _SHADOW) * light[..., None], np.float32)


def _canvas(half_width: float, top: float, bottom: float, density: float) -> tuple[Array, Array, Array]:
    """Chart coordinates x, y of a supersampled canvas, and the map from the chart to its final pixels."""
    width, height = int(np.ceil(2 * half_width * density)), int(np.ceil((bottom - top) * density))
    fine = density * _TEXTURE_SUPERSAMPLING
    x = (np.arange(width * _TEXTURE_SUPERSAMPLING) + 0.5) / fine - half_width
    y = (np.arange(height * _TEXTURE_SUPERSAMPLING) + 0.5) / fine + top
    from_chart = np.array([[density, 0, half_width * density - 0.5], [0, density, -top * density - 0.5]])
    return np.asarray(x[None, :]), np.asarray(y[:, None]), from_chart


def _texture(colour: Array, alpha: Array, from_chart: Array) -> _Texture:
    fine = np.dstack([colour * alpha[..., None], alpha]).astype(np.float32)
    size = (fine.shape[1] // _TEXTURE_SUPERSAMPLING, fine.shape[0] // _TEXTURE_SUPERSAMPLING)
    return _Texture(np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32), from_chart)


def _paint_teeth(
    palette: MouthPalette,
    widths: tuple[float, ...],
    rises: tuple[float, ...],
    tooth_height: float,
    density: float,
    *,
    hanging: bool,
) -> _Texture:
    """One row of teeth with its gum; their biting edge in the middle is at 0. `hanging`: the upper row."""
    half = sum(widths)
    margin = 0.012
    top, bottom = (-tooth_height - 0.05, margin) if hanging else (-margin, tooth_height + 0.03)
    x, y, from_chart = _canvas(half + margin, top, bottom, density)
    inward = -y if hanging else y  # from the biting edge towards the gum
    inward = np.broadcast_to(inward, (y.size, x.size))
    away = np.abs(x)

    starts = np.concatenate([[0.0], np.cumsum(widths)])
    tooth = np.clip(np.searchsorted(starts, away, side="right") - 1, 0, len(widths) - 1)
    width = np.asarray(widths)[tooth]
    across = 2 * (away - starts[tooth]) / width - 1  # -1 .. 1 over a tooth
    rise = np.asarray(rises)[tooth] + 0.012 * (away / half) ** 2
    corner = 0.22 * width * np.abs(across) ** 5
    edge = rise + corner
    gum_line = rise + tooth_height * (0.80 - 0.14 * across**2 - 0.18 * (away / half))

    soft = 0.003
    enamel_alpha = smoothstep(inward - edge, -soft, soft)
    gap = smoothstep((1 - np.abs(across)) * width, 0.0, 0.007)
    round_side = 1 - 0.10 * np.abs(across) ** 3
    turned_away = 1 - 0.50 * smoothstep(away / half, 0.30, 1.05)
    lengthwise = 0.93 + 0.07 * smoothstep(inward - rise, 0.0, 0.030) - 0.10 * smoothstep(inward, 0.04, 0.09)
    shade = _warm((round_side * turned_away * lengthwise * (1.0 if hanging else 0.86)).astype(np.float32))
    between = np.array([0.72, 0.62, 0.55])
    enamel = palette.enamel * shade * (between + (1 - between) * gap[..., None])
    gum = palette.gum * (turned_away * 0.85)[..., None]
    in_gum = smoothstep(inward - gum_line, -0.004, 0.004)[..., None]
    colour = enamel + (gum - enamel) * in_gum
    ends = smoothstep(half - away, 0.0, 0.05)
    foot = 1.0 if hanging else smoothstep(tooth_height + 0.025 - inward, 0.0, 0.02)
    return _texture(colour, enamel_alpha * ends * foot, from_chart)


def _paint_tongue(palette: MouthPalette, density: float) -> _Texture:
    """A tongue seen from the front; the top of its tip is at 0."""
    half, depth = 0.21, 0.16
    x, y, from_chart = _canvas(half + 0.02, -0.015, depth, density)
    crown = 0.035 * (x / half) ** 2 + 0.010 * np.exp(-((x / 0.05) ** 2))
    inside = y - crown
    alpha = smoothstep(inside, -0.006, 0.010) * smoothstep(half - np.abs(x), 0.0, 0.05)
    alpha = alpha * smoothstep(depth - y, 0.0, 0.04)
    light = 0.62 + 0.38 * smoothstep(inside, 0.0, 0.045) - 0.18 * smoothstep(inside, 0.06, 0.14)
    groove = 1 - 0.14 * np.exp(-((x / 0.018) ** 2)) * smoothstep(inside, 0.005, 0.03)
    sides = 1 - 0.30 * (x / half) ** 2
    return _texture(palette.tongue * (light * groove * sides)[..., None], alpha, from_chart)

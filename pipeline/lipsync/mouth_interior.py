"""What shows between parted lips: teeth, tongue and the dark behind them.

Teeth and tongue are painted once per avatar, in its light and as soft as its picture, as small textures in the chart
(unit IOD). A picture samples them where skull and jaw hold them, and shades them under the lips and towards the corners
of the mouth, where a row of teeth ends in the dark.

Pictures are worked on as planes, (3, h, w): numpy takes several times as long where a factor (h, w) meets colours
(h, w, 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import eye_rings
from avatars.mouth_look import MouthLook
from models.arrays import AnyArray
from pipeline.lipsync.mouth_shape import JAW_DROP_IOD, smoothstep

__all__ = ["MouthInterior", "MouthOpening", "MouthPalette"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_LUMA = np.array([0.299, 0.587, 0.114])

# Hues of a mouth in white light, as RGB of luminance 1; how light each part is comes from the picture.
_ENAMEL_HUE = np.array([1.030, 0.994, 0.965])
_GUM_HUE = np.array([1.52, 0.80, 0.77])
_TONGUE_HUE = np.array([1.50, 0.80, 0.80])
_CAVITY_HUE = np.array([1.80, 0.66, 0.62])
_SHADOW_HUE = np.array([1.62, 0.76, 0.60])

# Luminance of each part: enamel as part of that of the eye whites, the others as part of that of bright skin.
_ENAMEL_OF_EYE_WHITE = 0.96
_LEAST_ENAMEL_OF_SKIN, _MOST_ENAMEL_OF_SKIN = 0.62, 1.00
"eyes may be in shadow or behind dark glasses: enamel is not darker than this part of bright skin"
_GUM_OF_SKIN, _TONGUE_OF_SKIN, _CAVITY_OF_SKIN = 0.50, 0.60, 0.165
_SHADOW_LUMA = 0.22
"what is left of the light in the deepest shadow on teeth and tongue"
_SKIN_TINTS = 0.18
"part of the skin's cast that teeth and tongue take: it is the colour of the light, for the most part"
_FULL_CHROMA = 36
"largest less smallest channel of skin in a picture of full colour; a tinted or grey picture has less"

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
_ROUND_SHADES = 0.42
"part of the light that rounded lips keep from the teeth"
_ROUND_HIDES_IOD = 0.030
"how far rounded lips, which come forward, cover the upper teeth"
_ARCH_STARTS, _ARCH_SHADES = 0.34, 0.80
"from this part of half the mouth's width outwards, teeth turn away and lose up to this part of the light"
_TEXTURE_SOFTNESS_PX = 0.45
"softness (sigma of a Gaussian) that the textures have of themselves"
_STRONG_EDGES = 95
"percentile of the gradients in a face that are edges"
_LARGEST_SOFTNESS_PX = 4.0


@dataclass(frozen=True)
class MouthPalette:
    """Colours of a mouth in the light of a picture: RGB 0..255, float (3,)."""

    enamel: Array
    gum: Array
    tongue: Array
    cavity: Array
    shadow: Field
    "factors float32 (3,) of the deepest shadow: red in a mouth, grey in a grey picture"
    softness_px: float
    "how soft the picture's edges are: sigma of a Gaussian"
    single_teeth: bool = True
    "False: a row of teeth is one smooth band"

    @classmethod
    def in_light_of(cls, frame: Image, landmarks: Array) -> MouthPalette:
        """Judge the light by eye whites and bright skin: teeth are never whiter than the whites of the eyes.

        Neither is enough by itself: dark skin says little of teeth, and eyes may lie in shadow.
        """
        height, width = frame.shape[:2]
        face = np.zeros((height, width), np.uint8)
        eyes = np.zeros_like(face)
        hull = cv2.convexHull(landmarks[:468, :2].astype(np.float32))
        cv2.fillConvexPoly(face, hull.round().astype(np.int32), 255)
        for ring in eye_rings(landmarks):
            cv2.fillPoly(eyes, [ring.round().astype(np.int32)], 255)
        skin = frame[(face > 0) & (eyes == 0)].astype(np.float64)
        if not len(skin):
            skin = np.full((1, 3), 180.0)
        luma = skin @ _LUMA
        bright = skin[luma >= np.percentile(luma, 92)].mean(axis=0)
        light = float(max(bright @ _LUMA, 1.0))
        white = frame[eyes > 0].astype(np.float64)
        eye_white = float(np.percentile(white @ _LUMA, 97)) if len(white) else light
        enamel = max(
            min(_ENAMEL_OF_EYE_WHITE * eye_white, max(_MOST_ENAMEL_OF_SKIN * light, 0.85 * eye_white)),
            _LEAST_ENAMEL_OF_SKIN * light,
        )
        chroma = float(np.clip(np.median(skin.max(axis=1) - skin.min(axis=1)) / _FULL_CHROMA, 0, 1))
        tint = 1 + _SKIN_TINTS * chroma * (bright / light - 1)

        def colour(hue: Array, luminance: float) -> Array:
            in_light = (1 + chroma * (hue - 1)) * tint
            return np.asarray(np.minimum(luminance * in_light / (in_light @ _LUMA), 250))

        # Gums and tongue follow the teeth, as far as skin is darker than they are.
        wet = max(light, 0.75 * enamel)
        return cls(
            enamel=colour(_ENAMEL_HUE, enamel),
            gum=colour(_GUM_HUE, _GUM_OF_SKIN * wet),
            tongue=colour(_TONGUE_HUE, _TONGUE_OF_SKIN * wet),
            cavity=colour(_CAVITY_HUE, _CAVITY_OF_SKIN * wet),
            shadow=(_SHADOW_LUMA * (1 + chroma * (_SHADOW_HUE - 1))).astype(np.float32),
            softness_px=_softness_px(frame, face),
        )

    def looking(self, look: MouthLook) -> MouthPalette:
        """The palette that an artist chose for this picture. Shadows and softness stay those of the picture."""
        enamel, gum, tongue, cavity = (
            np.array(colour, np.float64) for colour in (look.enamel, look.gum, look.tongue, look.cavity)
        )
        return replace(self, enamel=enamel, gum=gum, tongue=tongue, cavity=cavity, single_teeth=look.single_teeth)

    def shaded(self, light: Field) -> Field:
        """Factors (h, w, 3) for light 0..1 (h, w)."""
        return np.asarray(self.shadow + (1 - self.shadow) * light[..., None], np.float32)

    def shaded_planes(self, light: Field) -> Field:
        """Factors (3, h, w) for light 0..1 (h, w)."""
        shadow = self.shadow[:, None, None]
        factors = (1 - shadow) * light
        factors += shadow
        return np.asarray(factors, np.float32)


def _softness_px(frame: Image, face: Image) -> float:
    """How soft the sharpest edges of a face are, as the sigma of a Gaussian.

    A blur of known sigma takes more from the gradient of a sharp edge than of a soft one; the ratio of both gradients
    tells the edge's own sigma (Zhuo & Sim 2011). `face` is a mask, uint8 (h, w).
    """
    inner = cv2.erode(face, np.ones((9, 9), np.uint8)) > 0
    if not inner.any():
        return 0.0
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharp, blurred = _gradient(luma), _gradient(cv2.GaussianBlur(luma, (0, 0), 1.0))
    edges = inner & (sharp >= np.percentile(sharp[inner], _STRONG_EDGES))
    ratio = np.maximum(sharp[edges] / np.maximum(blurred[edges], 1e-3), 1.001)
    return float(min(np.percentile(1 / np.sqrt(ratio**2 - 1), 25), _LARGEST_SOFTNESS_PX))


def _gradient(luma: AnyArray) -> Field:
    return np.asarray(np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)), np.float32)


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
        self._upper = _paint_teeth(
            palette, _UPPER_TEETH, _UPPER_EDGE_RISE, _UPPER_HEIGHT, density, softness_px, hanging=True
        )
        self._lower = _paint_teeth(
            palette, _LOWER_TEETH, _LOWER_EDGE_RISE, _LOWER_HEIGHT, density, softness_px, hanging=False
        )
        self._tongue = _paint_tongue(palette, density, softness_px)

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
        if tongue > 0.75:  # th: the tip comes forward between the teeth
            tip = _UPPER_EDGE - 0.006
            opacity = min(1.0, 6 * (tongue - 0.75))
            colour = self._over(colour, self._tongue, tip, opening, shape, origin, arch, opacity)
        light = 0.70 + 0.30 * _smooth_ramp(below_lip, -0.012, 0.032)  # under the upper lip's shadow
        light *= 1 - _ROUND_SHADES * rounding
        light += (0.90 - light) * np.float32(fv)
        colour = self._over(colour, self._upper, edge, opening, shape, origin, light * arch)
        low = 0.80 + 0.20 * _ramp(above_lip, -0.006, 0.030)
        colour *= self._palette.shaded_planes(low + (1 - low) * np.float32(0.5 * fv))
        return colour

    def _over(
        self,
        below: Field,
        texture: _Texture,
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
    return np.array(cv2.split(picture), np.float32)


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


def _canvas(half_width: float, top: float, bottom: float, density: float) -> tuple[Array, Array, Array]:
    """Chart coordinates x, y of a supersampled canvas, and the map from the chart to its final pixels."""
    width, height = int(np.ceil(2 * half_width * density)), int(np.ceil((bottom - top) * density))
    fine = density * _TEXTURE_SUPERSAMPLING
    x = (np.arange(width * _TEXTURE_SUPERSAMPLING) + 0.5) / fine - half_width
    y = (np.arange(height * _TEXTURE_SUPERSAMPLING) + 0.5) / fine + top
    from_chart = np.array([[density, 0, half_width * density - 0.5], [0, density, -top * density - 0.5]])
    return np.asarray(x[None, :]), np.asarray(y[:, None]), from_chart


def _texture(colour: Array, alpha: Array, from_chart: Array, softness_px: float) -> _Texture:
    """`softness_px` is that of the picture: teeth that are sharper than their face look pasted in."""
    fine = np.dstack([colour * alpha[..., None], alpha]).astype(np.float32)
    size = (fine.shape[1] // _TEXTURE_SUPERSAMPLING, fine.shape[0] // _TEXTURE_SUPERSAMPLING)
    pixels = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    missing_px = float(np.sqrt(max(softness_px**2 - _TEXTURE_SOFTNESS_PX**2, 0.0)))
    if missing_px > 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), missing_px, borderType=cv2.BORDER_CONSTANT)
    return _Texture(np.asarray(pixels, np.float32), from_chart)


def _paint_teeth(
    palette: MouthPalette,
    widths: tuple[float, ...],
    rises: tuple[float, ...],
    tooth_height: float,
    density: float,
    softness_px: float,
    *,
    hanging: bool,
) -> _Texture:
    """One row of teeth with its gum; their biting edge in the middle is at 0. `hanging`: the upper row."""
    half = sum(widths)
    margin = 0.012 + 3 * softness_px / density
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
    if not palette.single_teeth:
        across, rise = np.zeros_like(away), 0.012 * (away / half) ** 2
    corner = 0.14 * width * np.abs(across) ** 5
    edge = rise + corner
    gum_line = rise + tooth_height * (0.80 - 0.14 * across**2 - 0.18 * (away / half))

    soft = 0.003
    enamel_alpha = smoothstep(inward - edge, -soft, soft)
    gap = smoothstep((1 - np.abs(across)) * width, 0.0, 0.008)
    round_side = 1 - 0.10 * np.abs(across) ** 3
    turned_away = 1 - 0.45 * smoothstep(away / half, 0.30, 1.05)
    # The biting edge is thin and lets the dark through; the middle of a tooth is lightest.
    lengthwise = 0.84 + 0.16 * smoothstep(inward - rise, 0.0, 0.034) - 0.12 * smoothstep(inward, 0.035, 0.085)
    shade = palette.shaded((round_side * turned_away * lengthwise * (1.0 if hanging else 0.86)).astype(np.float32))
    between = 1 - 0.55 * (1 - palette.shadow) / (1 - palette.shadow @ _LUMA) * 0.55
    enamel = palette.enamel * shade * (between + (1 - between) * gap[..., None])
    gum = palette.gum * (turned_away * 0.85)[..., None]
    in_gum = smoothstep(inward - gum_line, -0.004, 0.004)[..., None]
    colour = enamel + (gum - enamel) * in_gum
    ends = smoothstep(half - away, 0.0, 0.09)
    foot = 1.0 if hanging else smoothstep(tooth_height + 0.025 - inward, 0.0, 0.02)
    return _texture(colour, enamel_alpha * ends * foot, from_chart, softness_px)


def _paint_tongue(palette: MouthPalette, density: float, softness_px: float) -> _Texture:
    """A tongue seen from the front; the top of its tip is at 0. It is wet: two soft glints lie on it."""
    half, depth = 0.25, 0.20
    x, y, from_chart = _canvas(half + 0.02, -0.03, depth, density)
    crown = 0.050 * (x / half) ** 2 + 0.008 * np.exp(-((x / 0.05) ** 2))
    inside = y - crown
    alpha = smoothstep(inside, -0.020, 0.030) * smoothstep(half - np.abs(x), 0.0, 0.08)
    alpha = alpha * smoothstep(depth - y, 0.0, 0.04)
    light = 0.50 + 0.50 * smoothstep(inside, -0.010, 0.075)
    groove = 1 - 0.16 * np.exp(-((x / 0.022) ** 2)) * smoothstep(inside, 0.005, 0.04)
    sides = 1 - 0.30 * (x / half) ** 2
    glint = 0.22 * np.exp(-(((np.abs(x) - 0.055) / 0.028) ** 2) - ((inside - 0.042) / 0.012) ** 2)
    colour = palette.tongue * (light * groove * sides)[..., None]
    colour = colour + (palette.enamel - colour) * glint[..., None]
    return _texture(colour, alpha, from_chart, softness_px)

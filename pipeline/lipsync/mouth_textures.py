"""Teeth and tongue as small textures: painted once per avatar, in the colours of its palette, soft as its picture.

A texture lies in the chart (unit IOD), relative to an anchor of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.lipsync.mouth_palette import LUMA, MouthPalette
from pipeline.lipsync.mouth_shape import smoothstep

__all__ = ["MouthTexture", "paint_lower_teeth", "paint_tongue", "paint_upper_teeth"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

# Half an arch of teeth from the middle outwards: width of each tooth as seen from the front, IOD.
_UPPER_TEETH = (0.084, 0.066, 0.058, 0.046, 0.036)
_UPPER_EDGE_RISE = (0.000, 0.007, 0.003, 0.010, 0.016)
_LOWER_TEETH = (0.054, 0.056, 0.056, 0.048, 0.040)
_LOWER_EDGE_RISE = (0.000, 0.000, -0.002, 0.004, 0.008)
_UPPER_HEIGHT, _LOWER_HEIGHT = 0.105, 0.090
_TEXTURE_SUPERSAMPLING = 4
_TEXTURE_SOFTNESS_PX = 0.45
"softness (sigma of a Gaussian) that the textures have of themselves"


@dataclass(frozen=True)
class MouthTexture:
    pixels: Field
    "(h, w, 4) RGB premultiplied by alpha, then alpha 0..1"
    from_chart: Array
    "(2, 3) affine map from chart coordinates, relative to the anchor, to pixels of the texture"


def paint_upper_teeth(palette: MouthPalette, density: float, softness_px: float) -> MouthTexture:
    """The upper row with its gum; its biting edge in the middle is at 0. density: pixels per IOD."""
    return _paint_teeth(palette, _UPPER_TEETH, _UPPER_EDGE_RISE, _UPPER_HEIGHT, density, softness_px, hanging=True)


def paint_lower_teeth(palette: MouthPalette, density: float, softness_px: float) -> MouthTexture:
    """The lower row, in the same way."""
    return _paint_teeth(palette, _LOWER_TEETH, _LOWER_EDGE_RISE, _LOWER_HEIGHT, density, softness_px, hanging=False)


def _canvas(half_width: float, top: float, bottom: float, density: float) -> tuple[Array, Array, Array]:
    """Chart coordinates x, y of a supersampled canvas, and the map from the chart to its final pixels."""
    width, height = int(np.ceil(2 * half_width * density)), int(np.ceil((bottom - top) * density))
    fine = density * _TEXTURE_SUPERSAMPLING
    x = (np.arange(width * _TEXTURE_SUPERSAMPLING) + 0.5) / fine - half_width
    y = (np.arange(height * _TEXTURE_SUPERSAMPLING) + 0.5) / fine + top
    from_chart = np.array([[density, 0, half_width * density - 0.5], [0, density, -top * density - 0.5]])
    return np.asarray(x[None, :]), np.asarray(y[:, None]), from_chart


def _texture(colour: Array, alpha: Array, from_chart: Array, softness_px: float) -> MouthTexture:
    """`softness_px` is that of the picture: teeth that are sharper than their face look pasted in."""
    fine = np.dstack([colour * alpha[..., None], alpha]).astype(np.float32)
    size = (fine.shape[1] // _TEXTURE_SUPERSAMPLING, fine.shape[0] // _TEXTURE_SUPERSAMPLING)
    pixels = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    missing_px = float(np.sqrt(max(softness_px**2 - _TEXTURE_SOFTNESS_PX**2, 0.0)))
    if missing_px > 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), missing_px, borderType=cv2.BORDER_CONSTANT)
    return MouthTexture(np.asarray(pixels, np.float32), from_chart)


def _paint_teeth(
    palette: MouthPalette,
    widths: tuple[float, ...],
    rises: tuple[float, ...],
    tooth_height: float,
    density: float,
    softness_px: float,
    *,
    hanging: bool,
) -> MouthTexture:
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
    between = 1 - 0.55 * (1 - palette.shadow) / (1 - palette.shadow @ LUMA) * 0.55
    enamel = palette.enamel * shade * (between + (1 - between) * gap[..., None])
    gum = palette.gum * (turned_away * 0.85)[..., None]
    in_gum = smoothstep(inward - gum_line, -0.004, 0.004)[..., None]
    colour = enamel + (gum - enamel) * in_gum
    ends = smoothstep(half - away, 0.0, 0.09)
    foot = 1.0 if hanging else smoothstep(tooth_height + 0.025 - inward, 0.0, 0.02)
    return _texture(colour, enamel_alpha * ends * foot, from_chart, softness_px)


def paint_tongue(palette: MouthPalette, density: float, softness_px: float) -> MouthTexture:
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

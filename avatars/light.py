"""Converts RGB with wide primaries, other curves or HDR to sRGB, by the standards' formulas (ITU-R BT.2100, H.273).

It works in floating point and with tables. FFmpeg's scaler would take 4 s of processor time before the first picture to
build a table of its own, which is off by several levels for strong greens. HDR is mapped to an ordinary screen: light
up to 203 nits (the white of ITU-R BT.2408), which includes faces, looks as intended. Light above nine tenths of white
is compressed, so that bright areas keep their structure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.arrays import ImageArray

__all__ = ["CURVES", "D50", "HDR_CURVES", "PRIMARIES", "LightMap", "light_map", "xyz_d50"]

Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]

WHITE_NITS: Final = 203.0
HLG_PEAK_NITS: Final = 1000.0
KNEE: Final = 0.9
"Fraction of white, as an sRGB value. Above it light is compressed: level 239 becomes 236, 1,000 nits become 253."
BT709, BT2020 = 1, 9
PQ, HLG = 16, 18
HDR_CURVES: Final = (PQ, HLG)

D65: Final = (0.3127, 0.3290)
ILLUMINANT_C: Final = (0.310, 0.316)
PRIMARIES: Final[dict[int, tuple[float, ...]]] = {
    BT709: (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060),
    4: (*ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    BT2020: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"Number in H.273 -> x and y of white, red, green and blue."

BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50: Final = np.array([0.9642, 1.0, 0.8249])


def xyz_d50(chromaticities: tuple[float, ...]) -> Floats:
    """Return the matrix (3, 3) from linear RGB with these primaries to XYZ under D50, as used by ICC profiles."""
    xy = zip(chromaticities[::2], chromaticities[1::2], strict=True)
    white, red, green, blue = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in xy)
    primaries = np.stack([red, green, blue], axis=1)
    gain = (BRADFORD @ D50) / (BRADFORD @ white)
    adapted = np.linalg.inv(BRADFORD) @ np.diag(gain) @ BRADFORD
    return np.asarray(adapted @ (primaries * np.linalg.solve(primaries, white)), np.float64)


def _srgb_light(value: Floats) -> Floats:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _srgb_value(light: Floats) -> Floats:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def _pq_light(value: Floats) -> Floats:
    power = value ** (32 / 2523)
    nits = 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)
    return nits / WHITE_NITS


def _hlg_scene(value: Floats) -> Floats:
    """Return the light of the scene, 0 to 1. Its brightness on a screen depends on the colour; see LightMap."""
    return np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)


CURVES: Final[dict[int, Curve]] = {
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    17: lambda value: value**2.6 * 52.37 / 48,
    PQ: _pq_light,
    HLG: _hlg_scene,
}
"Number in H.273 -> function from values to light. Players treat all other curves as sRGB's."


@lru_cache(maxsize=8)
def light_map(primaries: int, transfer: int, white: int) -> LightMap:
    """Return a cached map for these colours: building its large tables is slow."""
    return LightMap(primaries, transfer, white)


class LightMap:
    """Maps RGB with these primaries and this curve, and `white` as largest value, to 8-bit sRGB."""

    def __init__(self, primaries: int, transfer: int, white: int) -> None:
        curve = CURVES.get(transfer, _srgb_light)
        values = np.arange(1 << white.bit_length()) / white
        self._light = curve(np.minimum(values, 1)).astype(np.float32)
        self._to_srgb = (np.linalg.inv(xyz_d50(PRIMARIES[BT709])) @ xyz_d50(PRIMARIES[primaries])).astype(np.float32)
        self._transfer = transfer
        self._coded = np.round(255 * _srgb_value(np.linspace(0, 1, 65536))).astype(np.uint8)

    def apply(self, rgb: npt.NDArray[np.unsignedinteger]) -> ImageArray:
        """Map unsigned integers (h, w, 3) up to `white` to uint8 sRGB (h, w, 3)."""
        light: npt.NDArray[np.float32] = self._light[rgb]
        if self._transfer == HLG:
            luminance = cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
            # The OOTF of BT.2100 for a screen of 1,000 nits: scene light times its luminance to the power 1.2 - 1.
            light *= HLG_PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-9)[..., None] ** np.float32(0.2)
        light = np.asarray(cv2.transform(light, self._to_srgb), np.float32)
        if self._transfer in HDR_CURVES:
            _draw_together(light)
        np.clip(light, 0, 1, out=light)
        return np.asarray(self._coded[(light * np.float32(65535) + np.float32(0.5)).astype(np.uint16)], np.uint8)


def _draw_together(light: npt.NDArray[np.float32]) -> None:
    """Compress light above the knee to below white, in place; hues are kept."""
    brightest = light.max(axis=2)
    bright = brightest > _srgb_light(np.array(KNEE))
    if bright.any():
        peak = brightest[bright].astype(np.float64)
        # x / (1 + x) maps everything above the knee to between the knee and white, with no step at the knee.
        over = (_srgb_value(peak) - KNEE) / (1 - KNEE)
        light[bright] *= (_srgb_light(KNEE + (1 - KNEE) * over / (1 + over)) / peak).astype(np.float32)[:, None]

"""RGB of wide primaries, other curves and HDR -> sRGB, by the formulas of the standards (ITU-R BT.2100, H.273).

In floating point and by tables: FFmpeg's scaler takes 4 s of processor time before the first picture, for a table of
its own that is wrong by some levels for strong greens.
HDR is brought down to a usual screen: what is up to 203 nits (the white of ITU-R BT.2408) looks as meant, faces among
it; what is brighter than nine tenths of white is drawn together, so that lights keep their shape.
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
"of white, as sRGB counts: what is brighter is drawn together. Level 239 becomes 236, 1,000 nits 253"
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
"x and y of white, red, green and blue by their number in H.273"

BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50: Final = np.array([0.9642, 1.0, 0.8249])


def xyz_d50(chromaticities: tuple[float, ...]) -> Floats:
    """The matrix (3, 3) from linear RGB of these primaries to XYZ under D50, which ICC profiles are about."""
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
    """Light of the scene, 0..1; how a screen shows it depends on the colour, see LightMap."""
    return np.where(value <= 0.5, value**2 / 3, (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12)


CURVES: Final[dict[int, Curve]] = {
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    17: lambda value: value**2.6 * 52.37 / 48,
    PQ: _pq_light,
    HLG: _hlg_scene,
}
"from values to light, by their number in H.273; viewers show every other one as if it was sRGB's"


@lru_cache(maxsize=8)
def light_map(primaries: int, transfer: int, white: int) -> LightMap:
    """The same one again for the same colours: its tables are large."""
    return LightMap(primaries, transfer, white)


class LightMap:
    """RGB in which `white` is the largest value, in these primaries and with this curve -> sRGB of 8 bits."""

    def __init__(self, primaries: int, transfer: int, white: int) -> None:
        curve = CURVES.get(transfer, _srgb_light)
        values = np.arange(1 << white.bit_length()) / white
        self._light = curve(np.minimum(values, 1)).astype(np.float32)
        self._to_srgb = (np.linalg.inv(xyz_d50(PRIMARIES[BT709])) @ xyz_d50(PRIMARIES[primaries])).astype(np.float32)
        self._transfer = transfer
        self._coded = np.round(255 * _srgb_value(np.linspace(0, 1, 65536))).astype(np.uint8)

    def apply(self, rgb: npt.NDArray[np.unsignedinteger]) -> ImageArray:
        """Unsigned integers (h, w, 3) of as many bits as `white` has -> uint8 sRGB (h, w, 3)."""
        light: npt.NDArray[np.float32] = self._light[rgb]
        if self._transfer == HLG:
            luminance = cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
            light *= HLG_PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-9)[..., None] ** np.float32(0.2)
        light = np.asarray(cv2.transform(light, self._to_srgb), np.float32)
        if self._transfer in HDR_CURVES:
            _draw_together(light)
        np.clip(light, 0, 1, out=light)
        return np.asarray(self._coded[(light * np.float32(65535) + np.float32(0.5)).astype(np.uint16)], np.uint8)


def _draw_together(light: npt.NDArray[np.float32]) -> None:
    """Bring what is brighter than the knee below white, in its own hue."""
    brightest = light.max(axis=2)
    bright = brightest > _srgb_light(np.array(KNEE))
    if bright.any():
        peak = brightest[bright].astype(np.float64)
        over = (_srgb_value(peak) - KNEE) / (1 - KNEE)
        light[bright] *= (_srgb_light(KNEE + (1 - KNEE) * over / (1 + over)) / peak).astype(np.float32)[:, None]

"""The colours of a mouth in the light of its picture, and how soft that picture is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from avatars.geometry import eye_rings
from avatars.mouth_look import MouthLook
from models.arrays import AnyArray

__all__ = ["LUMA", "MouthPalette"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

LUMA = np.array([0.299, 0.587, 0.114])

# Hues of a mouth in white light, as RGB of luminance 1; how light each part is comes from the picture.
_ENAMEL_HUE = np.array([1.030, 0.994, 0.965])
_GUM_HUE = np.array([1.52, 0.80, 0.77])
_TONGUE_HUE = np.array([1.50, 0.80, 0.80])
_CAVITY_HUE = np.array([1.80, 0.66, 0.62])
_SHADOW_HUE = np.array([1.62, 0.76, 0.60])

# Luminance of each part: enamel as part of that of the eye whites, the others as part of that of bright skin.
_ENAMEL_OF_EYE_WHITE = 0.96
_MIN_ENAMEL_OF_SKIN, _MAX_ENAMEL_OF_SKIN = 0.62, 1.00
"eyes may be in shadow or behind dark glasses: enamel is not darker than this part of bright skin"
_GUM_OF_SKIN, _TONGUE_OF_SKIN, _CAVITY_OF_SKIN = 0.50, 0.60, 0.165
_SHADOW_LUMA = 0.22
"what is left of the light in the deepest shadow on teeth and tongue"
_LIGHT_TINTS = 0.8
"part of the cast of the eye whites that teeth and tongue take: the rest is the eyes' own colour"
_MIN_CAST = 0.04
"eyes may be less neutral than skin by this much; what is more is make-up, or no eye"
_FULL_CHROMA = 36
"largest less smallest channel of skin in a picture of full colour; a tinted or grey picture has less"
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
        luma = skin @ LUMA
        bright = skin[luma >= np.percentile(luma, 92)].mean(axis=0)
        light = float(max(bright @ LUMA, 1.0))
        white = frame[eyes > 0].astype(np.float64)
        eye_white = float(np.percentile(white @ LUMA, 97)) if len(white) else light
        enamel = max(
            min(_ENAMEL_OF_EYE_WHITE * eye_white, max(_MAX_ENAMEL_OF_SKIN * light, 0.85 * eye_white)),
            _MIN_ENAMEL_OF_SKIN * light,
        )
        chroma = float(np.clip(np.median(skin.max(axis=1) - skin.min(axis=1)) / _FULL_CHROMA, 0, 1))
        tint = 1 + _LIGHT_TINTS * chroma * (_cast_of_light(white, bright / light) - 1)

        def colour(hue: Array, luminance: float) -> Array:
            in_light = (1 + chroma * (hue - 1)) * tint
            return np.asarray(np.minimum(luminance * in_light / (in_light @ LUMA), 250))

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


def _cast_of_light(eyes: Array, skin: Array) -> Array:
    """Colour (3,) of luminance 1 of the light on a face: that of the lightest pixels (n, 3) between the lids.

    `skin` (3,) is the colour of bright skin, of luminance 1. It is light and pigment together, so the light alone lies
    between it and white.
    """
    if not len(eyes):
        return np.ones(3)
    luma = eyes @ LUMA
    whites = eyes[luma >= np.percentile(luma, 90)].mean(axis=0)
    low, high = np.minimum(skin, 1) - _MIN_CAST, np.maximum(skin, 1) + _MIN_CAST
    return np.asarray(np.clip(whites / max(float(whites @ LUMA), 1.0), low, high))


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

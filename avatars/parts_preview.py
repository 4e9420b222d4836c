"""Draws the effect of parameters of boxes and masks onto the first frame: seconds, before minutes of preparation."""

from __future__ import annotations

import cv2
import numpy as np

from avatars.bundle import AvatarBundle
from avatars.face_crops import CropParameters
from avatars.face_formats import mask_from_landmarks
from avatars.importers.crops import boxes_of
from models.arrays import ImageArray

__all__ = ["draw_preview"]


_BOX_RGB, _MASK_RGB = (80, 220, 120), (230, 60, 60)
_MASK_STRENGTH = 0.5


def draw_preview(bundle: AvatarBundle, backend: str, parameters: CropParameters) -> ImageArray:
    """Return the first frame of the loop, uint8 RGB (h, w, 3), with the box in green and the generated part in red.

    Masks are drawn from landmarks. Raises KeyError for a backend without a face crop, FaceNotFound, BadParameters,
    BundleError.
    """
    frame = bundle.frame_index(0)
    landmarks = bundle.landmarks[frame]
    x0, y0, x1, y1 = boxes_of(bundle, backend, parameters)[frame].tolist()
    picture = bundle.frame(frame)
    weight = _MASK_STRENGTH / 255 * mask_from_landmarks(landmarks, (x0, y0, x1, y1), backend, parameters)[:, :, None]
    face = picture[y0:y1, x0:x1]
    face[:] = np.round(face * (1 - weight) + np.array(_MASK_RGB) * weight)
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), _BOX_RGB, 2)
    return picture

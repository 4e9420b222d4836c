"""Finds the part of a picture that is the person."""

from __future__ import annotations

import cv2
import numpy as np
import onnxruntime

from avatars.network_files import network_file
from models.arrays import FloatArray, ImageArray

__all__ = ["PersonFinder", "matte_by_alpha", "person_matte"]


_NETWORK = "u2netp.onnx"
_SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
_SIDE_PX = 320
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_NOTHING, _ALL = 0.03, 0.97
"Values beyond these count as certain, so that the background keeps no trace of the person."
_MIN_FACE = 0.9
"A matte that covers less than this fraction of the face shows something else."
_MIN_BACKGROUND = 0.01


class PersonFinder:
    """U²-Net, the network that separates a person from the background; loaded once.

    Raises AvatarError if the network's file is damaged.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        network = network_file(_NETWORK, _SHA256, "a person cannot be told from the background")
        self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def matte(self, picture: ImageArray, landmarks: FloatArray) -> FloatArray | None:
        """Return how much of each pixel of a picture, uint8 RGB (h, w, 3), is the person: float32 (h, w), 0 to 1.

        landmarks: (478, 3) px, which tell which person. Returns None if the network finds something other than that
        face, or no background. Takes half a second of CPU.
        """
        height, width = picture.shape[:2]
        seen = cv2.resize(self._seen(picture), (width, height), interpolation=cv2.INTER_CUBIC)
        matte: FloatArray = np.clip((seen - _NOTHING) / (_ALL - _NOTHING), 0, 1).astype(np.float32)
        face = _face(landmarks, width, height)
        matte = _connected(matte, face)
        return matte if _is_of(face, matte) else None

    def _seen(self, picture: ImageArray) -> FloatArray:
        """Return the network's result, float32 (320, 320), 0 to 1."""
        small = cv2.resize(picture, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        # U²-Net was trained with pictures scaled by their maximum, then normalised with ImageNet's mean and deviation.
        normal = (small / max(float(small.max()), 1.0) - _MEAN) / _DEVIATION
        given = {self._session.get_inputs()[0].name: normal.transpose(2, 0, 1)[None]}
        seen = np.asarray(self._session.run(None, given)[0], np.float32)[0, 0]
        return np.asarray((seen - seen.min()) / max(float(np.ptp(seen)), 1e-6), np.float32)


def person_matte(picture: ImageArray, landmarks: FloatArray) -> FloatArray | None:
    """Return PersonFinder.matte() for a single picture. Raises AvatarError if the network's file is damaged."""
    return PersonFinder().matte(picture, landmarks)


def matte_by_alpha(alpha: ImageArray, landmarks: FloatArray) -> FloatArray | None:
    """Return a matte like person_matte() from the alpha, uint8 (h, w), of a picture with transparent parts.

    Returns None if the face is mostly transparent, or nothing is.
    """
    height, width = alpha.shape
    matte = np.asarray(alpha / np.float32(255), np.float32)
    return matte if _is_of(_face(landmarks, width, height), matte) else None


def _face(landmarks: FloatArray, width: int, height: int) -> ImageArray:
    """Return a mask uint8 (h, w) that is 1 within the face."""
    face = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(landmarks[:468, :2].astype(np.float32))
    cv2.fillConvexPoly(face, hull.round().astype(np.int32), 1)
    return face


def _is_of(face: ImageArray, matte: FloatArray) -> bool:
    """Whether a matte covers the face and leaves out some background."""
    return bool(face.any() and matte[face > 0].mean() >= _MIN_FACE and (matte == 0).mean() >= _MIN_BACKGROUND)


def _connected(matte: FloatArray, face: ImageArray) -> FloatArray:
    """Remove the parts of the matte that are not connected with the face."""
    _count, parts = cv2.connectedComponents((matte > 0).astype(np.uint8))
    here = np.unique(parts[(face > 0) & (matte > 0)])
    return np.asarray(matte * np.isin(parts, here[here > 0]), np.float32)

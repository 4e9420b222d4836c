"""Finds faces: the interface FaceAnalyzer, and its implementation with MediaPipe's face landmarker.

This is used while an avatar is prepared, never while it talks.

MediaPipe stays at 0.10.33: from 0.10.35 on, its library reports every use to Google (play.googleapis.com), and nothing
switches that off.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

import cv2
import numpy as np

from avatars.errors import FaceFinderMissing
from avatars.network_files import network_file
from models.arrays import FloatArray, ImageArray

if TYPE_CHECKING:
    from mediapipe import Image
    from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerResult

__all__ = ["LANDMARKS", "Face", "FaceAnalyzer", "MediaPipeFaceAnalyzer"]

LANDMARKS = 478
"FaceMesh's 468 points, and 10 of the irises."

FOREHEAD, CHIN = 10, 152
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263

LEVEL_PITCH_DEG = 11.0
"Slope of the line from forehead to chin in a head that looks straight ahead, measured on frontal portraits."

NETWORK = "face_landmarker.task"
"A detector and a landmarker in one file."
NETWORK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

SEARCH_REACH = 1.5
"The cut-out around a face reaches this far from its centre on each side, in sizes of the face's box."

SEARCH_SIDE_PX = 384
"A smaller cut-out is enlarged to this before the landmarks are fitted."

TILES_PER_SIDE = 2
"""The detector misses faces smaller than a tenth of the picture's side, so overlapping tiles of the picture are
searched, too. The side of a tile is the longer side divided by this; neighbours overlap by half."""
FALLBACK_TILES_PER_SIDE = (3, 5)
"A photo without a face is searched again in smaller tiles until one is found: down to 40 px in 1280."

PICTURE_MS = 40
"The landmarker needs a rising time with each picture of a clip. Only the order matters."

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one picture."""

    landmarks: FloatArray
    "(478, 3) float32 FaceMesh points in pixels; z in the same scale, smaller is nearer"
    yaw_deg: float
    "0 when looking into the camera; positive when turned to the right side of the picture"
    pitch_deg: float
    "0 when level; positive when looking down"
    roll_deg: float
    "0 when upright; positive when leaning clockwise in the picture"

    @classmethod
    def from_landmarks(cls, landmarks: FloatArray) -> Face:
        """Compute the head pose from two 3-D directions: outer eye corner to outer eye corner, forehead to chin."""
        across = (landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER]).astype(np.float64)
        down = (landmarks[CHIN] - landmarks[FOREHEAD]).astype(np.float64)
        roll = np.degrees(np.arctan2(across[1], across[0]))
        yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
        pitch = np.degrees(np.arctan2(down[2], np.hypot(down[0], down[1]))) - LEVEL_PITCH_DEG
        return cls(np.asarray(landmarks, np.float32), float(yaw), float(pitch), float(roll))

    @property
    def box(self) -> Box:
        """Bounding box of the landmarks: x0, y0, x1, y1 in pixels."""
        low, high = self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box: x, y in pixels."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def size_px(self) -> float:
        """Height of the face from forehead to chin, along its own axis."""
        return float(np.linalg.norm(self.landmarks[CHIN] - self.landmarks[FOREHEAD]))


class FaceAnalyzer(Protocol):
    """Finds the faces in a picture. Must be used by one thread at a time."""

    def analyse(self, rgb: ImageArray) -> list[Face]:
        """Return the faces in uint8 RGB (h, w, 3), the largest first; an empty list if there are none."""

    def close(self) -> None:
        """Free the networks. May be called twice."""


class MediaPipeFaceAnalyzer:
    """MediaPipe's landmarker with irises. Faces too small for its detector are searched for in tiles of the picture.

    Raises FaceFinderMissing if mediapipe cannot be loaded, AvatarError if the file of its networks is damaged.
    """

    def __init__(self, *, tracking: bool, max_faces: int = 4, min_confidence: float = 0.4) -> None:
        """tracking: for the pictures of a clip in their order; this is faster, and steadier between pictures."""
        self._max_faces = max_faces
        self._times_ms = itertools.count(0, PICTURE_MS)
        self._last: list[Face] = []
        "the faces in the previous picture, while tracking"
        self._quiet = True
        networks = network_file(NETWORK, NETWORK_SHA256, "no face can be found")
        with _SILENCE:
            self._single: FaceLandmarker | None = _landmarker(networks, max_faces, min_confidence, tracking=False)
            self._clip = _landmarker(networks, max_faces, min_confidence, tracking=True) if tracking else None

    def analyse(self, rgb: ImageArray) -> list[Face]:
        """See FaceAnalyzer. Raises RuntimeError after close()."""
        if self._single is None:
            raise RuntimeError("This face analyzer is closed.")
        # At their first face the networks print warnings from C++, directly to file descriptor 2.
        with _SILENCE if self._quiet else nullcontext():
            faces = self._in_clip(rgb) if self._clip else self._in_photo(rgb)
        self._quiet = self._quiet and not faces
        return sorted(faces, key=lambda face: face.size_px, reverse=True)[: self._max_faces]

    def close(self) -> None:
        # MediaPipe's own clean-up fails at interpreter exit, so the networks are closed here.
        networks = [network for network in (self._single, self._clip) if network is not None]
        self._single = self._clip = None
        for network in networks:
            network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_photo(self, rgb: ImageArray) -> list[Face]:
        faces = self._fitted(rgb, itertools.chain(self._detect(rgb), self._detect_in_tiles(rgb, TILES_PER_SIDE)))
        for tiles_per_side in FALLBACK_TILES_PER_SIDE:
            faces = faces or self._fitted(rgb, self._detect_in_tiles(rgb, tiles_per_side))
        return faces

    def _in_clip(self, rgb: ImageArray) -> list[Face]:
        """Return MediaPipe's tracked faces. If there are none, they may be too small for it: search first where faces
        were in the previous picture, then everywhere.
        """
        assert self._clip is not None
        faces = _faces_of(self._clip.detect_for_video(_image(rgb), next(self._times_ms)), rgb)
        faces = faces or self._fitted(rgb, self._last)
        self._last = faces or self._fitted(rgb, self._detect_in_tiles(rgb, TILES_PER_SIDE))
        return self._last

    def _detect(self, rgb: ImageArray) -> list[Face]:
        assert self._single is not None
        return _faces_of(self._single.detect(_image(rgb)), rgb)

    def _detect_in_tiles(self, rgb: ImageArray, tiles_per_side: int) -> Iterator[Face]:
        """Give the faces of overlapping tiles, where a face looks larger to the detector.

        A face may come several times, and one that a tile's edge cuts through has bad landmarks.
        """
        height, width = rgb.shape[:2]
        side = max(height, width) // tiles_per_side
        for y0 in range(0, max(1, height - side // 2), side // 2):
            for x0 in range(0, max(1, width - side // 2), side // 2):
                offset = np.array([x0, y0, 0], np.float32)
                for face in self._detect(rgb[y0 : y0 + side, x0 : x0 + side]):
                    yield Face.from_landmarks(face.landmarks + offset)

    def _fitted(self, rgb: ImageArray, places: Iterable[Face]) -> list[Face]:
        """Return each face once, with landmarks fitted again in an enlarged cut-out.

        For a small face the detector's place is only rough, and the landmarks suffer from that, those of the lips most.
        """
        faces: list[Face] = []
        for place in places:
            if _is_known(place, faces):
                continue
            x0, y0, x1, y1 = place.box
            fitted = self._fit_closeup(rgb, place.centre, max(x1 - x0, y1 - y0) * SEARCH_REACH)
            if fitted is not None and not _is_known(fitted, faces):
                faces.append(fitted)
        return faces

    def _fit_closeup(self, rgb: ImageArray, centre: tuple[float, float], reach: float) -> Face | None:
        """Return the face nearest to `centre` within `reach` pixels; None if there is none."""
        height, width = rgb.shape[:2]
        x0, x1 = int(np.clip(centre[0] - reach, 0, width)), int(np.clip(centre[0] + reach, 0, width))
        y0, y1 = int(np.clip(centre[1] - reach, 0, height)), int(np.clip(centre[1] + reach, 0, height))
        if x1 - x0 < 8 or y1 - y0 < 8:
            return None
        cut = rgb[y0:y1, x0:x1]
        scale = max(1.0, SEARCH_SIDE_PX / max(cut.shape[:2]))
        large = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        grow = np.array([large.shape[1] / cut.shape[1], large.shape[0] / cut.shape[0]], np.float32)
        offset = np.array([x0, y0, 0], np.float32)
        shrink = np.array([1 / grow[0], 1 / grow[1], 1 / grow[0]], np.float32)
        found = [
            Face.from_landmarks(face.landmarks * shrink + offset) for face in self._detect(np.asarray(large, np.uint8))
        ]
        return min(found, key=lambda face: np.hypot(*np.subtract(face.centre, centre)), default=None)


def _landmarker(networks: bytes, max_faces: int, min_confidence: float, tracking: bool) -> FaceLandmarker:
    try:
        from mediapipe.tasks.python import BaseOptions, vision

        return vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=networks, delegate=BaseOptions.Delegate.CPU),
                running_mode=vision.RunningMode.VIDEO if tracking else vision.RunningMode.IMAGE,
                num_faces=max_faces,
                min_face_detection_confidence=min_confidence,
                min_face_presence_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
        )
    except (ImportError, OSError) as error:  # MediaPipe's shared library needs EGL and GLES even without a GPU
        raise FaceFinderMissing(error) from error


def _image(rgb: ImageArray) -> Image:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(rgb))


def _faces_of(found: FaceLandmarkerResult, rgb: ImageArray) -> list[Face]:
    height, width = rgb.shape[:2]
    scale = np.array([width, height, width], np.float32)  # z is in units of the picture's width
    return [
        Face.from_landmarks(np.array([(p.x, p.y, p.z) for p in points], np.float32) * scale)
        for points in found.face_landmarks
    ]


def _is_known(face: Face, known: Iterable[Face]) -> bool:
    return any(_inside(face.centre, other.box) for other in known)


def _inside(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


class _Silence:
    """Redirects file descriptor 2 to the null device: MediaPipe's C++ log cannot be silenced otherwise.

    The descriptor belongs to the whole process, and several threads may need this at once. So the first one redirects
    it, and the last one restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept = -1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                sys.stderr.flush()
                self._kept = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._kept, 2)
                os.close(self._kept)


_SILENCE: Final = _Silence()

"""Finding faces: the FaceAnalyzer interface and MediaPipe's FaceMesh behind it.

Needed while an avatar is prepared, never while it talks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["LANDMARKS", "Face", "FaceAnalyzer", "MediaPipeFaceAnalyzer"]

LANDMARKS = 478
"FaceMesh's 468 points and 10 of the irises"

FOREHEAD, CHIN = 10, 152
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263

LEVEL_PITCH_DEG = 11.0
"slope of the line from forehead to chin in a head that looks straight ahead (measured on frontal portraits)"

SEARCH_MARGIN = 1.0
"how much is cut out around a detected box before the mesh is fitted, in box sizes on each side"

SEARCH_SIDE_PX = 384
"a small face is cut out and enlarged to this before the mesh is fitted"

TILES_A_SIDE = 3
"a picture without any face is searched again in pieces of this part of its longer side, overlapping by half"

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one picture."""

    landmarks: FloatArray
    "(478, 3) float32 FaceMesh points in pixels; z in the same scale, smaller is nearer"
    yaw_deg: float
    "0 looks into the camera; positive turns to the right side of the picture"
    pitch_deg: float
    "0 is level; positive looks down"
    roll_deg: float
    "0 is upright; positive leans clockwise in the picture"

    @classmethod
    def from_landmarks(cls, landmarks: FloatArray) -> Face:
        """Head pose from the 3-D directions between the outer eye corners and from forehead to chin."""
        across = (landmarks[LEFT_EYE_OUTER] - landmarks[RIGHT_EYE_OUTER]).astype(np.float64)
        down = (landmarks[CHIN] - landmarks[FOREHEAD]).astype(np.float64)
        roll = np.degrees(np.arctan2(across[1], across[0]))
        yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
        pitch = np.degrees(np.arctan2(down[2], np.hypot(down[0], down[1]))) - LEVEL_PITCH_DEG
        return cls(np.asarray(landmarks, np.float32), float(yaw), float(pitch), float(roll))

    @property
    def box(self) -> Box:
        """Bounds of the landmarks: x0, y0, x1, y1 in pixels."""
        low, high = self.landmarks[:, :2].min(0), self.landmarks[:, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def centre(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def size_px(self) -> float:
        """Height of the face from forehead to chin, along its own axis."""
        return float(np.linalg.norm(self.landmarks[CHIN] - self.landmarks[FOREHEAD]))


class FaceAnalyzer(Protocol):
    """Finds the faces of a picture. Used by one thread at a time."""

    def analyse(self, rgb: ImageArray) -> list[Face]:
        """uint8 RGB (h, w, 3) -> its faces, the largest first; none is an empty list."""

    def close(self) -> None:
        """Free the networks. Twice is allowed."""


class MediaPipeFaceAnalyzer:
    """FaceMesh with refined lips and irises; faces too small for its own detector are found by the full-range
    detector and enlarged.

    Models come with the package; nothing is downloaded. Raises ImportError when mediapipe is not installed.
    """

    def __init__(self, *, tracking: bool, max_faces: int = 4, min_confidence: float = 0.4) -> None:
        """`tracking` is for the frames of a clip in their order: faster, and steadier from frame to frame."""
        self._networks: list[Any] = []
        self._quiet = True
        with _silent_stderr():
            from mediapipe.python.solutions.face_detection import FaceDetection
            from mediapipe.python.solutions.face_mesh import FaceMesh

            self._mesh = FaceMesh(
                static_image_mode=not tracking,
                max_num_faces=max_faces,
                refine_landmarks=True,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            self._closeup_mesh = FaceMesh(
                static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=min_confidence
            )
            self._detector = FaceDetection(model_selection=1, min_detection_confidence=min_confidence)
            self._networks = [self._mesh, self._closeup_mesh, self._detector]
            for network in self._networks:  # they start, and log, in threads of their own
                network.process(np.zeros((64, 64, 3), np.uint8))
        self._tracking = tracking
        self._max_faces = max_faces

    def analyse(self, rgb: ImageArray) -> list[Face]:
        """See FaceAnalyzer. Raises RuntimeError after close()."""
        if not self._networks:
            raise RuntimeError("This face analyzer is closed.")
        # The networks warn on their first face, from C++ and straight to file descriptor 2.
        with _silent_stderr() if self._quiet else nullcontext():
            faces = self._fit(self._mesh, rgb)
            if not faces or not self._tracking:
                faces += self._far_faces(rgb, faces)
            if not faces and not self._tracking:
                faces += self._far_faces_in_tiles(rgb)
        self._quiet = self._quiet and not faces
        return sorted(faces, key=lambda face: face.size_px, reverse=True)[: self._max_faces]

    def close(self) -> None:
        networks, self._networks = self._networks, []
        for network in networks:
            network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fit(self, mesh: Any, rgb: ImageArray) -> list[Face]:
        height, width = rgb.shape[:2]
        found = mesh.process(np.ascontiguousarray(rgb)).multi_face_landmarks or ()
        scale = np.array([width, height, width], np.float32)  # FaceMesh gives z in units of the picture's width
        return [
            Face.from_landmarks(np.array([(p.x, p.y, p.z) for p in one.landmark], np.float32) * scale) for one in found
        ]

    def _far_faces(self, rgb: ImageArray, known: Sequence[Face]) -> list[Face]:
        """Faces of the full-range detector that the mesh has missed, each fitted in an enlarged cut-out."""
        height, width = rgb.shape[:2]
        faces: list[Face] = []
        for found in self._detector.process(np.ascontiguousarray(rgb)).detections or ():
            relative = found.location_data.relative_bounding_box
            side = max(relative.width * width, relative.height * height)
            centre = (
                (relative.xmin + relative.width / 2) * width,
                (relative.ymin + relative.height / 2) * height,
            )
            if any(_inside(centre, face.box) for face in (*known, *faces)):
                continue
            faces += self._fit_closeup(rgb, centre, side * (0.5 + SEARCH_MARGIN))
        return faces

    def _far_faces_in_tiles(self, rgb: ImageArray) -> list[Face]:
        """The same in overlapping pieces of the picture, whose faces look larger to the detector."""
        height, width = rgb.shape[:2]
        side = max(height, width) // TILES_A_SIDE
        faces: list[Face] = []
        for y0 in range(0, max(1, height - side // 2), side // 2):
            for x0 in range(0, max(1, width - side // 2), side // 2):
                offset = np.array([x0, y0, 0], np.float32)
                for face in self._far_faces(rgb[y0 : y0 + side, x0 : x0 + side], ()):
                    moved = Face.from_landmarks(face.landmarks + offset)
                    if not any(_inside(moved.centre, other.box) for other in faces):
                        faces.append(moved)
        return faces

    def _fit_closeup(self, rgb: ImageArray, centre: tuple[float, float], reach: float) -> list[Face]:
        height, width = rgb.shape[:2]
        x0, x1 = int(np.clip(centre[0] - reach, 0, width)), int(np.clip(centre[0] + reach, 0, width))
        y0, y1 = int(np.clip(centre[1] - reach, 0, height)), int(np.clip(centre[1] + reach, 0, height))
        if x1 - x0 < 8 or y1 - y0 < 8:
            return []
        cut = rgb[y0:y1, x0:x1]
        scale = max(1.0, SEARCH_SIDE_PX / max(cut.shape[:2]))
        large = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        grow = np.array([large.shape[1] / cut.shape[1], large.shape[0] / cut.shape[0]], np.float32)
        offset = np.array([x0, y0, 0], np.float32)
        shrink = np.array([1 / grow[0], 1 / grow[1], 1 / grow[0]], np.float32)
        return [
            Face.from_landmarks(face.landmarks * shrink + offset)
            for face in self._fit(self._closeup_mesh, np.asarray(large, np.uint8))
        ]


def _inside(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: MediaPipe's C++ log has no other switch."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

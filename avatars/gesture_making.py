"""Makes a gesture of an avatar from an uploaded clip, with the stages of a preparation (`avatars.prepare`).

The clip's pictures are moved and scaled so that the face is where the avatar's is, and as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle, GestureTrack, decode_jpeg, encode_jpeg
from avatars.bundle_writing import BundleContents, gesture_tensors
from avatars.confined import Confined
from avatars.errors import BadMedia
from avatars.geometry import mouth_boxes
from avatars.gestures import LONGEST_GESTURE_S, keep_gesture
from avatars.media_limits import FPS
from avatars.prepare import BOX_SIGMA, read_source
from avatars.preview import encode_gesture_preview, make_poster
from avatars.sound import READING, SpeechFacts, speech_facts, speech_pieces
from avatars.source import Upload, with_progress
from avatars.stages import ClipFace, Found, Source
from avatars.tracking import smooth
from avatars.workspace import FrameFile
from models.arrays import FloatArray, ImageArray

__all__ = ["read_gesture", "write_gesture"]

Progress = Callable[[float], None]

_EYE_CORNERS: Final = (33, 263)
_FIRST_PICTURES: Final = 5
"The first pictures, in which the pose is as in the loop. They align the face with the avatar's."
_SAME: Final = 0.05
"""A clip stays as it was filmed if its face differs by less than this: in scale, and in position as a fraction of the
picture."""
_BEYOND: Final = 0.02
"The clip may lack this fraction of the picture at its edges; it is filled with the outermost pixels."


def read_gesture(upload: Upload, work: Path, progress: Progress) -> None:
    """Read the clip like read_source() of `avatars.prepare`. Raises BadMedia also if it is no clip, or too long."""
    source = read_source(upload, work, progress)
    if source.kind != "clip":
        raise BadMedia("A gesture is a clip, and this is a photo.", "Upload a clip of the gesture.", cause="not_a_clip")
    if source.frame_count > LONGEST_GESTURE_S * FPS:
        raise BadMedia(
            f"The clip lasts {source.frame_count / FPS:.1f} seconds; a gesture takes {LONGEST_GESTURE_S:g} at most.",
            "Cut out the part that shows the gesture.",
            cause="gesture_too_long",
        )


def write_gesture(work: Path, avatar: AvatarBundle, name: str, sound_of: Path | None, progress: Progress) -> None:
    """Make a gesture from the results of read_gesture() and find_faces() in the working directory.

    sound_of: the clip, if the gesture is to have its sound. Raises BadMedia, BundleError, DiskFull.
    """
    source, found = Source.load(work), Found.load(work)
    assert isinstance(source.pictures, FrameFile) and isinstance(found.face, ClipFace), "the stages before saw to that"
    face, frames = found.face, source.pictures
    landmarks = smooth(face.landmarks[face.first : face.stop])
    shown = face.shown[face.first : face.stop].tolist()
    height, width = decode_jpeg(next(frames.read(0, 1))).shape[:2]
    placement = _placement(landmarks, (width, height), avatar)
    moved = placement.points(landmarks)
    x0, y0, x1, y1 = avatar.boxes[0].tolist()
    jpegs = placement.pictures(frames.at(shown))
    track = None if sound_of is None else _track(sound_of, face.first, face.stop)
    preview = work / "preview.mp4"
    encode_gesture_preview(map(decode_jpeg, placement.pictures(frames.at(shown))), preview, track)
    contents = BundleContents(
        id=avatar.id,
        name=name,
        kind="clip",
        frames=with_progress(jpegs, len(shown), progress),
        width=avatar.width,
        height=avatar.height,
        boxes=mouth_boxes(smooth(moved, BOX_SIGMA), avatar.width, avatar.height, (x1 - x0, y1 - y0)),
        masks=avatar.masks[:1],
        landmarks=moved,
        loop=np.arange(len(shown), dtype=np.int32),
        source=source.facts,
        report=found.report,
        tensors={} if track is None else gesture_tensors(track),
        poster=make_poster(decode_jpeg(next(placement.pictures(frames.at(shown[len(shown) // 2 :]))))),
        preview=preview,
    )
    keep_gesture(avatar.path, name, contents)
    progress(1.0)


@dataclass(frozen=True, slots=True)
class _Placement:
    """How the clip's pictures are turned into pictures of the avatar's size."""

    scale: float
    shift: tuple[float, float]
    "px of the avatar's picture, applied after scaling"
    size: tuple[int, int]
    "width and height of the avatar's picture, px"
    is_same: bool
    "True if the pictures already fit and stay unchanged"

    def points(self, landmarks: FloatArray) -> FloatArray:
        """Map landmarks (n, 478, 3) from px of the clip to px of the avatar's picture."""
        if self.is_same:
            return landmarks
        return np.asarray(landmarks * np.float32(self.scale) + np.array([*self.shift, 0], np.float32), np.float32)

    def pictures(self, jpegs: Iterator[bytes]) -> Iterator[bytes]:
        """Convert the clip's pictures, JPEG to JPEG."""
        return jpegs if self.is_same else (encode_jpeg(self._picture(decode_jpeg(jpeg))) for jpeg in jpegs)

    def _picture(self, rgb: ImageArray) -> ImageArray:
        matrix = np.array([[self.scale, 0, self.shift[0]], [0, self.scale, self.shift[1]]])
        moved = cv2.warpAffine(rgb, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)


def _placement(landmarks: FloatArray, size: tuple[int, int], avatar: AvatarBundle) -> _Placement:
    """Choose the placement. landmarks: (n, 478, 3) of the clip. size: its width and height, px.

    Raises BadMedia if the clip shows too little around the face.
    """
    wanted = (avatar.width, avatar.height)
    own_middle, own_width = _eyes(avatar.landmarks)
    middle, eye_width = _eyes(landmarks[:_FIRST_PICTURES])
    scale = own_width / max(eye_width, 1.0)
    shift = own_middle - scale * middle
    moves = float(np.abs(own_middle - middle).max()) / max(wanted)
    if size == wanted and abs(scale - 1) < _SAME and moves < _SAME:
        return _Placement(1.0, (0.0, 0.0), wanted, is_same=True)
    # Place the face as the avatar's, if the clip then still covers the avatar's picture, but for a little at its edges.
    # Otherwise scale it as a whole, if it has the avatar's ratio of sides.
    covered_from, covered_to = shift, shift + scale * np.array(size)
    slack = _BEYOND * max(wanted)
    if (covered_from <= slack).all() and (covered_to >= np.array(wanted) - slack).all():
        return _Placement(scale, (float(shift[0]), float(shift[1])), wanted, is_same=False)
    whole = wanted[0] / size[0]
    if abs(whole * size[1] - wanted[1]) <= slack:
        return _Placement(whole, (0.0, 0.0), wanted, is_same=False)
    raise BadMedia(
        "The clip shows too little around the face, or another part of the picture than the avatar does.",
        f"Film the same part of the picture as for the avatar, {wanted[0]} x {wanted[1]} px or in that ratio.",
        cause="gesture_framing",
    )


def _eyes(landmarks: FloatArray) -> tuple[npt.NDArray[np.float64], float]:
    """Return the middle (2,) between the outer eye corners and their distance, in px; medians over the pictures."""
    corners = landmarks[:, list(_EYE_CORNERS), :2].astype(np.float64)
    apart = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    return np.median(corners.mean(axis=1), axis=0), float(np.median(apart))


def _track(clip: Path, first: int, stop: int) -> GestureTrack:
    """Return the sound of the pictures [first, stop). Raises BadMedia if there is none, or it is inaudible."""
    with Confined(speech_facts, READING, clip, LONGEST_GESTURE_S + 1) as looking:
        for _seconds in looking:
            pass
        facts = SpeechFacts(**looking.result)
    with Confined(speech_pieces, READING, clip, facts) as reading:
        pieces = [np.frombuffer(piece, np.float32) for piece in reading]
    sound = np.concatenate(pieces)[first * facts.rate_hz // FPS : stop * facts.rate_hz // FPS]
    samples = np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)
    return GestureTrack(samples, facts.rate_hz, facts.level_dbfs)

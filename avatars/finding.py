"""Finds the face in an upload: the second stage of a preparation, without its files.

A photo with a small face is cropped, and the landmarks are fitted again. A clip is followed as long as it shows one
scene and one person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import decode_jpeg
from avatars.cuts import face_changes, scene_cuts, small_picture
from avatars.detect import Face, FaceAnalyzer
from avatars.errors import FaceNotFound
from avatars.importers.account import compare_with_foreign
from avatars.media_limits import FPS, MAX_SIDE_PX, even_size, fit_within
from avatars.records import FaceReportRecord
from avatars.report import concerns_of, draw_strip, report_of
from avatars.source import with_progress
from avatars.stages import ClipFace, Found, Source, StillFace
from avatars.tracking import FaceStatus, Track, follow
from avatars.workspace import FrameFile, PhotoFile
from models.arrays import FloatArray, ImageArray

__all__ = ["find_in_clip", "find_in_photo", "refuse_if_unusable"]


SMALLEST_FACE = 0.18
"A photo is cropped if the face's height is less than this fraction of its shorter side."
FACE_AFTER_CUT = 0.30
FACE_FROM_TOP = 0.46
"Height at which the middle of the face lies in a cropped photo, as a fraction from the top."
MAX_STILL_PIXELS = 1_250_000
"A 4:3 photo keeps 1280 px; a squarer one gets a little smaller, to save time."
MIN_PICTURE_PX = 512
"A small photo is enlarged until its longer side has this length."
MIN_CLIP_S = 1.0
GAPING_IOD = 0.22
"With a larger gap between the lips of a still, no resting mouth can be made from it."


def find_in_photo(source: Source, file: PhotoFile, analyzer: FaceAnalyzer) -> Found:
    """Find the face in a photo, and make the picture to be used from it."""
    photo = file.read()
    seen = fit_within(photo, MAX_SIDE_PX)
    scale = photo.shape[1] / seen.shape[1]
    faces = [Face.from_landmarks(face.landmarks * np.float32(scale)) for face in analyzer.analyse(seen)]
    track = follow([faces])
    face = _still_face(file, photo, faces[0], source.side_px, analyzer) if track.usable_count else None
    landmarks = track.landmarks if face is None else face.landmarks[None]
    picture = photo if face is None else face.picture
    strip = draw_strip(Track(landmarks, track.statuses, track.first, track.stop), lambda _index: picture)
    report = report_of(
        Track(landmarks, track.statuses, track.first, track.stop),
        faces[0].size_px if faces else 0.0,
        concerns_of(track, photo.shape[1], photo.shape[0]),
        tuple(entry for entry, _ in strip),
    )
    # Both the boxes of a foreign avatar and the track are in pixels of the whole photo.
    agreement = compare_with_foreign(source, track.landmarks, [status.usable for status in track.statuses])
    return Found(report.to_json(), tuple(jpeg for _, jpeg in strip), face, agreement)


def _still_face(file: PhotoFile, photo: ImageArray, face: Face, side_px: int, analyzer: FaceAnalyzer) -> StillFace:
    x0, y0, side_x, side_y = _closeup(face, photo.shape[1], photo.shape[0])
    size = _still_size(side_x, side_y, side_px)
    cut = (slice(y0, y0 + side_y), slice(x0, x0 + side_x))
    picture = _resized(photo[cut], size)
    landmarks = _landmarks_in(analyzer, picture, face, (x0, y0), size[0] / side_x)
    beside = (file.read_closed(), file.read_alpha())
    closed, alpha = (None if other is None else _resized(other[cut], size) for other in beside)
    return StillFace(picture, landmarks[0], closed, alpha)


def _closeup(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the used part of a photo, x0, y0, width, height: all of it, or a square around a small face."""
    if face.size_px >= SMALLEST_FACE * min(width, height):
        return 0, 0, width, height
    side = min(round(face.size_px / FACE_AFTER_CUT), width, height)
    x0 = int(np.clip(face.centre[0] - side / 2, 0, width - side))
    y0 = int(np.clip(face.centre[1] - side * FACE_FROM_TOP, 0, height - side))
    return x0, y0, side, side


def _still_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    scale = min(1.0, side_px / max(width, height), (MAX_STILL_PIXELS / (width * height)) ** 0.5)
    scale = max(scale, MIN_PICTURE_PX / max(width, height))
    return even_size(width * scale, height * scale, MAX_SIDE_PX)


def _resized(rgb: ImageArray, size: tuple[int, int]) -> ImageArray:
    if (rgb.shape[1], rgb.shape[0]) == size:
        return np.ascontiguousarray(rgb)
    shrinks = size[0] < rgb.shape[1]
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def _landmarks_in(
    analyzer: FaceAnalyzer, picture: ImageArray, face: Face, corner: tuple[int, int], scale: float
) -> FloatArray:
    """Fit landmarks (1, 478, 3) again in the final picture, where the face is larger than in the whole photo."""
    expected = (face.landmarks - np.array([*corner, 0], np.float32)) * np.float32(scale)
    moved = Face.from_landmarks(expected)
    again = follow([[moved], analyzer.analyse(picture)])
    return again.landmarks[1:]


def find_in_clip(source: Source, frames: FrameFile, analyzer: FaceAnalyzer, progress: Callable[[float], None]) -> Found:
    """Find the face in each picture of a clip."""

    def picture(index: int) -> ImageArray:
        return decode_jpeg(next(frames.read(index, index + 1)))

    track = _followed(with_progress(frames.read(), source.frame_count, progress), analyzer)
    sizes = [Face.from_landmarks(points).size_px for points in track.landmarks if np.isfinite(points).all()]
    height, width = picture(0).shape[:2]
    strip = draw_strip(track, picture)
    report = report_of(
        track,
        float(np.median(sizes)) if sizes else 0.0,
        concerns_of(track, width, height),
        tuple(entry for entry, _ in strip),
    )
    agreement = compare_with_foreign(source, track.landmarks, [status.usable for status in track.statuses])
    shown = _shown_pictures(track)
    face = ClipFace(track.landmarks[shown], track.first, track.stop, shown)
    return Found(report.to_json(), tuple(jpeg for _, jpeg in strip), face, agreement)


def _followed(jpegs: Iterable[bytes], analyzer: FaceAnalyzer) -> Track:
    """Follow the face through a clip; a stretch ends where another scene or another person begins."""
    faces: list[list[Face]] = []
    smalls: list[ImageArray] = []
    width = 0
    for jpeg in jpegs:
        rgb = decode_jpeg(jpeg)
        width = rgb.shape[1]
        faces.append(analyzer.analyse(rgb))
        smalls.append(small_picture(rgb))
    scenes = scene_cuts(smalls)
    track = follow(faces, scenes.cuts, scenes.foreign)
    others = face_changes(smalls, track.landmarks, width, [status.usable for status in track.statuses])
    return follow(faces, scenes.cuts | others, scenes.foreign) if others else track


def _shown_pictures(track: Track) -> npt.NDArray[np.int64]:
    """Return (n,) the picture shown in each place: its own, or the last before it if it is a foreign one."""
    shown = np.arange(len(track.statuses))
    for index in sorted(track.foreign):
        shown[index] = shown[index - 1]
    return shown


def refuse_if_unusable(report: FaceReportRecord) -> None:
    """Raise FaceNotFound if no avatar can be made of what was found; the message names the reason."""
    frames, (first, stop) = report["frames"], report["used"]
    if frames == 1 and report.get("rest_gap_iod", 0.0) > GAPING_IOD:
        raise FaceNotFound(
            "The mouth in this picture is wide open.", "Use one in which the lips are closed.", cause="mouth_open"
        )
    if stop - first >= (MIN_CLIP_S * FPS if frames > 1 else 1):
        return
    counts = report["counts"]
    worst = max((s for s in FaceStatus if not s.usable), key=lambda status: int(counts[status]))
    what = "picture" if frames == 1 else "clip"
    if counts[worst] == 0:
        raise FaceNotFound(
            f"The clip is only {frames / FPS:.1f} seconds long.",
            f"Upload at least {MIN_CLIP_S:.0f} second of a face.",
            cause="too_short",
        )
    if worst is FaceStatus.TOO_SMALL:
        raise FaceNotFound(
            f"The face in this {what} is only {report['face_px']:.0f} px high.",
            "It needs at least 60 px from forehead to chin: come closer, or upload a larger picture.",
            cause="too_small",
        )
    if worst is FaceStatus.TURNED_AWAY:
        raise FaceNotFound(
            f"The face in this {what} is turned too far away.",
            "Use one that looks roughly into the camera.",
            cause="turned_away",
        )
    raise FaceNotFound(
        f"No face was found in this {what}." if not stop else "There is no second of good pictures in this clip.",
        "Use one that shows one face from the front, well lit and not covered.",
        cause="none" if not stop else "too_few",
    )

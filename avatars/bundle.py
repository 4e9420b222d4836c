"""The avatar bundle: what preparation makes and everything else reads.

A bundle is a directory, written once, atomically, and immutable from then on:

    manifest.json         format, version, id, name, kind, fps, size, counts, source facts, face report
    frames.bin            the frames as JPEGs, one after another (memory-mapped; only pages in use are in RAM)
    tensors.safetensors   frame_offsets, loop, boxes, masks, landmarks, and "<backend>/<name>" tensors of backends
    poster.jpg            a still for galleries
    preview.mp4           a short moving preview (optional)
    mattes.bin            where the person is in each frame, and what is behind (optional); see `avatars.mattes`
    cutout.webp           a still of the person alone; made when it is first wanted if there are mattes only
    parts/                <backend>.pth, a network that was trained for this avatar; and what `avatars.parts` adds later
    gestures/             a bundle for each gesture; see `avatars.gestures`

Nothing in it is ever unpickled or executed.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from safetensors import SafetensorError
from safetensors.numpy import load_file

from avatars.bundle_versions import manifest_of_today, tensors_of_today
from avatars.errors import BundleError
from avatars.records import Manifest
from models.arrays import AnyArray, FloatArray, ImageArray, IntArray

__all__ = [
    "JPEG_QUALITY",
    "AvatarBundle",
    "BundleFiles",
    "Gesture",
    "GestureTrack",
    "decode_jpeg",
    "encode_jpeg",
]

logger = logging.getLogger(__name__)

JPEG_QUALITY = 92
SOUND, SOUND_RATE_HZ, SOUND_LEVEL_DBFS = "gesture/sound", "gesture/sound_rate_hz", "gesture/sound_level_dbfs"
"""Tensors of a gesture that makes a sound."""

Derived = TypeVar("Derived")


def encode_jpeg(rgb: ImageArray, quality: int = JPEG_QUALITY) -> bytes:
    """uint8 RGB (h, w, 3) -> JPEG bytes."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise BundleError("A frame could not be encoded as JPEG.", "Try again; the memory may have been full.")
    return data.tobytes()


def decode_jpeg(data: bytes | memoryview) -> ImageArray:
    """JPEG bytes -> uint8 RGB (h, w, 3).

    Raises BundleError if the bytes are no picture.
    """
    try:
        # libjpeg-turbo takes two thirds of the time of OpenCV's decoder; every spoken picture begins with this.
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), np.uint8)
    except ValueError as error:
        raise BundleError("A frame of the avatar is damaged.", "Delete the avatar and prepare it again.") from error


@dataclass(frozen=True, eq=False, slots=True)
class GestureTrack:
    """The sound of a gesture, as it was recorded."""

    samples: npt.NDArray[np.int16]
    "(n,) mono"
    rate_hz: int
    level_dbfs: float
    "RMS where there is something to hear"


@dataclass(frozen=True, eq=False, slots=True)
class Gesture:
    """A named clip of an avatar, as a part of its bundle with gestures."""

    name: str
    first_frame: int
    "its frames come after those of the loop, one gesture after another"
    frame_count: int
    track: GestureTrack | None
    "None: it makes no sound"
    is_idle: bool = False
    "the avatar shows it by itself while nobody speaks, and nobody asks for it"


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """Which files a bundle was read from: equal for all that were read from the same. It holds none of them open."""

    path: Path
    stamps: tuple[tuple[int, int], ...]
    "inode and time of manifests: the avatar's own, then those of its gestures"


@dataclass(frozen=True, eq=False)
class AvatarBundle:
    """An opened bundle. Compared by identity; safe to share between sessions and threads (read only)."""

    id: str
    name: str
    kind: str
    width: int
    height: int
    fps: int
    boxes: IntArray
    masks: ImageArray
    landmarks: FloatArray
    loop: IntArray
    path: Path
    manifest: Manifest
    backend_tensors: Mapping[str, AnyArray]
    _offsets: npt.NDArray[np.int64]
    _frames: mmap.mmap
    _stamp: tuple[int, int]
    gestures: tuple[Gesture, ...] = ()
    "empty in a bundle as it is opened; see with_gestures()"
    _gesture_bundles: tuple[AvatarBundle, ...] = ()
    _alone: AvatarBundle | None = None
    _derived: weakref.WeakValueDictionary[object, Any] = field(default_factory=weakref.WeakValueDictionary, init=False)
    _deriving: Lock = field(default_factory=Lock, init=False)

    @classmethod
    def open(cls, path: Path) -> AvatarBundle:
        """Map a bundle directory.

        Raises BundleError: missing or damaged files, a foreign format, a later version.
        """
        try:
            with (path / "manifest.json").open("rb") as file:
                state = os.fstat(file.fileno())
                manifest = manifest_of_today(json.loads(file.read().decode()), path.name)
            tensors = tensors_of_today(manifest["version"], load_file(path / "tensors.safetensors"))
            with (path / "frames.bin").open("rb") as file:
                frames = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            bundle = cls(
                id=manifest["id"],
                name=manifest["name"],
                kind=manifest["kind"],
                width=manifest["width"],
                height=manifest["height"],
                fps=manifest["fps"],
                boxes=tensors.pop("boxes"),
                masks=tensors.pop("masks"),
                landmarks=tensors.pop("landmarks"),
                loop=tensors.pop("loop"),
                path=path,
                manifest=manifest,
                backend_tensors=tensors,
                _offsets=tensors.pop("frame_offsets"),
                _frames=frames,
                _stamp=(state.st_ino, state.st_mtime_ns),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            logger.warning("The avatar at %s cannot be read: %s: %s", path, type(error).__name__, error)
            raise BundleError(
                f"The files of the avatar '{path.name}' cannot be read.",
                "Delete it and make it again; the server's log says what is wrong with them.",
            ) from error
        named = all(isinstance(said, str) for said in (bundle.id, bundle.name, bundle.kind))
        sized = all(isinstance(said, int | float) and said > 0 for said in (bundle.width, bundle.height, bundle.fps))
        if not named or not sized:
            raise BundleError(
                f"The manifest of the avatar '{path.name}' is damaged.", "Delete the avatar and make it again."
            )
        bundle._check()
        return bundle

    @cached_property
    def files(self) -> BundleFiles:
        return BundleFiles(self.path, (self._stamp, *(clip._stamp for clip in self._gesture_bundles)))

    def derived(self, make: Callable[[AvatarBundle], Derived]) -> Derived:
        """What `make` makes of it, made once for all who have it at the same time. It lives as long as they keep it."""
        with self._deriving:
            made: Derived | None = self._derived.get(make)
            if made is None:
                made = self._derived[make] = make(self)
            return made

    @property
    def owner(self) -> str:
        """Name of the person whose it is; empty for everybody's."""
        return self.manifest["source"].get("owner", "")

    def _check(self) -> None:
        n = self.frame_count
        whole = (
            n > 0
            and self.boxes.shape == (n, 4)
            and self.landmarks.shape == (n, 478, 3)
            and self.masks.ndim == 3
            and len(self.masks) in (1, n)
            and self.loop.ndim == 1
            and len(self.loop) > 0
            and int(self.loop.min()) >= 0
            and int(self.loop.max()) < n
            and int(self._offsets[-1]) == len(self._frames)
        )
        if not whole:
            raise BundleError(f"The avatar '{self.id}' is damaged: its parts disagree.", "Delete it and make it again.")

    @property
    def frame_count(self) -> int:
        """Of the frames of its loop. Those of its gestures are counted on from there."""
        return len(self._offsets) - 1

    @property
    def duration_s(self) -> float:
        """Length of one round of the loop."""
        return len(self.loop) / self.fps

    def frame_index(self, loop_index: int) -> int:
        """Frame shown at a place of the loop (any int; wraps).

        With gestures, places from len(loop) on are their pictures, one gesture after another.
        """
        if self.gestures and loop_index >= len(self.loop):
            return self.frame_count + loop_index - len(self.loop)
        return int(self.loop[loop_index % len(self.loop)])

    def with_gestures(self, clips: Mapping[str, AvatarBundle]) -> AvatarBundle:
        """The same avatar whose boxes, landmarks and frames include those of its gestures, by name -> bundle.

        Raises BundleError: pictures or boxes of a gesture are of another size than the avatar's.
        """
        gestures, first_frame = [], self.frame_count
        for name, clip in clips.items():
            if (clip.width, clip.height) != (self.width, self.height) or clip.masks.shape[1:] != self.masks.shape[1:]:
                raise BundleError(
                    f"The gesture '{name}' does not fit the avatar '{self.id}'.", "Delete the gesture and add it again."
                )
            gestures.append(Gesture(name, first_frame, clip.frame_count, _track_of(clip), clip.is_idle))
            first_frame += clip.frame_count
        masks = self.masks
        if len(masks) > 1:
            one_each = [np.broadcast_to(clip.masks, (clip.frame_count, *masks.shape[1:])) for clip in clips.values()]
            masks = np.concatenate([masks, *one_each])
        return replace(
            self,
            boxes=np.concatenate([self.boxes, *(clip.boxes for clip in clips.values())]),
            masks=masks,
            landmarks=np.concatenate([self.landmarks, *(clip.landmarks for clip in clips.values())]),
            gestures=tuple(gestures),
            _gesture_bundles=tuple(clips.values()),
            _alone=self,
        )

    @property
    def without_gestures(self) -> AvatarBundle:
        """The bundle as it was opened, of which with_gestures() made this one."""
        return self._alone or self

    def loop_place_like(self, frame_index: int) -> int:
        """The place of the loop in which the face is most like that of a frame, by its landmarks in pixels."""
        points = self.landmarks[:, ::8, :2]  # all of them would take 10 ms in a long loop
        apart = np.abs(points[: self.frame_count] - points[frame_index]).mean(axis=(1, 2))
        return int(np.argmin(apart[self.loop]))

    def jpeg(self, frame_index: int) -> bytes:
        beyond = frame_index - self.frame_count
        for clip in self._gesture_bundles if beyond >= 0 else ():
            if beyond < clip.frame_count:
                return clip.jpeg(beyond)
            beyond -= clip.frame_count
        return self._frames[int(self._offsets[frame_index]) : int(self._offsets[frame_index + 1])]

    def frame(self, frame_index: int) -> ImageArray:
        """Decode one frame: a fresh uint8 RGB (height, width, 3) that the caller owns and may draw on."""
        return decode_jpeg(self.jpeg(frame_index))

    def quieted(self, frame: ImageArray, frame_index: int, strength: float = 1.0) -> ImageArray:
        """In silence its frames are shown as they are."""
        return frame

    @property
    def gesture_names(self) -> list[str]:
        """Gestures that can be asked for: not those that it shows by itself."""
        return [gesture.name for gesture in self.gestures if not gesture.is_idle]

    @property
    def is_idle(self) -> bool:
        """Whether it is the bundle of a gesture that the avatar shows by itself."""
        return self.manifest["source"].get("idle", False) is True

    @property
    def has_sound(self) -> bool:
        """Whether it is the bundle of a gesture that makes a sound."""
        return SOUND in self.backend_tensors

    def mask(self, frame_index: int) -> ImageArray:
        """uint8 (h, w) feathered weight of the patch in that frame."""
        mask: ImageArray = self.masks[frame_index if len(self.masks) > 1 else 0]
        return mask

    @property
    def poster_path(self) -> Path:
        return self.path / "poster.jpg"

    @property
    def mattes_path(self) -> Path:
        """Where its mattes are, if it has any."""
        return self.path / "mattes.bin"

    @property
    def cutout_path(self) -> Path:
        """Where the still of the person alone is, once it has been made."""
        return self.path / "cutout.webp"

    @property
    def preview_path(self) -> Path | None:
        path = self.path / "preview.mp4"
        return path if path.exists() else None


def _track_of(clip: AvatarBundle) -> GestureTrack | None:
    kept = clip.backend_tensors
    if SOUND not in kept:
        return None
    return GestureTrack(kept[SOUND], int(kept[SOUND_RATE_HZ][0]), float(kept[SOUND_LEVEL_DBFS][0]))

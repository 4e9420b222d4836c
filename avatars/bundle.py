"""The avatar bundle: preparation writes it, and everything else reads it.

A bundle is a directory, written once, atomically, and immutable from then on:

    manifest.json         format, version, id, name, kind, fps, size, counts, source facts, face report
    frames.bin            the frames as JPEGs, one after another (memory-mapped; only pages in use are in RAM)
    tensors.safetensors   frame_offsets, loop, boxes, masks, landmarks, and "<backend>/<name>" tensors of backends
    poster.jpg            a still for galleries
    preview.mp4           a short moving preview (optional)
    mattes.bin            where the person is in each frame, and the background (optional); see `avatars.mattes`
    cutout.webp           a still of the person alone; made on first use if only mattes are there
    parts/                <backend>.pth, a network trained for this avatar; and what `avatars.parts` adds later
    gestures/             a bundle for each gesture; see `avatars.gestures`

Nothing in it is ever unpickled or executed.
"""

from __future__ import annotations

import json
import logging
import mmap
import weakref
import zlib
from collections.abc import Callable, Iterable, Mapping
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
from avatars.frame_memory import FrameMemory
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
"""Names of the tensors that hold a gesture's sound."""

Derived = TypeVar("Derived")


def encode_jpeg(rgb: ImageArray, quality: int = JPEG_QUALITY) -> bytes:
    """Encode uint8 RGB (h, w, 3) as JPEG. Raises BundleError if that fails."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise BundleError("A frame could not be encoded as JPEG.", "Try again; the memory may have been full.")
    return data.tobytes()


def decode_jpeg(data: bytes | memoryview, memory: FrameMemory | None = None) -> ImageArray:
    """Decode a JPEG to uint8 RGB (h, w, 3).

    memory: where the array comes from; None for a new one

    Raises BundleError if the bytes are not a picture.
    """
    try:
        buffer = None if memory is None else memory.frame(*simplejpeg.decode_jpeg_header(data)[:2])
        # libjpeg-turbo takes two thirds of the time of OpenCV's decoder, and every spoken picture starts here. The file
        # has one colour for four pixels. It is repeated, not interpolated: that takes a tenth less time, and whoever
        # encodes the picture again, also with one colour for four pixels, gets that of the file.
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastupsample=True, buffer=buffer), np.uint8)
    except ValueError as error:
        raise BundleError("A frame of the avatar is damaged.", "Delete the avatar and prepare it again.") from error


@dataclass(frozen=True, eq=False, slots=True)
class GestureTrack:
    """The recorded sound of a gesture."""

    samples: npt.NDArray[np.int16]
    "(n,) mono"
    rate_hz: int
    level_dbfs: float
    "RMS level of the audible parts"


@dataclass(frozen=True, eq=False, slots=True)
class Gesture:
    """A named clip of an avatar, inside a bundle made by with_gestures()."""

    name: str
    first_frame: int
    "number of its first frame: frames of gestures follow those of the loop, one gesture after another"
    frame_count: int
    track: GestureTrack | None
    "None for a silent gesture"
    is_idle: bool = False
    "True for an idle clip: the avatar shows it by itself while nobody speaks, and it cannot be asked for"


@dataclass(frozen=True, slots=True)
class BundleFiles:
    """The files a bundle was read from; equal for bundles read from the same files. Keeps none of them open.

    A name, an owner or who else may use it makes no difference: what is made of the files stays the same.
    """

    path: Path
    stamps: tuple[tuple[int, int, int], ...]
    """of the avatar, then of each of its gestures: inode and modification time (ns) of the tensors, which are written
    once and together with the frames, and a checksum of the manifest"""


@dataclass(frozen=True, eq=False)
class AvatarBundle:
    """An opened bundle. It is compared by identity, and read-only, so sessions and threads can share it."""

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
    _stamp: tuple[int, int, int]
    gestures: tuple[Gesture, ...] = ()
    "empty after open(); see with_gestures()"
    _gesture_bundles: tuple[AvatarBundle, ...] = ()
    _alone: AvatarBundle | None = None
    _derived: weakref.WeakValueDictionary[object, Any] = field(default_factory=weakref.WeakValueDictionary)
    _deriving: Lock = field(default_factory=Lock)
    _memory: FrameMemory = field(default_factory=FrameMemory)

    @classmethod
    def open(cls, path: Path) -> AvatarBundle:
        """Open a bundle directory; its frames are memory-mapped.

        Raises BundleError if files are missing or damaged, or of another format or a later version.
        """
        try:
            manifest = manifest_of_today(json.loads((path / "manifest.json").read_bytes().decode()), path.name)
            state = (path / "tensors.safetensors").stat()
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
                _stamp=(state.st_ino, state.st_mtime_ns, _checksum(manifest)),
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
        """The files that this bundle and its gestures were read from."""
        return BundleFiles(self.path, (self._stamp, *(clip._stamp for clip in self._gesture_bundles)))

    def called_as(self, other: AvatarBundle) -> AvatarBundle:
        """Return this bundle with the name and the owner of `other`, which was read from the same files.

        Both share what was derived of them.
        """
        if other.manifest == self.manifest:
            return self
        return replace(self, name=other.name, manifest=other.manifest, _alone=other)

    def derived(self, make: Callable[[AvatarBundle], Derived]) -> Derived:
        """Return make(self), computed once and shared by all who hold the result at the same time.

        The bundle keeps only a weak reference, so the result lives as long as its users keep it.
        """
        with self._deriving:
            made: Derived | None = self._derived.get(make)
            if made is None:
                made = self._derived[make] = make(self)
            return made

    @property
    def owner(self) -> str:
        """Name of the person who owns the avatar; empty if it belongs to everybody."""
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
        """Number of the loop's frames. Frames of gestures are numbered on from there."""
        return len(self._offsets) - 1

    @property
    def duration_s(self) -> float:
        """Length of one round of the loop."""
        return len(self.loop) / self.fps

    def frame_index(self, loop_index: int) -> int:
        """Return the frame shown at a place in the loop (any int; it wraps around).

        With gestures, places from len(loop) on are the frames of the gestures, one gesture after another.
        """
        if self.gestures and loop_index >= len(self.loop):
            return self.frame_count + loop_index - len(self.loop)
        return int(self.loop[loop_index % len(self.loop)])

    def with_gestures(self, clips: Mapping[str, AvatarBundle]) -> AvatarBundle:
        """Return the same avatar with the frames, boxes and landmarks of its gestures added. clips: name -> bundle.

        Raises BundleError if a gesture's pictures or boxes differ in size from the avatar's.
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
            _derived=weakref.WeakValueDictionary(),
            _deriving=Lock(),
        )

    @property
    def without_gestures(self) -> AvatarBundle:
        """The bundle as it was opened, before with_gestures() was called on it."""
        return self._alone or self

    def loop_place_like(self, frame_index: int) -> int:
        """Return the place in the loop where the face is most like that of a frame, by its landmarks in pixels."""
        return self.loop_places_like([frame_index])[0]

    def loop_places_like(self, frame_indices: Iterable[int]) -> list[int]:
        """Do the same for several frames. This takes about 0.1 ms per frame."""
        points = np.ascontiguousarray(self.landmarks[:, ::8, :2])  # every 8th point: all would take 10 ms per frame
        of_loop, places = points[: self.frame_count], []
        for index in frame_indices:
            apart = np.abs(of_loop - points[index]).mean(axis=(1, 2))
            places.append(int(np.argmin(apart[self.loop])))
        return places

    def jpeg(self, frame_index: int) -> bytes:
        """Return one frame as JPEG, with the frames of gestures numbered on from those of the loop."""
        beyond = frame_index - self.frame_count
        for clip in self._gesture_bundles if beyond >= 0 else ():
            if beyond < clip.frame_count:
                return clip.jpeg(beyond)
            beyond -= clip.frame_count
        return self._frames[int(self._offsets[frame_index]) : int(self._offsets[frame_index + 1])]

    def frame(self, frame_index: int) -> ImageArray:
        """Decode one frame into a uint8 RGB (height, width, 3) array of the caller's own, to draw on."""
        return decode_jpeg(self.jpeg(frame_index), self._memory)

    def quieted(self, frame: ImageArray, frame_index: int, strength: float = 1.0) -> ImageArray:
        """Return the frame unchanged: this loop needs no quieting. See `LoopPictures.quieted` in pipeline/types.py."""
        return frame

    @property
    def gesture_names(self) -> list[str]:
        """Names of the gestures that can be asked for; idle clips are left out."""
        return [gesture.name for gesture in self.gestures if not gesture.is_idle]

    @property
    def is_idle(self) -> bool:
        """Whether this is the bundle of an idle clip."""
        return self.manifest["source"].get("idle", False) is True

    @property
    def has_sound(self) -> bool:
        """Whether this is the bundle of a gesture with sound."""
        return SOUND in self.backend_tensors

    def mask(self, frame_index: int) -> ImageArray:
        """Return the feathered weight of the patch in that frame, uint8 (h, w)."""
        mask: ImageArray = self.masks[frame_index if len(self.masks) > 1 else 0]
        return mask

    @property
    def poster_path(self) -> Path:
        """Path of the still for galleries; there may be no such file."""
        return self.path / "poster.jpg"

    @property
    def mattes_path(self) -> Path:
        """Path of its mattes; there may be no such file."""
        return self.path / "mattes.bin"

    @property
    def cutout_path(self) -> Path:
        """Path of the still of the person alone; there may be no such file yet."""
        return self.path / "cutout.webp"

    @property
    def preview_path(self) -> Path | None:
        """Path of the moving preview; None if there is none."""
        path = self.path / "preview.mp4"
        return path if path.exists() else None


def _checksum(manifest: Manifest) -> int:
    """Return a number that changes with whatever in a manifest is seen in pictures."""
    source = {key: value for key, value in manifest["source"].items() if key != "owner"}
    seen = {key: value for key, value in manifest.items() if key not in ("name", "shared")} | {"source": source}
    return zlib.crc32(json.dumps(seen, sort_keys=True).encode())


def _track_of(clip: AvatarBundle) -> GestureTrack | None:
    kept = clip.backend_tensors
    if SOUND not in kept:
        return None
    return GestureTrack(kept[SOUND], int(kept[SOUND_RATE_HZ][0]), float(kept[SOUND_LEVEL_DBFS][0]))

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
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from avatars.bundle_versions import BUNDLE_FORMAT, BUNDLE_VERSION, manifest_of_today, tensors_of_today
from avatars.errors import BundleError
from avatars.mouth_look import MouthLook
from avatars.records import Manifest
from models.arrays import AnyArray

__all__ = [
    "JPEG_QUALITY",
    "AvatarBundle",
    "BundleContents",
    "Gesture",
    "GestureTrack",
    "decode_jpeg",
    "encode_jpeg",
    "gesture_tensors",
    "write_bundle",
]

logger = logging.getLogger(__name__)

JPEG_QUALITY = 92
SOUND, SOUND_RATE_HZ, SOUND_LEVEL_DBFS = "gesture/sound", "gesture/sound_rate_hz", "gesture/sound_level_dbfs"
"""Tensors of a gesture that makes a sound."""

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]


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


@dataclass(frozen=True, slots=True)
class BundleContents:
    """Everything that write_bundle() needs."""

    id: str
    name: str
    kind: str
    "still or clip"
    frames: Iterable[bytes]
    "JPEGs, all of one size"
    width: int
    height: int
    boxes: IntArray
    "(n, 4) int32 x0, y0, x1, y1 of the mouth box of each frame; all of one size, inside the picture"
    masks: ImageArray
    "(1, h, w) or (n, h, w) uint8 feathered weight of the patch, the size of the boxes"
    landmarks: FloatArray
    "(n, 478, 3) float32 FaceMesh points in pixels of the frame (z in the same scale)"
    loop: IntArray
    "(m,) int32 frame indices in playing order; the last joins the first without a jump"
    source: Mapping[str, object] = field(default_factory=dict)
    "where it came from: file name, size, frames, consent, licence"
    report: Mapping[str, object] = field(default_factory=dict)
    "the face report of the preparation"
    mouth: Mapping[str, object] = field(default_factory=dict)
    "how `viseme` draws its mouth, and why (real_mouths.RealMouths.to_json); empty where nobody has looked"
    mouth_look: MouthLook | None = None
    "the inside of a drawn character's mouth; None where `viseme` judges it by the light"
    tensors: Mapping[str, AnyArray] = field(default_factory=dict)
    "'<backend>/<name>' -> array"
    poster: bytes = b""
    preview: Path | None = None
    mattes: bytes = b""
    "what Mattes.to_bytes() gives; empty where nobody knows what is the person"
    networks: Mapping[str, Path] = field(default_factory=dict)
    "lip-sync backend -> file of the network that was trained for this avatar"


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
    gestures: tuple[Gesture, ...] = ()
    "empty in a bundle as it is opened; see with_gestures()"
    _gesture_bundles: tuple[AvatarBundle, ...] = ()
    _alone: AvatarBundle | None = None

    @classmethod
    def open(cls, path: Path) -> AvatarBundle:
        """Map a bundle directory.

        Raises BundleError: missing or damaged files, a foreign format, a later version.
        """
        try:
            manifest = manifest_of_today(json.loads((path / "manifest.json").read_text(encoding="utf-8")), path.name)
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
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            logger.warning("The avatar at %s cannot be read: %s: %s", path, type(error).__name__, error)
            raise BundleError(
                f"The files of the avatar '{path.name}' cannot be read.",
                "Delete it and make it again; the server's log says what is wrong with them.",
            ) from error
        bundle._check()
        return bundle

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


def write_bundle(contents: BundleContents, path: Path) -> AvatarBundle:
    """Write a bundle directory in one step: it appears whole under `path`, or not at all. Replaces an older one.

    Raises BundleError, OSError (disk full: nothing is left behind).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _fill(staging, contents)
        AvatarBundle.open(staging)
        _put_in_place(staging, path)
    except BaseException:  # whatever it was: half a bundle is of no use
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return AvatarBundle.open(path)


def _fill(folder: Path, contents: BundleContents) -> None:
    """Write the files of a bundle into an empty folder."""
    offsets = _write_frames(folder / "frames.bin", contents.frames)
    tensors = {
        **contents.tensors,
        "frame_offsets": np.asarray(offsets, np.int64),
        "loop": np.asarray(contents.loop, np.int32),
        "boxes": np.asarray(contents.boxes, np.int32),
        "masks": np.asarray(contents.masks, np.uint8),
        "landmarks": np.asarray(contents.landmarks, np.float32),
    }
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "tensors.safetensors")
    if contents.poster:
        (folder / "poster.jpg").write_bytes(contents.poster)
    if contents.preview is not None:
        shutil.copyfile(contents.preview, folder / "preview.mp4")
    if contents.mattes:
        (folder / "mattes.bin").write_bytes(contents.mattes)
    for backend, network in contents.networks.items():
        (folder / "parts").mkdir(exist_ok=True)
        shutil.copyfile(network, folder / "parts" / f"{backend}.pth")
    manifest = {
        "format": BUNDLE_FORMAT,
        "version": BUNDLE_VERSION,
        "id": contents.id,
        "name": contents.name,
        "kind": contents.kind,
        "fps": 25,
        "width": contents.width,
        "height": contents.height,
        "frames": len(offsets) - 1,
        "source": dict(contents.source),
        "report": dict(contents.report),
        "mouth": dict(contents.mouth),
        **({} if contents.mouth_look is None else {"mouth_look": contents.mouth_look.to_json()}),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    folder.chmod(0o755)


def _write_frames(path: Path, frames: Iterable[bytes]) -> list[int]:
    """One after the other; returns where each begins, and where the last one ends."""
    offsets = [0]
    with path.open("wb") as file:
        for jpeg in frames:
            offsets.append(offsets[-1] + file.write(jpeg))
        _sync(file.fileno())
    return offsets


def _put_in_place(staging: Path, path: Path) -> None:
    """Move a whole bundle to where it belongs; one that is there is replaced."""
    if path.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        path.rename(retired / "bundle")
        staging.rename(path)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        staging.rename(path)


def gesture_tensors(track: GestureTrack) -> dict[str, AnyArray]:
    """How the bundle of a gesture keeps its sound."""
    return {
        SOUND: track.samples,
        SOUND_RATE_HZ: np.array([track.rate_hz], np.int32),
        SOUND_LEVEL_DBFS: np.array([track.level_dbfs], np.float32),
    }


def _track_of(clip: AvatarBundle) -> GestureTrack | None:
    kept = clip.backend_tensors
    if SOUND not in kept:
        return None
    return GestureTrack(kept[SOUND], int(kept[SOUND_RATE_HZ][0]), float(kept[SOUND_LEVEL_DBFS][0]))


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)

"""Writes an avatar bundle, whole or not at all. `bundle` says what is in it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from avatars.bundle import SOUND, SOUND_LEVEL_DBFS, SOUND_RATE_HZ, AvatarBundle, GestureTrack
from avatars.bundle_versions import BUNDLE_FORMAT, BUNDLE_VERSION
from avatars.mouth_look import MouthLook
from models.arrays import AnyArray, FloatArray, ImageArray, IntArray

__all__ = ["BundleContents", "gesture_tensors", "write_bundle"]


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
    "(m,) int32 frame indices in playing order; the last one leads to the first without a jump"
    source: Mapping[str, object] = field(default_factory=dict)
    "where the avatar came from: file name, size, frames, consent, licence"
    report: Mapping[str, object] = field(default_factory=dict)
    "the face report of the preparation"
    mouth: Mapping[str, object] = field(default_factory=dict)
    "how `viseme` draws its mouth, and why (real_mouths.RealMouths.to_json); empty if that was never examined"
    mouth_look: MouthLook | None = None
    "mouth colours of a drawn character; None: `viseme` chooses them by the light in the picture"
    tensors: Mapping[str, AnyArray] = field(default_factory=dict)
    "'<backend>/<name>' -> array"
    poster: bytes = b""
    preview: Path | None = None
    mattes: bytes = b""
    "result of Mattes.to_bytes(); empty if no mattes were made"
    networks: Mapping[str, Path] = field(default_factory=dict)
    "lip-sync backend -> file of the network trained for this avatar"


def write_bundle(contents: BundleContents, path: Path) -> AvatarBundle:
    """Write a bundle directory atomically: it appears whole at `path`, or not at all. Replaces an older one.

    Raises BundleError; OSError if the disk is full or the folder around `path` is gone. Nothing is left behind then.
    """
    path.parent.mkdir(exist_ok=True)  # without parents: the folder of a deleted avatar must not come back
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _fill(staging, contents)
        AvatarBundle.open(staging)
        _put_in_place(staging, path)
    except BaseException:  # on any failure, cancellation too: half a bundle is of no use
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
    """Write the JPEGs one after another; return where each begins, and where the last one ends."""
    offsets = [0]
    with path.open("wb") as file:
        for jpeg in frames:
            offsets.append(offsets[-1] + file.write(jpeg))
        file.flush()
        os.fsync(file.fileno())
    return offsets


def _put_in_place(staging: Path, path: Path) -> None:
    """Move a complete bundle to its place, and replace an older one.

    If the process dies between the two renames, AvatarLibrary.sweep() puts the older one back.
    """
    if path.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        path.rename(retired / "bundle")
        staging.rename(path)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        staging.rename(path)


def gesture_tensors(track: GestureTrack) -> dict[str, AnyArray]:
    """Return a gesture's sound as the tensors of its bundle."""
    return {
        SOUND: track.samples,
        SOUND_RATE_HZ: np.array([track.rate_hz], np.int32),
        SOUND_LEVEL_DBFS: np.array([track.level_dbfs], np.float32),
    }

"""The parts of an avatar for one lip-sync backend: boxes, masks, and rows of its own such as latents or face crops.

They are in the bundle's folder, as `parts/<backend>.safetensors`, so they are deleted with the avatar. The file is
memory-mapped and read row by row: a session that shows ten pictures touches ten rows. Nothing in it is ever unpickled
or executed.
"""

from __future__ import annotations

import json
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from avatars.bundle import AvatarBundle
from avatars.disk import disk_full_explained, sync
from avatars.errors import AvatarNotFound, AvatarNotPrepared, BundleError
from avatars.face_formats import face_formats
from models.arrays import AnyArray, IntArray, Mask

__all__ = [
    "PARTS_VERSION",
    "BackendParts",
    "bundle_fingerprint",
    "damaged",
    "network_path",
    "networks_of",
    "parts_path",
    "prepared_for",
    "write_parts",
]

PARTS_VERSION = "1"
STALE_S = 3600.0
"Hidden files of killed writers are removed after this many seconds without a change."


class _Slice(Protocol):
    """A tensor of a mapped file."""

    def __getitem__(self, rows: slice) -> AnyArray: ...
    def get_shape(self) -> list[int]: ...
    def get_dtype(self) -> str: ...


class _PartsFile(Protocol):
    """The object that safetensors opens; its package has no type hints for it."""

    def keys(self) -> list[str]: ...
    def metadata(self) -> dict[str, str] | None: ...
    def get_tensor(self, name: str) -> AnyArray: ...
    def get_slice(self, name: str) -> _Slice: ...


@dataclass(frozen=True, eq=False)
class BackendParts:
    """Opened parts. They are read-only, so threads can share them."""

    boxes: IntArray
    "(n, 4) int32 x0, y0, x1, y1 of the face in each frame of the bundle, inside the picture"
    parameters: Mapping[str, object]
    "the parameters it was prepared with"
    _mask_offsets: npt.NDArray[np.int64]
    _rows: Mapping[str, _Slice]
    "name -> slice of the mapped file"

    @classmethod
    def open(cls, bundle: AvatarBundle, backend: str) -> BackendParts:
        """Map the parts of an avatar for `backend`.

        Raises AvatarNotPrepared if there are none, or if they are of another version or belong to an older avatar with
        the same id. Raises BundleError if they are damaged.
        """
        path = parts_path(bundle, backend)
        if not path.is_file():
            raise AvatarNotPrepared(bundle.id, backend)
        return cls._read(path, bundle, backend)

    @classmethod
    def _read(cls, path: Path, bundle: AvatarBundle, backend: str) -> BackendParts:
        try:
            file: _PartsFile = safe_open(path, "np")
            metadata = file.metadata() or {}
            if metadata.get("version") != PARTS_VERSION or metadata.get("bundle") != bundle_fingerprint(bundle):
                raise AvatarNotPrepared(bundle.id, backend)
            parts = cls(
                boxes=file.get_tensor("boxes"),
                parameters=json.loads(metadata["parameters"]),
                _mask_offsets=file.get_tensor("mask_offsets"),
                _rows={name: file.get_slice(name) for name in file.keys()},  # noqa: SIM118
            )
            whole = parts._is_whole(bundle)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise damaged(bundle, backend, str(error)) from error
        if not whole:
            raise damaged(bundle, backend, "they disagree with each other or with the avatar")
        return parts

    def mask(self, frame_index: int) -> Mask:
        """Return the weight of the generated face in that frame's box, uint8 (h, w); 255 replaces the picture."""
        x0, y0, x1, y1 = self.boxes[frame_index]
        start, stop = self._mask_offsets[frame_index : frame_index + 2]
        flat = self._rows["masks"][int(start) : int(stop)]
        return np.asarray(flat, np.uint8).reshape(y1 - y0, x1 - x0)

    def row(self, name: str, frame_index: int) -> AnyArray:
        """Return the frame's row of another tensor: `latents` float16 (8, 32, 32), `faces` uint8 (s, s, 3) RGB, ...

        Raises KeyError for a tensor that this backend does not have.
        """
        (row,) = self._rows[name][frame_index : frame_index + 1]
        return np.asarray(row)

    def _is_whole(self, bundle: AvatarBundle) -> bool:
        n = bundle.frame_count
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.int32 or self._mask_offsets.shape != (n + 1,):
            return False
        x0, y0, x1, y1 = self.boxes.astype(np.int64).T
        inside = (x0 >= 0) & (y0 >= 0) & (x1 <= bundle.width) & (y1 <= bundle.height)
        filled = (x1 > x0) & (y1 > y0)
        areas = (x1 - x0) * (y1 - y0)
        masks = self._rows["masks"]
        return bool(
            (inside & filled).all()
            and np.array_equal(self._mask_offsets, np.concatenate([[0], np.cumsum(areas)]))
            and masks.get_shape() == [int(self._mask_offsets[-1])]
            and masks.get_dtype() == "U8"
            and all(slice_.get_shape()[:1] == [n] for name, slice_ in self._rows.items() if name not in _OWN)
            and isinstance(self.parameters, Mapping)
        )


_OWN = frozenset({"boxes", "masks", "mask_offsets"})


def write_parts(
    bundle: AvatarBundle,
    backend: str,
    *,
    boxes: IntArray,
    masks: Iterable[Mask],
    rows: Mapping[str, AnyArray],
    parameters: Mapping[str, object],
) -> BackendParts:
    """Store the parts of an avatar for `backend`, whole or not at all; replaces older ones.

    boxes: (n, 4) x0, y0, x1, y1. masks: one uint8 mask per box, of the box's size. rows: name -> (n, ...). parameters:
    a JSON object. Several writers may run at once; the last to finish wins. Raises BundleError if the arrays do not
    fit the avatar or each other, AvatarNotFound if the avatar was deleted meanwhile, DiskFull.
    """
    try:
        flat, offsets = _laid_out(boxes, masks)
    except ValueError as error:
        raise damaged(bundle, backend, str(error)) from error
    tensors = {
        **{name: np.ascontiguousarray(array) for name, array in rows.items()},
        "boxes": np.ascontiguousarray(boxes, np.int32),
        "masks": flat,
        "mask_offsets": offsets,
    }
    metadata = {
        "version": PARTS_VERSION,
        "bundle": bundle_fingerprint(bundle),
        "parameters": json.dumps(dict(parameters), ensure_ascii=False),
    }
    path = parts_path(bundle, backend)
    with _deletion_explained(bundle), _staged(path) as staging:
        save_file(tensors, staging, metadata)
        sync(staging)
        BackendParts._read(staging, bundle, backend)
        staging.chmod(0o644)  # safetensors makes its files readable by the owner only
    return BackendParts.open(bundle, backend)


def _laid_out(boxes: IntArray, masks: Iterable[Mask]) -> tuple[Mask, npt.NDArray[np.int64]]:
    """Return all masks flattened into one array, and their offsets in it. Raises ValueError if a size is wrong."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))])
    flat = np.empty(offsets[-1], np.uint8)
    for (width, height), start, mask in zip(sizes, offsets[:-1], masks, strict=True):
        if mask.shape != (height, width):
            raise ValueError(f"a mask of {mask.shape} is no mask of a box of {width} x {height}")
        flat[start : start + mask.size] = mask.ravel()
    return flat, offsets


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Give each writer a file name of its own. On success the file replaces `path`, otherwise it is removed.

    Raises DiskFull.
    """
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with disk_full_explained():
            path.parent.mkdir(exist_ok=True)
            _sweep(path)
            yield staging
            staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove old hidden files that killed writers of this file have left."""
    for left in path.parent.glob(f".{path.name}*"):
        with suppress(FileNotFoundError):  # another writer has just renamed or removed it
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()


@contextmanager
def _deletion_explained(bundle: AvatarBundle) -> Iterator[None]:
    """Raise AvatarNotFound instead of the error that writing into a deleted avatar's folder causes."""
    try:
        yield
    except (OSError, SafetensorError, BundleError) as error:
        if bundle.path.is_dir():
            raise
        raise AvatarNotFound(f"The avatar '{bundle.id}' was deleted meanwhile.", "Choose another one.") from error


def parts_path(bundle: AvatarBundle, backend: str) -> Path:
    """Path of the parts for a backend; there may be no such file."""
    return _parts_file(bundle.path, backend)


def prepared_for(folder: Path) -> dict[str, dict[str, object]]:
    """Return backend -> parameters for all parts of the avatar in `folder`. Cheap: only file headers are read.

    Damaged parts are left out, also those of another version and those whose own network is missing. Whether parts fit
    the avatar is checked only when they are opened.
    """
    networks = networks_of(folder)
    usable = (known.name for known in face_formats().values() if not known.own_network or known.name in networks)
    kept = ((backend, _kept_parameters(_parts_file(folder, backend))) for backend in usable)
    return {backend: parameters for backend, parameters in kept if parameters is not None}


def network_path(folder: Path, backend: str) -> Path:
    """Path of the avatar's own network for a backend; there may be no such file."""
    return _parts_file(folder, backend).with_suffix(".pth")


def networks_of(folder: Path) -> list[str]:
    """Return the backends for which the avatar in `folder` has a network of its own."""
    own = sorted(known.name for known in face_formats().values() if known.own_network)
    return [backend for backend in own if network_path(folder, backend).is_file()]


def bundle_fingerprint(bundle: AvatarBundle) -> str:
    """Return a string that differs for another avatar made under the same id: old parts do not fit the new avatar."""
    checksum = zlib.crc32(np.ascontiguousarray(bundle.landmarks).tobytes())
    return f"{bundle.frame_count}-{bundle.width}x{bundle.height}-{checksum:08x}"


def _parts_file(folder: Path, backend: str) -> Path:
    return folder / "parts" / f"{backend}.safetensors"


def _kept_parameters(path: Path) -> dict[str, object] | None:
    """Return the parameters in the file's header; None if this version cannot use the file."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        parameters = json.loads(metadata["parameters"]) if metadata.get("version") == PARTS_VERSION else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        return None
    return parameters if isinstance(parameters, dict) else None


def damaged(bundle: AvatarBundle, backend: str, reason: str) -> BundleError:
    """Return the error for parts that cannot be used."""
    return BundleError(
        f"What {backend} needs of the avatar '{bundle.id}' is damaged: {reason}.",
        f"Prepare the avatar for {backend} again.",
    )

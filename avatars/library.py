"""The folder of avatars on disk, and our own characters, which are the first avatars in it."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from avatars.bundle import AvatarBundle
from avatars.bundle_versions import manifest_of_today
from avatars.disk import disk_full_explained
from avatars.errors import AvatarNotFound, BundleError
from avatars.facts import AvatarFacts, facts_of
from avatars.mouth_look import MouthLook
from avatars.real_mouths import mouth_of, with_mouth
from avatars.records import Manifest
from avatars.unicode_names import normalise_name

__all__ = [
    "AvatarLibrary",
    "AvatarSummary",
    "Ownership",
    "Preset",
    "face_in",
    "not_found",
    "ownership_in",
    "presets",
    "summary_of",
]

log = logging.getLogger(__name__)

MAX_SLUG = 40
VALID_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
RETIRED = ".deleted."
PICTURES = ("poster.jpg", "preview.mp4", "mattes.bin")
STALE_S = 3600.0
"Hidden directories of killed writers are removed once they have been untouched for this long."


# These colours match the pictures: a mouth is darker and warmer with real skin; the robot's is felt and enamel.
_AMARAS_MOUTH = MouthLook(enamel=(228, 216, 204), gum=(130, 66, 66), tongue=(166, 78, 78), cavity=(48, 16, 18))
_WENS_MOUTH = MouthLook(enamel=(202, 189, 168), gum=(156, 88, 78), tongue=(166, 90, 82), cavity=(54, 24, 20))
_PIPS_MOUTH = MouthLook(
    enamel=(244, 240, 230), gum=(120, 44, 46), tongue=(236, 128, 108), cavity=(92, 34, 40), single_teeth=False
)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns a thing. owner: a person's name, or "" if it is everybody's. shared: everybody may see and use it."""

    owner: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True)
class AvatarSummary:
    """What a gallery shows of an avatar, read from its manifest and the headers of its files."""

    id: str
    name: str
    kind: str
    "still or clip"
    width: int
    height: int
    frames: int
    poster: Path | None
    preview: Path | None
    mattes: Path | None
    source: Mapping[str, object]
    report: Mapping[str, object]
    "see FaceReport.to_json"
    mouth: tuple[str, str]
    "see real_mouths.mouth_of"
    ownership: Ownership
    modified_s: float
    "Unix time"
    face: tuple[float, float, float, float] | None
    "x, y, width, height of the face in the first frame, as fractions of its size; None if unknown"


@dataclass(frozen=True, slots=True)
class Preset:
    """One of our own characters (avatars/presets/README.md)."""

    id: str
    names: Mapping[str, str]
    "language -> name"
    picture: Path
    closed_eyes: Path
    mouth_look: MouthLook | None
    "colours of the inside of its mouth; None: `viseme` chooses them by the light in the picture"


def presets() -> list[Preset]:
    """Return our own characters; the first one is the default avatar."""
    place = Path(__file__).parent / "presets"
    return [
        Preset(avatar_id, names, place / f"{avatar_id}.{kind}", place / f"{avatar_id}_closed.{kind}", look)
        for avatar_id, names, kind, look in (
            ("mira", {"en": "Mira", "zh": "米拉"}, "png", None),
            ("theo", {"en": "Theo", "zh": "西奥"}, "png", None),
            ("amara", {"en": "Amara", "zh": "阿玛拉"}, "jpg", _AMARAS_MOUTH),
            ("wen", {"en": "Wen", "zh": "老文"}, "jpg", _WENS_MOUTH),
            ("pip", {"en": "Pip", "zh": "皮普"}, "jpg", _PIPS_MOUTH),
        )
    ]


class _Editing:
    """Held while an avatar's manifest is read, changed and written, so that two changes do not undo each other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class AvatarLibrary:
    """A folder of bundles; one object per process. Safe to use from several threads, and while other processes use
    the same folder.

    Creating the object has no effect: the folder need not exist yet. A process that serves it for long calls sweep()
    once at its start.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._editing: weakref.WeakValueDictionary[str, _Editing] = weakref.WeakValueDictionary()
        "one lock for each avatar that is being changed"
        self._summaries: dict[Path, tuple[tuple[int, ...], AvatarSummary]] = {}
        "the results of the last list(), each with the stamp its bundle had then; deleted avatars are dropped"
        self._opened: weakref.WeakValueDictionary[tuple[str, int, int], AvatarBundle] = weakref.WeakValueDictionary()

    @property
    def root(self) -> Path:
        return self._root

    def list(self) -> list[AvatarSummary]:
        """Return all avatars, the oldest first. Damaged ones are left out and logged.

        Bundles that have not changed since the last time are not read again: reading one takes about a millisecond.
        """
        before, now = self._summaries, {}
        for path in self._root.glob("*"):
            if not VALID_ID.fullmatch(path.name):
                continue
            stamp = _stamp(path)
            kept = before.get(path)
            if stamp and kept is not None and kept[0] == stamp:
                now[path] = kept
            elif (summary := _summary(path)) is not None:
                now[path] = (stamp, summary)
        self._summaries = now
        return sorted((summary for _, summary in now.values()), key=lambda summary: (summary.modified_s, summary.id))

    def summary(self, avatar_id: str) -> AvatarSummary:
        """Return the summary of one avatar. Raises AvatarNotFound, also if its manifest is damaged."""
        summary = _summary(self.path_of(avatar_id))
        if summary is None:
            raise not_found(avatar_id)
        return summary

    def ownership(self, avatar_id: str) -> Ownership | None:
        """Return who owns an avatar; None if there is no such avatar, or its manifest cannot be used."""
        try:
            path = self.path_of(avatar_id) / "manifest.json"
            return ownership_in(manifest_of_today(json.loads(path.read_text(encoding="utf-8")), avatar_id))
        except (AvatarNotFound, BundleError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def ownership_now(self, avatar_id: str) -> Ownership | None:
        """Like ownership(), but never from a cache; see holds_now()."""
        return self.ownership(avatar_id)

    def __contains__(self, avatar_id: object) -> bool:
        return (
            isinstance(avatar_id, str)
            and VALID_ID.fullmatch(avatar_id) is not None
            and (self._root / avatar_id / "manifest.json").is_file()
        )

    def holds_now(self, avatar_id: str) -> bool:
        """Like `in`, but always looks at the current state: a shared library answers `in` from a short-lived cache."""
        return avatar_id in self

    def path_of(self, avatar_id: str) -> Path:
        """Return the path that the bundle with this id has, or would have.

        Raises AvatarNotFound for a string that is not an id, such as a path.
        """
        if not VALID_ID.fullmatch(avatar_id):
            raise not_found(avatar_id)
        return self._root / avatar_id

    def folder(self, avatar_id: str) -> Path:
        """Return the bundle's folder with all its files, for callers that read it without opening it.

        Raises AvatarNotFound for a string that is not an id. It is not checked whether the folder exists.
        """
        return self.path_of(avatar_id)

    def file(self, avatar_id: str, path: str) -> Path | None:
        """Return a file of the bundle; `path` has slashes. None if there is no such file.

        Raises AvatarNotFound for a string that is not an id.
        """
        found = self.path_of(avatar_id) / path
        return found if found.is_file() else None

    def facts(self, avatar_id: str) -> AvatarFacts:
        """Return what the avatar has besides its bundle. Raises AvatarNotFound for a string that is not an id."""
        return facts_of(self.path_of(avatar_id))

    @contextmanager
    def changing(self, avatar_id: str) -> Iterator[Path]:
        """Give the avatar's folder for a change; the whole change must happen inside the block.

        Raises AvatarNotFound.
        """
        if avatar_id not in self:
            raise not_found(avatar_id)
        yield self.path_of(avatar_id)

    @contextmanager
    def making(self, avatar_id: str) -> Iterator[Path]:
        """Give the path for a new bundle, which must be written inside the block.

        Raises AvatarNotFound for a string that is not an id.
        """
        yield self.path_of(avatar_id)

    def open(self, avatar_id: str) -> AvatarBundle:
        """Return the bundle. All callers that have it open at the same time share one object.

        Raises AvatarNotFound, BundleError.
        """
        path = self.path_of(avatar_id)
        try:
            state = (path / "manifest.json").stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_found(avatar_id) from error
        except OSError as error:  # else a kept session, which waits for this avatar, would be dropped
            raise BundleError(
                f"The files of the avatar '{avatar_id}' cannot be read: {error.strerror}.", "Try again in a minute."
            ) from error
        key = (avatar_id, state.st_ino, state.st_mtime_ns)  # an avatar that was made again is a different bundle
        with self._lock:
            bundle = self._opened.get(key)
            if bundle is None:
                bundle = self._opened[key] = AvatarBundle.open(path)
            return bundle

    def rename(self, avatar_id: str, name: str) -> None:
        """Give an avatar another name. It keeps its place in the list; bundles that are already open keep the old name.

        Raises AvatarNotFound, BundleError, DiskFull.
        """
        self._change(avatar_id, lambda manifest: {**manifest, "name": name})

    def draw_mouth(self, avatar_id: str, drawn: str) -> None:
        """Choose whether `viseme` draws the mouth as `personal` or `painted`. Bundles already open are not changed.

        Raises NoRealMouths (for personal), AvatarNotFound, BundleError, DiskFull.
        """
        self._change(avatar_id, lambda manifest: with_mouth(manifest, drawn))

    def share(self, avatar_id: str, *, shared: bool) -> None:
        """Let everybody use the avatar, or only its owner. Raises AvatarNotFound, BundleError, DiskFull."""
        self._change(avatar_id, lambda manifest: {**manifest, "shared": shared})

    def _change(self, avatar_id: str, change: Callable[[Mapping[str, object]], dict[str, object]]) -> None:
        """Replace the manifest of an avatar atomically."""
        with self._lock:
            editing = self._editing.setdefault(avatar_id, _Editing())
        # Held by the one avatar only: where the avatars are in a store, each step may take as long as a network call.
        with editing.lock, self.changing(avatar_id) as folder:
            path = folder / "manifest.json"
            staging = path.with_name(f".manifest.{secrets.token_hex(4)}")
            try:
                state = path.stat()
                manifest = change(json.loads(path.read_text(encoding="utf-8")))
            except OSError as error:
                raise not_found(avatar_id) from error
            except (ValueError, TypeError, AttributeError) as error:
                raise BundleError(f"The avatar {avatar_id!r} is damaged.", "Delete it and make it again.") from error
            try:
                with disk_full_explained():
                    staging.write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
                    os.utime(staging, ns=(state.st_atime_ns, state.st_mtime_ns))  # the gallery sorts by this time
                    staging.replace(path)
            except FileNotFoundError as error:  # it was deleted since its manifest was read
                raise not_found(avatar_id) from error
            except BaseException:  # on any failure, cancellation too: leave no half-written file beside the manifest
                staging.unlink(missing_ok=True)
                raise

    def delete(self, avatar_id: str) -> None:
        """Remove an avatar. Bundles of it that are already open stay usable.

        Raises AvatarNotFound.
        """
        path = self.path_of(avatar_id)
        retired = self._root / f"{RETIRED}{avatar_id}.{secrets.token_hex(4)}"
        try:
            path.rename(retired)
        except OSError as error:
            raise not_found(avatar_id) from error
        shutil.rmtree(retired, ignore_errors=True)

    def new_id(self, name: str) -> str:
        """Return an unused id for an avatar of that name; readable as far as the name has Latin letters."""
        plain = normalise_name(name, "NFKD").encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain)[:MAX_SLUG].strip("-") or "avatar"
        while (avatar_id := f"{slug}-{secrets.token_hex(3)}") in self:
            continue
        return avatar_id

    def sweep(self) -> None:
        """Remove what killed writers left behind. If one was killed while replacing an avatar, restore the old."""
        now = time.time()
        for path in self._root.glob(".*"):
            try:
                if not path.is_dir() or (not path.name.startswith(RETIRED) and now - path.stat().st_mtime < STALE_S):
                    continue
                replaced, marker, _ = path.name[1:].partition(".old.")
                if marker and (path / "bundle").is_dir() and not (self._root / replaced).exists():
                    (path / "bundle").rename(self._root / replaced)
            except OSError as error:
                log.warning("Could not tidy up %s: %s", path, error)
                continue
            shutil.rmtree(path, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return numbers that change when a file of the bundle is added, removed or replaced; empty if one is missing."""
    try:
        states = [one.stat() for one in (path, path / "manifest.json", path / "tensors.safetensors")]
    except OSError:
        return ()
    return tuple(number for one in states for number in (one.st_ino, one.st_ctime_ns, one.st_size))


def _summary(path: Path) -> AvatarSummary | None:
    manifest_path = path / "manifest.json"
    try:
        manifest = manifest_of_today(json.loads(manifest_path.read_text(encoding="utf-8")), path.name)
        there = {name for name in PICTURES if (path / name).is_file()}
        face = face_in(path, int(manifest["width"]), int(manifest["height"]))
        return summary_of(path, manifest, there, manifest_path.stat().st_mtime, face)
    except FileNotFoundError:
        return None
    except (BundleError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("The avatar in %s is left out: its manifest cannot be used (%s)", path, error)
        return None


def summary_of(
    path: Path,
    manifest: Manifest,
    there: Container[str],
    modified_s: float,
    face: tuple[float, float, float, float] | None,
) -> AvatarSummary:
    """Build a summary. there: names of the files that exist.

    Raises ValueError, KeyError, TypeError, AttributeError if the manifest is damaged.
    """
    if manifest["width"] < 1 or manifest["height"] < 1:
        raise ValueError("a picture without pixels")
    poster, preview, mattes = (path / name if name in there else None for name in PICTURES)
    return AvatarSummary(
        id=path.name,
        name=str(manifest["name"]),
        kind=str(manifest["kind"]),
        width=int(manifest["width"]),
        height=int(manifest["height"]),
        frames=int(manifest["frames"]),
        poster=poster,
        preview=preview,
        mattes=mattes,
        source=dict(manifest["source"]),
        report=dict(manifest["report"]),
        mouth=mouth_of(manifest),
        ownership=ownership_in(manifest),
        modified_s=modified_s,
        face=face,
    )


def ownership_in(manifest: Manifest) -> Ownership:
    """Read from a manifest who owns the avatar."""
    return Ownership(str(manifest["source"].get("owner", "")), manifest.get("shared") is True)


def face_in(path: Path, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Return x, y, width, height of the face in the first frame, as fractions of its size; None if unknown.

    Only the landmarks of that frame are read from the file.
    """
    if width <= 0 or height <= 0:
        return None
    try:
        with safe_open(path / "tensors.safetensors", framework="np") as tensors:
            points = tensors.get_slice("landmarks")[:1][0, :, :2] / (width, height)
    except (OSError, SafetensorError, IndexError):
        return None  # opening the avatar will report what is wrong with it
    (x0, y0), (x1, y1) = np.clip(points.min(axis=0), 0, 1), np.clip(points.max(axis=0), 0, 1)
    box = (float(x0), float(y0), float(x1 - x0), float(y1 - y0))
    return box if box[2] > 0 and box[3] > 0 else None


def not_found(avatar_id: str) -> AvatarNotFound:
    """Return the error for an id that leads to no avatar."""
    return AvatarNotFound(f"There is no avatar {avatar_id[:80]!r}.", "Choose one of the gallery.")

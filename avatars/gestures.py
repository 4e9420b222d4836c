"""Gestures: named clips of an avatar beside its loop, such as a wave or a nod. Idle clips are shown unasked.

Each gesture is a bundle of its own in the folder `gestures/` of the avatar's bundle. It has pictures and boxes of the
avatar's size, landmarks, and the clip's sound if that is to be heard. Its folder is named after it, percent-encoded.
An older Vivavoce ignores this folder, so it opens such an avatar and shows it without its gestures.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote

from avatars.bundle import AvatarBundle
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.disk import disk_full_explained
from avatars.errors import AvatarNotFound, BundleError, GestureNotFound
from avatars.unicode_names import blank_invisible, normalise_name

__all__ = [
    "LONGEST_GESTURE_S",
    "MAX_GESTURES",
    "GestureSummary",
    "delete_gesture",
    "gesture_file",
    "gesture_name",
    "gesture_names",
    "gesture_path",
    "gesture_summaries",
    "gestures_stamp",
    "keep_gesture",
    "open_with_gestures",
]

logger = logging.getLogger(__name__)

FOLDER: Final = "gestures"
"Folder in the avatar's. Each gesture has one below it; names that begin with a dot are a writer's own."
MAX_GESTURES: Final = 12
"Limit for one avatar."
LONGEST_GESTURE_S: Final = 10.0
MAX_NAME_CHARACTERS: Final = 24
MAX_FOLDER_CHARACTERS: Final = 240
"Limit of file systems, with room for a suffix. A letter of a rare script becomes 12 characters."
_NAME: Final = re.compile(r"[^\W_][\w -]*", re.UNICODE)
"Brackets are not allowed: they would end the tag in a text that starts a gesture."


@dataclass(frozen=True, slots=True)
class GestureSummary:
    """The facts about a gesture that lists show."""

    name: str
    pictures: int
    has_sound: bool
    is_idle: bool
    modified_s: float
    "Unix time at which it was made"


def gesture_name(text: str) -> str | None:
    """Normalise the name of a gesture: letters and digits of any script, spaces, - and _. None if it is invalid."""
    name = " ".join(normalise_name(text).lower().split())
    is_one = len(name) <= MAX_NAME_CHARACTERS and _NAME.fullmatch(name) and blank_invisible(name) == name
    return name if is_one and len(_folder_name(name)) <= MAX_FOLDER_CHARACTERS else None


def gesture_names(avatar: Path) -> list[str]:
    """Return the names of all gestures of the avatar in this folder, sorted."""
    return sorted(unquote(path.name) for path in _folder(avatar).glob("[!.]*") if path.is_dir())


def gesture_file(avatar: Path, name: str, file: Literal["poster.jpg", "preview.mp4"]) -> Path | None:
    """Return a picture or a small clip of a gesture of the avatar in this folder; None if it does not exist.

    Gestures made by earlier versions have no clip.
    """
    path = gesture_path(name, file)
    return avatar / path if path is not None and (avatar / path).is_file() else None


def gesture_path(name: str, file: Literal["poster.jpg", "preview.mp4"]) -> str | None:
    """Return where an avatar's folder has a picture or clip of a gesture; None for a name that none can have."""
    folder = _folder_name(name)
    return None if not folder or folder.startswith(".") else f"{FOLDER}/{folder}/{file}"


def gesture_summaries(avatar: Path) -> list[GestureSummary]:
    """Return all gestures of the avatar in this folder, sorted by name. Damaged ones are left out and logged."""
    summaries = []
    for name in gesture_names(avatar):
        place = _place(avatar, name)
        try:
            clip = AvatarBundle.open(place)
            modified_s = (place / "manifest.json").stat().st_mtime
        except (BundleError, OSError) as error:  # OSError: it is being deleted
            logger.warning("The gesture '%s' in %s is left out: %s", name, avatar, error)
            continue
        summaries.append(GestureSummary(name, clip.frame_count, clip.has_sound, clip.is_idle, modified_s))
    return summaries


def gestures_stamp(avatar: Path) -> Hashable:
    """Return a value that changes when a gesture of the avatar in this folder is added, replaced or deleted."""
    states = [(path.name, path.stat()) for path in sorted(_folder(avatar).glob("[!.]*/manifest.json"))]
    return tuple((name, state.st_ino, state.st_mtime_ns) for name, state in states)


def open_with_gestures(bundle: AvatarBundle) -> AvatarBundle:
    """Return the avatar with its gestures, or the bundle itself if it has none.

    Damaged ones are left out and logged.
    """
    clips: dict[str, AvatarBundle] = {}
    for name in gesture_names(bundle.path)[:MAX_GESTURES]:
        try:
            clip = AvatarBundle.open(_place(bundle.path, name))
            bundle.with_gestures({name: clip})
        except BundleError as error:
            logger.warning("The gesture '%s' of %s is left out: %s", name, bundle.id, error)
            continue
        clips[name] = clip
    return bundle.with_gestures(clips) if clips else bundle


def keep_gesture(avatar: Path, name: str, contents: BundleContents) -> None:
    """Write a gesture of the avatar in this folder, and replace one of the same name.

    Raises BundleError, AvatarNotFound if the avatar was deleted meanwhile, DiskFull. Nothing is left behind then.
    """
    try:
        with disk_full_explained():
            write_bundle(contents, _place(avatar, name))
    except (OSError, BundleError) as error:
        if avatar.is_dir():
            raise
        raise AvatarNotFound(f"The avatar '{avatar.name}' was deleted meanwhile.", "Choose another one.") from error


def delete_gesture(avatar: Path, name: str) -> None:
    """Remove a gesture. Sessions that have it open keep showing it.

    Raises GestureNotFound.
    """
    missing = GestureNotFound(f"The avatar has no gesture {name[:80]!r}.", "Choose one of its gestures.")
    if name not in gesture_names(avatar):  # this check also keeps names from leading out of the folder
        raise missing
    retired = _folder(avatar) / f".deleted.{secrets.token_hex(4)}"
    try:
        _place(avatar, name).rename(retired)
    except OSError as error:
        raise missing from error
    shutil.rmtree(retired, ignore_errors=True)


def _folder(avatar: Path) -> Path:
    return avatar / FOLDER


def _place(avatar: Path, name: str) -> Path:
    return _folder(avatar) / _folder_name(name)


def _folder_name(name: str) -> str:
    return quote(name, safe="")

"""Gestures: named clips of an avatar beside its loop, such as a wave or a nod. Some it shows by itself while idle.

Each is a bundle of its own in the folder `gestures/` of the avatar's bundle, with pictures and boxes of the avatar's
size, landmarks, and the sound of the clip where it is to be heard. The name of the folder is the gesture's, in
percent-encoding. So an older Vivavoce opens such an avatar as before, and shows it without its gestures.
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
from avatars.written import in_one_way, in_sight

__all__ = [
    "LONGEST_GESTURE_S",
    "MOST_GESTURES",
    "GestureSummary",
    "delete_gesture",
    "gesture_file",
    "gesture_name",
    "gesture_names",
    "gesture_summaries",
    "gestures_stamp",
    "keep_gesture",
    "open_with_gestures",
]

logger = logging.getLogger(__name__)

MOST_GESTURES: Final = 12
"of one avatar"
LONGEST_GESTURE_S: Final = 10.0
MOST_NAME_CHARACTERS: Final = 24
MOST_FOLDER_CHARACTERS: Final = 240
"What file systems take, with room for a suffix. Of rare scripts a letter becomes 12 characters."
_NAME: Final = re.compile(r"[^\W_][\w -]*", re.UNICODE)
"Brackets would end the tag that starts a gesture from a text."


@dataclass(frozen=True, slots=True)
class GestureSummary:
    """What a list shows of a gesture."""

    name: str
    pictures: int
    has_sound: bool
    is_idle: bool
    modified_s: float
    "when it was made, in seconds since the epoch"


def gesture_name(text: str) -> str | None:
    """What a gesture is called: letters and digits of any script, spaces, - and _; None where that is no name."""
    name = " ".join(in_one_way(text).lower().split())
    is_one = len(name) <= MOST_NAME_CHARACTERS and _NAME.fullmatch(name) and in_sight(name) == name
    return name if is_one and len(_folder_name(name)) <= MOST_FOLDER_CHARACTERS else None


def gesture_names(avatar: Path) -> list[str]:
    """The gestures of the avatar in this folder, in the order of their names."""
    return sorted(unquote(path.name) for path in _folder(avatar).glob("[!.]*") if path.is_dir())


def gesture_file(avatar: Path, name: str, file: Literal["poster.jpg", "preview.mp4"]) -> Path | None:
    """A picture or a small clip of a gesture of the avatar in this folder; None: there is no such gesture, or it has
    none. Gestures of earlier versions have no clip.
    """
    path = _place(avatar, name) / file
    return path if name in gesture_names(avatar) and path.is_file() else None


def gesture_summaries(avatar: Path) -> list[GestureSummary]:
    """What the avatar in this folder has, in the order of the names. Damaged ones are left out and logged."""
    summaries = []
    for name in gesture_names(avatar):
        place = _place(avatar, name)
        try:
            clip = AvatarBundle.open(place)
            modified_s = (place / "manifest.json").stat().st_mtime
        except (BundleError, OSError) as error:  # OSError: somebody deletes it just now
            logger.warning("The gesture '%s' in %s is left out: %s", name, avatar, error)
            continue
        summaries.append(GestureSummary(name, clip.frame_count, clip.has_sound, clip.is_idle, modified_s))
    return summaries


def gestures_stamp(avatar: Path) -> Hashable:
    """What changes when a gesture of the avatar in this folder is added, replaced or deleted."""
    states = [(path.name, path.stat()) for path in sorted(_folder(avatar).glob("[!.]*/manifest.json"))]
    return tuple((name, state.st_ino, state.st_mtime_ns) for name, state in states)


def open_with_gestures(bundle: AvatarBundle) -> AvatarBundle:
    """The avatar with its gestures; the bundle itself where it has none. Damaged ones are left out and logged."""
    clips: dict[str, AvatarBundle] = {}
    for name in gesture_names(bundle.path)[:MOST_GESTURES]:
        try:
            clip = AvatarBundle.open(_place(bundle.path, name))
            bundle.with_gestures({name: clip})
        except BundleError as error:
            logger.warning("The gesture '%s' of %s is left out: %s", name, bundle.id, error)
            continue
        clips[name] = clip
    return bundle.with_gestures(clips) if clips else bundle


def keep_gesture(avatar: Path, name: str, contents: BundleContents) -> None:
    """Write a gesture of the avatar in this folder, in place of one of the same name.

    Raises BundleError, AvatarNotFound (it was deleted meanwhile), DiskFull: nothing is left behind.
    """
    try:
        with disk_full_explained():
            write_bundle(contents, _place(avatar, name))
    except (OSError, BundleError) as error:
        if avatar.is_dir():
            raise
        raise AvatarNotFound(f"The avatar '{avatar.name}' was deleted meanwhile.", "Choose another one.") from error


def delete_gesture(avatar: Path, name: str) -> None:
    """Remove a gesture. Sessions in which it is open go on showing it.

    Raises GestureNotFound.
    """
    missing = GestureNotFound(f"The avatar has no gesture {name[:80]!r}.", "Choose one of its gestures.")
    if name not in gesture_names(avatar):  # so no name leads out of the folder
        raise missing
    retired = _folder(avatar) / f".deleted.{secrets.token_hex(4)}"
    try:
        _place(avatar, name).rename(retired)
    except OSError as error:
        raise missing from error
    shutil.rmtree(retired, ignore_errors=True)


def _folder(avatar: Path) -> Path:
    return avatar / "gestures"


def _place(avatar: Path, name: str) -> Path:
    return _folder(avatar) / _folder_name(name)


def _folder_name(name: str) -> str:
    return quote(name, safe="")

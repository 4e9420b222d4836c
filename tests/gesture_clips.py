"""Gestures for tests: white pictures of an avatar's own size, silent or with a hum."""

from __future__ import annotations

import numpy as np

from avatars.bundle import AvatarBundle, GestureTrack, encode_jpeg
from avatars.bundle_writing import BundleContents, gesture_tensors
from avatars.gestures import keep_gesture


def give_gesture(
    avatar: AvatarBundle, name: str = "wave", pictures: int = 8, hums: bool = False, idle: bool = False
) -> None:
    """Add a gesture to an avatar on disk; sessions that begin later have it."""
    tone = 8000 * np.sin(np.arange(pictures * 640) * 2 * np.pi * 400 / 16_000)
    track = GestureTrack(tone.astype(np.int16), 16_000, -15.3)
    contents = BundleContents(
        id=avatar.id,
        name=name,
        kind="clip",
        frames=[encode_jpeg(np.full((avatar.height, avatar.width, 3), 255, np.uint8))] * pictures,
        width=avatar.width,
        height=avatar.height,
        boxes=np.repeat(avatar.boxes[:1], pictures, axis=0),
        masks=avatar.masks[:1],
        landmarks=np.repeat(avatar.landmarks[:1], pictures, axis=0),
        loop=np.arange(pictures, dtype=np.int32),
        source={"idle": True} if idle else {},
        tensors=gesture_tensors(track) if hums else {},
    )
    keep_gesture(avatar.path, name, contents)

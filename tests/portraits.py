"""Faces for tests: two drawn portraits, a photo of an open smile, their landmarks, and small avatars made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.geometry import mouth_boxes, mouth_mask
from avatars.library import Preset, presets
from avatars.parts import BackendParts, write_parts

ASSETS = Path(__file__).parent / "assets"
DRAWN = {"woman": "mira", "man": "theo"}


def drawn(name: str) -> Preset:
    """Return our character that is called `woman` or `man` here."""
    return next(preset for preset in presets() if preset.id == DRAWN[name])


def portrait(name: str, size: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """Return RGB (size, size, 3) and landmarks (478, 3) of `woman` or `man` (drawn), or `astronaut` (an open smile)."""
    picture, landmarks = _portrait(name, size)
    return picture.copy(), landmarks.copy()


@cache
def _portrait(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cached arrays like portrait(), because a test may ask for one face in each of forty pictures."""
    if name == "astronaut":
        import skimage.data

        picture = skimage.data.astronaut()
    else:
        picture = cv2.cvtColor(np.asarray(cv2.imread(str(drawn(name).picture))), cv2.COLOR_BGR2RGB)
    scale = size / picture.shape[0]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    landmarks = np.load(ASSETS / f"landmarks_{name}.npy") * np.float32(scale)
    return cv2.resize(picture, (size, size), interpolation=way), landmarks


def portrait_bundle(path: Path, name: str = "woman", size: int = 384, shifts: tuple[int, ...] = (0,)) -> AvatarBundle:
    """Write an avatar with one frame for each shift: the portrait, moved to the right by that many pixels."""
    picture, landmarks = portrait(name, size)
    frames = [encode_jpeg(np.roll(picture, shift, axis=1)) for shift in shifts]
    points = np.stack([landmarks + np.array([shift, 0, 0], np.float32) for shift in shifts])
    boxes = mouth_boxes(points, size, size)
    width, height = boxes[0, 2:] - boxes[0, :2]
    contents = BundleContents(
        id=path.name,
        name=name,
        kind="still",
        frames=frames,
        width=size,
        height=size,
        boxes=boxes,
        masks=mouth_mask(int(width), int(height))[None],
        landmarks=points,
        loop=np.arange(len(shifts), dtype=np.int32),
        poster=frames[0],
    )
    return write_bundle(contents, path)


def plain_parts(bundle: AvatarBundle, backend: str, parameters: Mapping[str, Any]) -> BackendParts:
    """Write parts without rows of their own: boxes are the mouth boxes, and masks replace all of them."""
    masks = [np.full((y1 - y0, x1 - x0), 255, np.uint8) for x0, y0, x1, y1 in bundle.boxes]
    return write_parts(bundle, backend, boxes=bundle.boxes, masks=masks, rows={}, parameters=parameters)


def own(bundle: AvatarBundle, owner: str) -> None:
    """Make a person the owner of an avatar."""
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"]["owner"] = owner
    path.write_text(json.dumps(manifest))

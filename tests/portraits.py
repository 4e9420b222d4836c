"""Faces for tests: two drawn portraits, a photo of an open smile, their stored landmarks, and small avatars of them."""

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
    """The character of ours that is called `woman` or `man` here."""
    return next(preset for preset in presets() if preset.id == DRAWN[name])


def portrait(name: str, size: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """RGB (size, size, 3) and FaceMesh landmarks (478, 3) of `woman`, `man` (drawn) or `astronaut` (an open smile)."""
    picture, landmarks = _portrait(name, size)
    return picture.copy(), landmarks.copy()


@cache
def _portrait(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """As portrait(), and the same arrays each time: a test asks for one face in each of forty pictures."""
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
    """An avatar of a portrait: one frame for each of `shifts`, the picture moved to the right by so many pixels."""
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
    """Parts without rows of their own: mouth boxes, and masks that replace all of them."""
    masks = [np.full((y1 - y0, x1 - x0), 255, np.uint8) for x0, y0, x1, y1 in bundle.boxes]
    return write_parts(bundle, backend, boxes=bundle.boxes, masks=masks, rows={}, parameters=parameters)


def own(bundle: AvatarBundle, owner: str) -> None:
    """Make it that person's, as if they had had it made."""
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"]["owner"] = owner
    path.write_text(json.dumps(manifest))

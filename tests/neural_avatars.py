"""Avatars with parts for neural lip-sync backends, made in the simplest way, and tiny weights for these backends."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tiny_musetalk import write_musetalk_weights
from tiny_ultralight import write_hubert_weights, write_ultralight_network
from tiny_wav2lip import write_wav2lip_weights
from tiny_whisper import write_whisper_weights

from avatars.bundle import AvatarBundle
from avatars.parts import parts_path, write_parts

FACE_PX = {"wav2lip96": 96, "wav2lip256": 256, "ultralight": 168}
WINDOW_SHAPES = {"mel": (80, 16), "whisper15": (50, 384), "whisper10": (50, 384), "hubert": (16, 32, 32)}
"""Shapes of the features that neural backends take."""


def write_weights(folder: Path, backend: str) -> Path:
    """Write everything that a backend and its features need."""
    if backend.startswith("wav2lip"):
        write_wav2lip_weights(folder, 96 if backend == "wav2lip96" else 256)
    elif backend.startswith("musetalk"):
        write_musetalk_weights(folder, "10" if backend == "musetalk10" else "15")
        write_whisper_weights(folder)
    else:
        write_hubert_weights(folder / "hubert-large-ls960-ft")
    return folder


def add_parts(bundle: AvatarBundle, backend: str, feather_px: int = 0) -> None:
    """Write parts: boxes are the mouth boxes, masks are 255 in the middle, optionally feathered; latents are noise."""
    height, width = (int(edge) for edge in bundle.boxes[0, 2:][::-1] - bundle.boxes[0, :2][::-1])
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : -height // 4, width // 4 : -width // 4] = 255
    if feather_px:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), feather_px / 2), np.uint8)
    if backend in FACE_PX:
        rows = {"faces": np.stack([_face(bundle, i, FACE_PX[backend]) for i in range(bundle.frame_count)])}
    else:
        noise = np.random.default_rng(0).normal(0, 1, (bundle.frame_count, 8, 32, 32))
        rows = {"latents": noise.astype(np.float16)}
    masks = [mask] * bundle.frame_count
    if backend == "ultralight":
        write_ultralight_network(parts_path(bundle, backend).with_suffix(".pth"))
    write_parts(bundle, backend, boxes=bundle.boxes, masks=masks, rows=rows, parameters={})


def _face(bundle: AvatarBundle, frame_index: int, side: int) -> np.ndarray:
    x0, y0, x1, y1 = bundle.boxes[frame_index]
    return cv2.resize(bundle.frame(frame_index)[y0:y1, x0:x1], (side, side))

"""Clips that show the person alone: the avatar's mattes give the pictures their alpha."""

from __future__ import annotations

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.mattes import Mattes, cut_out
from pipeline.errors import RenderError
from pipeline.types import ImageArray

__all__ = ["PersonCutter"]


class PersonCutter:
    """Cuts an avatar's person out of its pictures.

    Raises RenderError if the avatar has no mattes, and BundleError if they are damaged.
    """

    def __init__(self, bundle: AvatarBundle) -> None:
        mattes = Mattes.open(bundle.mattes_path)
        if mattes is None:
            raise RenderError(
                f"It is not known which part of '{bundle.name}' is the person, so the clip cannot be transparent.",
                "Make the avatar again (of a clip, with its background cut out), or make an MP4.",
                cause="no_alpha",
            )
        self._bundle, self._mattes = bundle, mattes

    def cut(self, rgb: ImageArray, loop_index: int) -> ImageArray:
        """Cut out a picture at a place of the loop: uint8 RGB (h, w, 3) -> RGBA (h, w, 4). Gestures are not cut out."""
        frame = self._bundle.frame_index(loop_index)
        if frame >= self._bundle.frame_count:
            return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
        return cut_out(rgb, self._mattes.matte(frame), self._mattes.background)

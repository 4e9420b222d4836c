"""Clips of the person alone: pictures get the alpha that the avatar's mattes say."""

from __future__ import annotations

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.mattes import Mattes, cut_out
from pipeline.errors import RenderError
from pipeline.types import ImageArray

__all__ = ["PersonCutter"]


class PersonCutter:
    """Cuts an avatar's person out of its pictures.

    Raises RenderError: nobody knows what of them is the person. BundleError: the mattes are damaged.
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
        """uint8 RGB (h, w, 3), shown at a place of the loop -> RGBA (h, w, 4). Pictures of gestures stay whole."""
        frame = self._bundle.frame_index(loop_index)
        if frame >= self._bundle.frame_count:
            return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
        return cut_out(rgb, self._mattes.matte(frame), self._mattes.background)

"""The embedded lip-sync: mouth parameters drawn onto the avatar's own pixels. numpy and OpenCV, no weights.

An avatar of a clip whose person talks has a personal mouth: it speaks with real mouths of that clip. For all others the
frame's own lips are moved, and what shows between them is painted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.real_mouths import has_real_mouths
from pipeline.features.visemes_around import PICTURES_AFTER
from pipeline.lipsync.personal_face import PersonalFace
from pipeline.lipsync.plain import PlainLipSync
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["VisemeLipSync"]


class VisemeLipSync(PlainLipSync):
    """Draws real mouths where the avatar has them; otherwise warps lips, chin and cheeks, and paints the rest.

    Windows are those of `visemes_around`: rows of the eight parameters of `models.visemes.MOUTH_PARAMETERS`, then
    activity 0..1. Activity 0 gives the picture that the avatar shows while idle, bit for bit: the frame's own pixels,
    or the frame with a resting mouth where the avatar has real mouths. A window of `viseme`, which is a single row
    (9,), is drawn as a picture without neighbours.
    """

    name = "viseme"
    features = "visemes_around"
    max_batch = 4

    def prepare(self, bundle: AvatarBundle) -> SpeakingFace | PersonalFace:
        """Takes 0.1 to 0.6 s of CPU, for a still as for a clip of 700 frames."""
        return bundle.derived(PersonalFace) if has_real_mouths(bundle) else SpeakingFace(bundle)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        return [self._draw(request) for request in requests]

    def _draw(self, request: LipSyncRequest) -> FacePatch:
        face: SpeakingFace | PersonalFace = request.state
        rows = np.atleast_2d(request.window.data)
        now = len(rows) - 1 - PICTURES_AFTER if len(rows) > 1 else 0
        if isinstance(face, PersonalFace):
            return face.patch(request.frame_index, rows, now, request.read_frame)
        return face.patch(request.frame_index, rows[now, :8], float(rows[now, 8]), request.read_frame)

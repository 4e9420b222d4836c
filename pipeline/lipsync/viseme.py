"""The embedded lip-sync: mouth parameters drawn onto the avatar's own pixels. numpy and OpenCV, no weights."""

from __future__ import annotations

from collections.abc import Sequence

from avatars.bundle import AvatarBundle
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.types import FacePatch, LipSyncRequest

__all__ = ["VisemeLipSync"]


class VisemeLipSync:
    """Warps lips, chin and cheeks of the frame and paints what shows between the lips.

    Windows are float32 (9,): the eight parameters of `models.visemes.MOUTH_PARAMETERS`, then activity 0..1. Activity 0
    gives the frame's own pixels, bit for bit.
    """

    name = "viseme"
    features = "viseme"
    max_batch = 4

    def load(self) -> None:
        """Nothing to load: the renderer has no weights."""

    def prepare(self, bundle: AvatarBundle) -> SpeakingFace:
        """Takes 0.1 to 0.2 s of CPU, for a still as for a clip of 500 frames."""
        return SpeakingFace(bundle)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        return [self._draw(request) for request in requests]

    def _draw(self, request: LipSyncRequest) -> FacePatch:
        face: SpeakingFace = request.state
        window = request.window.data
        return FacePatch(face.draw(request.frame_index, window[:8], float(window[8])))

    def close(self) -> None:
        """Nothing to close."""

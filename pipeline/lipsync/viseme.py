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
    on_device = False
    draws_rest = True

    def load(self, device: str) -> None:
        """Nothing to load: the renderer has no weights."""

    def prepared_from(self, bundle: AvatarBundle) -> None:
        """The bundle, which never changes, is all there is."""

    def prepare(self, bundle: AvatarBundle) -> SpeakingFace:
        """Takes 0.1 to 0.2 s of CPU, for a still as for a clip of 500 frames."""
        return SpeakingFace(bundle)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        return [self._draw(request) for request in requests]

    def _draw(self, request: LipSyncRequest) -> FacePatch:
        face: SpeakingFace = request.state
        window = request.window.data
        index = request.frame_index
        pixels = face.draw(index, window[:8], float(window[8]))
        x0, y0, x1, y1 = (int(edge) for edge in face.bundle.boxes[index])
        return FacePatch(pixels, (x0, y0, x1, y1), face.bundle.mask(index))

    def close(self) -> None:
        """Nothing to close."""

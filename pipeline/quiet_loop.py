"""QuietLoop: the idle loop of an avatar made from a clip of a talking person, with the lips at rest.

Without it, such an avatar would go on moving its lips while it is idle.
"""

from __future__ import annotations

from avatars.bundle import AvatarBundle, BundleFiles
from avatars.real_mouths import has_real_mouths
from models.arrays import IntArray
from pipeline.compositing import compose
from pipeline.lipsync.personal_face import PersonalFace
from pipeline.types import ImageArray, LoopPictures

__all__ = ["QuietLoop", "loop_of"]


def loop_of(bundle: AvatarBundle) -> LoopPictures:
    """Return the pictures of an idle avatar: the bundle's own, unless its person talks and has real mouths."""
    return QuietLoop(bundle) if has_real_mouths(bundle) else bundle


class QuietLoop:
    """See LoopPictures. Thread-safe. A picture of 512x384 takes 0.6 ms more than the bundle's own.

    After its first use it holds a PersonalFace, which it shares with the lip-sync of that bundle.
    """

    def __init__(self, bundle: AvatarBundle) -> None:
        self.id = bundle.id
        self.width, self.height = bundle.width, bundle.height
        self._bundle = bundle
        self._face: PersonalFace | None = None

    @property
    def files(self) -> BundleFiles:
        return self._bundle.files

    @property
    def loop(self) -> IntArray:
        return self._bundle.loop

    def frame_index(self, loop_index: int) -> int:
        return self._bundle.frame_index(loop_index)

    def frame(self, frame_index: int) -> ImageArray:
        return self.quieted(self._bundle.frame(frame_index), frame_index)

    def quieted(self, frame: ImageArray, frame_index: int, strength: float = 1.0) -> ImageArray:
        return compose(frame, self._resting.quiet(frame_index, lambda: frame), strength) if strength else frame

    def jpeg(self, frame_index: int) -> None:
        """Return None: the bundle has only the frames as they were filmed, with moving lips."""

    @property
    def _resting(self) -> PersonalFace:
        if self._face is None:
            self._face = self._bundle.derived(PersonalFace)
        return self._face

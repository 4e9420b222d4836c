"""Wav2Lip for faces of 96 and of 256 px, as the published networks are, over all sessions and avatars at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from pipeline.lipsync.face_network import FaceNetwork
from pipeline.lipsync.patches import RowFormat
from pipeline.lipsync.torch_device import TorchDevice, compile_whole
from pipeline.types import ImageArray

if TYPE_CHECKING:
    from models.wav2lip import Side, Wav2Lip

__all__ = ["Wav2Lip96LipSync", "Wav2Lip256LipSync"]


class _Wav2LipSync(FaceNetwork["Wav2Lip"]):
    """The avatar's parts are boxes, masks and face crops of `side` px. See FaceNetwork."""

    side: ClassVar[Side]
    features = "mel"

    def _loaded(self, place: TorchDevice) -> Wav2Lip:
        from models.wav2lip import MEL_BANDS, MEL_COLUMNS, load_wav2lip

        network = place.place(load_wav2lip(self._files["network"], self.side))
        if self._compiled:
            faces = np.zeros((self.max_batch, *self.rows.shape), np.uint8)
            mels = np.zeros((self.max_batch, MEL_BANDS, MEL_COLUMNS), np.float32)
            compile_whole([network], lambda size: self._drawn(network, faces[:size], mels[:size]), self.max_batch)
        return network

    def _drawn(self, network: Wav2Lip, rows: npt.NDArray[np.uint8], windows: npt.NDArray[np.float32]) -> ImageArray:
        """rows: (n, side, side, 3). windows: (n, 80, 16), mel of the 200 ms from the picture's time on."""
        from models.wav2lip import draw

        return draw(network, rows, windows)


class Wav2Lip96LipSync(_Wav2LipSync):
    """The original: blurred, for small faces."""

    name = "wav2lip96"
    side = 96
    rows = RowFormat("faces", (96, 96, 3), np.uint8)


class Wav2Lip256LipSync(_Wav2LipSync):
    """LiveTalking's, for faces of 256 px."""

    name = "wav2lip256"
    side = 256
    rows = RowFormat("faces", (256, 256, 3), np.uint8)

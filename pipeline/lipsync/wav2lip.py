"""Wav2Lip for faces of 96 and of 256 px, as the published networks are, over all sessions and avatars at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.parts import BackendParts
from pipeline.lipsync.patches import RowFormat, open_parts, parts_stamp, patches_of, rows_of, windows_of
from pipeline.lipsync.torch_device import (
    Precision,
    compile_whole,
    drawing_told,
    find_weights,
    open_device,
    weights_told,
)
from pipeline.types import FacePatch, LipSyncRequest

if TYPE_CHECKING:
    from models.wav2lip import Side, Wav2Lip

__all__ = ["Wav2Lip96LipSync", "Wav2Lip256LipSync"]


class _Wav2LipSync:
    """One network; prepare() gives the avatar's parts: boxes, masks and face crops of `side` px.

    weights    the folder of weights
    precision  float type of the network
    compiled   through torch.compile, as a whole in load(): minutes to start, faster on a GPU
    """

    name: ClassVar[str]
    side: ClassVar[Side]
    features = "mel"
    max_batch = 16
    on_device = True
    draws_rest = False

    def __init__(self, weights: Path | None = None, precision: Precision = "auto", compiled: bool = False) -> None:
        """Raises BackendUnavailable."""
        self._file = find_weights(self.name, weights)["network"]
        self._precision: Precision = precision
        self._compiled = compiled
        self._network: Wav2Lip | None = None

    def load(self, device: str) -> None:
        """See LipSync. Raises BackendUnavailable."""
        from models.wav2lip import MEL_BANDS, MEL_COLUMNS, draw, load_wav2lip

        place = open_device(self.name, device, self._precision)
        with weights_told(self.name):
            network = place.place(load_wav2lip(self._file, self.side))
            if self._compiled:
                faces = np.zeros((self.max_batch, *self._rows.shape), np.uint8)
                mels = np.zeros((self.max_batch, MEL_BANDS, MEL_COLUMNS), np.float32)
                compile_whole([network], lambda size: draw(network, faces[:size], mels[:size]), self.max_batch)
        self._network = network

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """See LipSync."""
        return parts_stamp(bundle, self.name, self._rows)

    @property
    def _rows(self) -> RowFormat:
        return RowFormat("faces", (self.side, self.side, 3), np.uint8)

    def prepare(self, bundle: AvatarBundle) -> BackendParts:
        """Raises AvatarNotPrepared, BundleError."""
        return open_parts(bundle, self.name, self._rows)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (80, 16), mel of the 200 ms from the picture's time on.

        Raises DeviceOutOfMemory, NetworkOverflow.
        """
        from models.wav2lip import draw

        if not requests:
            return []
        assert self._network is not None, "load() comes first"
        with drawing_told():
            drawn = draw(self._network, rows_of(requests, "faces"), windows_of(requests))
        return patches_of(requests, drawn)

    def close(self) -> None:
        self._network = None


class Wav2Lip96LipSync(_Wav2LipSync):
    """The original: blurred, for small faces."""

    name = "wav2lip96"
    side = 96


class Wav2Lip256LipSync(_Wav2LipSync):
    """LiveTalking's, for faces of 256 px."""

    name = "wav2lip256"
    side = 256

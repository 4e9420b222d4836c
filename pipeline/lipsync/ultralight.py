"""Ultralight-Digital-Human: a small network for each avatar, which lies beside the avatar's parts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.errors import NetworkMissing
from avatars.face_formats import ULTRALIGHT
from avatars.parts import BackendParts, network_path
from pipeline.lipsync.patches import RowFormat, file_stamp, open_parts, parts_stamp, patches_of, rows_of, windows_of
from pipeline.lipsync.torch_device import Precision, TorchDevice, drawing_told, find_weights, open_device, weights_told
from pipeline.types import FacePatch, LipSyncRequest

if TYPE_CHECKING:
    from models.ultralight import Ultralight

__all__ = ["UltralightLipSync"]

_ROWS = RowFormat("faces", (ULTRALIGHT.side_px, ULTRALIGHT.side_px, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Speaker:
    parts: BackendParts
    network: Ultralight


class UltralightLipSync:
    """Pictures are batched over the sessions of one avatar, not over avatars: each has a network of its own.

    weights    the folder of weights, for the features
    precision  float type of the networks
    compiled   has no effect: compiling each new avatar's network would hold up everybody on its device for minutes
    """

    name = "ultralight"
    features = "hubert"
    max_batch = 16
    on_device = True
    draws_rest = False

    def __init__(self, weights: Path | None = None, precision: Precision = "auto", compiled: bool = False) -> None:
        """Raises BackendUnavailable."""
        find_weights(self.name, weights)
        self._precision: Precision = precision
        self._place: TorchDevice | None = None

    def load(self, device: str) -> None:
        """See LipSync. Raises BackendUnavailable."""
        self._place = open_device(self.name, device, self._precision)

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """See LipSync. Raises NetworkMissing: no network was trained for this avatar."""
        path = network_path(bundle.path, self.name)
        if not path.is_file():
            raise NetworkMissing(bundle.id, self.name)
        return parts_stamp(bundle, self.name, _ROWS), file_stamp(path)

    def prepare(self, bundle: AvatarBundle) -> _Speaker:
        """The avatar's parts and its network, loaded.

        Raises AvatarNotPrepared, BundleError, and BackendUnavailable: the network is damaged or another one, or does
        not fit into memory.
        """
        from models.ultralight import load_ultralight

        assert self._place is not None, "load() comes first"
        parts = open_parts(bundle, self.name, _ROWS)
        with weights_told(self.name):
            network = self._place.place(load_ultralight(network_path(bundle.path, self.name)))
        return _Speaker(parts, network)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (16, 32, 32), HuBERT's states around the picture.

        Raises DeviceOutOfMemory, NetworkOverflow.
        """
        patches: dict[int, FacePatch] = {}
        for speaker in dict.fromkeys(request.state for request in requests):
            places = [at for at, request in enumerate(requests) if request.state is speaker]
            patches |= zip(places, self._draw(speaker, [requests[at] for at in places]), strict=True)
        return [patches[at] for at in range(len(requests))]

    def _draw(self, speaker: _Speaker, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        from models.ultralight import draw

        requests = [replace(request, state=speaker.parts) for request in requests]
        with drawing_told():
            drawn = draw(speaker.network, rows_of(requests, "faces"), windows_of(requests))
        return patches_of(requests, drawn)

    def close(self) -> None:
        self._place = None

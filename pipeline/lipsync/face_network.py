"""FaceNetwork: what lip-sync backends share whose one network draws the faces of all avatars alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.parts import BackendParts
from models.arrays import AnyArray
from pipeline.lipsync.patches import RowFormat, open_parts, parts_stamp, patches_of, rows_of, windows_of
from pipeline.lipsync.torch_device import (
    PACKAGES,
    Precision,
    TorchDevice,
    drawing_told,
    find_weights,
    open_device,
    weights_told,
)
from pipeline.types import FacePatch, ImageArray, LipSyncRequest

__all__ = ["FaceNetwork"]

Network = TypeVar("Network")


class FaceNetwork(ABC, Generic[Network]):
    """prepare() gives the avatar's parts: boxes, masks, and `rows` of its faces.

    Subclasses give `name`, `features` and `rows`, and override _loaded() and _drawn(). The constructor takes:

    weights    the folder of weights
    precision  float type of the network
    compiled   through torch.compile, as a whole in load(): minutes to start, faster on a GPU
    """

    name: ClassVar[str]
    features: ClassVar[str]
    rows: ClassVar[RowFormat]
    "what the network reads of each frame of an avatar"
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    max_batch = 16
    on_device = True
    draws_rest = False

    def __init__(self, weights: Path | None = None, precision: Precision = "auto", compiled: bool = False) -> None:
        """Raises BackendUnavailable."""
        self._files = find_weights(self.name, weights, self.packages)
        self._precision: Precision = precision
        self._compiled = compiled
        self._network: Network | None = None

    def load(self, device: str) -> None:
        """See LipSync. Raises BackendUnavailable."""
        place = open_device(self.name, device, self._precision)
        with weights_told(self.name):
            self._network = self._loaded(place)

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """See LipSync."""
        return parts_stamp(bundle, self.name, self.rows)

    def prepare(self, bundle: AvatarBundle) -> BackendParts:
        """Raises AvatarNotPrepared, BundleError."""
        return open_parts(bundle, self.name, self.rows)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32, of the shape that _drawn() says.

        Raises DeviceOutOfMemory, NetworkOverflow.
        """
        if not requests:
            return []
        assert self._network is not None, "load() comes first"
        with drawing_told():
            drawn = self._drawn(self._network, rows_of(requests, self.rows.name), windows_of(requests))
        return patches_of(requests, drawn)

    def close(self) -> None:
        self._network = None

    @abstractmethod
    def _loaded(self, place: TorchDevice) -> Network:
        """The network at its place; compiled, if that is wished. Raises WeightsError, DeviceOutOfMemory."""

    @abstractmethod
    def _drawn(self, network: Network, rows: AnyArray, windows: npt.NDArray[np.float32]) -> ImageArray:
        """rows, windows: (n, ...), one of each for a picture -> (n, h, w, 3) uint8 RGB."""

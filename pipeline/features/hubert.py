"""Features for Ultralight: HuBERT's states for the 320 ms around each picture.

Offline, a whole recording is encoded at once. Here a group of pictures is encoded, with 1 s before and 0.5 s after it.
HuBERT's positions are relative, so a piece can be encoded alone. Each piece is normalised in loudness, like recordings.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import WrongArchitecture
from pipeline.features.grouped import GroupedStream, ReceptiveField
from pipeline.lipsync.torch_device import find_weights, memory_told, open_device, weights_told
from pipeline.types import FloatArray

if TYPE_CHECKING:
    from models.hubert import Hubert

__all__ = ["HubertExtractor"]

_BACKEND = "ultralight"
"The backend whose weights these are."
_FIELD = ReceptiveField(
    margin_before=0,
    margin_after=80,  # a step depends on 400 samples
    past_steps=50,
    ahead_steps=25,
    window_before=8,
    window_after=8,
    clamped=False,
    window_shape=(16, 32, 32),
)
_VALUES = 32 * 32
"""Values per step, arranged as above."""


class HubertExtractor:
    """data is float32 (16, 32, 32): steps [2f - 8, 2f + 8) of picture f, the 1024 values of each as 32 x 32.

    Beyond the ends of a sentence the windows are zero, as in Ultralight's training.
    """

    name = "hubert"
    lookahead_ms = _FIELD.lookahead_ms
    on_device = True

    def __init__(self, weights: Path | None = None) -> None:
        """weights: folder of the weights. Raises BackendUnavailable."""
        self._folder = find_weights(_BACKEND, weights)["hubert"]
        self._network: Hubert | None = None

    def load(self, device: str) -> None:
        """Load HuBERT, always in float32 as in the training of avatars; in half precision it is known to overflow.

        Raises BackendUnavailable.
        """
        from models.hubert import load_hubert

        place = open_device(_BACKEND, device, "fp32")
        with weights_told(_BACKEND):
            network = place.place(load_hubert(self._folder))
            if network.hidden_size != _VALUES:
                raise WrongArchitecture(
                    f"The HuBERT in {self._folder} gives {network.hidden_size} values a step, not {_VALUES}.",
                    "Ultralight needs facebook/hubert-large-ls960-ft.",
                )
        self._network = network

    def stream(self) -> GroupedStream:
        network = self._network
        if network is None:
            raise RuntimeError("load() comes before stream()")
        return GroupedStream(_FIELD, lambda: _HubertEncoder(network))

    def close(self) -> None:
        self._network = None


class _HubertEncoder:
    """See Encoder."""

    def __init__(self, network: Hubert) -> None:
        self._network = network

    def states(self, samples: FloatArray, first_step: int) -> FloatArray:
        """Return (n, 1024). Raises DeviceOutOfMemory."""
        from models.hubert import encode

        with memory_told():
            states: FloatArray = encode(self._network, samples[None])[0].numpy()
        return states

"""Features for MuseTalk: the states of Whisper tiny's encoder for the 200 ms around each picture, at five depths.

Offline, whole segments of 30 s are encoded. Here a group of pictures is encoded, with 1 s before and 0.5 s after it,
and each step gets its true position in the segment. Compared with the whole segment (tiny.en, 30 s of speech), the five
states of a window have a cosine of 1.00 1.00 .98 .96 .94. For comparison, the next picture's window has .90 .89 .84 .82
.78, and short pieces padded to 30 s, which cost ten times as much, have .48 .82 .89 .90 .85.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from models.whisper_mel import COLUMN_SAMPLES, HOP_SAMPLES, loudness_limited, mel_columns
from pipeline.features.grouped import GroupedStream, ReceptiveField
from pipeline.lipsync.torch_device import find_weights, memory_told, open_device, weights_told
from pipeline.types import FloatArray

if TYPE_CHECKING:
    import torch

    from models.whisper_encoder import WhisperEncoder

__all__ = ["Whisper10Extractor", "Whisper15Extractor"]


_ZERO_EDGED = ReceptiveField(
    margin_before=COLUMN_SAMPLES // 2,
    # A step depends on two columns; the time of the second one is one hop before the step's end.
    margin_after=COLUMN_SAMPLES // 2 - HOP_SAMPLES,
    past_steps=50,
    ahead_steps=25,
    window_before=4,
    window_after=6,
    clamped=False,
    window_shape=(50, 384),
)
_CLAMPED = replace(_ZERO_EDGED, clamped=True)


class _WhisperExtractor:
    """data is float32 (50, 384): steps [2f - 4, 2f + 6) of picture f, each with its five states, shallow to deep."""

    name: ClassVar[str]
    backend: ClassVar[str]
    "the lip-sync backend whose weights include this Whisper"
    lookahead_ms = _ZERO_EDGED.lookahead_ms
    on_device = True
    _field: ClassVar[ReceptiveField]
    _last_normed: ClassVar[bool]

    def __init__(self, weights: Path | None = None) -> None:
        """weights: folder of the weights. Raises BackendUnavailable."""
        self._path = find_weights(self.backend, weights)["whisper"]
        self._encoder: WhisperEncoder | None = None

    def load(self, device: str) -> None:
        """Load the encoder, always in float32: it is small, and everything else depends on it.

        Raises BackendUnavailable.
        """
        from models.whisper_encoder import load_whisper_encoder

        place = open_device(self.backend, device, "fp32")
        with weights_told(self.backend):
            self._encoder = place.place(load_whisper_encoder(self._path))

    def stream(self) -> GroupedStream:
        encoder = self._encoder
        if encoder is None:
            raise RuntimeError("load() comes before stream()")
        return GroupedStream(self._field, lambda: _WhisperEncoder(encoder, self._last_normed))

    def close(self) -> None:
        self._encoder = None


class Whisper15Extractor(_WhisperExtractor):
    """For MuseTalk 1.5: Hugging Face's states, the last one normalised. Zeros beyond the ends of a sentence."""

    name = "whisper15"
    backend = "musetalk15"
    _field = _ZERO_EDGED
    _last_normed = True


class Whisper10Extractor(_WhisperExtractor):
    """For MuseTalk 1.0: openai-whisper's states. Beyond the ends of a sentence its first or last step is repeated."""

    name = "whisper10"
    backend = "musetalk10"
    _field = _CLAMPED
    _last_normed = False


class _WhisperEncoder:
    """See Encoder. It remembers the loudest sound of the sentence, to which Whisper's levels are relative."""

    def __init__(self, encoder: WhisperEncoder, last_normed: bool) -> None:
        self._encoder = encoder
        self._last_normed = last_normed
        self._loudest = float("-inf")

    def states(self, samples: FloatArray, first_step: int) -> FloatArray:
        """Return (n, 5, 384). Raises DeviceOutOfMemory."""
        import torch

        columns = mel_columns(samples)
        self._loudest = max(self._loudest, float(columns.max()))
        mel = torch.from_numpy(loudness_limited(columns, self._loudest))
        with memory_told(), torch.inference_mode():
            states: torch.Tensor = self._encoder(
                mel[None].to(self._encoder.positional_embedding.device), first_step, last_normed=self._last_normed
            )[0].cpu()
        found: FloatArray = states.numpy()
        return found

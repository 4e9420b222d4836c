"""`whisper`: OpenAI's own program (openai-whisper), with weights in its own format, e.g. `base.pt`.

It is slower than faster-whisper on a CPU. It is meant for machines that already have torch and such weights.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.ears.local_whisper import LocalWhisper
from pipeline.ears.packaged import missing_packages
from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.types import FloatArray, Transcript

__all__ = ["OpenAIWhisper"]

FILE: Final = Path("whisper") / "base.pt"
"""Path in the folder of weights."""


class OpenAIWhisper(LocalWhisper):
    """Runs on the GPU if there is one. It recognises complete utterances only."""

    name = "whisper"

    def __init__(self, model: str = "", weights: Path | None = None) -> None:
        """model: a file of weights; empty: whisper/base.pt in the folder `weights`. Downloads nothing.

        Raises BackendUnavailable.
        """
        if missing_packages("torch", "whisper"):
            raise BackendUnavailable(
                self.name,
                "torch or openai-whisper is not installed",
                "pip install torch==2.13.0 openai-whisper==20250625",
            )
        self._file = Path(model) if model or weights is None else weights / FILE
        if not self._file.is_file():
            raise BackendUnavailable(
                self.name,
                f"there is no file {self._file}",
                "Put Whisper's weights there, or name them: --asr-model FILE.",
            )
        super().__init__()
        self._network: Any = None

    def _load(self) -> None:
        import torch
        import whisper

        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # Given the path of a file, it downloads nothing, and reads tensors only.
            self._network = whisper.load_model(str(self._file), device=device).eval()
        except (RuntimeError, pickle.UnpicklingError, OSError, EOFError, LookupError, TypeError, ValueError) as error:
            reason = f"{self._file.name} holds no weights of Whisper"
            raise BackendUnavailable(self.name, reason, "Get the file again, in openai-whisper's form.") from error

    def _transcribe(self, samples: FloatArray, language: str | None) -> Transcript:
        import torch
        import whisper

        network = self._network
        try:
            with torch.inference_mode():
                sound = whisper.pad_or_trim(np.ascontiguousarray(samples, np.float32))
                mel = whisper.log_mel_spectrogram(sound, network.dims.n_mels, device=network.device)
                heard = network.embed_audio(mel[None])
                if language not in LANGUAGES:
                    _, (shares,) = network.detect_language(heard) if network.is_multilingual else (None, [{"en": 1.0}])
                    language = max(shares, key=shares.__getitem__)
                options = whisper.DecodingOptions(
                    language=language, without_timestamps=True, prompt=prompt_for(language), fp16=False
                )
                (found,) = network.decode(heard, options)
        except RuntimeError as error:
            raise RecognitionError("What you said could not be recognised.", "Say it again.") from error
        segment = Segment(found.text, found.no_speech_prob, found.avg_logprob, found.compression_ratio)
        return Transcript(words_of([segment]), found.language)

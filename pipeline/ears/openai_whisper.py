"""`whisper`: OpenAI's own program (openai-whisper) with weights in its own form, `base.pt` for example.

Slower than faster-whisper on a CPU. It is for machines that have torch and those weights already.
"""

from __future__ import annotations

import asyncio
import pickle
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.ears.packaged import missing_packages
from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.threads import background_thread
from pipeline.types import FloatArray, Transcript

__all__ = ["OpenAIWhisper"]

FILE: Final = Path("whisper") / "base.pt"
"""In the folder of weights."""


class OpenAIWhisper:
    """Works on one utterance at a time, on one thread of its own that yields to drawing."""

    name = "whisper"
    languages = LANGUAGES
    at_once = 1
    partial = False

    def __init__(self, model: str = "", weights: Path | None = None) -> None:
        """model: a file of weights; empty: whisper/base.pt in the folder `weights`. Nothing is downloaded.

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
        self._thread = background_thread(self.name)
        self._network: Any = None

    def load(self) -> None:
        """Raises BackendUnavailable: the file is damaged, or of another network."""
        self._thread.submit(self._load).result()

    async def transcribe(self, samples: FloatArray, language: str | None = None) -> Transcript:
        """A cancelled run ends at once for the caller, and goes on on its thread until it is done.

        Raises RecognitionError.
        """
        run = partial(self._transcribe, samples, language)
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def aclose(self) -> None:
        """The run at work is finished, nothing after it. Idempotent."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> None:
        import torch
        import whisper

        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # By the path of a file it downloads nothing, and reads tensors only.
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

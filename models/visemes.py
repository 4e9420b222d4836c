"""Visemes: the shapes of a mouth for each speech sound. numpy only.

The 15 classes are the Oculus/MPEG-4 style set that is common in real-time lip-sync. `viseme_labels` is the only place
that puts phonemes on a time axis as visemes; the training script and the run time's phoneme path both use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLOSED",
    "DOMINANCE",
    "MOUTH_PARAMETERS",
    "MOUTH_SHAPES",
    "REST",
    "TUCKED",
    "VISEMES",
    "WORD_GAP_MS",
    "TimedSound",
    "viseme_labels",
    "visemes_of",
]

VISEMES: tuple[str, ...] = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
REST = VISEMES.index("sil")
CLOSED = VISEMES.index("PP")
TUCKED = VISEMES.index("FF")
"""Lower lip against the upper teeth."""

MOUTH_PARAMETERS: tuple[str, ...] = ("jaw", "open", "width", "round", "press", "fv", "teeth", "tongue")
"""The order of mouth parameters everywhere. All are 0..1 except width, which is -1 (pursed) .. 1 (spread)."""

MOUTH_SHAPES: npt.NDArray[np.float32] = np.array(
    [  # jaw, open, width, round, press, fv, teeth, tongue
        [0.00, 0.00, 0.00, 0.0, 0.0, 0.0, 0.0, 0.0],  # sil
        [0.06, 0.00, -0.05, 0.1, 1.0, 0.0, 0.0, 0.0],  # PP
        [0.14, 0.10, 0.10, 0.0, 0.0, 1.0, 0.4, 0.0],  # FF
        [0.22, 0.30, 0.10, 0.0, 0.0, 0.0, 0.3, 0.9],  # TH
        [0.20, 0.28, 0.12, 0.0, 0.0, 0.0, 0.4, 0.6],  # DD
        [0.30, 0.32, 0.05, 0.0, 0.0, 0.0, 0.2, 0.0],  # kk
        [0.16, 0.42, -0.45, 0.7, 0.0, 0.0, 0.8, 0.0],  # CH
        [0.10, 0.30, 0.25, 0.0, 0.0, 0.0, 0.9, 0.0],  # SS
        [0.22, 0.28, 0.12, 0.0, 0.0, 0.0, 0.3, 0.7],  # nn
        [0.22, 0.30, -0.35, 0.4, 0.0, 0.0, 0.3, 0.2],  # RR
        [0.95, 0.80, 0.10, 0.0, 0.0, 0.0, 0.3, 0.0],  # aa
        [0.55, 0.55, 0.40, 0.0, 0.0, 0.0, 0.4, 0.0],  # E
        [0.28, 0.42, 0.65, 0.0, 0.0, 0.0, 0.7, 0.1],  # ih
        [0.62, 0.55, -0.55, 0.7, 0.0, 0.0, 0.0, 0.0],  # oh
        [0.32, 0.25, -0.95, 1.0, 0.0, 0.0, 0.0, 0.0],  # ou
    ],
    np.float32,
)
"""(15, 8): the target mouth of each viseme."""


def _dominance() -> npt.NDArray[np.float32]:
    table = np.ones((len(VISEMES), len(MOUTH_PARAMETERS)), np.float32)
    row = {name: table[i] for i, name in enumerate(VISEMES)}
    jaw, opening, width, rounding = (MOUTH_PARAMETERS.index(p) for p in ("jaw", "open", "width", "round"))
    for name in ("TH", "DD", "kk", "SS", "nn"):  # made by the tongue, so the lips may follow the neighbours
        row[name][[width, rounding]] = 0.3
    row["kk"][[jaw, opening]] = 0.6
    row["sil"][[width, rounding]] = 0.5
    row["PP"][[width, rounding]] = 0.5
    row["FF"][[width, rounding]] = 0.6
    row["PP"][opening] = 2.5  # lips that must close prevail over open neighbours
    row["FF"][opening] = 1.8
    return table


DOMINANCE: npt.NDArray[np.float32] = _dominance()
"""(15, 8): how strongly each viseme asserts each parameter against its neighbours (Cohen & Massaro 1993)."""

_SYMBOLS: dict[str, tuple[str, ...]] = {
    "p b m ɓ ʙ ɸ": ("PP",),
    "f v ʋ ɱ β": ("FF",),
    "θ ð": ("TH",),
    "t d ɗ ʈ ɖ ɾ ɽ T": ("DD",),
    "k ɡ g ŋ ɴ x ɣ q ɢ χ ʁ c ɟ ɰ": ("kk",),
    "ʃ ʒ ɕ ʑ ʂ ʐ S": ("CH",),
    "s z": ("SS",),
    "n l ɲ ʎ ɭ ɫ ɳ ɬ ɮ": ("nn",),
    "r ɹ ɻ ʀ ɚ ɝ": ("RR",),
    "a ɑ ɐ æ ʌ": ("aa",),
    "e ɛ ə ɜ ɘ ɤ œ ᵊ": ("E",),
    "i ɪ ɨ ɯ j ʝ ç ᵻ": ("ih",),
    "o ɔ ɒ": ("oh",),
    "u ʊ w y ø ʉ ʏ ɥ ɵ ʍ": ("ou",),
    "ʦ ʣ": ("DD", "SS"),
    "ʧ ʤ ʨ ʥ ꭧ": ("DD", "CH"),
    # misaki's capitals, the alphabet of hibari and Kokoro: one letter per English diphthong
    "A": ("E", "ih"),
    "I": ("aa", "ih"),
    "Y": ("oh", "ih"),
    "O": ("oh", "ou"),
    "Q": ("E", "ou"),
    "W": ("aa", "ou"),
}
_BY_SYMBOL: dict[str, tuple[int, ...]] = {
    symbol: tuple(VISEMES.index(v) for v in shapes)
    for symbols, shapes in _SYMBOLS.items()
    for symbol in symbols.split()
}
_TRAILING_MARKS = frozenset("ːˑʰʲʷ̃")
"""Marks written after the sound they belong to. One with its own time lengthens that sound."""
_PAUSES = frozenset(" _|.,;:!?…—–-\"'“”«»()¡¿。，！？；：、")

WORD_GAP_MS = 150
"""A shorter pause between two sounds is not a rest, because a mouth does not close between words."""
_SHORTEST_CONTACT_MS = 40
"""Length of a picture. A shorter contact of the lips with each other or the teeth could be missed."""
_BORROW_MS = WORD_GAP_MS // 2
"""Most of a long h that takes the next sound's shape. It is limited, so that a stream knows the next sound in time."""


class TimedSound(NamedTuple):
    """One phoneme, with times in whole milliseconds."""

    ipa: str
    start_ms: int
    end_ms: int


def visemes_of(ipa: str) -> tuple[int, ...]:
    """Return the visemes of one phoneme in order: two for diphthongs and affricates, (REST,) for a pause.

    Empty for sounds without a shape of their own (h, glottal stop) and for marks (stress, length, tone). Also empty for
    unknown symbols, for which the neighbouring shape is the best guess.
    """
    if all(c in _PAUSES for c in ipa):
        return (REST,)
    shapes: list[int] = []
    for symbol in ipa:
        shapes += [v for v in _BY_SYMBOL.get(symbol, ()) if v not in shapes[-1:]]
    return tuple(shapes)


def viseme_labels(sounds: Iterable[TimedSound], start_ms: int, stop_ms: int) -> npt.NDArray[np.uint8]:
    """Return the viseme at each millisecond of [start_ms, stop_ms): uint8 (stop_ms - start_ms,).

    Pauses under WORD_GAP_MS are shared by their neighbours, a sound without shape takes the next one's, and p b m f v
    last at least a picture. A label depends only on sounds that start at most WORD_GAP_MS later.
    """
    labels = np.full(stop_ms - start_ms, REST, np.uint8)

    def paint(viseme: int, a: int, b: int) -> None:
        labels[max(a - start_ms, 0) : max(b - start_ms, 0)] = viseme

    voiced = sorted((s for s in sounds if visemes_of(s.ipa) != (REST,)), key=lambda s: (s.start_ms, s.end_ms))
    short_contacts: dict[int, list[int]] = {TUCKED: [], CLOSED: []}
    before = REST
    before_end: int | None = None
    for sound, following in zip_longest(voiced, voiced[1:]):
        start, end = sound.start_ms, sound.end_ms
        shapes = visemes_of(sound.ipa)
        if not shapes:
            own_start = max(start, end - _BORROW_MS)
            paint(before, start, own_start)
            shapes = (_borrowed_shape(sound, following, before),)
        else:
            own_start = start
        if before_end is not None and 0 < start - before_end < WORD_GAP_MS:
            meet = (before_end + start) // 2
            paint(before, before_end, meet)
            paint(shapes[0] if own_start == start else before, meet, start)
        edges = np.linspace(own_start, end, len(shapes) + 1).round().astype(int).tolist()
        for viseme, (a, b) in zip(shapes, pairwise(edges), strict=True):
            paint(viseme, a, b)
            if viseme in short_contacts and b - a < _SHORTEST_CONTACT_MS:
                short_contacts[viseme].append((a + b) // 2)
        before, before_end = shapes[-1], end
    for viseme, middles in short_contacts.items():
        for middle in middles:
            paint(viseme, middle - _SHORTEST_CONTACT_MS // 2, middle + _SHORTEST_CONTACT_MS // 2)
    return labels


def _borrowed_shape(sound: TimedSound, following: TimedSound | None, before: int) -> int:
    """Return the shape for a sound that has none: the next sound's, or the previous one's for a trailing mark."""
    if following is None or following.start_ms - sound.end_ms > _BORROW_MS or set(sound.ipa) <= _TRAILING_MARKS:
        return before
    return (visemes_of(following.ipa) or (before,))[0]

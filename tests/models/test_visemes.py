from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import pytest

from models.visemes import (
    CLOSED,
    DOMINANCE,
    MOUTH_PARAMETERS,
    MOUTH_SHAPES,
    REST,
    VISEMES,
    TimedSound,
    viseme_labels,
    visemes_of,
)

MARKS_AND_BREATH = set("ˈˌːʰʲ̃ᵝ↓→↗↘hʔ")


def said(*sounds: tuple[str, int, int], stop_ms: int = 1000) -> list[tuple[str, int]]:
    """Visemes and how many milliseconds each lasts."""
    labels = viseme_labels([TimedSound(*s) for s in sounds], 0, stop_ms)
    return [(VISEMES[v], len(list(run))) for v, run in groupby(labels)]


def test_tables_have_one_row_a_viseme_and_one_column_a_parameter() -> None:
    """The tables fit the names; at rest nothing moves; dominance is positive."""
    assert MOUTH_SHAPES.shape == DOMINANCE.shape == (len(VISEMES), len(MOUTH_PARAMETERS)) == (15, 8)
    assert not MOUTH_SHAPES[REST].any()
    assert (DOMINANCE > 0).all()


@pytest.mark.parametrize("ipa", ["p", "b", "m"])
def test_bilabials_close_the_lips(ipa: str) -> None:
    """p, b and m, and no vowel, press the lips together."""
    press = MOUTH_PARAMETERS.index("press")
    assert visemes_of(ipa) == (CLOSED,)
    assert MOUTH_SHAPES[CLOSED, press] == 1
    assert not MOUTH_SHAPES[[v for v in range(len(VISEMES)) if v != CLOSED], press].any()


def test_every_symbol_of_hibari_is_known() -> None:
    """Each letter of hibari's vocabulary has a shape, is a pause, or is a mark or breath that has none."""
    spec = find_spec("hibari")
    assert spec is not None
    assert spec.origin is not None
    vocabulary = json.loads((Path(spec.origin).parent / "assets" / "vocab.json").read_text("utf-8"))
    shapeless = {symbol for symbol in vocabulary if not visemes_of(symbol)}
    assert shapeless == MARKS_AND_BREATH & set(vocabulary)
    pauses = {symbol for symbol in vocabulary if visemes_of(symbol) == (REST,)}
    assert pauses and not any(symbol.isalpha() for symbol in pauses)


SPELLINGS = {
    "A": "E ih", "I": "aa ih", "O": "oh ou", "W": "aa ou", "Y": "oh ih", "Q": "E ou", "ʤ": "DD CH", "tʃ": "DD CH",
    "ˈeɪ": "E ih", "uː": "ou", "T": "DD", "ᵊ": "E", "ᵻ": "ih", "tː": "DD",
    "": "sil", " ": "sil", "_:": "sil", "h": "", "ˈ": "", "💡": "",
}  # fmt: skip


@pytest.mark.parametrize(("ipa", "visemes"), SPELLINGS.items())
def test_spelling(ipa: str, visemes: str) -> None:
    """IPA and misaki's letters, with marks, give one viseme, two, a pause or nothing."""
    assert " ".join(VISEMES[v] for v in visemes_of(ipa)) == visemes


def test_diphthongs_share_their_time() -> None:
    """A diphthong is its two vowels, half the time each."""
    assert said(("I", 200, 400)) == [("sil", 200), ("aa", 100), ("ih", 100), ("sil", 600)]


def test_words_do_not_shut_the_mouth() -> None:
    """A pause under 150 ms between two sounds is shared by them; a longer one is rest."""
    assert said(("a", 0, 100), ("", 100, 240), ("s", 240, 400)) == [("aa", 170), ("SS", 230), ("sil", 600)]
    assert said(("a", 0, 100), ("", 100, 260), ("s", 260, 400))[1] == ("sil", 160)


def test_h_borrows_the_next_shape() -> None:
    """An h looks like the vowel after it; with nothing after, like what was before."""
    assert said(("h", 100, 160), ("u", 160, 300))[:2] == [("sil", 100), ("ou", 200)]
    assert said(("a", 0, 100), ("h", 100, 160), stop_ms=160) == [("aa", 160)]


def test_a_length_mark_lengthens_the_sound_before() -> None:
    """A mark with time of its own is no sound: ː goes to the one before, ˈ to the one after."""
    assert said(("i", 0, 50), ("ː", 50, 100), ("ˈ", 100, 120), ("u", 120, 200), stop_ms=200) == [
        ("ih", 100),
        ("ou", 100),
    ]


@pytest.mark.parametrize(("ipa", "viseme"), [("p", "PP"), ("v", "FF")])
def test_short_contacts_last_a_picture(ipa: str, viseme: str) -> None:
    """A p or v of 25 ms between vowels is 40 ms of contact."""
    spans = said(("a", 0, 100), (ipa, 100, 125), ("a", 125, 225), stop_ms=225)
    assert spans == [("aa", 92), (viseme, 40), ("aa", 93)]


def test_labels_of_a_part_are_a_part_of_the_labels() -> None:
    """Asking for a stretch gives that stretch of the whole."""
    sounds = [TimedSound("b", 10, 60), TimedSound("W", 60, 200), TimedSound("m", 260, 285)]
    whole = viseme_labels(sounds, 0, 400)
    assert (viseme_labels(sounds, 130, 290) == whole[130:290]).all()

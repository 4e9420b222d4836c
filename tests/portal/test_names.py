"""Names that people give."""

from __future__ import annotations

import pytest

from avatars.gestures import gesture_name
from avatars.unicode_names import normalise_name
from portal.names import clean_file_name, clean_name, clip_file_name
from tests.little_work import little_work


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("AC/DC", "AC/DC"),
        ("Anna \\ Ben / 10/2026", "Anna \\ Ben / 10/2026"),
        ("a\0b\nc\u202ed", "a b c d"),
        ("  too   many\tspaces ", "too many spaces"),
        ("林黛玉", "林黛玉"),
        ("...", ""),
        ("e\u0301", "é"),
        ("\u3164\u2800", ""),
        ("Sun\u200bny", "Sun ny"),
        ("Ada\u200d", "Ada"),
        ("A\u200cda", "A da"),
        ("A\u200d\u200dda", "A da"),
        ("Ada\ufe0f", "Ada"),
        ("A\U000e0100da", "A da"),
        ("\u2066Ada\u2069", "Ada"),
        ("د\u200cا", "د ا"),
    ],
)
def test_a_name_is_one_visible_line(raw: str, clean: str) -> None:
    """Hidden characters and doubled spaces go; letters of every script stay, and so does a slash."""
    assert clean_name(raw) == clean


@pytest.mark.parametrize(
    "name",
    [
        "👨\u200d👩\u200d👧",
        "👩🏽\u200d🚀",
        "🏳\ufe0f\u200d🌈",
        "❤\ufe0f\u200d🔥",
        "1\ufe0f\u20e3",
        "می\u200cخواهم",
        "क्\u200dष",
        "葛\U000e0100飾",
    ],
)
def test_what_makes_a_difference_in_a_name_stays(name: str) -> None:
    """Families and flags of several emoji, Persian words of two parts, Indic letters, forms of an ideograph."""
    assert clean_name(name) == name


def test_a_name_is_not_cut_between_what_is_joined() -> None:
    """The joiner would be left, unseen."""
    assert clean_name("a" * 57 + "👨\u200d👩b") == "a" * 57 + "👨…"


def test_a_gesture_has_a_name_that_is_seen() -> None:
    """A letter that is drawn as nothing is one for Unicode."""
    longest = "\U00010330" * 20  # Gothic: 12 characters of a folder's name each
    assert gesture_name(longest) == longest and gesture_name(longest + longest[0]) is None
    assert gesture_name("Wave") == "wave" and gesture_name("wa\u3164ve") is None and gesture_name("\u3164") is None


@pytest.mark.parametrize(
    ("raw", "clean"), [("../../etc/passwd", "passwd"), ("C:\\Users\\me\\me.png", "me.png"), ("me/", "me"), ("///", "")]
)
def test_a_name_of_a_file_has_no_folders(raw: str, clean: str) -> None:
    """Whichever system it comes from."""
    assert clean_file_name(raw) == clean


def test_a_long_name_is_cut() -> None:
    """A name of 300 characters is cut to its limit, and shows it."""
    assert clean_name("x" * 300) == "x" * 59 + "…"
    assert clean_name("x" * 60) == "x" * 60


def test_a_name_of_accents_alone_takes_no_time() -> None:
    """Normalizing sorts the accents of a letter, and its work grows with their square: 256 kB took 15 s, in which
    nobody else was served. Now the beginning of a name is looked at.
    """
    accents = "a" + "\u0301\u0323" * 32_000
    with little_work():
        assert len(clean_name(accents)) <= 60
        assert len(clean_file_name(accents + ".png", limit=120)) <= 120
        assert clip_file_name(accents, accents).endswith(".mp4")
        assert gesture_name(accents) is None
        normalise_name(accents, "NFKD")


@pytest.mark.parametrize(
    ("speaker", "title", "called"),
    [
        ("Sunny", "Hi everyone", "Sunny - Hi everyone.mp4"),
        ("米拉", "大家好", "米拉 - 大家好.mp4"),
        ("Sunny", "speech.WAV", "Sunny - speech.mp4"),
        ("AC/DC", 'What? "Yes": a\\b|c*', "AC DC - What Yes a b c.mp4"),
        ("", "Hi", "Hi.mp4"),
        ("...", "///", "Clip.mp4"),
    ],
)
def test_a_clip_is_called_after_who_speaks_and_what(speaker: str, title: str, called: str) -> None:
    """Chinese names work; what no file may be called is left out; there is always a name."""
    assert clip_file_name(speaker, title) == called
    assert clip_file_name(speaker, title, "webm") == called.removesuffix("mp4") + "webm"


def test_the_name_of_a_clip_fits_a_disk() -> None:
    """Whatever the script, its bytes are less than what file systems take."""
    assert len(clip_file_name("\U0001f600" * 60, "\U0001f600" * 60).encode()) <= 255

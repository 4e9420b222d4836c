"""Names that people give."""

from __future__ import annotations

import pytest

from portal.names import clean_name


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\me.png", "me.png"),
        ("a\0b\nc\u202ed", "a b c d"),
        ("  too   many\tspaces ", "too many spaces"),
        ("林黛玉", "林黛玉"),
        ("...", ""),
        ("///", ""),
        ("e\u0301", "é"),
    ],
)
def test_a_name_is_one_visible_line_without_folders(raw: str, clean: str) -> None:
    """Folders, hidden characters and doubled spaces go; letters of every script stay."""
    assert clean_name(raw) == clean


def test_a_long_name_is_cut() -> None:
    """A name of 300 characters is cut to its limit, and shows it."""
    assert clean_name("x" * 300) == "x" * 59 + "…"
    assert clean_name("x" * 60) == "x" * 60

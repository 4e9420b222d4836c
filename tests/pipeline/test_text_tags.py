"""Tags in a text that start a gesture."""

import pytest

from pipeline.text.tags import GestureTags

NAMES = ("wave", "thumbs up", "挥手")


def read(text: str, size: int = 1000) -> tuple[str, list[tuple[str, int]]]:
    """The text without its tags, and the tags, when it comes in pieces of that many characters."""
    tags = GestureTags(NAMES)
    found = [tags.push(text[at : at + size]) for at in range(0, len(text), size)]
    return "".join(plain for plain, _ in found) + tags.flush(), [
        (tag.name, tag.at) for _, some in found for tag in some
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("text", "plain", "tags"),
    [
        ("[wave] Hello there.", "Hello there.", [("wave", 0)]),
        ("Hello! [Wave] How are you?", "Hello! How are you?", [("wave", 7)]),
        ("Bye.[Thumbs up]", "Bye.", [("thumbs up", 4)]),
        ("你好[挥手]，再见。", "你好，再见。", [("挥手", 2)]),
        ("[wave][wave] Hi", "Hi", [("wave", 0), ("wave", 0)]),
        ("See [1] and [the docs](x) [wav", "See [1] and [the docs](x) [wav", []),
        ("a [[wave]] b", "a [] b", [("wave", 3)]),
        ("no tags at all", "no tags at all", []),
    ],
)
def test_tags_are_taken_out_however_the_text_is_cut(
    text: str, plain: str, tags: list[tuple[str, int]], size: int
) -> None:
    """Only names of gestures count, in any case; the rest of the text stays, but for one of two spaces."""
    assert read(text, size) == (plain, tags)


def test_what_cannot_become_a_tag_is_not_held_back() -> None:
    """A bracket that begins no name goes on at once."""
    tags = GestureTags(NAMES)
    assert tags.push("array[")[0] == "array"
    assert tags.push("i")[0] == "[i"


def test_an_avatar_without_gestures_has_no_tags() -> None:
    """Its text is handed on as it comes."""
    assert GestureTags(()).push("[wave] Hello [") == ("[wave] Hello [", [])

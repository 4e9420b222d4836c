"""The patterns that look at people's texts do work in step with a text's length, whatever is written in it."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import random
import re
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import pipeline.text
import pipeline.tts
from pipeline.text import speakable
from pipeline.text.speech import MAX_CHARACTERS
from tests.little_work import little_work

CHARACTERS = 8000
"""So many that work which grows with the square of them takes seconds."""
OTHER_MODULES = ("portal.names", "pipeline.llm.tokens", "pipeline.llm.echo", "pipeline.llm.guide", "avatars.gestures")
BEGINNINGS = ("", "(", "[", "(see ", "# ", "<", "$")
ENDS = ("", "x", "x\n", " <")
SIGNS = (
    *"[](){}<>$`*_#|-=.,;:!?&^@~",
    *(" ", "\t", "\n", "a", "1", "中", "文", "é", "ا", "\u0301", "【", "†", "】", "⁰", "。", "（", "\ue200", "\x1b["),
    *("ab ", "A", "1, ", "12", "a.b", "a1 ", "1999", "ab 1999; ", "et al. ", "cite", "turn1a1", "[1]", " [1]", ", [1]"),
    *("\\(", "\\)", "\\[", "\\frac{", "\\text{a}", "\\begin{align}", "$$", "**", "~~~", "```", "--", "- ", "==", "# "),
    *("<script>", "<ref ", "</b>", "<a b ", "http://", "data:a", "](", "[[", "[^1]", "^1", "&amp;", "<think", "||"),
)


def modules() -> Iterator[ModuleType]:
    for package in (pipeline.text, pipeline.tts):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)
    yield from map(importlib.import_module, OTHER_MODULES)


PATTERNS = {
    f"{module.__name__}.{name}": pattern
    for module in modules()
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str)
}


def texts() -> Iterator[str]:
    """Every sign, and some hundred pairs and triples of them, repeated; with beginnings and ends that keep a pattern
    from fitting.
    """
    drawn = random.Random(8)
    units = [*SIGNS, *("".join(drawn.choices(SIGNS, k=drawn.choice((2, 3)))) for _ in range(40))]
    for unit, beginning, end in zip(units, itertools.cycle(BEGINNINGS), itertools.cycle(ENDS), strict=False):
        yield beginning + unit * (CHARACTERS // len(unit)) + end


def look_everywhere(pattern: re.Pattern[str], text: str) -> None:
    for _ in pattern.finditer(text):
        pass
    pattern.fullmatch(text)


def look_at_all(look: Callable[[str], object]) -> None:
    for text in texts():
        with little_work():
            look(text)


def test_patterns_are_found() -> None:
    """Those of sentences, of speech and of names are among them."""
    assert {"pipeline.text.speech._CITATION", "pipeline.text.endings._DOTTED", "pipeline.tts.pico._LONG_RUN"} < set(
        PATTERNS
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_works_in_step_with_the_length(name: str) -> None:
    """However often a sign is repeated, no pattern tries all the ways to part the text."""
    look_at_all(lambda text: look_everywhere(PATTERNS[name], text))


@pytest.mark.parametrize(
    "text", ["[" + "ab 1999; " * 9 + "a $b 1999; " + "ab 1999; " * 11, "(see " + "[1] " * 48 + "x"]
)
def test_no_sentence_freezes_its_voice(text: str) -> None:
    """These were found by an attacker and beside it: 200 characters, and a second of the processor or hours."""
    with little_work():
        speakable(text)


def test_a_voice_is_given_no_endless_sentence() -> None:
    """What is longer than any sentence is cut before a pattern looks at it."""
    assert len(speakable("word " * MAX_CHARACTERS)) <= MAX_CHARACTERS

"""What the page suggests to ask."""

import pytest

from pipeline.llm.guide import GuideLanguageModel
from pipeline.llm.guide_topics import UNKNOWN
from pipeline.types import Message
from portal.ui.talk_text import TALK_TEXTS

CHIPS = sorted({text for texts in TALK_TEXTS.values() for key, text in texts.items() if key.startswith("chip")})


@pytest.mark.parametrize("chip", CHIPS)
async def test_the_guide_answers_what_the_page_suggests(chip: str) -> None:
    """A suggestion that is answered with "I cannot answer that" is none."""
    answer = "".join([piece async for piece in GuideLanguageModel().stream([Message("user", chip)])])
    assert answer not in (UNKNOWN.en, UNKNOWN.zh)

"""`guide`: the offline default. It is no language model, but gives prepared answers about Vivavoce in two languages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from pipeline.llm.guide_topics import GREETINGS, TOPICS, UNKNOWN, Answer
from pipeline.text import language_of_script
from pipeline.types import Message

__all__ = ["GuideLanguageModel"]

_PIECE = re.compile(r"[\u3400-\u9fff][，。！？：；、]?|\s*[^\s\u3400-\u9fff]+|\s+")
_WORD = re.compile(r"[\u3400-\u9fff]{1,2}|[^\W\u3400-\u9fff]+(?:['’]\w+)?")
_GREETING_WORDS = 5
LOOKED_AT = 300
"""How many characters of a question's beginning and of its end are looked at, because others wait meanwhile."""


class GuideLanguageModel:
    """Answers from a table, word by word: in Chinese if the question is Chinese, else in English."""

    name = "guide"

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        question = next((message.content for message in reversed(messages) if message.role == "user"), "")
        question = _in_short(question)
        answer = _find(question)
        for piece in _PIECE.findall(answer.zh if language_of_script(question) == "zh" else answer.en):
            yield piece

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


def _in_short(question: str) -> str:
    """Return the question, or of a long one its beginning and its end: what is asked stands there."""
    if len(question) <= 2 * LOOKED_AT:
        return question
    return f"{question[:LOOKED_AT]}\n{question[-LOOKED_AT:]}"


def _find(question: str) -> Answer:
    for topic in TOPICS:
        if topic.pattern.search(question):
            return topic.answer
    if len(_WORD.findall(question)) <= _GREETING_WORDS:
        opening = question.lstrip(" \"'“‘«([¡¿")
        for topic in GREETINGS:
            if topic.pattern.match(opening):
                return topic.answer
    return UNKNOWN

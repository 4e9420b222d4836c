"""`echo`: the null language model. It repeats what it was told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from pipeline.types import Message

__all__ = ["EchoLanguageModel"]

_PIECE = re.compile(r"\s*\S+|\s+\Z")


class EchoLanguageModel:
    """Repeats the last user message word by word, unchanged."""

    name = "echo"

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        text = next((message.content for message in reversed(messages) if message.role == "user"), "")
        for piece in _PIECE.findall(text):
            yield piece

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

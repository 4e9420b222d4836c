"""History: what was asked, and what was played of the answers, as a language model wants it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.types import Message

__all__ = ["Exchange", "History", "Standing"]

MESSAGE_TOKENS = 7
"""What a message costs besides its text: its role and its frame."""

TOKEN_BYTES = 3
"""Bytes of UTF-8 per token. A server's tokenizer is not known here, so this is an estimate that seldom counts too few:
by Whisper's multilingual vocabulary, ten languages have 2.6 (Hindi) to 5.5 bytes per token, English 4.5, Chinese 3.3.
"""


def tokens_of(text: str) -> int:
    """About how many tokens a text costs."""
    return -(-len(text.encode()) // TOKEN_BYTES)


def last_tokens(text: str, tokens: int) -> str:
    """About the last so many tokens of a text, in whole characters."""
    return text.encode()[-tokens * TOKEN_BYTES :].decode(errors="ignore")


@dataclass(eq=False, slots=True)
class Exchange:
    """A question, and what was played of its answer; empty while, or if, nothing was."""

    question: str
    answer: str = ""

    @property
    def tokens(self) -> int:
        return tokens_of(self.question) + tokens_of(self.answer) + 2 * MESSAGE_TOKENS


@dataclass(frozen=True, slots=True)
class Standing:
    """What a conversation would go on from, if it broke off now."""

    history: tuple[Message, ...]
    "of an answer that is being spoken, what has been played"
    played: str | None
    "that, of whatever is being said; empty if nothing of it has been played yet; None: nothing is being said"
    has_begun: bool
    "anything was asked or spoken"


class History:
    """Messages that always alternate, begin with the user and end with the question: many templates refuse all else.

    Questions that got no answer (interrupted before a word was played) are put before the next one, in one message.
    Bounded in tokens; the oldest exchanges go first, never the newest.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._exchanges: deque[Exchange] = deque()

    def ask(self, question: str) -> Exchange:
        """A new question, to which answer() or forget() may follow."""
        exchange = Exchange(question)
        self._exchanges.append(exchange)
        self._trim()
        return exchange

    def answer(self, exchange: Exchange, played: str) -> None:
        """What was played of the answer; replaces what was noted before. Of a very long one the end is kept."""
        longest = self._max_tokens // 2
        exchange.answer = played if tokens_of(played) <= longest else "… " + last_tokens(played, longest)
        self._trim()

    def forget(self, exchange: Exchange) -> None:
        """It failed, perhaps because of the question: it must not spoil those after it."""
        if exchange in self._exchanges:
            self._exchanges.remove(exchange)

    def recall(self, told: Iterable[Message]) -> None:
        """Begin with what was said in an earlier session, oldest first. Answers without a question are left out."""
        exchange: Exchange | None = None
        for message in told:
            if message.role == "user":
                exchange = self.ask(message.content)
            elif exchange is not None:
                self.answer(exchange, f"{exchange.answer} {message.content}".strip())

    def messages(self, played: Mapping[Exchange, str] | None = None) -> tuple[Message, ...]:
        """played: other answers than those that are noted, of some exchanges."""
        played = played or {}
        messages: list[Message] = []
        asked: list[str] = []
        for exchange in self._exchanges:
            if exchange.question not in asked[-1:]:  # asked again, because nothing came
                asked.append(exchange.question)
            if answer := played.get(exchange, exchange.answer):
                messages += [Message("user", "\n\n".join(asked)), Message("assistant", answer)]
                asked = []
        if asked:
            messages.append(Message("user", "\n\n".join(asked)))
        return tuple(messages)

    def _trim(self) -> None:
        held = sum(exchange.tokens for exchange in self._exchanges)
        while held > self._max_tokens and len(self._exchanges) > 1:
            held -= self._exchanges.popleft().tokens

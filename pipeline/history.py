"""History: the questions, and what was played of the answers, in the form a language model takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.types import Message

__all__ = ["Exchange", "History", "Standing"]

MESSAGE_TOKENS = 7
"""Tokens that a message costs besides its text, for its role and its framing."""

TOKEN_BYTES = 3
"""Bytes of UTF-8 per token. The server's tokenizer is unknown here, so this is an estimate that seldom counts too few.
With Whisper's multilingual vocabulary, ten languages have 2.6 (Hindi) to 5.5 bytes per token; English 4.5, Chinese 3.3.
"""


def tokens_of(text: str) -> int:
    """Estimate how many tokens a text costs."""
    return -(-len(text.encode()) // TOKEN_BYTES)


def last_tokens(text: str, tokens: int) -> str:
    """Return about the last `tokens` tokens of a text, in whole characters."""
    return text.encode()[-tokens * TOKEN_BYTES :].decode(errors="ignore")


@dataclass(eq=False, slots=True)
class Exchange:
    """A question, and what was played of its answer: empty if nothing was, or has been yet."""

    question: str
    answer: str = ""

    @property
    def tokens(self) -> int:
        """Estimate of the tokens that both messages cost."""
        return tokens_of(self.question) + tokens_of(self.answer) + 2 * MESSAGE_TOKENS


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a conversation, from which another session can continue it."""

    history: tuple[Message, ...]
    "Of an answer being spoken, only what has been played is included."
    played: str | None
    "The played part of everything being said now, possibly empty; None: nothing is being said."
    has_begun: bool
    "Whether anything was asked or spoken."


class History:
    """Messages that alternate, begin with the user and end with the question. Many chat templates reject all else.

    A question without an answer (it was interrupted before a word was played) is merged with the next one into one
    message. The history is bounded in tokens. The oldest exchanges are dropped first, and the newest never is.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._exchanges: deque[Exchange] = deque()

    def ask(self, question: str) -> Exchange:
        """Add a question. answer() or forget() may follow."""
        exchange = Exchange(question)
        self._exchanges.append(exchange)
        self._trim()
        return exchange

    def answer(self, exchange: Exchange, played: str) -> None:
        """Note what was played of the answer, in place of any earlier note. Of a very long answer the end is kept."""
        longest = self._max_tokens // 2
        exchange.answer = played if tokens_of(played) <= longest else "… " + last_tokens(played, longest)
        self._trim()

    def forget(self, exchange: Exchange) -> None:
        """Drop an exchange that failed. The question may be the reason, and must not spoil the next ones."""
        if exchange in self._exchanges:
            self._exchanges.remove(exchange)

    def recall(self, told: Iterable[Message]) -> None:
        """Begin with the messages of an earlier session, oldest first. Answers without a question are left out."""
        exchange: Exchange | None = None
        for message in told:
            if message.role == "user":
                exchange = self.ask(message.content)
            elif exchange is not None:
                self.answer(exchange, f"{exchange.answer} {message.content}".strip())

    def messages(self, played: Mapping[Exchange, str] | None = None) -> tuple[Message, ...]:
        """Return all messages. played: answers to use in place of those noted, by exchange."""
        played = played or {}
        messages: list[Message] = []
        asked: list[str] = []
        for exchange in self._exchanges:
            if exchange.question not in asked[-1:]:  # repeated because it got no answer: send it once
                asked.append(exchange.question)
            if answer := played.get(exchange, exchange.answer):
                messages += [Message("user", "\n\n".join(asked)), Message("assistant", answer)]
                asked = []
        if asked:
            messages.append(Message("user", "\n\n".join(asked)))
        return tuple(messages)

    def kept(self, played: Mapping[Exchange, str]) -> tuple[Message, ...]:
        """Return messages() as they are stored while a session goes on, each time something is said.

        The newest question may be longer than the whole history may be. Of it the end is kept.
        """
        return tuple(Message(one.role, last_tokens(one.content, self._max_tokens)) for one in self.messages(played))

    def _trim(self) -> None:
        held = sum(exchange.tokens for exchange in self._exchanges)
        while held > self._max_tokens and len(self._exchanges) > 1:
            held -= self._exchanges.popleft().tokens

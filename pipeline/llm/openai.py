"""`openai`: any service that speaks OpenAI's chat protocol (Ollama, vLLM, DashScope, OpenAI, ...).

Requests are made by the package `openai`. It would read lines and error pages of any length into memory. So the bytes
of an answer are read by `pipeline/llm/reading.py`, and all other bodies are cut at a limit.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.clock import Clock, SystemClock
from pipeline.errors import BackendUnavailable, LanguageModelError
from pipeline.llm.reading import AnswerReader, broken_off
from pipeline.llm.tools import named_tools
from pipeline.streams import items_and_pauses
from pipeline.types import Message

if TYPE_CHECKING:
    import httpx2 as httpx
    from openai import AsyncOpenAI

__all__ = ["SYSTEM_PROMPT", "OpenAILanguageModel"]

logger = logging.getLogger(__name__)

SYSTEM_PROMPT = (
    "You speak to a person through a talking avatar: everything you write is read aloud. Answer in the language the "
    "person uses, in a few short, plain sentences. Use no markdown, lists, tables, emoji or web addresses unless they "
    "are asked for."
)
OLLAMA_URL = "http://127.0.0.1:11434/v1"
CONNECT_TIMEOUT_S = 5.0
HELD_S = 0.3
"""How long the first words wait for a </think> without an opening tag. Speech waits for a first sentence anyway."""
READ_BYTES = 4096
"""Bytes of an answer processed in one step: 40 events of one letter, which take 2 ms."""
AFTER_END_S = 1.0
"""Wait for the connection to close after the end of an answer. Some services leave it open."""
MAX_BODY_BYTES = 2**20
"""Limit for all bodies but an answer's: a list of models, or the text of a refusal."""
EVENTS = "text/event-stream"
PASSING = (408, 409, 425, 429)
"""Status codes after which a later request may succeed. The same holds for all from 500 on."""
LOGGED_CHARACTERS = 300
MAX_ROUNDS = 4
"""Most requests per answer. In all but the last one the model may call tools."""
_LATER = "Ask again in a moment."
_OPERATOR = "Tell whoever runs this page; its log says more."


class OpenAILanguageModel:
    """Streams chat completions. All sessions share one client and its connections.

    A silent service is given up. One that sends thoughts is not: the listener decides how long to wait for words.
    """

    name = "openai"

    def __init__(
        self,
        base_url: str = OLLAMA_URL,
        api_key: str = "",
        model: str = "",
        system_prompt: str = SYSTEM_PROMPT,
        timeout_s: float = 60.0,
        clock: Clock | None = None,
        tools: Sequence[str] = (),
    ) -> None:
        """
        tools: functions that the model may call, as `package.module:function`.
        model: empty for the first model in the service's list. system_prompt: used unless the messages have one.
        timeout_s: longest time without any byte: no words, no thoughts, no keep-alive.

        Raises BackendUnavailable.
        """
        if importlib.util.find_spec("openai") is None:
            raise BackendUnavailable(self.name, "the package openai is missing", "pip install openai")
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._first_model = ""
        self._system_prompt = system_prompt
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._thinks_first = False  # learned from the last answer
        self._client: AsyncOpenAI | None = None
        self._tools = named_tools(self.name, tools)

    def load(self) -> None:
        """Import the client, which takes half a second, and make it. Does not connect yet."""
        if self._client is None:
            self._client = self._new_client()

    def _new_client(self) -> AsyncOpenAI:
        import httpx2 as httpx
        import openai

        timeout = httpx.Timeout(self._timeout_s, connect=CONNECT_TIMEOUT_S)
        # Refuse compression: data may expand a thousandfold before it can be limited.
        plain = {"Accept-Encoding": "identity"}
        bounded = {"response": [_bound]}
        return openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # local services need no key, but the package does
            max_retries=0,  # the turn retries, and only before the first word
            timeout=timeout,
            http_client=httpx.AsyncClient(headers=plain, timeout=timeout, follow_redirects=True, event_hooks=bounded),
        )

    async def stream(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        """Yield the answer in pieces. Thoughts and the special tokens of the model's template are left out.

        Raises LanguageModelError, after yielding what came before. Cancelling closes the connection at once.
        """
        said_something = False
        conversation = self._conversation(messages)
        for left in reversed(range(MAX_ROUNDS)):
            reader = AnswerReader(self._thinks_first)
            async with aclosing(self._pieces(reader, conversation, calls=left > 0)) as pieces:
                async for piece in pieces:
                    said_something = True
                    yield piece
            self._thinks_first = reader.thought_first
            if not (reader.calls and self._tools and left):
                break
            conversation = [*conversation, *await reader.calls.answered(self._tools)]
        if not said_something:
            self._log("gave an answer without a word")
            raise LanguageModelError("The language model answered nothing.", _LATER)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _pieces(
        self, reader: AnswerReader, conversation: Sequence[dict[str, object]], *, calls: bool
    ) -> AsyncGenerator[str, None]:
        """Yield one answer. calls: whether the model may call tools in it."""
        import httpx2 as httpx
        import openai

        patience = _Patience(reader, self._clock)
        failure: LanguageModelError | None = None
        try:
            async with (
                self._asking(conversation, calls) as answer,
                aclosing(items_and_pauses(answer.aiter_bytes(), patience.left_s, self._clock)) as chunks,
            ):
                async for chunk in chunks:
                    for part in _in_parts(chunk or b""):
                        for piece in reader.push(part):
                            yield piece
                        await asyncio.sleep(0)
                    for piece in patience.released():
                        yield piece
                    if reader.done or (reader.complete and chunk is None):
                        break
        except LanguageModelError as error:
            failure = error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, openai.OpenAIError, UnicodeError) as error:
            failure = self._failure_of(error, reader.began)
        try:
            for piece in reader.rest():
                yield piece
        except LanguageModelError as error:
            failure = failure or error
        if not reader.complete:
            failure = failure or broken_off()
            self._log(failure.detail or failure.message)
            raise failure

    @asynccontextmanager
    async def _asking(self, conversation: Sequence[dict[str, object]], calls: bool) -> AsyncIterator[httpx.Response]:
        """Request an answer. Its body is still unread."""
        if self._client is None:
            self.load()
        assert self._client is not None
        model = await self._model_name(self._client)
        offered: dict[str, Any] = {"tools": [tool.offer for tool in self._tools.values()]} if self._tools else {}
        if offered and not calls:
            offered["tool_choice"] = "none"  # the last round: it has to answer now
        completions = self._client.chat.completions.with_streaming_response
        # mypy: the package has a separate type for each role.
        async with completions.create(model=model, messages=conversation, stream=True, **offered) as answer:  # type: ignore[arg-type]
            yield answer.http_response

    async def _model_name(self, client: AsyncOpenAI) -> str:
        """Return the chosen model, or the first in the service's list, which is then remembered."""
        if self._model or self._first_model:
            return self._model or self._first_model
        listed = (await client.models.with_raw_response.list()).text
        try:
            names = [model["id"] for model in json.loads(listed)["data"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            names = []
        if not names or not isinstance(names[0], str):
            detail = "has no model, or does not list them: name one with --llm-model (for Ollama: ollama pull qwen3:8b)"
            raise LanguageModelError("There is no language model to answer.", _OPERATOR, detail, retryable=False)
        self._first_model = names[0]
        return self._first_model

    def _conversation(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        has_system = any(message.role == "system" for message in messages)
        system = [Message("system", self._system_prompt)] if self._system_prompt and not has_system else []
        return [{"role": message.role, "content": message.content} for message in [*system, *messages]]

    def _failure_of(self, error: Exception, began: bool) -> LanguageModelError:
        """Translate an error. began: part of the answer had arrived."""
        import httpx2 as httpx
        import openai

        if isinstance(error, httpx.ReadTimeout | openai.APITimeoutError):
            reason = f"The language model gave nothing for {self._timeout_s:g} seconds."
            return LanguageModelError(reason, "It may still be loading: ask again in a moment.", retryable=False)
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error.status_code, error.response.text)
        return _cut_off(error) if began else _unreachable(error.__cause__ or error)

    def _refusal(self, status: int, body: str) -> LanguageModelError:
        detail = f"refused with status {status}: {body}"
        match status:
            case 401 | 403:
                reason, hint = "The language model is not set up correctly.", _OPERATOR
                detail = f"{detail}; set VIVAVOCE_LLM_API_KEY to a valid key"
            case 404:
                reason, hint = "The language model is not set up correctly.", _OPERATOR
                model, self._first_model = self._model or self._first_model, ""
                detail = (
                    f"{detail}; it does not know the model '{model}', or this is not its address, which usually ends "
                )
                detail = f"{detail}in /v1: correct --llm-model (for Ollama: ollama pull {model}) or --llm-base-url"
            case 429:
                reason, hint = "The language model is busy.", "Wait a little, then ask again."
            case 400 | 413 | 422:
                reason, hint = "The language model does not take this question.", "Put it in other words, or shorter."
            case _:
                reason, hint = "The language model failed.", _LATER
        return LanguageModelError(reason, hint, detail, retryable=status in PASSING or status >= 500)

    def _log(self, detail: str) -> None:
        """Log for the operator, without keys, and without characters that could fake another line."""
        if self._api_key:
            detail = detail.replace(self._api_key, "***")
        detail = "".join(c if c.isprintable() else " " for c in detail[:LOGGED_CHARACTERS])
        logger.warning("the language model at %s %s", _without_login(self._base_url), detail)


class _Patience:
    """How long to wait for the next bytes of an answer, and when to release words that the reader holds back."""

    def __init__(self, reader: AnswerReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._held_until_s: float | None = None

    def left_s(self) -> float | None:
        """Return how long to wait for the next bytes; None: no limit."""
        if self._reader.complete:
            return AFTER_END_S
        return None if self._held_until_s is None else max(0.0, self._held_until_s - self._clock.now_s())

    def released(self) -> Iterator[str]:
        """Yield words that have been held long enough. Call it after each piece of the answer and each pause."""
        now_s = self._clock.now_s()
        if self._reader.holds and self._held_until_s is not None and now_s >= self._held_until_s:
            yield from self._reader.release()
        if not self._reader.holds:
            self._held_until_s = None
        elif self._held_until_s is None:  # from the first word on, because a busy model may never pause
            self._held_until_s = now_s + HELD_S


def _unreachable(error: BaseException) -> LanguageModelError:
    detail = f"cannot be reached ({type(error).__name__}: {error}): start it (for Ollama: ollama serve), or correct "
    return LanguageModelError("The language model cannot be reached.", _LATER, f"{detail}--llm-base-url")


def _cut_off(error: Exception) -> LanguageModelError:
    told = broken_off()
    return LanguageModelError(told.message, told.hint, f"broke off ({type(error).__name__}: {error})")


async def _bound(response: httpx.Response) -> None:
    """Cut off the body at a limit unless it is a stream of events, because the package reads it whole."""
    if response.status_code == 200 and response.headers.get("content-type", "").startswith(EVENTS):
        return
    import httpx2 as httpx

    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    whole: httpx.AsyncByteStream = stream

    class Beginning(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = MAX_BODY_BYTES
            async for chunk in whole:
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return

        async def aclose(self) -> None:
            await whole.aclose()

    response.stream = Beginning()


def _in_parts(chunk: bytes) -> Iterator[bytes]:
    return (chunk[at : at + READ_BYTES] for at in range(0, len(chunk), READ_BYTES))


def _without_login(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return "its address"

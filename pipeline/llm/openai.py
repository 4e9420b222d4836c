"""`openai`: any service that speaks OpenAI's chat protocol (Ollama, vLLM, DashScope, OpenAI, ...)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pipeline.errors import BackendUnavailable, LanguageModelError
from pipeline.types import Message

__all__ = ["SYSTEM_PROMPT", "OpenAILanguageModel"]

SYSTEM_PROMPT = (
    "You speak to a person through a talking avatar: everything you write is read aloud. Answer in the language the "
    "person uses, in a few short, plain sentences. Use no markdown, lists, tables, emoji or web addresses unless they "
    "are asked for."
)
OLLAMA_URL = "http://127.0.0.1:11434/v1"
CONNECT_TIMEOUT_S = 5.0


class OpenAILanguageModel:
    """Streams chat completions. One client, and its connections, for all sessions."""

    name = "openai"

    def __init__(
        self,
        base_url: str = OLLAMA_URL,
        api_key: str = "",
        model: str = "",
        system_prompt: str = SYSTEM_PROMPT,
        timeout_s: float = 30.0,
        max_history: int = 40,
    ) -> None:
        """
        model: empty for the first one the service names. system_prompt: used unless the messages bring their own.
        timeout_s: longest wait for the first, and between two pieces of an answer. max_history: messages sent.

        Raises BackendUnavailable.
        """
        if importlib.util.find_spec("openai") is None:
            raise BackendUnavailable(self.name, "the package openai is missing", "pip install openai")
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._system_prompt = system_prompt
        self._timeout_s = timeout_s
        self._max_history = max_history
        self._client: Any = None

    def load(self) -> None:
        """Import the client (half a second); connects to nothing yet."""
        if self._client is not None:
            return
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # local services want no key, the package wants one
            timeout=openai.Timeout(self._timeout_s, connect=CONNECT_TIMEOUT_S),
            max_retries=0,  # a person is waiting: better told at once than after silent attempts
        )

    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[str]:
        """What a model thinks between <think> tags is left out. Cancelling closes the connection at once."""
        if self._client is None:
            await asyncio.to_thread(self.load)
        import openai

        whole, thinking = _WholeCharacters(), _ThinkingFilter()
        answering = said_something = False
        try:
            model = self._model or await self._first_model()
            answer = await self._client.chat.completions.create(
                model=model, messages=self._conversation(messages), stream=True
            )
            answering = True
            async with answer:
                async for event in answer:
                    content = event.choices[0].delta.content if event.choices else None
                    if content and (delta := thinking.push(whole.push(content))):
                        said_something = True
                        yield delta
            if rest := thinking.flush():
                said_something = True
                yield rest
        except (openai.OpenAIError, json.JSONDecodeError) as error:
            raise self._explained(error, answering) from error
        if not said_something:
            raise LanguageModelError(
                f"The language model at {self._base_url} answered nothing.",
                "Ask again; if it stays so, choose another model with --llm-model.",
            )

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _first_model(self) -> str:
        """The service's first model, remembered. Raises LanguageModelError if it has none."""
        models = (await self._client.models.list()).data
        if not models:
            raise LanguageModelError(
                f"The service at {self._base_url} has no model.", "Give it one, for example: ollama pull qwen3:8b"
            )
        self._model = models[0].id
        return self._model

    def _conversation(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        system = [message for message in messages if message.role == "system"]
        if not system and self._system_prompt:
            system = [Message("system", self._system_prompt)]
        turns = [message for message in messages if message.role != "system"][-self._max_history :]
        return [{"role": message.role, "content": message.content} for message in [*system, *turns]]

    def _explained(self, error: Exception, answering: bool) -> LanguageModelError:
        """The cause in plain words, with its remedy."""
        import openai

        where = f"The language model at {self._base_url}"
        match error:
            case openai.APITimeoutError():
                return LanguageModelError(
                    f"{where} gave nothing for {self._timeout_s:g} seconds.",
                    "It may still be loading: try again, or choose a smaller model.",
                )
            case openai.APIConnectionError() if not answering:
                return LanguageModelError(
                    f"{where} cannot be reached.", "Start it (for Ollama: ollama serve), or correct --llm-base-url."
                )
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return LanguageModelError(f"{where} refused the API key.", "Set VIVAVOCE_LLM_API_KEY to a valid key.")
            case openai.NotFoundError():
                return LanguageModelError(
                    f"{where} does not know the model '{self._model}', or this is not its address.",
                    f"Correct --llm-model (for Ollama: ollama pull {self._model}); the address usually ends in /v1.",
                )
            case openai.RateLimitError():
                return LanguageModelError(
                    f"{where} takes no more requests now.", "Wait a little, or check the limits of your account."
                )
            case openai.APIStatusError(status_code=status):
                return LanguageModelError(f"{where} failed with status {status}.", "See the log of that service.")
            case _:
                return LanguageModelError(
                    f"{where} broke off in the middle of its answer.", "Ask again; see the log of that service."
                )


class _WholeCharacters:
    """Joins the halves of characters that a service has cut in two (an emoji is two in UTF-16); a lone half goes."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, delta: str) -> str:
        text = self._held + delta
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text[: len(text) - len(self._held)]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


class _ThinkingFilter:
    """Takes <think>...</think> out of a stream, however it is split."""

    _OPENING, _CLOSING = "<think>", "</think>"

    def __init__(self) -> None:
        self._held = ""
        self._is_thinking = False

    def push(self, delta: str) -> str:
        self._held += delta
        said = ""
        while True:
            tag = self._CLOSING if self._is_thinking else self._OPENING
            before, found, after = self._held.partition(tag)
            if not found:
                break
            said += "" if self._is_thinking else before
            self._is_thinking = not self._is_thinking
            self._held = after.lstrip() if not self._is_thinking else after
        keep = _overlap(self._held, tag)
        if not self._is_thinking:
            said += self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return said

    def flush(self) -> str:
        return "" if self._is_thinking else self._held


def _overlap(text: str, tag: str) -> int:
    """How much of the end of text may be the beginning of tag."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-length:])), 0)

"""The OpenAI-compatible language model, against a service on this machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fake_openai import FakeOpenAI

from pipeline.errors import LanguageModelError
from pipeline.llm.openai import SYSTEM_PROMPT, OpenAILanguageModel
from pipeline.types import Message

QUESTION = [Message("user", "Hello?")]


@pytest.fixture
async def service() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI().serving() as fake:
        yield fake


async def answer(llm: OpenAILanguageModel, messages: list[Message] = QUESTION) -> list[str]:
    try:
        return [piece async for piece in llm.stream(messages)]
    finally:
        await llm.aclose()


async def failure(llm: OpenAILanguageModel) -> LanguageModelError:
    with pytest.raises(LanguageModelError) as caught:
        await answer(llm)
    return caught.value


async def test_streams(service: FakeOpenAI) -> None:
    """The answer comes in the service's own pieces; model, key and a system prompt for speech are sent."""
    llm = OpenAILanguageModel(service.base_url, api_key="secret", model="m")
    assert await answer(llm) == ["Hello", " there", "."]
    (request,) = service.requests
    assert request["model"] == "m"
    assert request["stream"] is True
    assert request["messages"] == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "Hello?"},
    ]
    assert "Bearer secret" in request["head"]


async def test_first_model(service: FakeOpenAI) -> None:
    """Without a name, the first model that the service offers is used."""
    await answer(OpenAILanguageModel(service.base_url))
    assert service.requests[0]["model"] == "first-model"


async def test_no_model(service: FakeOpenAI) -> None:
    """A service without models is told as such."""
    service.models = ()
    assert "has no model" in (await failure(OpenAILanguageModel(service.base_url))).message


async def test_history(service: FakeOpenAI) -> None:
    """A system message of the conversation replaces the prompt, and only the last messages are sent."""
    messages = [Message("system", "Be brief."), *(Message("user", str(number)) for number in range(9))]
    await answer(OpenAILanguageModel(service.base_url, model="m", max_history=2), messages)
    assert [message["content"] for message in service.requests[0]["messages"]] == ["Be brief.", "7", "8"]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (("<think>Let me", " see.</think>\n\n", "Yes."), "Yes."),
        (("<thi", "nk>a<b</th", "ink>", "Y", "es."), "Yes."),
        (("a < b", " <the", "n>"), "a < b <then>"),
        (("Yes.<think>unfinished",), "Yes."),
        (("5 <",), "5 <"),
    ],
)
async def test_thinking_is_not_said(service: FakeOpenAI, pieces: tuple[str, ...], said: str) -> None:
    """What a reasoning model thinks between its tags is left out, however the stream is split."""
    service.pieces = pieces
    assert "".join(await answer(OpenAILanguageModel(service.base_url, model="m"))) == said


@pytest.mark.parametrize(
    ("pieces", "said"),
    [(("Hi \ud83c", "\udf89!"), "Hi 🎉!"), (("a\ud83c", "b"), "ab"), (("a", "\udf89b"), "ab"), (("end\ud83c",), "end")],
)
async def test_characters_cut_in_two(service: FakeOpenAI, pieces: tuple[str, ...], said: str) -> None:
    """A character that a service cuts between two pieces arrives whole; half a one would stop whoever encodes it."""
    service.pieces = pieces
    assert "".join(await answer(OpenAILanguageModel(service.base_url, model="m"))) == said


async def test_only_thoughts(service: FakeOpenAI) -> None:
    """An answer of nothing is an error, not silence."""
    service.pieces = ("<think>hm</think>",)
    assert "answered nothing" in (await failure(OpenAILanguageModel(service.base_url, model="m"))).message


@pytest.mark.parametrize(
    ("status", "cause", "remedy"),
    [
        (401, "refused the API key", "VIVAVOCE_LLM_API_KEY"),
        (403, "refused the API key", "VIVAVOCE_LLM_API_KEY"),
        (404, "does not know the model 'm'", "ollama pull m"),
        (429, "no more requests", "Wait"),
        (500, "status 500", "log"),
    ],
)
async def test_refusals(service: FakeOpenAI, status: int, cause: str, remedy: str) -> None:
    """Each refusal of the service is told with its cause and its remedy, after one request."""
    service.status = status
    error = await failure(OpenAILanguageModel(service.base_url, model="m"))
    assert cause in error.message
    assert remedy in error.hint
    assert len(service.requests) == 1


async def test_unreachable(service: FakeOpenAI, unused_tcp_port: int) -> None:
    """A service that is not there is told with its address and how to start it."""
    error = await failure(OpenAILanguageModel(f"http://127.0.0.1:{unused_tcp_port}/v1", model="m"))
    assert f"127.0.0.1:{unused_tcp_port}" in error.message
    assert "cannot be reached" in error.message
    assert "ollama serve" in error.hint


async def test_hang(service: FakeOpenAI) -> None:
    """A service that hangs in the middle of its answer is given up, and the connection closed."""
    service.after = "hang"
    llm = OpenAILanguageModel(service.base_url, model="m", timeout_s=0.1)
    pieces: list[str] = []
    with pytest.raises(LanguageModelError, match=r"nothing for 0\.1 seconds"):
        async for piece in llm.stream(QUESTION):
            pieces.append(piece)  # noqa: PERF401 - they must survive the error
    assert pieces == ["Hello", " there", "."]
    await service.left.wait()
    await llm.aclose()


@pytest.mark.parametrize("after", ["die", "garbage"])
async def test_broken_answer(service: FakeOpenAI, after: str) -> None:
    """A service that dies, or talks nonsense, in the middle of its answer is told as such."""
    service.after = after
    error = await failure(OpenAILanguageModel(service.base_url, model="m"))
    assert "broke off" in error.message


async def test_cancelling_closes_the_connection(service: FakeOpenAI) -> None:
    """Cancelling whoever listens closes the connection, so that the service stops working."""
    service.after = "hang"
    llm = OpenAILanguageModel(service.base_url, model="m")
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(llm.stream(QUESTION)) as pieces:
            async for _ in pieces:
                heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await service.left.wait()
    await llm.aclose()

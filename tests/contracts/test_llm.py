"""What every language model in the registry does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from fake_openai import FakeOpenAI

from pipeline import registry
from pipeline.interfaces import LanguageModel
from pipeline.types import Message

pytestmark = pytest.mark.thorough


@pytest.fixture
async def service() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI().serving() as fake:
        yield fake


@pytest.fixture(params=registry.names("llm"))
async def llm(request: pytest.FixtureRequest, service: FakeOpenAI) -> AsyncIterator[LanguageModel]:
    options: dict[str, dict[str, Any]] = {"openai": {"base_url": service.base_url}}
    model: LanguageModel = registry.create("llm", request.param, **options.get(request.param, {}))
    await asyncio.to_thread(model.load)
    yield model
    await model.aclose()


async def test_is_a_language_model(llm: LanguageModel, request: pytest.FixtureRequest) -> None:
    """It has the interface and the name of its row."""
    assert isinstance(llm, LanguageModel)
    assert llm.name in request.node.name


@pytest.mark.parametrize("question", ["Hello there.", "你好，世界", "😀", "word " * 2000])
async def test_answers(llm: LanguageModel, question: str) -> None:
    """It answers any text in non-empty pieces of text."""
    history = [Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hi!")]
    pieces = [piece async for piece in llm.stream([*history, Message("user", question)])]
    assert "".join(pieces).strip()
    assert all(isinstance(piece, str) and piece for piece in pieces)


async def test_nothing_said_yet(llm: LanguageModel) -> None:
    """An empty conversation or an empty question raises no error."""
    for messages in ([], [Message("user", "")]):
        assert all([isinstance(piece, str) async for piece in llm.stream(messages)])


async def test_two_answers_at_once(llm: LanguageModel) -> None:
    """Sessions that ask at the same time each get one whole answer."""

    async def ask() -> str:
        return "".join([piece async for piece in llm.stream([Message("user", "Hello there.")])])

    one, two, three = await asyncio.gather(ask(), ask(), ask())
    assert one == two == three


async def test_cancelling_leaves_nothing(llm: LanguageModel, service: FakeOpenAI) -> None:
    """After it is cancelled in the middle of an answer, it leaves no task behind, and can answer again."""
    service.after = "hang"
    before = asyncio.all_tasks()
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(llm.stream([Message("user", "Hello there, you.")])) as pieces:
            await anext(pieces)
            heard.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() - before - service.tasks == set()
    service.after = "done"
    assert [piece async for piece in llm.stream([Message("user", "Hello")])]


async def test_closes_twice(llm: LanguageModel) -> None:
    """Closing is idempotent, before and after use."""
    await llm.aclose()
    await llm.aclose()

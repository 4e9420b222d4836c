"""Python functions that a language model may call: offered, called within bounds, and never read aloud."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from fake_openai import FakeOpenAI, chunk_of

from pipeline.errors import BackendUnavailable
from pipeline.llm.openai import MAX_ROUNDS, OpenAILanguageModel
from pipeline.llm.tools import MAX_RESULT_CHARACTERS, MAX_TOOL_THREADS, ToolCalls, ToolThreads, tool_of
from pipeline.types import Message

SPAN = ContextVar("SPAN", default="lost")
QUESTION = [Message("user", "What is the weather?")]
HERE = "tests.pipeline.test_llm_tools"
ASKS = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": '}}
GOES_ON = {"index": 0, "function": {"arguments": '"Oslo"}'}}


async def weather(city: str, days: int = 1) -> dict[str, Any]:
    """The weather in a city."""
    return {"city": city, "days": days, "secret": "raw-result"}


def broken(city: str) -> str:
    """Fails."""
    raise ZeroDivisionError


def calling(*deltas: dict[str, Any]) -> tuple[object, ...]:
    """The events of an answer that asks for calls."""
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]} for delta in deltas]
    return (*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})


class Asking(FakeOpenAI):
    """Asks for calls so often, then answers."""

    rounds = 1

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asks = len(self.requests) <= self.rounds
        self.events = calling(ASKS, GOES_ON) if asks else (chunk_of("It is sunny."), chunk_of("", finish_reason="stop"))
        return await super()._stream(reader, writer)


@pytest.fixture
async def service() -> AsyncIterator[Asking]:
    fake = Asking()
    async with fake.serving():
        yield fake


async def said(service: Asking) -> str:
    llm = OpenAILanguageModel(service.base_url, model="m", tools=(f"{HERE}:weather",))
    try:
        return "".join([piece async for piece in llm.stream(QUESTION)])
    finally:
        await llm.aclose()


async def test_what_a_function_returns_goes_to_the_model_and_not_to_the_voice(service: Asking) -> None:
    """Streamed arguments are put together, the function is called, and the model answers with its result."""
    assert await said(service) == "It is sunny."
    first, second = service.requests
    (offer,) = first["tools"]
    assert offer["function"]["name"] == "weather" and offer["function"]["description"] == "The weather in a city."
    assert offer["function"]["parameters"]["required"] == ["city"]
    asked, told = second["messages"][-2:]
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (told["role"], told["tool_call_id"]) == ("tool", "c1")
    assert json.loads(told["content"]) == {"city": "Oslo", "days": 1, "secret": "raw-result"}


async def test_a_model_that_never_stops_asking_has_to_answer(service: Asking) -> None:
    """The last time it is told to call nothing."""
    service.rounds = MAX_ROUNDS - 1
    assert await said(service) == "It is sunny."
    assert len(service.requests) == MAX_ROUNDS
    assert [request.get("tool_choice") for request in service.requests] == [None] * (MAX_ROUNDS - 1) + ["none"]


async def test_without_functions_none_are_offered(service: Asking) -> None:
    """Many services refuse requests that have the field."""
    service.rounds = 0
    llm = OpenAILanguageModel(service.base_url, model="m")
    assert [piece async for piece in llm.stream(QUESTION)] == ["It is sunny."]
    await llm.aclose()
    assert "tools" not in service.requests[0]


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (weather, '{"city": 7}', "error: the arguments do not fit"),
        (weather, "{", "error: the arguments do not fit"),
        (broken, '{"city": "Oslo"}', "error: it failed"),
        (weather, '{"city": "Oslo", "days": 3}', '{"city": "Oslo", "days": 3'),
    ],
)
async def test_whatever_becomes_of_a_call_the_model_is_told(function: Any, arguments: str, told: str) -> None:
    """The conversation goes on."""
    assert (await tool_of(function, ToolThreads()).call(arguments)).startswith(told)


async def test_a_slow_function_and_a_long_result_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever, and no result fills the model's memory."""

    async def slow() -> str:
        await asyncio.Event().wait()
        return ""

    async def long() -> str:
        return "x" * (MAX_RESULT_CHARACTERS + 1)

    monkeypatch.setattr("pipeline.llm.tools.CALL_TIMEOUT_S", 0.01)
    assert await tool_of(slow, ToolThreads()).call("") == "error: it took too long"
    monkeypatch.undo()
    assert len(await tool_of(long, ToolThreads()).call("{}")) == MAX_RESULT_CHARACTERS


async def test_tools_that_hang_keep_their_own_threads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal's threads, which every new session needs, stay free; and the tools have a bound."""
    go_on, began, calls = threading.Event(), threading.Semaphore(0), 3 * MAX_TOOL_THREADS

    def hangs() -> str:
        began.release()
        go_on.wait(60)
        return "at last"

    monkeypatch.setattr("pipeline.llm.tools.CALL_TIMEOUT_S", 0.05)
    tool = tool_of(hangs, ToolThreads())
    answers = await asyncio.gather(*(tool.call("") for _ in range(calls)))
    assert answers.count("error: it took too long") == MAX_TOOL_THREADS
    assert answers.count("error: too many tools are at work") == calls - MAX_TOOL_THREADS
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 60) == "free"
    go_on.set()
    monkeypatch.setattr("pipeline.llm.tools.CALL_TIMEOUT_S", 60)
    assert await tool.call("") == "at last"  # the threads that were abandoned come back


async def test_tools_of_many_wait_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of thirty asks in the same second, and everybody is answered."""
    go_on, began = threading.Event(), threading.Semaphore(0)

    def stock() -> str:
        began.release()
        go_on.wait(60)
        return "twelve"

    monkeypatch.setattr("pipeline.llm.tools.CALL_TIMEOUT_S", 60)
    tool = tool_of(stock, ToolThreads())
    calls = [asyncio.create_task(tool.call("")) for _ in range(2 * MAX_TOOL_THREADS)]
    for _ in range(MAX_TOOL_THREADS):
        assert await asyncio.to_thread(began.acquire, timeout=60)
    assert not any(call.done() for call in calls)
    go_on.set()
    assert await asyncio.gather(*calls) == ["twelve"] * len(calls)


async def test_a_thread_that_does_not_start_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have none for a while. The model is told, and later calls are made."""

    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    tool = tool_of(lambda: "done", ToolThreads())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        for _ in range(MAX_TOOL_THREADS):
            assert await tool.call("") == "error: it failed"
    assert await tool.call("") == "done"


async def test_a_tool_in_a_thread_knows_its_context() -> None:
    """Tracing and logging of the operator's own tools depend on it."""

    def span() -> str:
        return SPAN.get()

    SPAN.set("kept")
    assert await tool_of(span, ToolThreads()).call("") == "kept"


async def test_a_tool_that_wants_to_end_the_process_fails() -> None:
    """It is a tool's thread, and the portal goes on."""

    def leaves() -> str:
        raise SystemExit(3)

    assert await tool_of(leaves, ToolThreads()).call("") == "error: it failed"


async def test_calls_that_make_no_sense_are_left_out() -> None:
    """Services send what they like."""
    calls = ToolCalls()
    for deltas in (None, "x", [None], [{"index": 99}], [{"index": -1}], [{"index": 0, "function": "x"}]):
        calls.push(deltas)
    assert not calls
    calls.push([{"function": {"name": "nothing"}}])
    asked, told = await calls.answered({})
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"] == "call_0"
    assert told["content"] == "error: there is no such tool"


@pytest.mark.parametrize("path", [f"{HERE}:gone", "no_such_module:f", f"{HERE}:said_untyped"])
def test_functions_that_cannot_be_used_are_named(path: str) -> None:
    """Where the portal starts, not in the middle of an answer."""
    with pytest.raises(BackendUnavailable, match=path):
        OpenAILanguageModel(tools=(path,))


def said_untyped(city) -> None:  # type: ignore[no-untyped-def]
    """A function of which nobody knows what it takes."""

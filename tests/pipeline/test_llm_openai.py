"""The OpenAI-compatible language model, against a service on this machine."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fake_openai import FakeOpenAI, chunk_of

from pipeline.errors import LanguageModelError
from pipeline.llm.openai import MAX_BODY_BYTES, SYSTEM_PROMPT, OpenAILanguageModel
from pipeline.llm.reading import MAX_ANSWER_CHARACTERS
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
    """The answer comes whole; model, key and a system prompt for speech are sent."""
    llm = OpenAILanguageModel(service.base_url, api_key="secret", model="m")
    assert "".join(await answer(llm)) == "Hello there."
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
    error = await failure(OpenAILanguageModel(service.base_url))
    assert "no language model" in error.message
    assert "ollama pull" in error.detail


async def test_a_system_message_of_the_conversation_replaces_the_prompt(service: FakeOpenAI) -> None:
    """The rest of the messages is sent as it is: how many there are is for the conversation to say."""
    messages = [Message("system", "Be brief."), *(Message("user", str(number)) for number in range(3))]
    await answer(OpenAILanguageModel(service.base_url, model="m"), messages)
    assert [message["content"] for message in service.requests[0]["messages"]] == ["Be brief.", "0", "1", "2"]


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
    ("status", "cause", "remedy", "passes"),
    [
        (400, "does not take this question", "status 400", False),
        (401, "not set up", "VIVAVOCE_LLM_API_KEY", False),
        (403, "not set up", "VIVAVOCE_LLM_API_KEY", False),
        (404, "not set up", "ollama pull m", False),
        (429, "busy", "status 429", True),
        (500, "failed", "status 500", True),
    ],
)
async def test_refusals(service: FakeOpenAI, status: int, cause: str, remedy: str, passes: bool) -> None:
    """A refusal is told to the viewer in plain words, and to the operator with its remedy, after one request."""
    service.status = status
    error = await failure(OpenAILanguageModel(service.base_url, model="m"))
    assert cause in error.message
    assert error.hint
    assert remedy in error.detail
    assert error.retryable == passes
    assert len(service.requests) == 1


async def test_a_refusal_is_read_to_a_bound(service: FakeOpenAI) -> None:
    """What a service says when it refuses ends after a megabyte, however long it goes on."""
    service.status, service.error = 500, {"error": "x" * 3 * MAX_BODY_BYTES}
    error = await failure(OpenAILanguageModel(service.base_url, model="m"))
    assert "status 500" in error.detail and len(error.detail) < MAX_BODY_BYTES + 100


async def test_a_viewer_does_not_learn_where_the_model_runs(
    service: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """The address and the service's own words go to the log, without login or key, and on one line."""
    service.status, service.error = 500, {"error": "no\u001b[2J\nkey s3cret"}
    url = service.base_url.replace("http://", "http://user:pass@")
    error = await failure(OpenAILanguageModel(url, api_key="s3cret", model="m"))
    assert "127.0.0.1" not in str(error)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.llm.openai"]
    assert "127.0.0.1" in line and "status 500" in line
    assert not any(word in line for word in ("pass", "s3cret", "\n", "\x1b"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "127.0.0.1:{port}/v1", "http://[::1", "http://"])
async def test_unreachable(url: str, unused_tcp_port: int) -> None:
    """A service that is not there, or whose address is none, is told as such, with the operator's remedy."""
    error = await failure(OpenAILanguageModel(url.format(port=unused_tcp_port), model="m"))
    assert "cannot be reached" in error.message
    assert "ollama serve" in error.detail


async def test_hang(service: FakeOpenAI) -> None:
    """A service that hangs in the middle of its answer is given up, and the connection closed."""
    service.after = "hang"
    llm = OpenAILanguageModel(service.base_url, model="m", timeout_s=1.0)
    pieces: list[str] = []
    with pytest.raises(LanguageModelError, match="nothing for 1 seconds"):
        async for piece in llm.stream(QUESTION):
            pieces.append(piece)  # noqa: PERF401 - they must survive the error
    assert "".join(pieces) == "Hello there."
    await service.left.wait()
    await llm.aclose()


async def test_who_ends_an_answer_and_hangs_has_answered(service: FakeOpenAI) -> None:
    """After the reason for its end nothing more is waited for but a second."""
    service.events, service.after = (chunk_of("Hello."), chunk_of("", finish_reason="stop")), "hang"
    assert "".join(await answer(OpenAILanguageModel(service.base_url, model="m"))) == "Hello."


@pytest.mark.parametrize(
    "sign",
    [b": keep-alive\n\n", chunk_of(None, delta={"reasoning_content": "hm"}), chunk_of("", delta={"reasoning": "hm"})],
)
async def test_thinking_is_life(service: FakeOpenAI, sign: object) -> None:
    """A service that thinks, or says that it is there, may take longer than a silent one."""
    service.events, service.pause_s = (*[sign] * 6, chunk_of("Hello.")), 0.3
    llm = OpenAILanguageModel(service.base_url, model="m", timeout_s=1.5)
    assert "".join(await answer(llm)) == "Hello."


async def test_thoughts_that_nothing_opened(service: FakeOpenAI) -> None:
    """What comes before a </think> is never said if it follows at once; and once it is known that this model thinks so,
    however long it thinks.
    """
    llm = OpenAILanguageModel(service.base_url, model="m")
    service.pieces = ("Hm.", "</think>", "Hello!")
    assert "".join(await answer(llm)) == "Hello!"
    service.pieces, service.pause_s = ("Well.", " So.", " ", "</think>\n", "Hello!"), 0.15
    assert "".join(await answer(llm)) == "Hello!"
    service.pieces, service.pause_s = ("No thought", " this time."), 0.0
    assert "".join(await answer(llm)) == "No thought this time."


async def test_first_words_are_not_held_for_long(service: FakeOpenAI) -> None:
    """Words that no </think> follows are given while the model still pauses."""
    service.after = "hang"
    llm = OpenAILanguageModel(service.base_url, model="m")
    async with aclosing(llm.stream(QUESTION)) as pieces:
        assert await anext(pieces) == "Hello there."
    await llm.aclose()


async def test_first_words_of_a_model_that_never_pauses_are_not_held_either(service: FakeOpenAI) -> None:
    """They are given after a moment, while the rest of the answer still comes without a pause."""
    service.events, service.pause_s, service.after = tuple(chunk_of("word ") for _ in range(200)), 0.05, "hang"
    llm = OpenAILanguageModel(service.base_url, model="m")
    async with aclosing(llm.stream(QUESTION)) as pieces:
        assert len(await anext(pieces)) < 100 * len("word ")
    await llm.aclose()


async def test_a_model_that_sends_letters_leaves_a_turn_to_others(service: FakeOpenAI) -> None:
    """Thousands of events that come at once are read a few at a time."""
    events = [f"data: {json.dumps(chunk_of(letter))}\n\n".encode() for letter in "word " * 1000]
    service.events, service.pause_s = (chunk_of("Well: "), b"".join(events)), 0.5  # nothing is held after the pause
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    llm = OpenAILanguageModel(service.base_url, model="m")
    turns_at_pieces = [turns async for _ in llm.stream(QUESTION)]
    task.cancel()
    await llm.aclose()
    assert len(turns_at_pieces) == 5001
    assert max(Counter(turns_at_pieces).values()) < 100


async def test_an_endless_answer_is_not_read_to_its_end(service: FakeOpenAI) -> None:
    """A line without end, and an answer without end, are given up with what was said, at their bounds."""
    llm = OpenAILanguageModel(service.base_url, model="m")
    service.events = (chunk_of("Hello."), b'data: {"x": "', *[b"x" * 2**20] * 6)
    with pytest.raises(LanguageModelError, match="more than anybody"):
        await answer(llm)
    service.events = tuple(chunk_of("word " * 20_000) for _ in range(3))
    pieces: list[str] = []
    with pytest.raises(LanguageModelError, match="too long"):
        async for piece in llm.stream(QUESTION):
            pieces.append(piece)  # noqa: PERF401 - they must survive the error
    assert len("".join(pieces)) == MAX_ANSWER_CHARACTERS
    assert max(map(len, pieces)) <= 1000
    await llm.aclose()


@pytest.mark.parametrize("after", ["die", "garbage", "stop"])
async def test_broken_answer(service: FakeOpenAI, after: str) -> None:
    """A service that dies, talks nonsense or just stops in the middle of its answer is told as such; what it said
    before is given.
    """
    service.after = after
    llm = OpenAILanguageModel(service.base_url, model="m")
    pieces: list[str] = []
    with pytest.raises(LanguageModelError, match="broke off"):
        async for piece in llm.stream(QUESTION):
            pieces.append(piece)  # noqa: PERF401 - they must survive the error
    assert "".join(pieces) == "Hello there."
    await llm.aclose()


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

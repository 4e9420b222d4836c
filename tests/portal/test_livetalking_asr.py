"""LiveTalking's recognition of speech over its WebSocket, in FunASR's protocol."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import MutableMapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from pipeline.clock import ManualClock
from pipeline.ears.utterance import LONGEST_S
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.types import FloatArray, Transcript
from portal.api.allowances import GREETINGS
from portal.api.viewer_socket import FLOODED
from portal.http.limits import TooMany
from portal.livetalking.asr import QUIET_S, SOCKETS, SOCKETS_EACH, Listened, asr_router

BEGIN = {"is_speaking": True, "mode": "2pass", "chunk_size": [5, 10, 5], "wav_name": "h5", "wav_format": "pcm"}
SECOND = (0.5 * 32767 * np.ones(16_000)).astype("<i2").tobytes()


class Ears:
    """Hears how long and how loud it is, or fails."""

    def __init__(self, failure: Exception | None = None, missing: Exception | None = None) -> None:
        self.failure, self.missing = failure, missing
        self.asked: list[tuple[str | None, str]] = []

    async def loaded(self) -> Any:
        if self.missing is not None:
            raise self.missing
        return SimpleNamespace(recognition=self)

    async def transcribe(self, samples: FloatArray, language: str | None, asker: str) -> Transcript:
        self.asked.append((language, asker))
        if self.failure is not None:
            raise self.failure
        return Transcript(f"{len(samples) / 16_000:.2f} s at {np.abs(samples).max():.2f}", language or "")


def served(ears: Ears, clock: ManualClock | None = None) -> TestClient:
    app = FastAPI()
    app.include_router(asr_router(ears, "zh", clock or ManualClock()))
    return TestClient(app, client=("203.0.113.5", 4000))


def final(text: str) -> dict[str, Any]:
    return {"text": text, "mode": "2pass-offline", "is_final": True, "timestamp": None}


def test_what_is_said_comes_back_as_a_text() -> None:
    """In LiveTalking's shape, one utterance after another over the same socket; odd bytes at an end do no harm."""
    ears = Ears()
    with served(ears).websocket_connect("/api/asr") as socket:
        socket.send_json(BEGIN)
        for piece in (SECOND[:9000], SECOND[9000:], b"x"):
            socket.send_bytes(piece)
        socket.send_json({"is_speaking": False})
        assert socket.receive_json() == final("1.00 s at 0.50")
        socket.send_json(BEGIN)
        socket.send_bytes(SECOND[:8000])
        socket.send_json({"is_speaking": False})
        assert socket.receive_json() == final("0.25 s at 0.50")
    assert [language for language, _asker in ears.asked] == ["zh", "zh"]


def test_without_sound_there_is_no_text() -> None:
    """And nobody is asked for one."""
    ears = Ears()
    with served(ears).websocket_connect("/api/asr") as socket:
        socket.send_json(BEGIN)
        socket.send_json({"is_speaking": False})
        assert socket.receive_json() == final("")
    assert ears.asked == []


@pytest.mark.parametrize(
    ("ears", "words"),
    [
        (Ears(failure=RecognitionError("It failed.", "Say it again.")), "It failed. Say it again."),
        (Ears(missing=BackendUnavailable("silero", "a package is missing", "launch.py fetch ears")), "fetch ears"),
    ],
)
def test_what_cannot_be_recognised_is_told(ears: Ears, words: str) -> None:
    """With its remedy, in LiveTalking's form; then the socket is closed."""
    with served(ears).websocket_connect("/api/asr") as socket:
        socket.send_bytes(SECOND)
        socket.send_json({"is_speaking": False})
        told = socket.receive_json()
        assert told["code"] == -1 and words in told["msg"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


@pytest.mark.parametrize("message", ["{", "[]", '{"mode": "2pass"}', '{"is_speaking": "perhaps"}'])
def test_a_message_that_is_none_is_refused(message: str) -> None:
    """What the socket takes is said."""
    with served(Ears()).websocket_connect("/api/asr") as socket:
        socket.send_text(message)
        assert "is_speaking" in socket.receive_json()["msg"]


def test_what_is_too_long_is_refused() -> None:
    """Before it fills the memory."""
    ears = Ears()
    with served(ears).websocket_connect("/api/asr") as socket:
        for _ in range(round(LONGEST_S) + 1):
            socket.send_bytes(SECOND)
        assert "30 seconds" in socket.receive_json()["msg"]
    assert ears.asked == []


def test_an_address_has_so_many_sockets() -> None:
    """One more is told so, and there is room again once they have ended."""
    client = served(Ears())
    with ExitStack() as stack:
        for _ in range(SOCKETS_EACH):
            stack.enter_context(client.websocket_connect("/api/asr"))
        with client.websocket_connect("/api/asr") as refused:
            assert refused.receive_json()["code"] == -1
    with client.websocket_connect("/api/asr") as socket:
        socket.send_json({"is_speaking": False})
        assert socket.receive_json() == final("")


def test_a_network_has_so_many_sockets_at_a_time() -> None:
    """A /48 of IPv6 addresses has four times what one of them has; whoever is elsewhere has room."""
    app = served(Ears()).app
    with ExitStack() as stack:
        for n in range(4 * SOCKETS_EACH):
            client = TestClient(app, client=(f"2001:db8:5:{n:x}::1", 1))
            stack.enter_context(client.websocket_connect("/api/asr"))
        near, far = (TestClient(app, client=(address, 1)) for address in ("2001:db8:5:ff::1", "2001:db8:6::1"))
        with near.websocket_connect("/api/asr") as refused:
            assert refused.receive_json()["code"] == -1
        with far.websocket_connect("/api/asr") as socket:
            socket.send_json({"is_speaking": False})
            assert socket.receive_json() == final("")


class Speaker:
    """A socket that notes in `closed` that it was closed."""

    def __init__(self, number: int, closed: list[int]) -> None:
        self.number, self.closed = number, closed

    def abandon(self, _code: int, _reason: str) -> None:
        self.closed.append(self.number)


async def test_sockets_that_send_hardly_anything_keep_nobody_out() -> None:
    """When all are open, the one that has been quiet for longest makes room; one that sends sound never does."""
    clock, closed = ManualClock(), list[int]()
    listened = Listened(clock)
    speakers: list[Any] = [Speaker(number, closed) for number in range(SOCKETS + 2)]
    with ExitStack() as stack:
        for number in range(SOCKETS):
            stack.enter_context(listened.one(speakers[number], f"192.0.2.{number // SOCKETS_EACH}", ""))
        with pytest.raises(TooMany), listened.one(speakers[-1], "198.51.100.1", ""):
            pass
        await clock.advance(QUIET_S)
        for number in range(SOCKETS):
            listened.note(speakers[number], 2 if number == 5 else 3 * len(SECOND))
        stack.enter_context(listened.one(speakers[-2], "198.51.100.1", ""))
        assert closed == [5]
        with pytest.raises(TooMany), listened.one(speakers[-1], "198.51.100.1", ""):
            pass


async def test_who_waits_for_a_text_is_not_quiet() -> None:
    """However long that takes: it keeps its socket meanwhile, and the time does not count afterwards."""
    clock, closed = ManualClock(), list[int]()
    listened = Listened(clock)
    speakers: list[Any] = [Speaker(number, closed) for number in range(SOCKETS + 1)]
    with ExitStack() as stack:
        for number in range(SOCKETS):
            stack.enter_context(listened.one(speakers[number], f"192.0.2.{number // SOCKETS_EACH}", ""))
        await clock.advance(1)
        with ExitStack() as waiting:
            for number in range(SOCKETS):
                waiting.enter_context(listened.answering(speakers[number]))
            await clock.advance(2 * QUIET_S)
            with pytest.raises(TooMany), listened.one(speakers[-1], "198.51.100.1", ""):
                pass
        with pytest.raises(TooMany), listened.one(speakers[-1], "198.51.100.1", ""):
            pass
        assert closed == []
        await clock.advance(QUIET_S - 1)
        stack.enter_context(listened.one(speakers[-1], "198.51.100.1", ""))
        assert closed == [0]


def test_a_socket_is_kept_while_its_utterance_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told that there is no room, and the text comes."""
    clock, begun, may_end = ManualClock(), threading.Event(), threading.Event()

    class SlowEars(Ears):
        async def transcribe(self, samples: FloatArray, language: str | None, asker: str) -> Transcript:
            await clock.advance(2 * QUIET_S)
            begun.set()
            assert await asyncio.to_thread(may_end.wait, 20)
            return await super().transcribe(samples, language, asker)

    monkeypatch.setattr("portal.livetalking.asr.SOCKETS", 1)
    with served(SlowEars(), clock) as client, client.websocket_connect("/api/asr") as socket:
        socket.send_bytes(SECOND)
        socket.send_json({"is_speaking": False})
        assert begun.wait(20)
        # It ends an utterance of its own, so it is answered whether or not there is room.
        with client.websocket_connect("/api/asr") as other:
            other.send_json({"is_speaking": False})
            assert other.receive_json()["code"] == -1
        may_end.set()
        assert socket.receive_json() == final("1.00 s at 0.50")


def test_empty_messages_are_no_sound() -> None:
    """They would never fill a recording, and cost as much as others."""
    with served(Ears()).websocket_connect("/api/asr") as socket:
        socket.send_bytes(b"")
        assert "empty" in socket.receive_json()["msg"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


async def test_who_floods_waits_and_is_then_sent_away() -> None:
    """Beyond 800 messages at once they come at 80 a second; after five seconds of waiting the socket is closed."""
    clock = ManualClock()
    taken = 0
    closed_with: list[int] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "websocket.connect"} if taken == 1 else {"type": "websocket.receive", "bytes": b"xx"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.close":
            closed_with.append(message["code"])

    app = FastAPI()
    app.include_router(asr_router(Ears(), "zh", clock))
    scope = {"type": "websocket", "path": "/api/asr", "headers": [], "client": ("203.0.113.5", 1), "query_string": b""}
    serving = asyncio.create_task(app(scope, receive, send))
    for _ in range(10_000):
        if serving.done():
            break
        await clock.advance(0.05)
    await serving
    assert closed_with == [FLOODED]
    assert 800 < taken < 1500


async def test_handshakes_are_counted_before_they_are_taken() -> None:
    """An address that connects again and again is refused as for a request, which costs less."""
    client = served(Ears())
    for _ in range(round(GREETINGS)):
        with client.websocket_connect("/api/asr"):
            pass
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/api/asr"):
        pass
    assert refused.value.status_code == 429

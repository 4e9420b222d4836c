"""Drive an avatar of a Vivavoce portal from Python: let it speak, ask it, and get its pictures and sound.

    from vivavoce_client import Session

    with Session("http://127.0.0.1:7860", avatar="mira") as session:
        session.say("Hello there.")
        for frame in session.frames():
            ...  # frame.image is (height, width, 3) uint8 RGB, frame.sound (1920,) float32 at 48 kHz

`AsyncSession` is the same for asyncio. Both speak the portal's session socket (docs/protocol.md of the portal); the
session ends when the block is left.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import struct
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

__all__ = ["SAMPLE_RATE_HZ", "AsyncSession", "Frame", "PortalError", "Remark", "Session", "Turn", "Wish"]

SAMPLE_RATE_HZ = 48_000
FRAMES_BOUND = 50
"""Frames that wait for frames(): 2 s. Beyond it the oldest is dropped."""
EVENTS_BOUND = 1000
"""Events that wait for events(); beyond it the oldest is dropped."""
MOST_WAITING = 4
"""Sentences of speak() that wait in the portal, which takes eight at most."""
ANSWERED_WITHIN_S = 15.0
OPENED_WITHIN_S = 120.0
"""A network may have to be loaded first."""

_HEADER = struct.Struct("<BBHIq")  # kind, flags, sequence number, bytes of sound, microseconds on the media clock
_MEDIA_KIND = 1
_SPEAKING, _HAS_PICTURE = 1, 2
_SAMPLES = 1920
_REFUSALS = frozenset(
    {"bad_request", "too_often", "too_large", "session_closed"}
)  # of a text; faults of a turn are others
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；\n])\s*")

T = TypeVar("T")


class PortalError(Exception):
    """The portal refused something, or the connection broke: `code` for programs, `hint` the remedy."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint


class Remark(TypedDict):
    """Something that was said in an earlier session."""

    role: Literal["user", "assistant"]
    content: str


class Wish(TypedDict, total=False):
    """What a session should be like; the portal chooses whatever is left out."""

    avatar: str
    voice: str
    tts: str
    lipsync: str
    speed: float
    prompt: str
    greeting: str
    history: list[Remark]
    identity: dict[str, str]
    wait: bool


@dataclass
class Turn:
    """One question and its answer, or one text that is spoken as it is. It changes while the session goes on."""

    number: int
    state: str = "queued"
    "queued, thinking, speaking, done or interrupted"
    text: str = ""
    "what the language model has answered so far; empty for a text that is spoken as it is"
    errors: list[PortalError] = field(default_factory=list)
    "what went wrong on the way"
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def over(self) -> bool:
        return self.state in ("done", "interrupted")


@dataclass(frozen=True)
class Frame:
    """40 ms: one picture and its sound."""

    time_s: float
    "on the session's media clock"
    speaking: bool
    jpeg: bytes
    "the picture as it came; the last one again if none came with this frame"
    sound: NDArray[np.float32]
    "(1920,) mono at 48 kHz, -1 to 1"

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(height, width, 3) RGB."""
        with Image.open(io.BytesIO(self.jpeg)) as picture:
            return np.asarray(picture.convert("RGB"))


class AsyncSession:
    """One session of an avatar, from `async with` to its end.

    url: of the portal, e.g. http://127.0.0.1:7860, or below a path of a proxy. media: whether pictures and sound are
    wanted; without them only events come. headers: sent as the connection is made, e.g. Authorization where the portal
    has a login. wish: see Wish.
    """

    def __init__(
        self, url: str, *, media: bool = True, headers: Mapping[str, str] | None = None, **wish: Unpack[Wish]
    ) -> None:
        self._address = _socket_address(url)
        self._headers = dict(headers or {})
        self._wish = wish
        self._media = media
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._frames: _Latest[Frame] = _Latest(FRAMES_BOUND)
        self._events: _Latest[dict[str, Any]] = _Latest(EVENTS_BOUND)
        self._turns: dict[int, Turn] = {}  # those that have not ended
        self._asking = asyncio.Lock()
        self._asked: asyncio.Future[Turn] | None = None
        self._jpeg = b""
        self.welcome: dict[str, Any] = {}
        "what the portal said when the session was opened: session, avatar, gestures, width, height, fps, sampleRate"

    async def __aenter__(self) -> Self:
        """Raises PortalError (no place, no such avatar, a login is needed, ...), OSError (nobody is there)."""
        self._socket = await self._connected()
        try:
            async with asyncio.timeout(None if self._wish.get("wait") else OPENED_WITHIN_S):
                await self._send("hello", **self._wish)
                self.welcome = await self._welcomed(self._socket)
            self._reading = asyncio.create_task(self._read(self._socket), name="vivavoce session")
            if self._media:
                await self._send("media", use="websocket")
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the session. Idempotent."""
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(ConnectionClosed):
                await socket.send('{"type": "bye"}')
            await socket.close()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end(PortalError("session_closed", "The session has ended."))

    async def say(self, text: str, event: object = None) -> Turn:
        """Speak a text as it is, after what is being said. Returns when it waits to be spoken. Raises PortalError.

        event: any JSON; the message `speech` brings it back when the speech begins, and when it has ended.
        """
        return await self._ask(text, "echo", event)

    async def ask(self, text: str, event: object = None) -> Turn:
        """Let the language model answer; what is being said is interrupted. event: see say(). Raises PortalError."""
        return await self._ask(text, "chat", event)

    async def speak(self, pieces: AsyncIterable[str] | Iterable[str]) -> None:
        """Speak a text that comes in pieces, such as the stream of a language model, sentence by sentence.

        Returns when the last sentence waits to be spoken. Raises PortalError.
        """
        turns: deque[Turn] = deque()
        async for sentence in _sentences(pieces):
            while len(turns) >= MOST_WAITING:
                await self.finished(turns.popleft())
            turns.append(await self.say(sentence))

    async def finished(self, turn: Turn) -> Turn:
        """Wait until a turn is done or interrupted. Raises PortalError if the session ends before."""
        await turn._ended.wait()
        if not turn.over:
            raise self._events.fault or PortalError("session_closed", "The session has ended.")
        return turn

    async def interrupt(self) -> None:
        """Stop speaking, and forget what waits to be spoken."""
        await self._send("interrupt")

    async def gesture(self, name: str | None = None) -> None:
        """Show one of the avatar's gestures (`welcome["gestures"]`); None: back to the idle loop."""
        await self._send("gesture", name=name)

    async def swap_avatar(self, avatar: str) -> None:
        """Go on as another avatar; the event `avatar` comes when that is done."""
        await self._send("avatar", id=avatar)

    async def change(self, **wishes: Any) -> None:
        """Go on with another `tts`, `voice`, `speed`, `lipsync` or `prompt`; None takes a wish back.

        The event `choice` says what is in force then.
        """
        await self._send("change", **wishes)

    def frames(self) -> AsyncIterator[Frame]:
        """25 frames per second until the session ends. For one reader; one that is slower misses the oldest."""
        return self._frames.all()

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """The portal's messages, e.g. {"type": "subtitle", "text": ...}, until the session ends. For one reader."""
        return self._events.all()

    async def _connected(self) -> ClientConnection:
        try:
            return await connect(self._address, additional_headers=self._headers, max_size=2**24)
        except InvalidStatus as error:
            raise _refusal_of(bytes(error.response.body)) from error

    async def _ask(self, text: str, mode: str, event: object) -> Turn:
        async with self._asking:  # the portal queues turns in the order in which it was asked
            self._asked = asyncio.get_running_loop().create_future()
            try:
                await self._send("say", text=text, mode=mode, event=event)
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    return await self._asked
            finally:
                self._asked = None

    async def _send(self, kind: str, **fields: object) -> None:
        if self._socket is None:
            raise PortalError("session_closed", "There is no session.", "Use `with Session(...)`.")
        try:
            await self._socket.send(json.dumps({"type": kind, **fields}))
        except ConnectionClosed as error:
            raise _broken(error) from error

    async def _welcomed(self, socket: ClientConnection) -> dict[str, Any]:
        try:
            async for raw in socket:
                message: dict[str, Any] = json.loads(raw)
                if message["type"] == "welcome":
                    return message
                if message["type"] == "error":
                    raise _error_of(message)
        except ConnectionClosed as error:
            raise _broken(error) from error
        raise PortalError("session_closed", "The portal has closed the connection.")

    async def _read(self, socket: ClientConnection) -> None:
        fault = PortalError("session_closed", "The session has ended.")
        try:
            async for raw in socket:
                if isinstance(raw, bytes):
                    self._take_media(raw)
                else:
                    self._take(json.loads(raw))
        except ConnectionClosed as error:
            fault = _broken(error)
        finally:
            self._end(fault)

    def _take_media(self, raw: bytes) -> None:
        kind, flags, _sequence, sound_bytes, time_us = _HEADER.unpack_from(raw)
        if kind != _MEDIA_KIND:
            return
        at = _HEADER.size + sound_bytes
        if flags & _HAS_PICTURE:
            self._jpeg = raw[at:]
        if not self._jpeg:
            return
        samples = np.frombuffer(raw[_HEADER.size : at], "<i2").astype(np.float32) / np.float32(32768)
        sound = samples if sound_bytes else np.zeros(_SAMPLES, np.float32)
        self._frames.put(Frame(time_us / 1e6, bool(flags & _SPEAKING), self._jpeg, sound))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "turn", "turn": int(number), "state": str(state)}:
                self._take_turn(number, state)
            case {"type": "text", "turn": int(number), "delta": str(delta)} if number in self._turns:
                self._turns[number].text += delta
            case {"type": "error"}:
                self._take_error(_error_of(message))
        self._events.put(message)

    def _take_turn(self, number: int, state: str) -> None:
        if state == "queued":
            turn = self._turns[number] = Turn(number)
            if self._asked is not None and not self._asked.done():
                self._asked.set_result(turn)
        elif number in self._turns:
            turn = self._turns[number]
            turn.state = state
            if turn.over:
                del self._turns[number]
                turn._ended.set()

    def _take_error(self, error: PortalError) -> None:
        if error.code in _REFUSALS:
            if self._asked is not None and not self._asked.done():
                self._asked.set_exception(error)
            return
        for turn in tuple(self._turns.values())[:1]:  # the one that is at work
            turn.errors.append(error)

    def _end(self, fault: PortalError) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(fault)
        self._frames.end()
        self._events.end(fault)
        for turn in self._turns.values():
            turn._ended.set()


class Session:
    """AsyncSession for programs without asyncio. Its connection has a thread of its own."""

    def __init__(
        self, url: str, *, media: bool = True, headers: Mapping[str, str] | None = None, **wish: Unpack[Wish]
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vivavoce session", daemon=True)
        self._session = AsyncSession(url, media=media, headers=headers, **wish)

    @property
    def welcome(self) -> dict[str, Any]:
        return self._session.welcome

    def __enter__(self) -> Self:
        """Raises PortalError (no place, no such avatar, ...), OSError (nobody is there)."""
        self._thread.start()
        try:
            self._do(self._session.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session. Idempotent."""
        if self._thread.is_alive():
            self._do(self._session.aclose())
            self._stop()

    def say(self, text: str, event: object = None) -> Turn:
        """See AsyncSession.say()."""
        return self._do(self._session.say(text, event))

    def ask(self, text: str, event: object = None) -> Turn:
        """See AsyncSession.ask()."""
        return self._do(self._session.ask(text, event))

    def speak(self, pieces: Iterable[str]) -> None:
        """See AsyncSession.speak(). The pieces are made in another thread."""
        self._do(self._session.speak(pieces))

    def finished(self, turn: Turn) -> Turn:
        """See AsyncSession.finished()."""
        return self._do(self._session.finished(turn))

    def interrupt(self) -> None:
        """See AsyncSession.interrupt()."""
        self._do(self._session.interrupt())

    def gesture(self, name: str | None = None) -> None:
        """See AsyncSession.gesture()."""
        self._do(self._session.gesture(name))

    def swap_avatar(self, avatar: str) -> None:
        """See AsyncSession.swap_avatar()."""
        self._do(self._session.swap_avatar(avatar))

    def change(self, **wishes: Any) -> None:
        """See AsyncSession.change()."""
        self._do(self._session.change(**wishes))

    def frames(self) -> Iterator[Frame]:
        """See AsyncSession.frames()."""
        return self._each(self._session.frames())

    def events(self) -> Iterator[dict[str, Any]]:
        """See AsyncSession.events()."""
        return self._each(self._session.events())

    def _each(self, source: AsyncIterator[T]) -> Iterator[T]:
        while True:
            try:
                yield self._do(_next(source))
            except StopAsyncIteration:
                return

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Latest(Generic[T]):
    """What waits for one reader: the newest `bound` items."""

    def __init__(self, bound: int) -> None:
        self.fault: PortalError | None = None
        self._items: deque[T] = deque(maxlen=bound)
        self._ended = False
        self._changed = asyncio.Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._changed.set()

    def end(self, fault: PortalError | None = None) -> None:
        self.fault = self.fault or fault
        self._ended = True
        self._changed.set()

    async def all(self) -> AsyncIterator[T]:
        while True:
            while self._items:
                yield self._items.popleft()
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _sentences(pieces: AsyncIterable[str] | Iterable[str]) -> AsyncIterator[str]:
    rest = ""
    async for piece in pieces if isinstance(pieces, AsyncIterable) else _in_a_thread(pieces):
        *whole, rest = _SENTENCE_END.split(rest + piece)
        for sentence in filter(str.strip, whole):
            yield sentence
    if rest.strip():
        yield rest


async def _in_a_thread(pieces: Iterable[str]) -> AsyncIterator[str]:
    """Waiting for a piece must not hold up the connection."""
    source = iter(pieces)
    while (piece := await asyncio.to_thread(next, source, None)) is not None:
        yield piece


def _socket_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is no address of a portal; write it like http://127.0.0.1:7860")
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/session"


def _error_of(message: dict[str, Any]) -> PortalError:
    return PortalError(str(message.get("code", "")), str(message.get("message", "")), str(message.get("hint", "")))


def _refusal_of(body: bytes) -> PortalError:
    """What an HTTP answer in the place of a connection says."""
    try:
        return _error_of(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return PortalError("connection_lost", "There is no portal at this address.", "Correct the address.")


def _broken(error: ConnectionClosed) -> PortalError:
    return PortalError("connection_lost", f"The connection to the portal has ended: {error}.", "Open a new session.")

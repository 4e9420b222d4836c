"""AsyncSession: a session with an avatar, over the portal's session socket (docs/protocol.md of the portal)."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any, Self, Unpack
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from vivavoce_client._queues import Latest, sentences_of
from vivavoce_client._sound import SpokenSound
from vivavoce_client._types import Frame, PortalError, Turn, Wish

FRAMES_BOUND = 50
"""Most frames that wait for frames(): 2 s. When it is full, the oldest is dropped."""
EVENTS_BOUND = 1000
"""Most events that wait for events(). When it is full, the oldest is dropped."""
MAX_WAITING = 4
"""Most sentences of speak() that wait in the portal at a time. The portal itself takes eight."""
ANSWERED_WITHIN_S = 15.0
OPENED_WITHIN_S = 120.0
"""How long opening a session may take. It is long because the portal may have to load a network first."""

_HEADER = struct.Struct("<BBHIq")  # kind, flags, sequence number, bytes of sound, microseconds on the media clock
_MEDIA_KIND = 1
_SPEAKING, _HAS_PICTURE = 1, 2
_SAMPLES = 1920
_REFUSALS = frozenset({"bad_request", "too_often", "too_large", "session_closed"})
"""Codes of errors by which a text itself is refused. Other errors belong to a turn that was queued."""
_PORTAL_STOPS = 1012
_SESSION_ENDED = (1008, "The session has ended.")
"""Close code and reason of a session that ended in order. 1008 with another reason is a fault."""


class AsyncSession:
    """A session with an avatar. It is opened by `async with`, and ends with the block.

    url: the portal's, e.g. http://127.0.0.1:7860, or with a path behind a proxy. media: whether pictures and sound are
    wanted; without them only events come. headers: HTTP headers of the handshake, e.g. Authorization if the portal has
    a login. wish: see Wish.
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
        self._frames: Latest[Frame] = Latest(FRAMES_BOUND)
        self._events: Latest[dict[str, Any]] = Latest(EVENTS_BOUND)
        self._end_reason: PortalError | None = None  # why the session has ended; None while it goes on
        self._turns: dict[int, Turn] = {}  # those that have not ended
        self._asking = asyncio.Lock()
        self._asked: asyncio.Future[Turn] | None = None
        self._jpeg = b""
        self._media_s = 0.0
        self.welcome: dict[str, Any] = {}
        "The portal's answer to opening the session: session, avatar, gestures, width, height, fps, sampleRate."

    async def __aenter__(self) -> Self:
        """Open the session.

        Raises PortalError (no place, no such avatar, a login is needed, ...), OSError (there is no server).
        """
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
        self._end()

    async def say(self, text: str, event: object = None) -> Turn:
        """Speak a text as it is, after what is being said. Returns as soon as it is queued. Raises PortalError.

        event: any JSON value. It comes back in `speech` messages, when the speech begins and when it ends.
        """
        return await self._ask(text, "echo", event)

    async def ask(self, text: str, event: object = None) -> Turn:
        """Interrupt what is being said, and let the language model answer. event: see say(). Raises PortalError."""
        return await self._ask(text, "chat", event)

    async def speak(self, pieces: AsyncIterable[str] | Iterable[str]) -> None:
        """Speak a text sentence by sentence while it comes in pieces, for example from a language model.

        Returns when the last sentence is queued. Raises PortalError.
        """
        turns: deque[Turn] = deque()
        async for sentence in sentences_of(pieces):
            while len(turns) >= MAX_WAITING:
                await self.finished(turns.popleft())
            turns.append(await self.say(sentence))

    async def open_sound(self, rate_hz: int, event: object = None) -> SpokenSound:
        """Speak your own sound after what is being said. Write the sound to the returned object. Raises PortalError.

        rate_hz: sampling rate of the sound, 8,000 to 48,000. event: see say().
        """
        return SpokenSound(await self._queued("speak", rate=rate_hz, event=event), rate_hz, self._send_raw)

    async def play(self, samples: NDArray[np.int16] | NDArray[np.float32], rate_hz: int, event: object = None) -> Turn:
        """Speak a recording: (n,) mono, as int16 or as float32 from -1 to 1. Returns when all of it has been sent.

        rate_hz, event: see open_sound(). Raises PortalError.
        """
        sound = await self.open_sound(rate_hz, event)
        await sound.write(samples)
        await sound.end()
        return sound.turn

    async def finished(self, turn: Turn) -> Turn:
        """Wait until a turn is done or interrupted, and return it. Raises PortalError if the session ends first."""
        await turn._ended.wait()
        if not turn.over:
            raise self._end_reason or _closed()
        return turn

    async def interrupt(self) -> None:
        """Stop speaking, and drop everything that waits to be spoken."""
        await self._send("interrupt")

    async def gesture(self, name: str | None = None) -> None:
        """Show one of the avatar's gestures (`welcome["gestures"]`). None: go back to the idle loop."""
        await self._send("gesture", name=name)

    async def swap_avatar(self, avatar: str) -> None:
        """Change to another avatar. The event `avatar` comes when that is done."""
        await self._send("avatar", id=avatar)

    async def change(self, **wishes: Any) -> None:
        """Change `tts`, `voice`, `speed`, `lipsync` or `prompt`. None: go back to the portal's or the avatar's own.

        The event `choice` says what is in force afterwards.
        """
        await self._send("change", **wishes)

    def frames(self) -> AsyncIterator[Frame]:
        """Yield 25 frames per second until the session ends. For one reader; a slow one misses the oldest frames.

        Raises PortalError if the connection breaks.
        """
        return self._frames.all()

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the portal's messages, e.g. {"type": "subtitle", ...}, until the session ends. For one reader.

        Raises PortalError if the connection breaks.
        """
        return self._events.all()

    async def _connected(self) -> ClientConnection:
        try:
            return await connect(self._address, additional_headers=self._headers, max_size=2**24)
        except InvalidStatus as error:
            raise _refusal_of(bytes(error.response.body)) from error

    async def _ask(self, text: str, mode: str, event: object) -> Turn:
        return await self._queued("say", text=text, mode=mode, event=event)

    async def _queued(self, kind: str, **fields: object) -> Turn:
        # One request at a time: the portal's answers do not name the request, so the next `queued` must be for ours.
        async with self._asking:
            self._asked = asyncio.get_running_loop().create_future()
            try:
                await self._send(kind, **fields)
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    return await self._asked
            finally:
                self._asked = None

    async def _send(self, kind: str, **fields: object) -> None:
        await self._send_raw(json.dumps({"type": kind, **fields}))

    async def _send_raw(self, data: str | bytes) -> None:
        if self._socket is None:
            raise PortalError("session_closed", "There is no session.", "Use `with Session(...)`.")
        try:
            await self._socket.send(data)
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
        fault = None
        try:
            async for raw in socket:
                if isinstance(raw, bytes):
                    self._take_media(raw)
                else:
                    self._take(json.loads(raw))
        except ConnectionClosed as error:
            # While aclose() closes the socket, it does not matter how that goes.
            if self._socket is not None and not _is_orderly(error):
                fault = _broken(error)
        finally:
            self._end(fault)

    def _take_media(self, raw: bytes) -> None:
        kind, flags, _sequence, sound_bytes, time_us = _HEADER.unpack_from(raw)
        if kind != _MEDIA_KIND:
            return
        self._media_s = time_us / 1e6
        at = _HEADER.size + sound_bytes
        if flags & _HAS_PICTURE:
            self._jpeg = raw[at:]
        if not self._jpeg:
            return
        samples = np.frombuffer(raw[_HEADER.size : at], "<i2").astype(np.float32) / np.float32(32768)
        sound = samples if sound_bytes else np.zeros(_SAMPLES, np.float32)
        self._frames.put(Frame(self._media_s, bool(flags & _SPEAKING), self._jpeg, sound))

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
            if state == "speaking" and turn._spoken_since_s is None:
                turn._spoken_since_s = asyncio.get_running_loop().time()
            if turn.over:
                turn._over_at_s = self._media_s
                del self._turns[number]
                turn._ended.set()

    def _take_error(self, error: PortalError) -> None:
        if error.code in _REFUSALS:
            if self._asked is not None and not self._asked.done():
                self._asked.set_exception(error)
            return
        for turn in tuple(self._turns.values())[:1]:  # the error belongs to the oldest turn, which is being worked on
            turn.errors.append(error)

    def _end(self, fault: PortalError | None = None) -> None:
        """Tell everybody who waits that the session has ended. fault: how the connection broke, if it did."""
        self._end_reason = self._end_reason or fault or _closed()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(self._end_reason)
        self._frames.end(fault)
        self._events.end(fault)
        for turn in self._turns.values():
            turn._ended.set()


def _socket_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is no address of a portal; write it like http://127.0.0.1:7860")
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{parts.path.rstrip('/')}/session"


def _error_of(message: dict[str, Any]) -> PortalError:
    return PortalError(str(message.get("code", "")), str(message.get("message", "")), str(message.get("hint", "")))


def _refusal_of(body: bytes) -> PortalError:
    """Return the error in an HTTP response that refused the handshake."""
    try:
        return _error_of(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return PortalError("connection_lost", "There is no portal at this address.", "Correct the address.")


def _closed() -> PortalError:
    return PortalError("session_closed", "The session has ended.")


def _is_orderly(error: ConnectionClosed) -> bool:
    """Whether the portal ended the session in order, with a code that websockets takes for a fault."""
    close = error.rcvd
    return close is not None and (close.code == _PORTAL_STOPS or (close.code, close.reason) == _SESSION_ENDED)


def _broken(error: ConnectionClosed) -> PortalError:
    return PortalError("connection_lost", f"The connection to the portal has ended: {error}.", "Open a new session.")

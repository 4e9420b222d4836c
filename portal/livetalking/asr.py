"""LiveTalking's speech recognition: a client sends sound over a WebSocket, in FunASR's protocol, and gets text back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError

from models.errors import VivavoceError
from pipeline.clock import Clock
from pipeline.ears.hearing import Senses
from pipeline.ears.utterance import LONGEST_S
from pipeline.errors import BadRequest
from pipeline.types import LISTEN_RATE_HZ
from portal.api.allowances import SocketAllowances
from portal.api.viewer_socket import TRY_AGAIN_LATER, ViewerSocket
from portal.http.errors import error_response_for
from portal.http.limits import AskerShares, TooMany, TooOften
from portal.http.people import Person, person_of, require_stay
from portal.http.proxies import address_of
from portal.livetalking.answers import Body

__all__ = ["SOCKETS_EACH", "Hearing", "Listened", "asr_router"]

SILENT_S = 60.0
"""Time without sound after which the socket is closed."""
SOCKETS, SOCKETS_EACH = 32, 4
"""Most sockets that may be open at a time: in total, and for one address or one person."""
QUIET_S, ENOUGH_S = 20.0, 2.0
"""When SOCKETS are open, one that has sent less than ENOUGH_S of sound in the last QUIET_S makes room for the next."""
COST = 0.25
"""Cost of a message in the allowance of a ViewerSocket, which comes to 800 messages at once and then 80 per second.
LiveTalking's pages send one for each 60 ms of sound, but programs may send a whole recording at once."""
BROKEN, SILENT = 1011, 1000
"""Close codes: after an error, of which a message told first, and after a long silence."""


class Hearing(Protocol):
    """The part of pipeline.ears.hearing.Hearing that is used here."""

    async def loaded(self) -> Senses:
        """Return the loaded models. Raises VivavoceError."""
        ...


class Told(Body):
    """A text message. FunASR has more fields, but they only state what is always the case here."""

    is_speaking: bool


@dataclass(slots=True)
class _Lately:
    """What a socket has sent lately."""

    since_s: float
    "clock time at which it was opened, or had last sent enough; later by the time in which it waited for texts"
    bytes: int = 0
    "what it has sent since then"
    is_waiting: bool = False
    "whether it waits for a text, and so sends nothing"


class Listened:
    """The sockets that are listened to. Those that send hardly anything cannot keep others out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._each = AskerShares(SOCKETS_EACH)
        self._open: dict[ViewerSocket, _Lately] = {}

    @contextmanager
    def one(self, speaker: ViewerSocket, address: str, person: str) -> Iterator[None]:
        """Count a socket for as long as the block runs. Call note() with all its sound. Raises TooMany."""
        refusal = TooMany("Too many are being listened to.", "Try again in a minute.")
        with self._each.held(address, person, refusal):
            if len(self._open) >= SOCKETS and not self._end_quietest():
                raise refusal
            self._open[speaker] = _Lately(self._clock.now_s())
            try:
                yield
            finally:
                self._open.pop(speaker, None)

    def note(self, speaker: ViewerSocket, size: int) -> None:
        """Note that so many bytes of sound have come."""
        lately = self._open.get(speaker)
        if lately is not None:
            lately.bytes += size
            if lately.bytes >= ENOUGH_S * 2 * LISTEN_RATE_HZ:
                lately.since_s, lately.bytes = self._clock.now_s(), 0

    @contextmanager
    def answering(self, speaker: ViewerSocket) -> Iterator[None]:
        """Keep a socket open while the block recognises what it has sent. That time does not count as silence.

        It is left out, and the count does not begin anew: else one could keep its socket by asking for nothing.
        """
        lately = self._open.get(speaker)
        if lately is None:  # it has just made room for another
            yield
            return
        since_s, lately.is_waiting = self._clock.now_s(), True
        try:
            yield
        finally:
            lately.since_s += self._clock.now_s() - since_s
            lately.is_waiting = False

    def _end_quietest(self) -> bool:
        """Close the socket that has sent next to nothing for longest. Return whether there was one."""
        since_s = {speaker: lately.since_s for speaker, lately in self._open.items() if not lately.is_waiting}
        quietest = min(since_s, key=since_s.__getitem__, default=None)
        if quietest is None or self._clock.now_s() - since_s[quietest] < QUIET_S:
            return False
        del self._open[quietest]
        quietest.abandon(TRY_AGAIN_LATER, "Others wait to be listened to.")
        return True


def asr_router(hearing: Hearing, language: str | None, clock: Clock) -> APIRouter:
    """Return the route /api/asr. language: what is spoken, as ISO 639-1; None: it is detected."""
    router = APIRouter()
    listened, allowances = Listened(clock), SocketAllowances(clock)

    @router.websocket("/api/asr")
    async def recognise(socket: WebSocket) -> None:
        """Recognise speech. Binary messages are PCM16 at 16 kHz, mono; {"is_speaking": false} ends an utterance."""
        address, person, speaker = address_of(socket.scope), person_of(socket.scope), ViewerSocket(socket, clock)
        try:
            allowances.charge_greeting(address)
        except TooOften as error:
            await speaker.deny(error_response_for(error))
            return
        if not await speaker.accept():
            return
        deadlines = asyncio.create_task(speaker.keep_deadlines(), name="deadlines of a socket that is listened to")
        try:
            with listened.one(speaker, address, person.name):
                await _listen(speaker, hearing, language, address, person, listened)
        except VivavoceError as error:
            await speaker.send_json({"code": -1, "msg": f"{error.message} {error.hint}".strip()})
            speaker.abandon(BROKEN, "See the last message.")
        except TimeoutError:
            speaker.abandon(SILENT, "Nothing was said.")
        finally:
            await speaker.closed()
            deadlines.cancel()

    return router


async def _listen(
    speaker: ViewerSocket, hearing: Hearing, language: str | None, asker: str, person: Person, listened: Listened
) -> None:
    """Recognise one utterance after another until the speaker is gone. asker: the client's address.

    Raises VivavoceError, and TimeoutError after SILENT_S without sound.
    """
    sound = bytearray()
    messages = speaker.messages()
    loop = asyncio.get_running_loop()
    sounded_s = loop.time()
    while True:
        async with asyncio.timeout_at(sounded_s + SILENT_S):
            message = await anext(messages, None)
        if message is None:
            return
        await speaker.pay(COST)
        if isinstance(message, bytes):
            if not message:
                raise BadRequest("A message of sound is empty.", "Send PCM16 at 16 kHz, mono.")
            sound += message
            listened.note(speaker, len(message))
            sounded_s = loop.time()
            if len(sound) > 2 * LONGEST_S * LISTEN_RATE_HZ:
                raise BadRequest(f"That lasts longer than {LONGEST_S:.0f} seconds.", "Say it in parts.")
        elif not _speaks(message):
            require_stay(person)
            with listened.answering(speaker):
                text = await _text_of(bytes(sound), hearing, language, asker)
            sound.clear()
            sounded_s = loop.time()
            await speaker.send_json({"text": text, "mode": "2pass-offline", "is_final": True, "timestamp": None})


def _speaks(message: str) -> bool:
    try:
        return Told.model_validate_json(message).is_speaking
    except ValidationError as error:
        raise BadRequest("The message is malformed.", 'Send {"is_speaking": true or false}.') from error


async def _text_of(sound: bytes, hearing: Hearing, language: str | None, asker: str) -> str:
    """Recognise what is said. sound: PCM16 at LISTEN_RATE_HZ, mono. Raises VivavoceError."""
    samples = np.asarray(np.frombuffer(sound[: len(sound) // 2 * 2], "<i2") / 32768, np.float32)
    if not len(samples):
        return ""
    senses = await hearing.loaded()
    return (await senses.recognition.transcribe(samples, language, asker)).text

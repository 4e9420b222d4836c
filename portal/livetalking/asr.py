"""LiveTalking's recognition of speech: sound comes over a WebSocket in FunASR's protocol, and a text goes back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from models.errors import VivavoceError
from pipeline.ears.hearing import Senses
from pipeline.ears.utterance import LONGEST_S
from pipeline.errors import BadRequest
from pipeline.types import LISTEN_RATE_HZ
from portal.http.limits import Shares, TooMany
from portal.http.proxies import address_of
from portal.livetalking.answers import Body

__all__ = ["SOCKETS_EACH", "Hearing", "asr_router"]

SILENT_S = 60.0
"""After so long without a message the socket is closed."""
SOCKETS, SOCKETS_EACH = 32, 4
"""Open at one time: of all addresses, and of one."""
ALL = "all"
BROKEN = 1011
"""How the socket is closed after an error, which was told before."""


class Hearing(Protocol):
    """What is needed here of pipeline.ears.hearing.Hearing."""

    async def loaded(self) -> Senses:
        """Raises VivavoceError."""
        ...


class Told(Body):
    """A text message; FunASR's other fields say what is always so here."""

    is_speaking: bool


def asr_router(hearing: Hearing, language: str | None) -> APIRouter:
    """language: what is spoken, ISO 639-1; None: found out."""
    router = APIRouter()
    sockets, sockets_each = Shares(SOCKETS), Shares(SOCKETS_EACH)

    def one_of(shares: Shares, whose: str) -> AbstractContextManager[None]:
        if not whose:  # a program on the same machine
            return nullcontext()
        return shares.held(whose, TooMany("Too many are being listened to.", "Try again in a minute."))

    @router.websocket("/api/asr")
    async def recognise(socket: WebSocket) -> None:
        """Binary messages are PCM16 at 16 kHz, mono; {"is_speaking": false} ends what is said."""
        address = address_of(socket.scope)
        await socket.accept()
        try:
            with one_of(sockets, ALL), one_of(sockets_each, address):
                await _listen(socket, hearing, language, address or ALL)
        except VivavoceError as error:
            await socket.send_json({"code": -1, "msg": f"{error.message} {error.hint}".strip()})
            await socket.close(BROKEN)
        except TimeoutError:
            await socket.close()
        except WebSocketDisconnect:
            pass  # nobody is there any more

    return router


async def _listen(socket: WebSocket, hearing: Hearing, language: str | None, asker: str) -> None:
    """One utterance after another. Raises VivavoceError, TimeoutError, WebSocketDisconnect."""
    sound = bytearray()
    while True:
        async with asyncio.timeout(SILENT_S):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            sound += message["bytes"]
            if len(sound) > 2 * LONGEST_S * LISTEN_RATE_HZ:
                raise BadRequest(f"That lasts longer than {LONGEST_S:.0f} seconds.", "Say it in parts.")
        elif not _speaks(message["text"]):
            text = await _text_of(bytes(sound), hearing, language, asker)
            sound.clear()
            await socket.send_json({"text": text, "mode": "2pass-offline", "is_final": True, "timestamp": None})


def _speaks(message: str) -> bool:
    try:
        return Told.model_validate_json(message).is_speaking
    except ValidationError as error:
        raise BadRequest("The message is malformed.", 'Send {"is_speaking": true or false}.') from error


async def _text_of(sound: bytes, hearing: Hearing, language: str | None, asker: str) -> str:
    """sound: PCM16. Raises VivavoceError."""
    samples = np.asarray(np.frombuffer(sound[: len(sound) // 2 * 2], "<i2") / 32768, np.float32)
    if not len(samples):
        return ""
    senses = await hearing.loaded()
    return (await senses.recognition.transcribe(samples, language, asker)).text

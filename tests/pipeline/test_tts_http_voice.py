"""What a voice makes of the sound of its service, in whatever pieces that comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx2 as httpx
import numpy as np

from models.arrays import FloatArray
from pipeline.tts.http_voice import CHUNK_S, Asking, HttpVoice, PcmDecoder, SoundDecoder

RATE_HZ = 8000


class Measured(np.ndarray[Any, np.dtype[np.float32]]):
    """Samples that count how often their number is asked for."""

    asked = 0

    def __len__(self) -> int:
        Measured.asked += 1
        return super().__len__()


class MeasuredDecoder(PcmDecoder):
    def push(self, data: bytes) -> FloatArray:
        return super().push(data).view(Measured)


class CrumbVoice(HttpVoice):
    """Its service sends one byte at a time."""

    name, service_name = "crumbs", "Crumbs"

    def __init__(self, pieces: int) -> None:
        super().__init__("http://127.0.0.1:9")
        self._pieces = pieces

    def request(self, client: httpx.AsyncClient, text: str, voice: str, speed: float = 1.0) -> httpx.Request:
        raise NotImplementedError

    def decoder(self) -> SoundDecoder:
        return MeasuredDecoder(RATE_HZ)

    async def _answer(self, asking: Asking) -> AsyncGenerator[bytes, None]:
        for _ in range(self._pieces):
            yield b"\x01"


async def test_sound_in_crumbs_costs_a_step_for_each_and_comes_whole() -> None:
    """What has come before is not counted again with each piece: others wait meanwhile."""
    Measured.asked = 0
    pieces = 4 * round(CHUNK_S * RATE_HZ) + 20
    async with aclosing(CrumbVoice(pieces)._sound(lambda _client: httpx.Request("GET", "http://x"))) as sounds:
        lengths = [len(samples) async for samples, _rate in sounds]
    assert lengths == [round(CHUNK_S * RATE_HZ)] * 2 + [10]
    assert Measured.asked <= 3 * pieces

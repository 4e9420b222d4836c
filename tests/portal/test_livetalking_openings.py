"""Whose recording is decoded, where several want one spoken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect

from pipeline.errors import RenderError
from portal.http.limits import TooMany
from portal.intake.uploads import MAX_SPEECH_S
from portal.livetalking import openings as module
from portal.livetalking.openings import OPENED_EACH, SHORT_S, Openings

HOG, HONEST = "203.0.113.1", "203.0.113.2"


class Decoder:
    """Decodes until it is told to stop; notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, path: Path, longest_s: float) -> str:
        self.asked.append((path.name, longest_s))
        if path.name == "honest":
            return "honest"
        if path.name == "lies" and longest_s < MAX_SPEECH_S:
            raise RenderError("It is longer.", "Cut it.", cause="too_long")
        await self.go_on.wait()
        return path.name


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Decoder:
    decoder = Decoder()
    monkeypatch.setattr(module, "open_recording", decoder)
    return decoder


async def there() -> bool:
    return False


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("declared_s", [1.0, 600.0])
async def test_many_recordings_of_one_address_hold_up_nobody_else(decoder: Decoder, declared_s: float) -> None:
    """One of them is decoded at a time, and few wait; further ones are refused before they are decoded."""
    openings = Openings()
    hogs = [asyncio.create_task(openings.open(Path("hog"), declared_s, HOG, there)) for _ in range(60)]
    await settled()
    assert len(decoder.asked) == 1
    assert str(await openings.open(Path("honest"), 2.0, HONEST, there)) == "honest"
    decoder.go_on.set()
    ends = await asyncio.gather(*hogs, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, TooMany)]
    assert len(refused) == 60 - OPENED_EACH and refused[0].hint
    assert [end for end in ends if not isinstance(end, TooMany)] == ["hog"] * OPENED_EACH


async def test_long_recordings_of_many_addresses_hold_up_no_short_one(decoder: Decoder) -> None:
    """They have a place of their own, also those whose packets say that they are short."""
    openings = Openings()
    long = [asyncio.create_task(openings.open(Path("long"), SHORT_S + 1, f"198.51.100.{n}", there)) for n in range(5)]
    lies = [asyncio.create_task(openings.open(Path("lies"), 1.0, f"198.51.100.{n}", there)) for n in range(5, 10)]
    await settled()
    assert decoder.asked.count(("long", MAX_SPEECH_S)) + decoder.asked.count(("lies", MAX_SPEECH_S)) == 1
    assert str(await openings.open(Path("honest"), 2.0, HONEST, there)) == "honest"
    decoder.go_on.set()
    assert await asyncio.gather(*long, *lies) == ["long"] * 5 + ["lies"] * 5


async def test_who_has_hung_up_has_nothing_decoded(decoder: Decoder) -> None:
    """It is looked for when it is the recording's turn."""

    async def gone() -> bool:
        return True

    openings = Openings()
    for declared_s in (1.0, 600.0):
        with pytest.raises(ClientDisconnect):
            await openings.open(Path("honest"), declared_s, HONEST, gone)
    assert decoder.asked == []

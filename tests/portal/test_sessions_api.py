"""A program drives a session of a portal as a user starts it, by HTTP and WHEP alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiortc.mediastreams import MediaStreamError

from portal.commands.portal_process import PortalProcess
from tests.portal.receiving_peer import WITHIN_S, ReceivingPeer

pytestmark = pytest.mark.thorough


@pytest.fixture
async def http(calling_portal: PortalProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=calling_portal.url, timeout=WITHIN_S) as client:
        yield client


async def until(lines: AsyncIterator[str], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """The events up to the one that has these fields."""
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(WITHIN_S):
        async for line in lines:
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                if wanted.items() <= told[-1].items():
                    return told
    raise AssertionError(f"{wanted} was not told, but {told}")


async def test_a_program_makes_an_avatar_speak_and_watches_it(http: httpx.AsyncClient) -> None:
    """Opened with one request; pictures and sound come by WebRTC, to a friend too; events as lines; all of it ends."""
    opened = (await http.post("/api/sessions", json={"avatar": "alpha"})).json()
    http.headers["Authorization"] = f"Bearer {opened['token']}"
    at, peer = opened["addresses"], ReceivingPeer()
    answer = await http.post(at["whep"], content=await peer.offer(), headers={"Content-Type": "application/sdp"})
    assert answer.status_code == 201, answer.text
    await peer.accept(answer.text)
    await peer.shown()
    other = ReceivingPeer()
    async with httpx.AsyncClient(base_url=http.base_url, timeout=WITHIN_S) as friend:  # who has the link alone
        await other.accept((await friend.post(at["watch"], content=await other.offer())).text)
    await other.shown()
    async with http.stream("GET", at["events"]) as stream:
        lines = aiter(stream.aiter_lines())
        turn = (await http.post(at["say"], json={"text": "Hello there."})).json()["turn"]
        await asyncio.gather(peer.loud(), other.loud())
        told = await until(lines, {"type": "turn", "turn": turn, "state": "done"})
        assert "Hello there." in [event.get("text") for event in told]
        turn = (await http.post(at["ask"], json={"text": "One sentence here. " * 12})).json()["turn"]
        await until(lines, {"type": "turn", "turn": turn, "state": "speaking"})
        assert (await http.get(at["session"])).json()["watchers"] == 2
        await http.post(at["interrupt"])
        await until(lines, {"type": "turn", "turn": turn, "state": "interrupted"})
        assert (await http.delete(at["session"])).status_code == 204
        async with asyncio.timeout(WITHIN_S):
            assert [line async for line in lines if line.startswith("data: ")] == []
    with pytest.raises(MediaStreamError):
        async with asyncio.timeout(WITHIN_S):
            while True:
                await peer.track("audio").recv()
    await peer.aclose()
    await other.aclose()

"""Trials of `launch.py chaos` with people who have a bad connection, vanish, are slow, or are hostile."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from portal.commands.bad_path import Trouble
from portal.commands.chaos_arena import Arena
from portal.commands.chaos_peer import chaos_peer, idle_offer
from portal.commands.chaos_strangers import READY
from portal.commands.chaos_trials import Seen, Trial
from portal.commands.chaos_viewer import chaos_viewer, stranger_address
from portal.process import child_environment

__all__ = ["trials_of_people"]

VANISHED, OFFERS, SILENT = 100, 200, 500
FREE_VANISHED_S, FREE_OFFERS_S, FREE_SILENT_S, FREE_SLOW_S = 35.0, 20.0, 15.0, 45.0
MIN_FPS, MAX_CONCEALED_SHARE = 23.0, 0.02
BAD_FOR_S, GOOD_AGAIN_FOR_S = 15.0, 5.0
HOSTILE_FOR_S, HOSTILE = 10.0, 4
EACH_ADDRESS = 5
"Offers or sockets from one address. It is below the allowance of an address, which is not what is tested here."
LONG_TEXT = "The ferry to the island leaves at a quarter past seven from the pier behind the market. " * 8
INPUTS: Final = (
    b"{",
    b'{"type":"say","text":"One two three."}',
    b'{"type":"interrupt"}',
    b'{"type":"offer","sdp":"v=0"}',
    b'{"type":"hello","token":"x"}',
    b'{"type":"candidate","candidate":"candidate:1 1 udp 2 192.0.2.7 9 typ host"}',
    b'{"type":"media","use":"websocket"}',
    b'{"type":"avatar","id":"../../etc"}',
    b'{"type":"change","speed":1e308}',
    b'{"type":"record","on":true}',
)


def trials_of_people() -> list[Trial]:
    some, much = Trouble(lost=0.05, jitter_ms=50), Trouble(lost=0.3, jitter_ms=50)
    mixed = Trouble(jitter_ms=50, overtaking=0.25)
    plenty = f">= {MIN_FPS:.0f} fps, <= {MAX_CONCEALED_SHARE:.0%} of the sound concealed"
    again = "the session lives, and is well again afterwards"
    free = "all places are free within {:.0f} s".format
    return [
        Trial("UDP: 5 % lost, 50 ms jitter", plenty, _on_path(some, is_usable=True)),
        Trial("UDP: 30 % lost, 50 ms jitter", again, _on_path(much, is_usable=False)),
        Trial("UDP: 50 ms jitter, a quarter overtakes", plenty, _on_path(mixed, is_usable=True)),
        Trial(f"{VANISHED} viewers are killed", free(FREE_VANISHED_S), _vanish),
        Trial(f"{OFFERS} offers by which nobody connects", free(FREE_OFFERS_S), _offer),
        Trial(f"{SILENT} sockets that greet nobody", f"all are closed within {FREE_SILENT_S:.0f} s", _be_silent),
        Trial("a viewer who takes nothing", free(FREE_SLOW_S), _be_slow),
        Trial(f"{HOSTILE} hostile sockets", "others go on", _be_hostile),
    ]


# -- a bad line


def _on_path(trouble: Trouble, *, is_usable: bool) -> Callable[[Arena], Awaitable[Seen]]:
    """Return a trial with this trouble on the path. is_usable: whether media must stay usable during the trouble."""

    async def run(arena: Arena) -> Seen:
        draw = random.Random(arena.draw.random())  # noqa: S311 - no secret
        async with chaos_viewer(arena.portal.socket_url, greeting="") as viewer, chaos_peer(viewer, draw) as peer:
            await viewer.tell("say", text=LONG_TEXT, mode="echo")
            await viewer.until(lambda said: said["type"] == "turn" and said["state"] == "speaking", 20)
            peer.path.trouble = trouble
            await peer.received(GOOD_AGAIN_FOR_S)  # not counted: the portal needs this time to notice the trouble
            bad = await peer.received(BAD_FOR_S)
            peer.path.trouble = Trouble()
            await peer.received(GOOD_AGAIN_FOR_S)
            good = await peer.received(GOOD_AGAIN_FOR_S)
        words = f"{bad.fps:.1f} fps, {100 * bad.concealed:.1f} % concealed; afterwards {good.fps:.1f} fps, "
        usable = not is_usable or (bad.fps >= MIN_FPS and bad.concealed <= MAX_CONCEALED_SHARE)
        return Seen(f"{words}{100 * good.concealed:.1f} %", usable and good.fps >= MIN_FPS)

    return run


# -- places


async def _vanish(arena: Arena) -> Seen:
    command = (sys.executable, "-m", "portal.commands.chaos_strangers", arena.portal.socket_url, str(VANISHED))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=child_environment())
    try:
        assert process.stdout is not None
        if (await process.stdout.readline()).decode().strip() != READY:
            return Seen("they were not let in", held=False)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return await _when_free(arena, time.monotonic(), FREE_VANISHED_S)


async def _offer(arena: Arena) -> Seen:
    sdp, began_s, taken = await idle_offer(), time.monotonic(), 0
    for number in range(OFFERS):
        answer = await arena.http.post(
            f"{arena.portal.url}/offer",
            json={"sdp": sdp, "type": "offer"},
            headers={"X-Forwarded-For": stranger_address(number // EACH_ADDRESS)},
        )
        taken += "sdp" in answer.json()
        began_s = time.monotonic()
    seen = await _when_free(arena, began_s, FREE_OFFERS_S)
    return Seen(f"{taken} taken; {seen.words}", seen.held and taken == OFFERS)


async def _when_free(arena: Arena, began_s: float, within_s: float) -> Seen:
    free_s = await arena.places_free_after(began_s, within_s)
    if free_s is None:
        return Seen(f"{await arena.places_taken() - arena.viewers} places are still taken", held=False)
    return Seen(f"all free after {free_s:.1f} s", free_s <= within_s)


async def _be_silent(arena: Arena) -> Seen:
    began_s = time.monotonic()
    gate, times_s = asyncio.Semaphore(20), []

    async def sit(number: int) -> None:
        async with gate:
            opened = connect(
                arena.portal.socket_url,
                compression=None,
                additional_headers={"X-Forwarded-For": stranger_address(number // EACH_ADDRESS)},
                open_timeout=30,
            )
            try:
                socket = await opened
            except (OSError, InvalidHandshake, TimeoutError):  # the portal has no room for this socket
                return
            opened_s = time.monotonic()
        with suppress(ConnectionClosed):
            await socket.recv()
        times_s.append(time.monotonic() - opened_s)

    async with asyncio.timeout(4 * FREE_SILENT_S):
        await asyncio.gather(*map(sit, range(SILENT)))
    longest_s = max(times_s, default=0.0)
    words = f"{len(times_s)} were opened, in {time.monotonic() - began_s - longest_s:.0f} s; closed after "
    return Seen(f"{words}{longest_s:.1f} s at most", longest_s <= FREE_SILENT_S)


async def _be_slow(arena: Arena) -> Seen:
    async with chaos_viewer(arena.portal.socket_url, max_waiting=1) as viewer:
        began_s = time.monotonic()
        await viewer.tell("media", use="websocket", reason="chaos")
        await viewer.tell("say", text=LONG_TEXT, mode="echo")
        return await _when_free(arena, began_s, FREE_SLOW_S)


# -- hostile


async def _be_hostile(arena: Arena) -> Seen:
    """Send commands, broken commands and noise from several sockets. What is sent is drawn from the seed."""
    until_s, sent = time.monotonic() + HOSTILE_FOR_S, 0

    async def rage(number: int, draw: random.Random) -> None:
        nonlocal sent
        while time.monotonic() < until_s:
            with suppress(ConnectionClosed, OSError, RuntimeError, TimeoutError, InvalidHandshake, KeyError):
                async with chaos_viewer(arena.portal.socket_url, number) as viewer:
                    while time.monotonic() < until_s:
                        noise = draw.randbytes(draw.randint(0, 2000))
                        said = draw.choice((*INPUTS, noise, noise[:20]))
                        await viewer.socket.send(said if draw.random() < 0.5 else said.decode("utf-8", "replace"))
                        sent += 1
            await asyncio.sleep(0.1)

    draws = [random.Random(arena.draw.random()) for _ in range(HOSTILE)]  # noqa: S311 - no secret
    async with asyncio.TaskGroup() as group:
        for number, draw in enumerate(draws):
            group.create_task(rage(number, draw))
        group.create_task(_knock_wrongly(arena, until_s))
    seen = await _when_free(arena, time.monotonic(), FREE_VANISHED_S)
    return Seen(f"{sent} messages; {seen.words}", seen.held)


async def _knock_wrongly(arena: Arena, until_s: float) -> None:
    """Send malformed offers, and requests that break off in the middle of their body."""
    while time.monotonic() < until_s:
        with suppress(httpx.HTTPError):
            await arena.http.post(f"{arena.portal.url}/offer", content=arena.draw.randbytes(500))
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", arena.portal.port)
            writer.write(b"POST /api/avatars HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf")
            await writer.drain()
            writer.transport.abort()
        await asyncio.sleep(0.2)

"""Ways to more viewers, in figures: watchers, a stream, a transparent stage, and the page on a slow phone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from playwright.async_api import async_playwright
from websockets.asyncio.client import connect

from portal.commands.portal_process import PortalProcess
from tests.benchmarks.in_browser import FLAGS
from tests.benchmarks.viewers import LONG_TEXT
from tests.streaming_server import receiver

__all__ = [
    "PageLoad",
    "StreamCost",
    "cutout_bytes",
    "lines_to_a_picture",
    "page_load",
    "stream_cost",
    "watcher_percent",
]

MANY = 10
"""Watchers of one session."""
SETTLES_S = 3.0
OWN = re.compile(r"^/(?:static/(?!vendor/).*)?$")
"""Paths of the page, our scripts and styles."""
SLOW_BITS_S, SLOW_LATENCY_MS, SLOW_CPU = 1_600_000, 150, 4


@dataclass(frozen=True, slots=True)
class StreamCost:
    """What a stream adds, in percent of a core."""

    portal: float
    process: float


@dataclass(frozen=True, slots=True)
class PageLoad:
    own_kb: float
    "of HTML, our scripts and styles, as they come"
    all_kb: float
    interactive_s: float
    "until the button to start can be pressed"


@asynccontextmanager
async def speaking_program(portal: PortalProcess) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """A session without a page that speaks for some ten minutes: how to ask, and its addresses."""
    async with httpx.AsyncClient(base_url=portal.url, timeout=60) as http:
        opened = (await http.post("/api/sessions", json={"greeting": ""})).raise_for_status().json()
        http.headers["Authorization"] = f"Bearer {opened['token']}"
        addresses = opened["addresses"]
        await http.post(addresses["say"], json={"text": (LONG_TEXT * 40)[:9_900]})
        yield http, addresses
        await http.delete(addresses["session"])


@asynccontextmanager
async def watcher(http: httpx.AsyncClient, whep: str) -> AsyncIterator[None]:
    """Takes pictures and sound by WHEP, and decodes nothing."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    arrived = asyncio.Event()

    async def take(_packet: Any, arrival_time_ms: int) -> None:
        arrived.set()

    def ignore(track: Any) -> None:
        receiving: Any = next(one.receiver for one in peer.getTransceivers() if one.receiver.track is track)
        receiving._handle_rtp_packet = take  # decoding ten videos here would starve the portal of its cores

    peer.on("track", ignore)
    for kind in ("video", "audio"):
        peer.addTransceiver(kind, direction="recvonly")
    try:
        await peer.setLocalDescription(await peer.createOffer())
        sdp, kind_of_sdp = peer.localDescription.sdp, {"Content-Type": "application/sdp"}
        while (answer := await http.post(whep, content=sdp, headers=kind_of_sdp)).status_code == 429:  # noqa: ASYNC110
            await asyncio.sleep(1)  # after three, an address may offer once in five seconds
        await peer.setRemoteDescription(RTCSessionDescription(answer.raise_for_status().text, "answer"))
        async with asyncio.timeout(30):
            await arrived.wait()
        yield
    finally:
        await peer.close()


async def percent_of_core(cpu_s: Any, seconds: float) -> float:
    """cpu_s: CPU seconds so far."""
    await asyncio.sleep(SETTLES_S)
    began_s, began = time.monotonic(), cpu_s()
    await asyncio.sleep(seconds)
    return 100 * (cpu_s() - began) / (time.monotonic() - began_s)


async def watcher_percent(portal: PortalProcess, seconds: float) -> tuple[float, float, float]:
    """Of a core: what each of ten watchers beyond the first costs; all of the portal with one, and with ten."""
    async with AsyncExitStack() as stack:
        http, addresses = await stack.enter_async_context(speaking_program(portal))
        await stack.enter_async_context(watcher(http, addresses["whep"]))
        one = await percent_of_core(portal.cpu_s, seconds)
        for _ in range(MANY - 1):
            await stack.enter_async_context(watcher(http, addresses["whep"]))
        many = await percent_of_core(portal.cpu_s, seconds)
    return (many - one) / (MANY - 1), one, many


async def stream_cost(portal: PortalProcess, port: int, file: Path, seconds: float) -> StreamCost:
    """RTMP to a server on that port, which the portal is allowed to send to. file: what the server receives."""
    async with speaking_program(portal) as (http, addresses):
        without = await percent_of_core(portal.cpu_s, seconds)
        with receiver(port, file):
            await http.put(addresses["push"], json={"to": f"rtmp://127.0.0.1:{port}/live/key"})
            async with asyncio.timeout(60):
                while (await http.get(addresses["push"])).json()["state"] != "live":  # noqa: ASYNC110 - it is asked
                    await asyncio.sleep(0.2)
            pid = child_of(portal.pid, "pipeline.push_child")
            began_s, began = time.monotonic(), cpu_s_of(pid)
            portal_percent = await percent_of_core(portal.cpu_s, seconds)
            process_percent = 100 * (cpu_s_of(pid) - began) / (time.monotonic() - began_s)
            await http.delete(addresses["push"])
    return StreamCost(portal_percent - without, process_percent)


def child_of(pid: int, name: str) -> int:
    """The process below another one that runs that module. Raises LookupError."""
    children = {int(path.parent.name): path for path in Path("/proc").glob("[0-9]*/stat")}
    found = {pid}
    for _ in range(3):  # a stream's process has a parent of its own
        found |= {one for one, path in children.items() if parent_of(path) in found}
    for one in found - {pid}:
        if name in Path(f"/proc/{one}/cmdline").read_text():
            return one
    raise LookupError(name)


def parent_of(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def cpu_s_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def cutout_bytes(portal: PortalProcess, seconds: float) -> tuple[int, float, float]:
    """A transparent stage over the WebSocket: bytes of the mattes, sent once; bytes per second of what says which place
    is shown; of media.
    """
    async with httpx.AsyncClient(base_url=portal.url, timeout=60) as http:
        avatars = (await http.get("/api/avatars")).json()
        mattes = len((await http.get(avatars[0]["mattes"])).content)
    async with connect(portal.socket_url, max_size=None, compression=None) as socket:
        for message in (
            {"type": "hello", "avatar": avatars[0]["id"], "greeting": ""},
            {"type": "media", "use": "websocket", "reason": "benchmark"},
            {"type": "places", "on": True},
            {"type": "say", "mode": "echo", "text": LONG_TEXT * 4},
        ):
            await socket.send(json.dumps(message))
        media = places = 0
        ends_s = time.monotonic() + SETTLES_S + seconds
        while time.monotonic() < ends_s:
            message_or_media = await socket.recv()
            if time.monotonic() < ends_s - seconds:
                continue
            if isinstance(message_or_media, bytes):
                media += len(message_or_media)
            elif '"place"' in message_or_media:
                places += len(message_or_media)
        await socket.send('{"type": "bye"}')
    return mattes, places / seconds, media / seconds


def lines_to_a_picture(page: str) -> int:
    """Lines of code of the first Python example of docs/clients.md, up to the picture that it saves."""
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:1]
    code = [line for line in example.splitlines() if line.strip()]
    return 1 + next(number for number, line in enumerate(code) if ".save(" in line)


async def page_load(portal: PortalProcess, chromium: Path) -> PageLoad:
    """The page with an empty cache, over 1.6 Mbit/s, on a phone a quarter as fast as this machine."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        try:
            page = await browser.new_page(viewport={"width": 390, "height": 844})
            session = await page.context.new_cdp_session(page)
            await session.send("Network.enable")
            slow = {"offline": False, "latency": SLOW_LATENCY_MS, "uploadThroughput": SLOW_BITS_S / 8}
            await session.send("Network.emulateNetworkConditions", {**slow, "downloadThroughput": SLOW_BITS_S / 8})
            await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOW_CPU})
            paths: dict[str, str] = {}
            sizes: dict[str, float] = {}
            session.on("Network.responseReceived", lambda told: paths.update(_path_of(told)))
            session.on("Network.dataReceived", partial(_add_to, sizes))
            began_s = time.monotonic()
            await page.goto(portal.url, wait_until="commit")
            await page.wait_for_selector("#vv-start:not([disabled])", timeout=120_000)
            took_s = time.monotonic() - began_s
        finally:
            await browser.close()
    own = sum(size for one, size in sizes.items() if OWN.match(paths.get(one, "")))
    return PageLoad(own / 1000, sum(sizes.values()) / 1000, took_s)


def _add_to(sizes: dict[str, float], told: dict[str, Any]) -> None:
    """Of the body alone: what a cache or a tool would say of the file."""
    sizes[told["requestId"]] = sizes.get(told["requestId"], 0.0) + told["encodedDataLength"]


def _path_of(told: dict[str, Any]) -> dict[str, str]:
    kinds = ("Document", "Script", "Stylesheet")
    return {told["requestId"]: urlsplit(told["response"]["url"]).path if told["type"] in kinds else "other"}

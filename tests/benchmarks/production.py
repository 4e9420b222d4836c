"""A live production: recordings, gestures, another avatar, and clients of LiveTalking's API one after another."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import ClientConnection, connect

from avatars.bundle import decode_jpeg
from pipeline.transports.websocket import MEDIA_HEADER, PICTURE_FLAG
from portal.commands.portal_process import PortalProcess

__all__ = ["Swaps", "gesture_ms", "kept_of_clients", "late_pictures", "recorded_skews_ms", "swaps_ms"]

WORDS_IN_A_SENTENCE, WORD_S = 10, 0.2
"of `beep`"
MAX_WORDS = 1500
"in a text"
SPEECH = ("It rained for days, and then it did not rain at all. " * 12).strip()
BRIGHT, LOUD, MIN_LOUD = 25, 0.1, 0.01
CLIENTS, SESSIONS_EACH = 20, 5
OPEN_S = 30.0
MAX_SWAPS = 8
"""A session may change its avatar ten times at once (portal/api/allowances.py); two changes load both."""
LATE_PICTURES = (
    "vivavoce_starved_pictures_total",
    "vivavoce_repeated_pictures_total",
    "vivavoce_dropped_pictures_total",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message of media, as it came."""

    at_s: float
    loudness: float
    "largest sample, of 1"
    picture: bytes | None


@dataclass(slots=True)
class Guest:
    """A viewer who takes everything over the session socket, and decodes nothing while it comes."""

    socket: ClientConnection
    arrivals: list[Arrival] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def until(self, reached: Callable[[], bool], within_s: float = OPEN_S) -> None:
        async with asyncio.timeout(within_s):
            while not reached():  # noqa: ASYNC110 - what comes is counted, in milliseconds
                await asyncio.sleep(0.001)

    def has_told(self, **fields: object) -> bool:
        return any(fields.items() <= message.items() for message in self.told)

    async def read(self) -> None:
        async for message in self.socket:
            if isinstance(message, str):
                self.told.append({**json.loads(message), "at_s": time.monotonic()})
                continue
            _kind, flags, _sequence, size, _time = MEDIA_HEADER.unpack_from(message)
            body = message[MEDIA_HEADER.size :]
            sound = np.frombuffer(body[:size], "<i2")
            loudness = float(np.abs(sound.astype(np.int32)).max()) / 32768 if len(sound) else 0.0
            self.arrivals.append(Arrival(time.monotonic(), loudness, body[size:] if flags & PICTURE_FLAG else None))


@asynccontextmanager
async def guest(portal: PortalProcess, **hello: object) -> AsyncIterator[Guest]:
    """One with a session whose media has come for two seconds."""
    async with connect(portal.socket_url, max_size=None, compression=None) as socket:
        one = Guest(socket)
        await one.send(type="hello", **hello)
        reading = asyncio.create_task(one.read())
        try:
            await one.until(lambda: one.has_told(type="welcome"))
            await one.send(type="media", use="websocket", reason="benchmark")
            await one.until(lambda: len(one.arrivals) > 50)
            yield one
            await one.send(type="bye")
        finally:
            reading.cancel()


def late_pictures(portal: PortalProcess) -> float:
    """Pictures that were too late so far: for a viewer, for the clock, left out, and idle where speech was late."""
    text = httpx.get(f"{portal.url}/metrics").text
    late = 0.0
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(LATE_PICTURES):
            late += float(value)
        elif name.startswith("vivavoce_slipped_seconds_total"):
            late += 25 * float(value)
    return late


async def recorded_skews_ms(portal: PortalProcess, seconds: float) -> list[float]:
    """Beeps of a recording of that length, each against its flash: how much later the sound is, the first first."""
    async with guest(portal) as one:
        await one.send(type="record", on=True)
        await one.until(lambda: one.has_told(type="recording", state="on"))
        words = round(seconds / WORD_S)
        for first in range(0, words, MAX_WORDS):
            sentence = " ".join(["one"] * WORDS_IN_A_SENTENCE) + ". "
            await one.send(type="say", mode="echo", text=sentence * (min(MAX_WORDS, words - first) // 10))
        await asyncio.sleep(seconds)
        await one.send(type="record", on=False)
        await one.until(lambda: one.has_told(type="recording", state="done"), 60)
        (done,) = [message for message in one.told if message.get("state") == "done" and message["type"] == "recording"]
    async with httpx.AsyncClient(timeout=60) as http:
        mp4 = (await http.get(f"{portal.url}/api/recordings/{done['id']}.mp4")).content
    return skews_of(mp4)


def skews_of(mp4: bytes) -> list[float]:
    """What the file itself says of its beeps and flashes."""
    beeps, flashes = _beeps_s(mp4), _flashes_s(mp4)
    nearest = [min(flashes, key=lambda flash, at=beep: abs(flash - at)) for beep in beeps]  # type: ignore[misc]
    return [1000 * (beep - flash) for beep, flash in zip(beeps, nearest, strict=True)]


def _beeps_s(mp4: bytes) -> list[float]:
    with av.open(io.BytesIO(mp4), "r") as file:
        pieces = [(frame.time or 0.0, frame.to_ndarray()[0], frame.sample_rate) for frame in file.decode(audio=0)]
    rate_hz = pieces[0][2]
    loud = np.abs(np.concatenate([samples for _, samples, _ in pieces])) > LOUD
    heard = np.flatnonzero(loud)
    starts = heard[np.flatnonzero(np.diff(heard, prepend=-rate_hz) > rate_hz // 25)]
    return [pieces[0][0] + int(start) / rate_hz for start in starts]


def _flashes_s(mp4: bytes) -> list[float]:
    """`flash` lights the box of the mouth, in the middle of the lower half."""
    with av.open(io.BytesIO(mp4), "r") as file:
        seen = [
            (float(frame.time or 0), _mouth_level(frame.to_ndarray(format="gray"))) for frame in file.decode(video=0)
        ]
    levels = np.array([level for _, level in seen])
    lit = levels > (levels.min() + levels.max()) / 2
    return [seen[index][0] for index in np.flatnonzero(lit[1:] & ~lit[:-1]) + 1]


def _mouth_level(grey: npt.NDArray[Any]) -> float:
    height, width = grey.shape
    return float(grey[int(0.6 * height) : int(0.75 * height), int(0.4 * width) : int(0.6 * width)].mean())


async def gesture_ms(portal: PortalProcess, rounds: int, *, speaking: bool) -> list[float]:
    """From the question for a gesture of white pictures to the first picture that is brighter, at the viewer."""
    waits_ms = []
    async with guest(portal) as one:
        usual = max(_corner(arrival.picture) for arrival in one.arrivals if arrival.picture)
        for _ in range(rounds):
            if speaking:
                one.told.clear()
                await one.send(type="say", mode="echo", text=SPEECH)
                await one.until(lambda: one.has_told(type="turn", state="speaking"))
                await asyncio.sleep(2)
            one.told.clear()
            first, asked_s = len(one.arrivals), time.monotonic()
            await one.send(type="gesture", name="wave")
            await one.until(lambda: one.has_told(type="gesture", begins=False))
            shown = (arrival for arrival in one.arrivals[first:] if arrival.picture)
            begun_s = next(arrival.at_s for arrival in shown if _corner(arrival.picture) > usual + BRIGHT)
            waits_ms.append(1000 * (begun_s - asked_s))
            await one.send(type="interrupt")
            await asyncio.sleep(1)
    return waits_ms


def _corner(jpeg: bytes | None) -> float:
    """How bright the picture is in a corner where the avatar of the benchmark is even grey."""
    assert jpeg is not None
    return float(decode_jpeg(jpeg)[-40:, :40].mean())


@dataclass(frozen=True, slots=True)
class Swaps:
    """What changing the avatar took, and what another viewer heard meanwhile of an answer."""

    waits_ms: list[float]
    silence_ms: float
    "the longest silence within the other's answer"
    usual_silence_ms: float
    "the same without a change beside it"


async def swaps_ms(portal: PortalProcess, avatars: Sequence[str], rounds: int) -> Swaps:
    """Change between two avatars of different brightness while somebody else gets an answer."""
    async with guest(portal, avatar=avatars[0]) as one, guest(portal, avatar=avatars[0]) as other:
        usual_ms = await _silence_ms(other, asyncio.sleep(0))
        for avatar in avatars[::-1]:  # both are in memory then
            await _swapped_ms(one, avatar)
        waits_ms: list[float] = []

        async def swap() -> None:
            for round_ in range(rounds):
                await asyncio.sleep(0.3)
                waits_ms.append(await _swapped_ms(one, avatars[(round_ + 1) % 2]))

        return Swaps(waits_ms, await _silence_ms(other, swap()), usual_ms)


async def _swapped_ms(one: Guest, avatar: str) -> float:
    one.told.clear()
    before, first = _corner(next(a.picture for a in reversed(one.arrivals) if a.picture)), len(one.arrivals)
    asked_s = time.monotonic()
    await one.send(type="avatar", id=avatar)
    await one.until(lambda: one.has_told(type="avatar"))

    def other_picture() -> float | None:
        shown = (a for a in one.arrivals[first:] if a.picture and abs(_corner(a.picture) - before) > BRIGHT / 2)
        return next((arrival.at_s for arrival in shown), None)

    await one.until(lambda: other_picture() is not None)
    shown_s = other_picture()
    assert shown_s is not None
    return 1000 * (shown_s - asked_s)


async def _silence_ms(one: Guest, meanwhile: Any) -> float:
    """The longest silence in an answer: of its sound, and between the messages that bring it."""
    one.told.clear()
    first = len(one.arrivals)
    await one.send(type="say", mode="echo", text=SPEECH)
    await asyncio.sleep(1)
    await meanwhile
    await one.until(lambda: one.has_told(type="turn", state="done"), 120)
    heard = one.arrivals[first:]
    loud = [index for index, arrival in enumerate(heard) if arrival.loudness > MIN_LOUD]
    silent_ms = 40.0 * (max(b - a for a, b in itertools.pairwise(loud)) - 1)
    spoken = heard[loud[0] : loud[-1] + 1]
    late_ms = 1000 * max(b.at_s - a.at_s for a, b in itertools.pairwise(spoken)) - 40
    return max(silent_ms, late_ms)


async def kept_of_clients(data_dir: Path) -> tuple[dict[str, int], int]:
    """Clients of LiveTalking's API in turn: each opens a session, has it speak, and hangs up, five times. What is left
    of them in this process, which has the portal and the clients, and how many sessions there were.
    """
    import uvicorn

    from portal.app import create_app
    from portal.commands.portal_process import free_port
    from portal.settings import Settings
    from tests.browser.conftest import write_avatar

    avatar = write_avatar(data_dir / "avatars" / "alpha", 90).name
    backends = {"tts": "beep", "lipsync": "flash", "llm": "echo"}
    settings = Settings.model_validate(
        {"data_dir": data_dir, "worker": False, "livetalking": True, "avatar": avatar, **backends}
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.05)
    url = f"http://127.0.0.1:{port}"
    await _one_session(url, 0, True)  # what is made for the first session stays
    before = await _left(url)
    for number in range(CLIENTS * SESSIONS_EACH):
        await _one_session(url, number % CLIENTS, hangs_up=number % 2 == 0)
    after = await _left(url)
    server.should_exit = True
    await serving
    return {name: after[name] - before[name] for name in before}, CLIENTS * SESSIONS_EACH


async def _one_session(url: str, client: int, hangs_up: bool) -> None:
    """client: each has its own address. hangs_up: the peer connection is closed; otherwise the session, by /close."""
    from tests.portal.receiving_peer import ReceivingPeer

    peer = ReceivingPeer()
    address = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{10 + client}")
    async with httpx.AsyncClient(base_url=url, timeout=20, transport=address) as http:
        offer = {"sdp": await peer.offer(), "type": "offer"}
        while "sessionid" not in (answer := (await http.post("/offer", json=offer)).json()):
            if "often" not in answer["msg"]:
                raise RuntimeError(f"no session: {answer}")
            await asyncio.sleep(1)  # one address may open so many in a while
        session = answer["sessionid"]
        await peer.accept(answer["sdp"])
        await peer.shown()
        await http.post("/human", json={"sessionid": session, "text": "One two.", "type": "echo", "interrupt": True})
        await peer.loud()
        if hangs_up:
            await peer.aclose()
        else:
            await http.post("/close", json={"sessionid": session})
        for _ in range(200):
            if (await http.post("/is_speaking", json={"sessionid": session})).json()["code"] == -1:
                break
            await asyncio.sleep(0.05)
    await peer.aclose()


async def _left(url: str) -> dict[str, int]:
    """Once it has settled: sessions that are open, descriptors of this process, and tasks of its loop."""
    for _ in range(20):
        await asyncio.sleep(0.25)
        gc.collect()
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    async with httpx.AsyncClient(base_url=url) as http:
        text = (await http.get("/metrics")).text
    (sessions,) = [line.split()[-1] for line in text.splitlines() if line.startswith("vivavoce_sessions ")]
    return {"places": round(float(sessions)), "descriptors": descriptors, "tasks": tasks}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))

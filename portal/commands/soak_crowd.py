"""The viewers of `launch.py soak`: they talk to a portal over its session socket, and say what they got.

They run in a process of their own (`python -m portal.commands.soak_crowd ...`), so that their work is not the portal's.
What a viewer does next is drawn from the seed and its number, so a run can be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipeline.transports.websocket import MEDIA_HEADER, PICTURE_FLAG
from portal.process import child_environment

__all__ = ["Heard", "Plan", "Step", "main", "running_crowd"]

SENTENCES = (
    "The ferry to the island leaves at a quarter past seven from the pier behind the market.",
    "Bread, two lemons and a bag of flour are still missing for the weekend.",
    "It rained all night, so the lower path through the garden is closed today.",
    "Could you tell me whether the museum is open on Mondays?",
    "My neighbour plays the cello every evening, and I have learned to like it.",
    "We measured the room twice and still bought a shelf that is too wide.",
)
INTERRUPTS, LEAVES = 0.3, 0.05
"Probability that a turn is interrupted, and that a viewer leaves after a turn and comes back."
SPEAKS_WITHIN_S = 60.0
COMES_AGAIN_S = 2.0
ENDS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of a viewer, and what the viewer does after it."""

    text: str
    interrupts_after_s: float | None
    "Seconds of speech after which the viewer interrupts; None: the turn is heard to its end."
    pause_s: float
    leaves: bool
    "True: the viewer leaves after the turn and comes back with a new session."


class Plan:
    """An endless sequence of steps for one viewer. It is the same for the same seed and number."""

    def __init__(self, seed: int, number: int) -> None:
        self._random = random.Random(f"{seed}:{number}")  # noqa: S311 - no secret

    def step(self) -> Step:
        draw = self._random
        text = " ".join(draw.sample(SENTENCES, draw.randint(1, 4)))
        cut_s, cuts = draw.uniform(0.5, 4.0), draw.random() < INTERRUPTS
        return Step(text, cut_s if cuts else None, draw.uniform(0.5, 4.0), draw.random() < LEAVES)


@dataclass(slots=True)
class Heard:
    """What one viewer received since it was last asked."""

    frames: int = 0
    pictures: int = 0
    longest_gap_ms: float = 0.0
    "Longest time between two frames."
    lag_s: float | None = None
    """The least lag of a frame: its time of arrival minus its time on the media clock, relative to the session's first
    frame. The minimum shows a drift of clocks and hides jitter. None: no frame came."""
    done: int = 0
    interrupted: int = 0
    sessions: int = 0
    "Sessions that were begun."
    errors: list[str] = field(default_factory=list)


class Viewer:
    """A viewer who opens one session after another. clock_s: returns seconds since any fixed moment."""

    def __init__(self, url: str, plan: Plan, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._url, self._plan, self._clock_s = url, plan, clock_s
        self._heard = Heard()
        self._arrived_s: float | None = None
        self._began_lag_s: float | None = None
        self._ended = asyncio.Event()
        self._speaks = asyncio.Event()

    def take_heard(self) -> Heard:
        """Return what was received since the last call."""
        heard, self._heard = self._heard, Heard()
        return heard

    async def run(self) -> None:
        """Open sessions and talk until cancelled."""
        while True:
            try:
                await self._visit()
            except* (ConnectionClosed, OSError, TimeoutError, RuntimeError) as group:
                error = group.exceptions[0]
                self._heard.errors.append(f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(COMES_AGAIN_S)

    async def _visit(self) -> None:
        """Open a session and talk until a step leaves it."""
        async with connect(self._url, max_size=None, compression=None) as socket:
            await _send(socket, type="hello")
            welcome = json.loads(await socket.recv())
            if welcome["type"] != "welcome":
                raise RuntimeError(f"no session: {welcome.get('message', welcome)}")
            self._heard.sessions += 1
            self._arrived_s = self._began_lag_s = None
            await _send(socket, type="media", use="websocket", reason="soak")
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(socket))
                await self._talk(socket)
                await _send(socket, type="bye")
                reading.cancel()

    async def _talk(self, socket: ClientConnection) -> None:
        while True:
            step = self._plan.step()
            self._ended.clear()
            self._speaks.clear()
            await _send(socket, type="say", text=step.text, mode="echo")
            async with asyncio.timeout(SPEAKS_WITHIN_S):
                if step.interrupts_after_s is not None:
                    await self._speaks.wait()
                    await asyncio.sleep(step.interrupts_after_s)
                    await _send(socket, type="interrupt")
                await self._ended.wait()
            await asyncio.sleep(step.pause_s)
            if step.leaves:
                return

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            if isinstance(message, bytes):
                self.take_frame(message)
            else:
                self._take(json.loads(message))

    def take_frame(self, message: bytes) -> None:
        """Count a frame that has just arrived over the socket."""
        _kind, flags, _number, _bytes, media_us = MEDIA_HEADER.unpack_from(message)
        now_s, heard = self._clock_s(), self._heard
        if self._arrived_s is not None:
            heard.longest_gap_ms = max(heard.longest_gap_ms, 1000 * (now_s - self._arrived_s))
        self._arrived_s = now_s
        heard.frames += 1
        heard.pictures += bool(flags & PICTURE_FLAG)
        lag_s = now_s - media_us / 1e6
        self._began_lag_s = lag_s if self._began_lag_s is None else self._began_lag_s
        since_began_s = lag_s - self._began_lag_s
        heard.lag_s = since_began_s if heard.lag_s is None else min(heard.lag_s, since_began_s)

    def _take(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "turn", "state": "speaking"}:
                self._speaks.set()
            case {"type": "turn", "state": "done"}:
                self._heard.done += 1
                self._end_turn()
            case {"type": "turn", "state": "interrupted"}:
                self._heard.interrupted += 1
                self._end_turn()
            case {"type": "error"}:
                self._heard.errors.append(f"{message.get('code')}: {message.get('message')}"[:200])

    def _end_turn(self) -> None:
        self._speaks.set()
        self._ended.set()


@contextlib.contextmanager
def running_crowd(url: str, viewers: int, seed: int, every_s: float) -> Iterator[Iterator[str]]:
    """Run a crowd in a process of its own until the block ends, and provide its lines.

    Every `every_s` seconds it writes one line of JSON: a list of Heard, one for each viewer.
    """
    options = ("--url", url, "--viewers", str(viewers), "--seed", str(seed), "--every-s", str(every_s))
    command = [sys.executable, "-m", "portal.commands.soak_crowd", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment())
    try:
        yield iter(process.stdout or ())
    finally:
        process.terminate()
        try:
            process.wait(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _send(socket: ClientConnection, **message: object) -> None:
    await socket.send(json.dumps(message))


async def _crowd(url: str, viewers: int, seed: int, every_s: float) -> None:
    """Write every `every_s` seconds what all viewers received, as a line of JSON, until nobody reads it."""
    crowd = [Viewer(url, Plan(seed, number)) for number in range(viewers)]
    async with asyncio.TaskGroup() as group:
        for viewer in crowd:
            group.create_task(viewer.run())
        while True:
            await asyncio.sleep(every_s)
            sys.stdout.write(json.dumps([asdict(viewer.take_heard()) for viewer in crowd]) + "\n")
            sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--viewers", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--every-s", type=float, required=True)
    given = parser.parse_args(argv)
    try:
        asyncio.run(_crowd(given.url, given.viewers, given.seed, given.every_s))
    except (KeyboardInterrupt, BrokenPipeError):
        return


if __name__ == "__main__":
    main()

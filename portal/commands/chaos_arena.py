"""The arena of `launch.py chaos`: a portal, with bystanders who talk to it during all trials."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from portal.commands.chaos_services import Services
from portal.commands.chaos_viewer import Message
from portal.commands.portal_process import PortalProcess, free_port, running_portal
from portal.commands.soak_crowd import Heard, running_crowd
from portal.jobs.records import JobFolders

__all__ = ["Arena", "Bystanders", "Look"]

LOOKS_EVERY_S = 1.0
TALKS_AGAIN_S = 60.0
JOB_ENDS_S = 240.0
SWEPT_WITHIN_S = 10.0
LOOKS_AGAIN_S = 0.1
OWN_MADE_S = 600.0
NO_WORKER = "--no-worker"
UNDER_WAY = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Look:
    """What bystanders received in the second before `at_s`, and the portal's memory and descriptors at that time."""

    at_s: float
    heard: Sequence[Heard]
    resident_mb: float
    descriptors: int

    @property
    def longest_gap_ms(self) -> float:
        return max(one.longest_gap_ms for one in self.heard)

    @property
    def all_see(self) -> bool:
        return all(one.frames > 0 for one in self.heard)


class Bystanders:
    """Viewers in a process of their own, and what they receive.

    portal: returns the portal that is measured; after a restart that is another process.
    """

    def __init__(self, portal: Callable[[], PortalProcess], viewers: int, seed: int) -> None:
        self.looks: list[Look] = []
        self._portal, self._viewers, self._seed = portal, viewers, seed

    @contextmanager
    def talking(self) -> Iterator[Bystanders]:
        with running_crowd(self._portal().socket_url, self._viewers, self._seed, LOOKS_EVERY_S) as lines:
            watching = threading.Thread(target=self._watch, args=(lines,), name="bystanders", daemon=True)
            watching.start()
            yield self
        watching.join()

    async def talk_again(self, since_s: float) -> float:
        """Wait until all bystanders receive frames again after `since_s`, and return when. Raises TimeoutError.

        Both times are on time.monotonic().
        """
        async with asyncio.timeout(TALKS_AGAIN_S):
            while True:
                for look in list(self.looks):
                    if look.at_s - LOOKS_EVERY_S > since_s and look.all_see:
                        return look.at_s
                await asyncio.sleep(0.1)

    async def since(self, began_s: float) -> list[Look]:
        """Return the looks from `began_s` (on time.monotonic()) until now."""
        until_s = time.monotonic()
        await asyncio.sleep(1.5 * LOOKS_EVERY_S)  # the look that covers this moment is still to come
        return [look for look in list(self.looks) if began_s <= look.at_s - LOOKS_EVERY_S <= until_s]

    def _watch(self, lines: Iterator[str]) -> None:
        for line in lines:
            portal, at_s = self._portal(), time.monotonic()
            mb, descriptors = 0.0, 0
            with suppress(OSError, ValueError):  # the portal has just been killed
                mb = portal.resident_mb()
                descriptors = sum(1 for _ in Path(f"/proc/{portal.pid}/fd").iterdir())
            self.looks.append(Look(at_s, [Heard(**one) for one in json.loads(line)], mb, descriptors))


class Arena:
    """A portal that trials can restart, with its services and bystanders.

    data: the portal's data folder, alone on a small disk if `has_small_disk`. options: the portal's options. draw: the
    source of everything random in the trials.
    """

    def __init__(
        self,
        data: Path,
        options: Sequence[str],
        services: Services,
        draw: random.Random,
        *,
        has_small_disk: bool,
    ) -> None:
        self.data, self.options, self.services, self.draw = data, tuple(options), services, draw
        self.has_small_disk = has_small_disk
        self.viewers = 0
        self.seed = 0
        self.http = httpx.AsyncClient(timeout=30)
        self._port = free_port()
        self._running = ExitStack()
        self._portal: PortalProcess | None = None
        self._bystanders: Bystanders | None = None

    @property
    def portal(self) -> PortalProcess:
        if self._portal is None:
            raise RuntimeError("the portal has not begun")
        return self._portal

    @property
    def bystanders(self) -> Bystanders:
        if self._bystanders is None:
            raise RuntimeError("nobody talks yet")
        return self._bystanders

    @asynccontextmanager
    async def open(self, viewers: int, seed: int) -> AsyncIterator[Arena]:
        """Run the portal, with bystanders who talk to it, until the block ends."""
        self.viewers, self.seed = viewers, seed
        try:
            await self.begin_portal()
            self._bystanders = Bystanders(lambda: self.portal, viewers, seed)
            with self._bystanders.talking():
                await self._bystanders.talk_again(time.monotonic())
                await self._our_own_made()
                yield self
        finally:
            await self.http.aclose()
            await asyncio.to_thread(self._running.close)

    async def _our_own_made(self) -> None:
        """Wait until the portal has prepared its own characters, so that this work does not disturb the first trial."""
        if NO_WORKER in self.options:
            return
        await self._until(self._nothing_under_way, OWN_MADE_S)

    async def _nothing_under_way(self) -> bool:
        return not any(job["state"] in UNDER_WAY for job in await self.jobs())

    async def rest(self) -> None:
        """Wait until the work folders of all jobs are removed, a moment after the jobs end. Raises TimeoutError."""

        async def is_at_rest() -> bool:
            return not JobFolders(self.data).in_hand()

        await self._until(is_at_rest, SWEPT_WITHIN_S)

    async def begin_portal(self) -> None:
        """Start the portal, or restart it after it was killed, at the same address and in the same folder."""
        await asyncio.to_thread(self._running.close)
        started = running_portal(self.data, *self.options, port=self._port)
        self._portal = await asyncio.to_thread(self._running.enter_context, started)

    # -- what is asked of the portal

    async def places_taken(self) -> int:
        return int((await self.http.get(f"{self.portal.url}/healthz")).json()["sessions"]["live"])

    async def places_free_after(self, began_s: float, within_s: float) -> float | None:
        """Wait until only the bystanders have places, and return the seconds since `began_s`.

        Returns None if that takes much longer than `within_s`. The margin tells a late success from none at all.
        """
        while (after_s := time.monotonic() - began_s) < 1.5 * within_s + 5:
            if await self.places_taken() <= self.viewers:
                return after_s
            await asyncio.sleep(0.25)
        return None

    async def problems(self) -> list[str]:
        return list((await self.http.get(f"{self.portal.url}/healthz")).json()["problems"])

    async def order_clip(self, words: int = 12) -> httpx.Response:
        avatars = (await self.http.get(f"{self.portal.url}/api/avatars")).json()
        text = " ".join(self.draw.choice(("river", "seven", "lamp", "paper", "morning", "train")) for _ in range(words))
        wish = {"avatar": avatars[0]["id"], "text": text}
        return await self.http.post(f"{self.portal.url}/api/clips", json=wish)

    async def jobs(self) -> list[Message]:
        return list((await self.http.get(f"{self.portal.url}/api/jobs")).json())

    async def job(self, job_id: str) -> Message:
        return dict((await self.http.get(f"{self.portal.url}/api/jobs/{job_id}")).json())

    async def job_when(self, job_id: str, wanted: Callable[[Message], bool]) -> Message:
        """Wait until a job is as wanted, and return it. Raises TimeoutError."""
        found: list[Message] = []

        async def is_wanted() -> bool:
            found.append(await self.job(job_id))
            return wanted(found[-1])

        await self._until(is_wanted, JOB_ENDS_S)
        return found[-1]

    async def job_ended(self, job_id: str) -> Message:
        return await self.job_when(job_id, lambda job: job["state"] not in UNDER_WAY)

    async def _until(self, holds: Callable[[], Awaitable[bool]], within_s: float) -> None:
        """Wait until `holds` returns True. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while True:
                if await holds():
                    return
                await asyncio.sleep(LOOKS_AGAIN_S)

    def worker_pid(self) -> int | None:
        """Return the process id of the portal's worker; None while there is none."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError, ValueError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = stat.with_name("cmdline").read_bytes()
                if parent == self.portal.pid and b"portal.worker.child" in command:
                    return int(stat.parent.name)
        return None

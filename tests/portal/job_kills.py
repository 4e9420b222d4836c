"""Kills workers at random moments, and counts jobs that were lost, done twice or left half-written.

The series for docs/benchmarks.md: `python -m tests.portal.job_kills 100 --seed 1`. With `--really-wait` the time in
which a dead worker is missed passes by itself, and how long its job waited is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from portal.jobs.dbos_source import MAX_ATTEMPTS
from portal.jobs.orders import order_of_clip
from portal.jobs.records import Job
from tests.portal.job_fleet import JobFleet, Worker
from tests.portal.postgres import running_postgres

__all__ = ["Account", "kill_at_random"]

SCRIPT = Path(__file__).with_name("job_kills_script.py")
WORKERS = 2
WAITING = 6
"Number of jobs kept waiting, so that each kill finds a busy worker."
LONGEST_WAIT_S = 1.0
"""Longest delay from seeing a busy worker to killing it. It is about as long as a job takes, so a kill may hit any
moment of it."""
DEADLINE_S = 120.0


@dataclass
class Account:
    """The outcome of a run: what happened to the jobs."""

    jobs: int = 0
    kills: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    "job id -> how often it lost its worker"
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    half_written: list[str] = field(default_factory=list)
    taken_over_s: list[float] = field(default_factory=list)
    "times from a kill until another worker had the job; only with really_wait"

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.half_written]


async def kill_at_random(fleet: JobFleet, kills: int, seed: int, *, really_wait: bool = False) -> Account:
    """Have two workers do short jobs, and kill and replace one of them again and again."""
    chance, account = random.Random(seed), Account(kills=kills)
    (fleet.data_dir / "locks").mkdir()
    (fleet.data_dir / "clips").mkdir()
    ids: list[str] = []
    workers = [fleet.start(SCRIPT) for _ in range(WORKERS)]
    await fleet.until_there_are(WORKERS)
    for _ in range(kills):
        await _order_more(fleet, ids)
        victim = await _someone_at_work(fleet, workers, chance, account)
        await asyncio.sleep(chance.uniform(0, LONGEST_WAIT_S))
        await _kill(fleet, workers, victim, account, really_wait=really_wait)
    ended = [await fleet.until(job_id, lambda job: not job.active) for job_id in ids]
    account.jobs = len(ids)
    _judge(fleet, ended, account)
    return account


async def _someone_at_work(fleet: JobFleet, workers: list[Worker], chance: random.Random, account: Account) -> int:
    """Wait until a worker has a job; return the worker's index. Workers that have just started have none.

    A job is left alone if one more kill would use up its attempts, since it would then rightly fail.
    """
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for index in chance.sample(range(WORKERS), WORKERS):
                jobs = await asyncio.to_thread(fleet.jobs_of, workers[index])
                if jobs and all(account.hits[job_id] < MAX_ATTEMPTS - 1 for job_id in jobs):
                    return index
            await asyncio.sleep(0.05)


async def _order_more(fleet: JobFleet, ids: list[str]) -> None:
    waiting = len(await asyncio.to_thread(fleet.queue.active))
    for _ in range(WAITING - waiting):
        order = order_of_clip(avatar="ada", text=f"word{len(ids)}")
        ids.append((await asyncio.to_thread(fleet.queue.submit, order)).id)


async def _kill(fleet: JobFleet, workers: list[Worker], index: int, account: Account, *, really_wait: bool) -> None:
    dead = workers[index]
    dead.kill()
    killed_s = time.monotonic()
    left = await asyncio.to_thread(fleet.jobs_of, dead)
    account.hits.update(left)
    workers[index] = fleet.start(SCRIPT)
    if not really_wait:
        await asyncio.to_thread(fleet.let_silence_pass, dead)
        return
    for job_id in left:
        async with asyncio.timeout(DEADLINE_S):
            while job_id in await asyncio.to_thread(fleet.jobs_of, dead):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await fleet.until(job_id, lambda job: job.state != "queued")
        account.taken_over_s.append(time.monotonic() - killed_s)


def _judge(fleet: JobFleet, ended: list[Job], account: Account) -> None:
    trace = [line.split() for line in (fleet.data_dir / "trace").read_text().splitlines()]
    overlaps = Counter(words[-1] for words in trace if words[0] == "overlap")
    for number, job in enumerate(ended):
        clip, words = fleet.queue.folders.clip(job.id), " ".join([f"word{number}"] * 3)
        if job.state != "done":
            account.lost.append(f"{job.id}: {job.state}, {job.error}")
        elif not clip.exists() or clip.read_text() != words or job.result != {"clip": job.id, "words": words.split()}:
            account.half_written.append(f"{job.id}: {job.result}")
        if overlaps[job.id]:
            account.doubled.append(f"{job.id}: two workers in it at one time")
    known = {job.id for job in ended}
    listed = [job.id for job in fleet.queue.list(limit=None)]
    account.lost += sorted(known - set(listed))
    account.doubled += [job_id for job_id, times in Counter(listed).items() if times > 1 or job_id not in known]
    account.half_written += [str(path) for path in (fleet.data_dir / "jobs").glob("*")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--really-wait", action="store_true")
    given = parser.parse_args()
    with running_postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        fleet = JobFleet(Path(folder), postgres.new_database("kills"))
        try:
            account = asyncio.run(kill_at_random(fleet, given.kills, given.seed, really_wait=given.really_wait))
        finally:
            fleet.close()
    sys.stdout.write(f"{account}\n")
    return bool(account.faults)


if __name__ == "__main__":
    sys.exit(main())

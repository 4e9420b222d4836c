"""Portals and workers on a Ray cluster of two machines, with Postgres: what is lost with a machine goes on."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy

from avatars.library import AvatarLibrary, presets
from portal.api.draining import RESTART
from portal.commands.portal_process import free_port
from portal.intake.submissions import submit_avatar
from portal.jobs.dbos_database import PostgresDatabase
from tests.portal.grey_manager import write_grey_avatar
from tests.portal.job_fleet import JobFleet
from tests.portal.kept_states import states_in
from tests.portal.node_viewer import NodeViewer
from tests.portal.postgres import Postgres
from tests.portal.test_jobs_worker import small_photo
from tests.portal.test_nodes import ANSWERED, LONG, SENTENCE, Note, front_of, kept

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="machines are ended by what /proc says of their processes"),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0
PORT = re.compile(r"is ready at \S+, port (\d+)\.")
WITHIN_S = 5.0
"within which a viewer is to have the conversation back (issue 14)"


class RayMachines:
    """A Ray cluster of two machines; one that a test has lost is replaced for the next one."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self.database_url, self.data_dir = database_url, data_dir
        write_grey_avatar(data_dir / "avatars" / "grey")
        with (data_dir / "ray.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.portal.ray_machines"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                # Postgres and portals are at loopback. A proxy for the internet has no way there.
                env={
                    **os.environ,
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_agent_register_timeout_ms": "120000",
                    "no_proxy": "*",
                },
            )
        told = self._told()
        self.address = told["address"]
        self.head, self.other = told["machines"]
        self._conductor: subprocess.Popen[bytes] | None = None
        self._log = data_dir / "conductor.log"
        self._port = free_port()
        self._told_before = 0

    def conduct(self) -> list[int]:
        """Until there are two portals and two workers. Returns the ports of the portals."""
        if not Path(f"/proc/{self.other}").exists():
            assert self._process.stdin is not None
            self._process.stdin.write(b"one more\n")
            self._process.stdin.flush()
            (self.other,) = self._told()["machines"]
        with self._log.open("wb") as log:
            options = ("--portals", "2", "--workers", "2", "--port", str(self._port))
            of_portals = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--avatar", "grey")
            self._conductor = self._ray(log, *options, *of_portals)
        return self.until_complete()

    def until_complete(self) -> list[int]:
        """Returns the ports of the portals."""
        until_s = time.monotonic() + PATIENCE_S
        while not (len(said := self._said()) == 4 and all("is ready" in words for words in said.values())):
            assert time.monotonic() < until_s, self._log.read_text()
            time.sleep(0.05)
        return [int(found[1]) for words in said.values() if (found := PORT.search(words))]

    def until_complete_again(self) -> list[int]:
        """After a machine was lost, and the conductor saw it."""
        until_s = time.monotonic() + PATIENCE_S
        while "waits for a machine" not in self._log.read_text()[self._told_before :]:
            assert time.monotonic() < until_s, self._log.read_text()
            time.sleep(0.05)
        return self.until_complete()

    def stop(self) -> subprocess.Popen[bytes]:
        """`ray --stop`, which is under way then."""
        self.rest()
        with (self.data_dir / "stop.log").open("wb") as log:
            return self._ray(log, "--stop")

    def rest(self) -> None:
        """Nobody conducts; what runs goes on."""
        if self._conductor is not None:
            self._conductor.send_signal(signal.SIGINT)
            self._conductor.wait()
            self._conductor = None

    def lose_the_other(self) -> None:
        """kill -9 of all that runs on that machine."""
        self._told_before = len(self._log.read_text())
        for pid in [self.other, *below(self.other)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.rest()
        for pid in [*below(self.head), *below(self.other)]:  # portals would let answers be heard
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        self._process.stdout.close()

    def _told(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self.data_dir / "ray.log").read_text()[-4000:]
        return json.loads(line)

    def _said(self) -> dict[str, str]:
        """Of each post, what the conductor said last."""
        lines = self._log.read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines if line.startswith(("portal-", "worker-")))

    def _ray(self, log: IO[bytes], *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "launch.py"), "ray", "--address", self.address, *options]
        command += ["--data-dir", str(self.data_dir), "--database-url", self.database_url]
        return subprocess.Popen(command, stdout=log, stderr=log)


def below(pid: int) -> list[int]:
    """All processes that it has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def ports_of(pids: Sequence[int]) -> set[int]:
    """Where the portals among these processes listen."""
    found: set[int] = set()
    for pid in pids:
        with suppress(OSError):
            found |= {int(port) for port in re.findall(rb"--port=(\d+)", Path(f"/proc/{pid}/cmdline").read_bytes())}
    return found


@pytest.fixture(scope="module")
def all_machines(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[RayMachines]:
    machines = RayMachines(postgres.new_database("ray"), tmp_path_factory.mktemp("ray"))
    yield machines
    machines.close()


@pytest.fixture
def machines(all_machines: RayMachines) -> Iterator[RayMachines]:
    """Two, with a portal and a worker each."""
    all_machines.conduct()
    yield all_machines
    all_machines.rest()


async def test_a_conversation_outlives_its_ray_machine(machines: RayMachines, record_property: Note) -> None:
    """kill -9 of all that runs there, in the middle of an answer. Ray starts what was there again, at the other one."""
    (lost,), (left,) = ports_of(below(machines.other)), ports_of(below(machines.head))
    async with front_of([lost, left]) as port, NodeViewer(f"ws://127.0.0.1:{port}/session") as viewer:
        before = [{"role": "user", "content": "Do you know the pier?"}, {"role": "assistant", "content": "I do."}]
        await viewer.hello(avatar="grey", history=before)
        await viewer.say(LONG)
        for _ in range(2):
            await viewer.until("subtitle")
        await kept(machines.database_url, f'"played":"{SENTENCE}')
        machines.lose_the_other()
        killed_s = time.monotonic()
        await viewer.until_lost()
        welcome = await viewer.come_back()
        record_property("welcomed_again_after_s", round(time.monotonic() - killed_s, 2))
        await viewer.say("And now?")
        await viewer.until("turn", state="speaking")
        took_s = time.monotonic() - killed_s
        record_property("talking_again_after_s", round(took_s, 2))
        assert took_s < WITHIN_S
        assert SENTENCE in welcome["restored"]["cut"] != LONG
        await kept(machines.database_url, "And now?")
        (state,) = (state for state in states_in(machines.database_url) if "And now?" in state)
        assert "Do you know the pier?" in state and SENTENCE in state
        ports = await asyncio.to_thread(machines.until_complete_again)
        record_property("two_portals_again_after_s", round(time.monotonic() - killed_s, 2))
        assert {left} < ports_of(below(machines.head)) == set(ports)


async def test_a_job_outlives_its_worker(machines: RayMachines, record_property: Note) -> None:
    """kill -9 of the process that has it in hand. Another one finishes it, and Ray's post starts a new worker."""
    fleet = JobFleet(machines.data_dir, machines.database_url)
    try:
        picture = small_photo(machines.data_dir / "photo.jpg", presets()[0].picture)
        library = AvatarLibrary(machines.data_dir / "avatars")
        job = submit_avatar(library, fleet.queue, picture, name="Ada", file_name="ada.jpg", consent=True)
        await fleet.until(job.id, lambda job: job.step == "make_loop")
        worker = holder_of(machines.database_url, job.id)
        os.kill(worker, signal.SIGKILL)
        killed_s = time.monotonic()
        await fleet.until(job.id, lambda job: holder_of(machines.database_url, job.id) != worker)
        record_property("taken_over_after_s", round(time.monotonic() - killed_s, 1))
        done = await fleet.until(job.id, lambda job: not job.active)
        assert done.state == "done" and done.result == {"avatar": job.avatar}
        await fleet.until_there_are(2)
    finally:
        fleet.close()


async def test_what_runs_on_a_ray_cluster_ends_without_cutting_an_answer(machines: RayMachines) -> None:
    ports = machines.until_complete()
    async with front_of(ports) as port, NodeViewer(f"ws://127.0.0.1:{port}/session") as viewer:
        await viewer.hello(avatar="grey")
        await viewer.say(ANSWERED)
        await viewer.until("subtitle")
        stopping = await asyncio.to_thread(machines.stop)
        await viewer.until("turn", state="done")
        assert await viewer.until_lost() == RESTART
    assert await asyncio.to_thread(stopping.wait, PATIENCE_S) == 0
    assert not [pid for pid in [*below(machines.head), *below(machines.other)] if is_ours(pid)]


def is_ours(pid: int) -> bool:
    with suppress(OSError):
        return b"ray_leash" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def holder_of(database_url: str, job_id: str) -> int:
    """The process that has a job in hand, by the database."""
    engine = sqlalchemy.create_engine(PostgresDatabase(database_url).address)
    with engine.connect() as connection:
        statement = sqlalchemy.text("SELECT executor_id FROM dbos.workflow_status WHERE workflow_uuid = :id")
        executor = connection.execute(statement, {"id": job_id}).scalar_one()
    engine.dispose()
    return int(executor.split("-")[-2])

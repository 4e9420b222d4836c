"""A portal's queue on Postgres, and worker processes on the same database that a test may kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from avatars.library import AvatarLibrary
from portal.jobs.fleet import SILENT_S
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job

__all__ = ["JobFleet", "Worker"]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240.0


@dataclass
class Worker:
    process: subprocess.Popen[bytes]

    @property
    def mark(self) -> str:
        """The part of its name in the fleet that identifies this process."""
        return f"-{self.process.pid}-"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class JobFleet:
    """queue: the portal's queue. The test starts the workers; close() kills them."""

    data_dir: Path
    database_url: str
    queue: JobQueue = field(init=False)
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = open_queue(self.data_dir, AvatarLibrary(self.data_dir / "avatars"), database_url=self.database_url)
        self.queue.list()  # opens the database, where workers then find what they must have in common with this portal
        url = sqlalchemy.make_url(self.database_url).set(drivername="postgresql+psycopg")
        self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

    def start(self, script: Path) -> Worker:
        """Start a worker that a script of the tests runs."""
        given = {"data_dir": str(self.data_dir), "database_url": self.database_url, "is_one_of_many": True}
        process = self._popen(sys.executable, str(script))
        assert process.stdin is not None
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()
        return self._started(process)

    def start_real(self) -> Worker:
        """Start `python launch.py worker`, without its search for an environment."""
        command = "import sys; from portal.commands.cli import run; sys.exit(run())"
        options = ("worker", "--data-dir", str(self.data_dir))
        return self._started(self._popen(sys.executable, "-c", command, *options))

    def names(self) -> list[str]:
        """Return the names of the workers that the database holds for alive."""
        with self._engine.connect() as connection:
            return [row.id for row in connection.execute(sqlalchemy.text("SELECT id FROM vivavoce.workers"))]

    def jobs_of(self, worker: Worker) -> list[str]:
        """Return the ids of the jobs that a worker has in hand, according to the database."""
        statement = (
            "SELECT workflow_uuid AS id FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id LIKE :m"
        )
        with self._engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(statement), {"m": f"%{worker.mark}%"})
            return [row.id for row in rows]

    def let_silence_pass(self, worker: Worker) -> None:
        """Make a worker count as dead: move the time it was last seen far enough into the past."""
        statement = "UPDATE vivavoce.workers SET seen_at = seen_at - make_interval(secs => :s) WHERE id LIKE :mark"
        with self._engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement), {"s": SILENT_S + 1, "mark": f"%{worker.mark}%"})

    async def until(self, job_id: str, condition: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(DEADLINE_S):
            while not condition(job := await asyncio.to_thread(self.queue.get, job_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return job

    async def until_there_are(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(await asyncio.to_thread(self.names)) != count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def status_of(self, worker: Worker) -> int:
        """Wait for the worker to end; return its exit status."""
        return worker.process.wait(timeout=DEADLINE_S)

    def close(self) -> None:
        for worker in self.workers:
            worker.send(signal.SIGKILL)
            worker.process.wait()
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        self.queue.close()
        self._engine.dispose()

    def _popen(self, *command: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        surroundings = {**os.environ, "PYTHONPATH": path, "VIVAVOCE_DATABASE_URL": self.database_url}
        log = (self.data_dir / f"worker-{time.monotonic_ns()}.log").open("wb")
        with log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=surroundings, cwd=self.data_dir
            )

    def _started(self, process: subprocess.Popen[bytes]) -> Worker:
        worker = Worker(process)
        self.workers.append(worker)
        return worker

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.data_dir.glob("worker-*.log")))

"""Several workers on one Postgres: who may take jobs, and who takes over from whom."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import portal.jobs.fleet
from avatars.library import AvatarLibrary, presets
from portal.errors import DatabaseTaken, DatabaseUnreachable, OtherCode, WorkerLeftOut
from portal.intake.submissions import submit_avatar
from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.fleet import SILENT_S, Fleet
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_avatar, order_of_clip, order_of_preset
from portal.jobs.records import Job, JobFolders
from portal.jobs.shared_source import OWN_END_S, SharedSource
from portal.worker.runner import _status_of
from tests.portal.job_fleet import JobFleet
from tests.portal.job_kills import kill_at_random
from tests.portal.test_jobs_worker import SCRIPT, small_photo

pytestmark = pytest.mark.thorough


@pytest.fixture
def made(tmp_path: Path, database_url: str) -> Iterator[Fleet]:
    """The fleet of a database, as a process on the portal's data folder sees it; nobody leads it yet."""
    fleet = Fleet(PostgresDatabase(database_url), JobFolders(tmp_path / "data"))
    yield fleet
    fleet.close()
    fleet.close()


def silence(database_url: str, worker: str) -> None:
    """Let it have been heard of last just longer ago than is allowed."""
    engine = sqlalchemy.create_engine(PostgresDatabase(database_url).address)
    with engine.begin() as connection:
        statement = "UPDATE vivavoce.workers SET seen_at = seen_at - make_interval(secs => :s) WHERE id = :id"
        connection.execute(sqlalchemy.text(statement), {"s": SILENT_S + 1, "id": worker})
    engine.dispose()


def test_a_database_keeps_the_jobs_of_one_data_folder(made: Fleet, tmp_path: Path, database_url: str) -> None:
    """A portal on another folder is refused; the same folder is known again wherever it is."""
    made.lead()
    made.lead()
    (tmp_path / "data").rename(tmp_path / "moved")
    other, moved = (Fleet(PostgresDatabase(database_url), JobFolders(tmp_path / name)) for name in ("other", "moved"))
    with pytest.raises(DatabaseTaken, match="another data folder"):
        other.lead()
    moved.lead()
    other.close()
    moved.close()


def test_who_asks_a_portal_on_the_wrong_database_is_told(tmp_path: Path, database_url: str) -> None:
    """Nothing of the other portal's jobs is shown, and none is taken."""
    ours, other = (open_queue(tmp_path / name, [], database_url=database_url) for name in ("ours", "other"))
    assert ours.list() == []
    for ask in (other.list, lambda: other.submit(order_of_preset("mira", "Mira"))):
        with pytest.raises(DatabaseTaken):
            ask()
    assert ours.list() == []
    ours.close()
    other.close()


def test_a_worker_that_does_not_fit_is_told_why_and_is_not_taken(
    made: Fleet, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no portal; it has another data folder; its code is another one."""
    with pytest.raises(WorkerLeftOut, match="No portal"):
        made.join("anna")
    made.lead()
    elsewhere = Fleet(PostgresDatabase(database_url), JobFolders(tmp_path / "elsewhere"))
    with pytest.raises(WorkerLeftOut, match="is not the data folder of the portal"):
        elsewhere.join("anna")
    elsewhere.close()
    monkeypatch.setattr(portal.jobs.fleet, "code_of_this_copy", lambda: "0ther0ne")
    with pytest.raises(WorkerLeftOut, match="code 0ther0ne"):
        made.join("anna")
    with made.without_the_dead() as alive:
        assert alive == set()


def test_a_worker_whose_portal_was_replaced_by_another_version_is_told(
    made: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its next beat."""
    made.lead()
    made.join("anna")
    made.beat("anna")
    ours = portal.jobs.fleet.code_of_this_copy()
    monkeypatch.setattr(portal.jobs.fleet, "code_of_this_copy", lambda: "0ther0ne")
    made.lead()
    monkeypatch.setattr(portal.jobs.fleet, "code_of_this_copy", lambda: ours)
    with pytest.raises(OtherCode, match="is another one than the portal's") as told:
        made.beat("anna")
    assert _status_of(told.value) == 78  # systemd starts it no more; other reasons pass


def test_who_was_silent_for_long_is_struck_off_and_finds_out(made: Fleet, database_url: str) -> None:
    """Others stay. Whoever has left is not there either."""
    made.lead()
    for worker in ("anna", "berta", "clara"):
        made.join(worker)
    silence(database_url, "anna")
    made.leave("clara")
    with made.without_the_dead() as alive:
        assert alive == {"berta"}
    made.beat("berta")
    with pytest.raises(WorkerLeftOut, match="not heard of"):
        made.beat("anna")
    made.join("anna")
    made.beat("anna")


class Colleagues:
    """A Fleet and a DbosSource that are as the test says."""

    def __init__(self) -> None:
        self.alive = {"me", "anna", "berta"}
        self.working = {"me", "anna"}
        self.trouble: Exception | None = None
        self.taken: list[Collection[str]] = []

    def join(self, _worker: str) -> None: ...

    def serve(self, _kinds: Mapping[str, Any]) -> None: ...

    def beat(self, _worker: str) -> None:
        if self.trouble is not None:
            raise self.trouble

    def workers_with_jobs(self) -> set[str]:
        return self.working

    @contextmanager
    def without_the_dead(self) -> Iterator[set[str]]:
        yield self.alive

    def take_over_from(self, workers: Collection[str]) -> int:
        self.taken.append(workers)
        return 1


def test_jobs_are_taken_over_from_the_dead_and_from_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from one that nobody knows any more."""
    monkeypatch.setattr("portal.jobs.shared_source.threading.Thread.start", lambda _thread: None)
    colleagues: Any = Colleagues()
    source = SharedSource(colleagues, colleagues, "me", lambda _reason: None)
    source.beat()
    source.serve({})
    source.beat()
    assert colleagues.taken == []
    colleagues.alive = {"me", "berta"}
    source.beat()
    colleagues.working = {"me", "forgotten"}
    source.beat()
    assert colleagues.taken == [{"anna"}, {"forgotten"}]


def test_a_worker_that_is_cut_off_ends_before_others_believe_it_dead() -> None:
    """Beats that do not reach the database do not count, however often they are tried."""
    now_s = 100.0
    colleagues: Any = Colleagues()
    source = SharedSource(colleagues, colleagues, "me", lambda _reason: None, lambda: now_s)
    now_s += OWN_END_S
    source.beat()
    assert not source.is_cut_off
    colleagues.trouble = DatabaseUnreachable("away", "")
    for _ in range(3):
        with pytest.raises(DatabaseUnreachable):
            source.beat()
    now_s += OWN_END_S
    assert not source.is_cut_off
    now_s += 1
    assert source.is_cut_off and now_s + 1 < 100 + 2 * OWN_END_S + SILENT_S


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[JobFleet]:
    os.mkfifo(tmp_path / "gate")
    fleet = JobFleet(tmp_path, database_url)
    yield fleet
    fleet.close()


def photo(bench: JobFleet, avatar: str = "ada-1", *, urgent: bool = False) -> Job:
    path = bench.data_dir / "photo.JPG"
    path.write_bytes(b"pixels")
    return bench.queue.submit(replace(order_of_avatar(path, avatar=avatar, name="Ada", consent=True), urgent=urgent))


def trace(bench: JobFleet) -> list[str]:
    return (bench.data_dir / "trace").read_text().split()


def open_gate(bench: JobFleet) -> None:
    """For the one who waits there."""
    with (bench.data_dir / "gate").open("wb") as gate:
        gate.write(b".")


async def test_a_killed_worker_s_job_is_finished_by_another_one(bench: JobFleet) -> None:
    """It goes on with the step in which it was; the steps before are not run again."""
    first = bench.start(SCRIPT)
    job = photo(bench)
    await bench.until(job.id, lambda job: job.step == "gated")
    bench.start(SCRIPT)
    await bench.until_there_are(2)
    first.kill()
    bench.let_silence_pass(first)
    await bench.until(job.id, lambda _: trace(bench).count("gated") == 2)
    open_gate(bench)
    done = await bench.until(job.id, lambda job: not job.active)
    assert done.state == "done" and done.result == {"avatar": "photo.JPG", "bytes": 6}
    assert trace(bench) == ["first", "gated", "gated", "last"]
    assert not bench.queue.folders.home(job.id).exists() and len(bench.names()) == 1


async def test_a_worker_that_was_asleep_leaves_its_job_to_who_has_it_by_then(bench: JobFleet) -> None:
    """It ends by itself, with status 75, and takes no file away from the other one."""
    asleep = bench.start(SCRIPT)
    job = photo(bench)
    await bench.until(job.id, lambda job: job.step == "gated")
    awake = bench.start(SCRIPT)
    await bench.until_there_are(2)
    asleep.send(signal.SIGSTOP)
    bench.let_silence_pass(asleep)
    await bench.until(job.id, lambda _: trace(bench).count("gated") == 2)
    asleep.send(signal.SIGCONT)
    assert bench.status_of(asleep) == 75
    assert bench.queue.folders.upload(job.id) is not None
    open_gate(bench)
    assert (await bench.until(job.id, lambda job: not job.active)).state == "done"
    assert trace(bench) == ["first", "gated", "gated", "last"]
    assert awake.process.poll() is None and "not heard of" in bench.logs()


async def test_what_was_taken_over_keeps_its_place_in_the_line(bench: JobFleet) -> None:
    """An urgent job comes first, then the one of the dead worker, then what was ordered after it."""
    first = bench.start(SCRIPT)
    taken_over = photo(bench)
    await bench.until(taken_over.id, lambda job: job.step == "gated")
    first.kill()
    bench.let_silence_pass(first)
    later, urgent = photo(bench, "ada-2"), photo(bench, "ada-3", urgent=True)
    bench.start(SCRIPT)
    await bench.until(urgent.id, lambda job: job.step == "gated")
    await bench.until(taken_over.id, lambda job: job.state == "queued")
    for job in (urgent, taken_over, later):
        await bench.until(job.id, lambda job: job.state == "running" and job.step == "gated")
        open_gate(bench)
        assert (await bench.until(job.id, lambda job: not job.active)).state == "done"
    assert trace(bench) == ["first", "gated", "first", "gated", "last", "gated", "last", "first", "gated", "last"]


async def test_a_worker_that_hangs_in_a_job_nobody_wants_ends_itself(bench: JobFleet) -> None:
    """Where several share a folder nobody else can tell; its folder is tidied, and its other job goes on elsewhere."""
    hanging = bench.start(SCRIPT)
    job = photo(bench)
    await bench.until(job.id, lambda job: job.step == "gated")
    spoken = bench.queue.submit(order_of_clip(avatar="ada", text="for ever"))
    await bench.until(spoken.id, lambda job: job.step == "speak")
    bench.queue.cancel(job.id)
    assert bench.status_of(hanging) == 75
    assert not bench.queue.folders.home(job.id).exists() and bench.names() == []
    other = bench.start(SCRIPT)
    await bench.until(spoken.id, lambda job: job.id in bench.jobs_of(other))
    assert bench.queue.get(job.id).state == "cancelled" and trace(bench) == ["first", "gated"]


async def test_a_worker_that_is_told_to_stop_leaves_its_job_at_once(bench: JobFleet) -> None:
    """Others need not wait until its silence tells them."""
    bench.data_dir.joinpath("vivavoce.toml").write_text('log_level = "warning"\n')
    worker = bench.start_real()
    await bench.until_there_are(1)
    worker.send(signal.SIGTERM)
    assert bench.status_of(worker) == 130 and bench.names() == []


async def test_the_shipped_workers_finish_a_photo_though_one_is_killed_in_the_middle(bench: JobFleet) -> None:
    """Two of `launch.py worker`, on the real steps: what the dead one had finished is not made again."""
    library = AvatarLibrary(bench.data_dir / "avatars")
    picture = small_photo(bench.data_dir / "photo.jpg", presets()[0].picture)
    first = bench.start_real()
    job = submit_avatar(library, bench.queue, picture, name="Ada", file_name="ada.jpg", consent=True)
    await bench.until(job.id, lambda job: job.step == "make_loop")
    first.kill()
    read = (bench.queue.folders.work(job.id) / "read_source").stat().st_mtime_ns
    second = bench.start_real()
    await bench.until_there_are(2)
    bench.let_silence_pass(first)
    await bench.until(job.id, lambda job: job.id in bench.jobs_of(second))
    assert (bench.queue.folders.work(job.id) / "read_source").stat().st_mtime_ns == read
    done = await bench.until(job.id, lambda job: not job.active)
    assert done.state == "done" and done.result == {"avatar": job.avatar}
    bundle = library.open(job.avatar)
    assert bundle.name == "Ada" and bundle.preview_path is not None and bundle.frame_count > 25


async def test_workers_killed_at_random_moments_cost_no_job(tmp_path: Path, database_url: str) -> None:
    """None is lost, done by two at a time, or left half-written. job_kills.py runs the long series."""
    fleet = JobFleet(tmp_path, database_url)
    try:
        account = await kill_at_random(fleet, kills=5, seed=20261129)
    finally:
        fleet.close()
    assert account.faults == [] and account.jobs >= 5 and account.hits

"""Who asked for a job is known after a restart, and to all portals that share one Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from avatars.library import AvatarLibrary
from avatars.store import Store
from portal.errors import QueueFull
from portal.http.limits import TooMany
from portal.jobs.askers import FileAskers
from portal.jobs.dbos_database import PostgresDatabase
from portal.jobs.opening import open_queue
from portal.jobs.orders import order_of_clip, order_of_parts
from portal.jobs.queue import MAX_SPEECH_EACH_S, JobQueue
from portal.jobs.records import Job
from portal.jobs.shared_askers import SharedAskers
from portal.jobs.shared_folders import SharedJobFolders
from portal.jobs.shares import JobShares, viewer_key

MINE, OTHERS = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def portals(tmp_path: Path, library: AvatarLibrary, database_url: str) -> Iterator[list[JobQueue]]:
    """The queues of two portals with a data folder each and one store."""

    def opened(home: Path) -> JobQueue:
        store = Store(f"file://{tmp_path}/share", home / "store.json")
        folders = SharedJobFolders.of(home, store, has_one_database=True)
        return open_queue(home, library, folders=folders, database_url=database_url)

    queues = [opened(tmp_path / name) for name in ("left", "right")]
    yield queues
    for queue in queues:
        queue.close()


def clip(queue: JobQueue, asker: str, text: str = "Hello.", speech_s: float = 0.0) -> Job:
    return queue.submit(replace(order_of_clip(avatar="me", text=text), speech_s=speech_s), asker)


def asked(queue: JobQueue, shares: JobShares, address: str) -> Job:
    return shares.asked_by({"type": "http", "client": (address, 5)}, lambda: clip(queue, address))


def known(queue: JobQueue) -> dict[str, str]:
    assert queue.askers is not None
    return dict(queue.askers.known())


def test_a_worker_forgets_nobody_who_has_asked_the_portal(tmp_path: Path, library: AvatarLibrary) -> None:
    """It queues jobs of the portal's own. What it knew when it started says nothing of what was asked for since."""
    portal = open_queue(tmp_path, library)
    early = portal.submit(order_of_clip(avatar="me", text="early"), "203.0.113.1")
    worker = open_queue(tmp_path, library, worker="worker")
    assert worker.active_askers() == ["203.0.113.1"]
    portal.cancel(early.id)
    portal.submit(order_of_clip(avatar="me", text="late"), "203.0.113.2")
    worker.submit(order_of_parts("me", "Me", "wav2lip96", {}))
    portal.close()
    worker.close()
    again = open_queue(tmp_path, library)
    assert again.active_askers() == ["203.0.113.2"]
    again.close()


def test_who_asked_is_known_after_a_restart(tmp_path: Path, library: AvatarLibrary) -> None:
    """A restart gives nobody a fresh turn. Addresses of jobs that have ended are forgotten with the next job, and what
    is left of a damaged file is nothing.
    """
    queue = open_queue(tmp_path, library)
    for name in ("a0", "a1"):
        queue.submit(order_of_clip(avatar="me", text=name), "203.0.113.1")
    queue.close()
    kept = tmp_path / "askers.json"
    assert kept.stat().st_mode & 0o077 == 0
    again = open_queue(tmp_path, library)
    assert again.active_askers() == ["203.0.113.1"] * 2
    assert again.submit(order_of_clip(avatar="me", text="a2"), "203.0.113.1").rank == 2
    for job in again.active():
        again.cancel(job.id)
    assert again.submit(order_of_clip(avatar="me", text="ours")).rank == 0
    assert "203.0.113" not in kept.read_text()
    again.close()
    kept.write_text("[")
    damaged = open_queue(tmp_path, library)
    assert damaged.active_askers() == []
    damaged.close()


def test_an_address_has_its_share_at_all_portals_together(portals: list[JobQueue]) -> None:
    """Whichever it asks; others are served."""
    shares = [JobShares(queue.active_askers, max_each=2) for queue in portals]
    for queue, one in zip(portals, shares, strict=True):
        asked(queue, one, MINE)
    for queue, one in zip(portals, shares, strict=True):
        with pytest.raises(TooMany, match="2 jobs of yours"):
            asked(queue, one, MINE)
        asked(queue, one, OTHERS)


def test_viewers_have_their_share_at_all_portals_together(portals: list[JobQueue]) -> None:
    for number, queue in enumerate(portals):
        queue.submit(order_of_parts(f"avatar-{number}", "Me", "wav2lip96", {}), viewer_key(MINE))
    for queue in portals:
        shares = JobShares(queue.active_askers, max_each=2)
        with pytest.raises(QueueFull):
            shares.admit_viewer(MINE)
        shares.admit_viewer(OTHERS)


def test_whoever_asks_many_portals_has_one_turn_and_one_measure_of_speech(portals: list[JobQueue]) -> None:
    left, right = portals
    assert [clip(queue, MINE).rank for queue in (left, left, right, left)] == [0, 1, 2, 3]
    assert clip(right, OTHERS).rank == 0
    clip(left, MINE, speech_s=MAX_SPEECH_EACH_S)
    with pytest.raises(TooMany, match="30 minutes"):
        clip(right, MINE, speech_s=60)
    clip(right, OTHERS, speech_s=60)


def test_addresses_of_ended_jobs_are_forgotten(portals: list[JobQueue]) -> None:
    """With the next job, whichever portal is asked for it. Those of the other portals' jobs stay."""
    left, right = portals
    ended, stays = clip(left, MINE), clip(left, OTHERS)
    left.cancel(ended.id)
    assert ended.id in known(right)
    clip(right, "")
    assert known(left) == {stays.id: OTHERS}


def test_what_an_earlier_version_noted_in_its_folder_is_taken_over(portals: list[JobQueue], tmp_path: Path) -> None:
    """But for jobs that have ended; the file is gone then."""
    left, right = portals
    waits = clip(left, "")
    file = tmp_path / "left" / "askers.json"
    file.write_text(json.dumps({waits.id: MINE, "0123": OTHERS}))
    clip(left, "")
    assert right.active_askers() == [MINE] and list(known(right)) == [waits.id]
    assert not file.exists()


def test_a_job_is_taken_although_it_cannot_be_noted_who_asked(
    portals: list[JobQueue], database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the queue already. What was noted before is still read."""
    monkeypatch.setattr("portal.jobs.shared_askers.PATIENCE_S", 0.2)
    first = clip(portals[0], MINE)
    database = PostgresDatabase(database_url)
    impatient = SharedAskers(database, FileAskers(portals[0].folders.data_dir))
    queue = JobQueue(portals[0].store, portals[0].folders, portals[0].avatars, askers=impatient)
    engine = sqlalchemy.create_engine(database.address)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("LOCK TABLE vivavoce.askers IN ROW EXCLUSIVE MODE"))
        second = clip(queue, MINE)
        assert known(queue) == {first.id: MINE}
    assert second.state == "queued" and "could not be kept" in caplog.text
    impatient.close()
    engine.dispose()

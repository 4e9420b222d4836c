"""What every store of jobs promises (portal/jobs/store.py), with no worker about."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from pipeline.errors import BadRequest
from portal.errors import DatabaseUnreachable, JobNotFound
from portal.jobs.dbos_database import JobDatabase, PostgresDatabase, SqliteDatabase
from portal.jobs.dbos_store import DbosStore
from portal.jobs.orders import order_of_avatar, order_of_clip, order_of_parts, order_of_preset
from portal.jobs.records import CLIP, PARTS, Job, JobFailure, JobOrder
from portal.jobs.store import JobStore
from tests.portal.memory_store import MemoryStore
from tests.portal.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> JobDatabase:
    """Each in which jobs can be kept."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path)
    return PostgresDatabase(request.getfixturevalue("database_url"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    store: JobStore
    match request.param:
        case "memory":
            store = MemoryStore()
        case "sqlite":
            store = DbosStore(SqliteDatabase(tmp_path))
        case _:
            store = DbosStore(PostgresDatabase(request.getfixturevalue("database_url")))
    yield store
    store.close()
    store.close()


def clip(store: JobStore, job_id: str, avatar: str = "me") -> Job:
    return store.add(job_id, order_of_clip(avatar=avatar, text="hello", speaker="Me"))


def test_a_job_is_kept_as_it_was_ordered(store: JobStore, tmp_path: Path) -> None:
    """All of the order that people see is in the record, and get() gives what add() gave."""
    parts = store.add("a1", order_of_parts("me", "Me", "wav2lip96", {"pads": [0, 1, 0, 0]}))
    assert store.get("a1") == parts
    assert (parts.id, parts.kind, parts.state, parts.step, parts.progress) == ("a1", PARTS, "queued", "", 0)
    assert (parts.name, parts.avatar, parts.backend) == ("Me: wav2lip96", "me", "wav2lip96")
    assert parts.parameters == {"pads": [0, 1, 0, 0]} and not parts.uploaded and parts.created_at > 0
    spoken = store.add("a2", order_of_clip(avatar="me", audio=tmp_path / "speech.wav", speaker="Me"))
    assert (spoken.kind, spoken.speaker, spoken.uploaded, spoken.backend) == (CLIP, "Me", True, "")
    store.add("a3", order_of_clip(avatar="me", text="hello", owner="anna"))
    store.cancel("a3")
    store.run_again("a3")
    assert store.get("a3").owner == "anna" and store.get("a2").owner == ""


def test_an_id_that_is_there_gives_its_job(store: JobStore) -> None:
    """Adding again changes nothing."""
    first = clip(store, "a1")
    assert store.add("a1", order_of_clip(avatar="you", text="other")) == first and len(store.list()) == 1


def test_an_avatar_is_made_by_one_job_at_a_time(store: JobStore, tmp_path: Path) -> None:
    """Also where two portals are asked for one id in the same moment: the database decides. Later, it is free again."""

    def photo(job_id: str, avatar: str) -> Job:
        return store.add(job_id, order_of_avatar(tmp_path / "a.jpg", avatar=avatar, name="Me", consent=True))

    photo("a1", "me")
    with pytest.raises(BadRequest) as refused:
        photo("a2", "me")
    assert refused.value.cause == "id" and [job.id for job in store.list()] == ["a1"]
    photo("a3", "you")
    clip(store, "a4", "me")
    store.cancel("a1")
    assert photo("a5", "me").id == "a5"


@pytest.mark.parametrize("is_long", [False, True])
def test_an_avatar_is_made_by_one_job_whichever_line_it_waits_in(
    store: JobStore, tmp_path: Path, is_long: bool
) -> None:
    """Photos and clips have lines of their own. The second of the two would replace the first one's avatar."""
    order = order_of_avatar(tmp_path / "a.jpg", avatar="me", name="Me", consent=True)
    store.add("a1", replace(order, is_long=is_long))
    with pytest.raises(BadRequest) as refused:
        store.add("a2", replace(order, is_long=not is_long))
    assert refused.value.cause == "id" and [job.id for job in store.list()] == ["a1"]


def test_of_two_portals_that_ask_at_once_one_at_most_makes_the_avatar(
    database: JobDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a photo, one with a clip: both look before the other one has asked, and again after it."""
    stores = DbosStore(database), DbosStore(database)
    order = order_of_avatar(tmp_path / "a.jpg", avatar="me", name="Me", consent=True)
    together = threading.Barrier(2)
    for store in stores:
        store.list()  # so that both have the database open

    def added(store: DbosStore, job_id: str, is_long: bool) -> None:
        look, looks = store._other_making, itertools.count()

        def look_together(avatar: str, own: str) -> Job | None:
            found = look(avatar, own)
            if next(looks) == 0:
                together.wait(20)
            return found

        monkeypatch.setattr(store, "_other_making", look_together)
        with suppress(BadRequest):
            store.add(job_id, replace(order, is_long=is_long))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(added, stores, ("a1", "a2"), (False, True)))
    assert sum(job.active for job in stores[0].list()) <= 1
    for store in stores:
        store.close()


def test_an_upload_belongs_to_one_job(database: JobDatabase, tmp_path: Path) -> None:
    """Of two portals that take one id in the same moment, one gets the job; the other is not given it as its own."""
    stores = DbosStore(database), DbosStore(database)
    orders = [order_of_avatar(tmp_path / "a.jpg", avatar=name, name=name, consent=True) for name in ("me", "you")]
    together = threading.Barrier(2)
    for store in stores:
        store.list()  # so that both have the database open

    def added(store: DbosStore, order: JobOrder) -> str:
        together.wait(20)
        try:
            return store.add("task-7", order).avatar
        except BadRequest as refused:
            return refused.message

    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(added, stores, orders))
    (job,) = stores[0].list()
    assert told == sorted([job.avatar, "There is a job 'task-7' already."])
    for store in stores:
        store.close()


def test_an_upload_does_not_get_the_job_of_another_one(store: JobStore, tmp_path: Path) -> None:
    """Whatever kind that is, and also when it has ended."""
    upload = tmp_path / "a.jpg"
    first = store.add("a1", order_of_avatar(upload, avatar="me", name="Me", consent=True))
    clip(store, "a2")
    store.cancel("a2")
    for job_id, avatar in (("a1", "me"), ("a1", "you"), ("a2", "me")):
        with pytest.raises(BadRequest):
            store.add(job_id, order_of_avatar(upload, avatar=avatar, name="Me", consent=True))
    assert store.get("a1") == first and store.get("a2").kind == CLIP


def test_what_is_not_there_is_not_found(store: JobStore) -> None:
    """get() says so; deleting and reporting do no harm."""
    with pytest.raises(JobNotFound):
        store.get("nothing")
    store.delete("nothing")
    assert not store.report("nothing", "step", 0.5) and store.get_many(["nothing"]) == []


def test_jobs_are_listed_as_asked_for(store: JobStore) -> None:
    """The newest first; by kind, by id, so many, or only those that wait or run."""
    ids = [clip(store, f"a{number}").id for number in range(3)]
    parts = store.add("b", order_of_parts("me", "Me", "wav2lip96", {}))
    assert [job.id for job in store.list(kind=CLIP)] == ids[::-1]
    assert [job.id for job in store.list(kind=PARTS)] == [parts.id]
    assert [job.id for job in store.get_many(["a1", "b"])] == ["b", "a1"] and store.get_many([]) == []
    assert len(store.list(limit=2)) == 2
    store.cancel("a2")
    assert {job.id for job in store.list(active=True)} == {"a0", "a1", "b"}


def test_progress_is_kept_until_the_job_is_not_wanted(store: JobStore) -> None:
    """report() notes step and progress; after a cancellation it says that nobody wants it."""
    clip(store, "a1")
    assert store.report("a1", "render", 0.5)
    job = store.get("a1")
    assert (job.step, job.progress) == ("render", 0.5) and job.reported_at > 0
    store.cancel("a1")
    assert not store.report("a1", "render", 0.6)
    job = store.get("a1")
    assert (job.state, job.progress, job.error) == ("cancelled", 0.5, None)


def test_a_job_that_was_given_up_has_failed_and_says_why(store: JobStore) -> None:
    """With code, message and remedy; run again, it waits as if nothing had been done."""
    clip(store, "a1")
    store.report("a1", "render", 0.5)
    store.fail("a1", JobFailure("job_stuck", "It hung.", "Try again."))
    job = store.get("a1")
    assert job.state == "failed" and job.error == JobFailure("job_stuck", "It hung.", "Try again.")
    assert store.list(active=True) == []
    store.run_again("a1")
    job = store.get("a1")
    assert (job.state, job.step, job.progress, job.error) == ("queued", "", 0, None)


def test_a_deleted_job_is_forgotten(store: JobStore) -> None:
    """It is neither found nor listed, and its id is free."""
    clip(store, "a1")
    store.cancel("a1")
    store.delete("a1")
    assert store.list() == []
    assert clip(store, "a1").state == "queued"


def test_two_processes_share_one_job_that_both_want(database: JobDatabase) -> None:
    """Of orders that join others the second gets the first one's job, though its queue has seen none."""
    one, other = DbosStore(database), DbosStore(database)
    first = one.add("a1", order_of_preset("mira", "Mira"))
    assert other.add("a2", order_of_preset("mira", "Mira")) == first
    assert other.list() == [first]
    one.close()
    other.close()


def test_a_list_is_read_again_only_after_somebody_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many may look while nothing happens; what this or another process changes is seen at the next look."""
    one, other = DbosStore(SqliteDatabase(tmp_path)), DbosStore(SqliteDatabase(tmp_path))
    clip(one, "a1")
    one.list(active=True)
    reads, read = [], one._read_list
    monkeypatch.setattr(one, "_read_list", lambda **asked: reads.append(asked) or read(**asked))
    for change in (lambda: other.report("a1", "render", 0.5), lambda: clip(other, "a2"), lambda: one.cancel("a1")):
        assert [one.list(active=True) for _ in range(3)] == [other.list(active=True)] * 3
        change()
    assert len(reads) == 2 and one.list(active=True) == other.list(active=True)
    assert [job.id for job in one.list(active=True)] == ["a2"]
    one.close()
    other.close()


def test_a_job_has_its_time_with_any_sqlite(tmp_path: Path) -> None:
    """On Python 3.12 and newer DBOS asks SQLite for a function that is NULL before 3.42; connections know it here."""
    store = DbosStore(SqliteDatabase(tmp_path))
    clip(store, "a1")
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        asked_s = connection.execute(sqlalchemy.text("select unixepoch('subsec')")).scalar_one()
    assert asked_s == pytest.approx(time.time(), abs=60)
    store.close()


def test_a_change_of_another_process_is_seen_at_the_next_look(database: JobDatabase) -> None:
    """Whatever is kept of lists that were read before."""
    one, other = DbosStore(database), DbosStore(database)
    clip(one, "a1")
    assert [job.id for job in other.list(active=True)] == ["a1"]
    one.report("a1", "render", 0.5)
    assert [job.step for job in other.list(active=True)] == ["render"]
    one.cancel("a1")
    assert other.list(active=True) == []
    one.close()
    other.close()


def test_who_asks_a_database_that_is_away_is_told_so_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it to come back. Neither the answer nor the log has the password."""
    store = DbosStore(PostgresDatabase("postgresql://me:topsecret@127.0.0.1:1/jobs"))
    for _ in range(2):
        with pytest.raises(DatabaseUnreachable) as told:
            store.list()
        assert told.value.retryable and told.value.http_status == 503
        assert "127.0.0.1" not in told.value.message + told.value.hint
    assert "127.0.0.1" in caplog.text and "topsecret" not in caplog.text
    store.close()


def test_a_database_that_goes_away_and_comes_back_is_used_again(postgres: Postgres) -> None:
    """Who asks meanwhile is told; afterwards the same store works."""
    store = DbosStore(PostgresDatabase(postgres.new_database("away")))
    clip(store, "a1")
    postgres.execute("ALTER DATABASE away ALLOW_CONNECTIONS false")
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'")
    with pytest.raises(DatabaseUnreachable):
        store.get("a1")
    postgres.execute("ALTER DATABASE away ALLOW_CONNECTIONS true")
    assert store.get("a1").state == "queued"
    store.close()


def test_a_worker_reports_on_what_it_has_in_hand_alone(database: JobDatabase) -> None:
    """A job that waits, or that another worker has, is not wanted of it."""
    store, workers = DbosStore(database), DbosStore(database, "worker")
    clip(store, "a1")
    assert store.report("a1", "render", 0.1) and not workers.report("a1", "render", 0.9)
    assert store.get("a1").progress == 0.1
    store.close()
    workers.close()

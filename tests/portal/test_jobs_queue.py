"""The job queue as the portal sees it, with no worker about."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import portal.worker.runner
from avatars.bundle import AvatarBundle
from avatars.confined import Limits
from avatars.errors import AvatarNotFound, DiskFull
from avatars.library import AvatarLibrary
from pipeline.errors import BadRequest
from portal.errors import JobNotFound, QueueFull
from portal.http.limits import TooMany
from portal.intake.submissions import ensure_presets, submit_avatar, submit_clip, submit_test_clip
from portal.jobs.opening import open_queue
from portal.jobs.orders import (
    MAX_TEXT_CHARACTERS,
    id_of_test_clip,
    order_of_avatar,
    order_of_clip,
    order_of_parts,
    order_of_preset,
)
from portal.jobs.queue import MAX_SPEECH_EACH_S, JobQueue
from portal.jobs.records import CLIP, PARTS, PREPARE, Job, JobFailure, JobFolders, JobOrder, line_of
from tests.portal.api_requests import recording
from tests.portal.memory_store import MemoryStore

MakeBundle = Callable[..., AvatarBundle]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    if request.param == "memory":
        queue = JobQueue(MemoryStore(), JobFolders(tmp_path), library, max_waiting=3)
    else:
        url = request.getfixturevalue("database_url") if request.param == "postgres" else ""
        queue = open_queue(tmp_path, library, database_url=url, max_waiting=3)
    yield queue
    queue.close()


def upload(folder: Path, name: str = "me.png") -> Path:
    path = folder / name
    path.write_bytes(b"pixels")
    return path


def test_an_upload_becomes_a_waiting_job_that_owns_the_file(queue: JobQueue, tmp_path: Path) -> None:
    """Submitting moves the upload into the job's folder and tells listeners."""
    told: list[bool] = []
    queue.on_submit(lambda: told.append(True))
    path = upload(tmp_path)
    job = queue.submit(order_of_avatar(path, avatar="me-1", name="Me", consent=True, file_name="../me.png"))
    assert (job.state, job.progress, job.avatar, job.name, job.error, job.result) == (
        "queued",
        0,
        "me-1",
        "Me",
        None,
        None,
    )
    kept = queue.folders.upload(job.id)
    assert kept is not None and kept.name == "upload" and not path.exists()
    assert told == [True] and queue.active() == [job]


def test_an_upload_without_consent_is_refused(queue: JobQueue, tmp_path: Path) -> None:
    """Without consent nothing is queued."""
    with pytest.raises(BadRequest, match="consent"):
        queue.submit(order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=False))
    assert queue.list() == []


@pytest.mark.parametrize("text", [None, "", " \n ", "x" * (MAX_TEXT_CHARACTERS + 1)])
def test_a_clip_needs_words_and_not_too_many(queue: JobQueue, text: str | None) -> None:
    """An empty text and one over the limit are refused."""
    with pytest.raises(BadRequest):
        queue.submit(order_of_clip(avatar="me", text=text))


def test_titles_keep_their_slashes(queue: JobQueue, tmp_path: Path) -> None:
    """What a person types is no path; the name of a file is one, and stands in where nothing was typed."""
    assert queue.submit(order_of_clip(avatar="me", text="24/7, and/or")).name == "24/7, and/or"
    named = queue.submit(
        order_of_avatar(upload(tmp_path), avatar="me-1", name="AC/DC", consent=True, file_name="../me.png")
    )
    assert named.name == "AC/DC"
    unnamed = queue.submit(
        order_of_avatar(upload(tmp_path), avatar="me-2", name=" ", consent=True, file_name="C:\\a\\me.png")
    )
    assert unnamed.name == "me"


def test_jobs_are_listed_newest_first(queue: JobQueue) -> None:
    """The list is in order of birth, the newest first, and can be narrowed to a kind."""
    ids = [queue.submit(order_of_clip(avatar="me", text=str(number))).id for number in range(3)]
    assert [job.id for job in queue.list()] == ids[::-1]
    assert queue.list(kind="prepare") == []


def test_a_test_clip_is_in_its_place_among_the_others(tmp_path: Path, library: AvatarLibrary) -> None:
    """Its id does not tell when it was born: what was queued later comes before it."""
    queue = open_queue(tmp_path, library)
    submit_test_clip(queue, "me", "Me")
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("UPDATE workflow_status SET created_at = created_at - 5000")
    later = queue.submit(order_of_clip(avatar="me", text="later")).id
    assert [job.id for job in queue.list()] == [later, id_of_test_clip("me")]
    database.close()
    queue.close()


def test_what_waits_already_is_found_in_a_full_queue(queue: JobQueue) -> None:
    """Asking again for what is queued takes no place, and so is no matter of room."""
    preset, clip = queue.submit(order_of_preset("mira", "Mira")), submit_test_clip(queue, "me", "Me")
    parts = queue.submit(order_of_parts("me", "Me", "wav2lip96", {}))
    with pytest.raises(QueueFull):
        queue.submit(order_of_preset("theo", "Theo"))
    assert queue.submit(order_of_preset("mira", "Mira")) == preset
    assert submit_test_clip(queue, "me", "Me") == clip
    assert queue.submit(order_of_parts("me", "Me", "wav2lip96", {})) == parts


def test_all_jobs_of_an_avatar_are_cancelled(queue: JobQueue) -> None:
    """Those of others and those that have ended stay as they are."""
    ended = queue.submit(order_of_clip(avatar="me", text="hello")).id
    queue.cancel(ended)
    mine = [
        queue.submit(order_of_clip(avatar="me", text="hello")).id,
        queue.submit(order_of_parts("me", "Me", "wav2lip96", {})).id,
    ]
    other = queue.submit(order_of_clip(avatar="you", text="hello")).id
    queue.cancel_all_of("me")
    assert {queue.get(job).state for job in (ended, *mine)} == {"cancelled"}
    assert queue.get(other).state == "queued"


def test_a_sweep_forgets_old_jobs_but_no_clip(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many finished jobs the oldest are forgotten; a clip that somebody made stays, and so does its job."""
    monkeypatch.setattr(portal.worker.runner, "KEPT_JOBS", 1)
    jobs = [queue.submit(order_of_clip(avatar="me", text=str(number))).id for number in range(3)]
    for job in jobs:
        queue.cancel(job)
    clip = queue.folders.clip(jobs[0], "webm")
    clip.parent.mkdir()
    clip.write_bytes(b"clip")
    portal.worker.runner._sweep(queue)
    assert clip.exists() and [job.id for job in queue.list()] == [jobs[2], jobs[0]]


def test_a_full_queue_takes_no_more(queue: JobQueue, tmp_path: Path) -> None:
    """Beyond the limit of waiting jobs a submission is refused and leaves no file."""
    for number in range(3):
        queue.submit(order_of_clip(avatar="me", text=str(number)))
    with pytest.raises(QueueFull):
        queue.submit(order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=True))
    assert not list((tmp_path / "jobs").glob("*"))


def test_many_who_ask_at_the_same_time_find_no_more_room(queue: JobQueue, make_bundle: MakeBundle) -> None:
    """Of twenty submissions at once as many are taken as have room; of eight retries of one job, one."""
    make_bundle("me")

    def outcome(ask: Callable[[], object]) -> str:
        try:
            ask()
        except (QueueFull, BadRequest) as error:
            return error.code
        return "taken"

    with ThreadPoolExecutor(20) as many:
        asked = [lambda: queue.submit(order_of_clip(avatar="me", text="hello"))] * 20
        assert Counter(many.map(outcome, asked)) == {"taken": 3, "queue_full": 17}
        job = queue.list()[0].id
        queue.cancel(job)
        again = [lambda: queue.retry(job)] * 8
        assert Counter(many.map(outcome, again)) == {"taken": 1, "bad_request": 7}


def test_a_cancelled_waiting_job_leaves_nothing(queue: JobQueue, tmp_path: Path) -> None:
    """Cancelling before a worker took the job removes its files; twice does no harm."""
    job = queue.submit(order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=True))
    assert queue.cancel(job.id).state == "cancelled"
    assert queue.cancel(job.id).state == "cancelled"
    assert not queue.folders.home(job.id).exists() and not queue.active()
    assert not queue.retryable(queue.get(job.id))


def test_a_cancelled_clip_of_a_text_can_be_run_again(queue: JobQueue, make_bundle: MakeBundle) -> None:
    """What needs no upload can be retried as long as its avatar is there; what is done or waits cannot."""
    make_bundle("me")
    job = queue.submit(order_of_clip(avatar="me", text="hello"))
    with pytest.raises(BadRequest):
        queue.retry(job.id)
    queue.cancel(job.id)
    assert queue.retry(job.id).state == "queued"


def test_a_cancelled_clip_of_a_recording_can_be_run_again(
    queue: JobQueue, tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small recording is kept for that, until the job is removed; of a large one it is told that it is gone."""
    make_bundle("me")
    small, large = (queue.submit(order_of_clip(avatar="me", audio=upload(tmp_path, "speech.wav"))) for _ in range(2))
    queue.cancel(small.id)
    monkeypatch.setattr("portal.jobs.records.MAX_KEPT_UPLOAD_BYTES", 1)
    assert queue.missing_input(queue.cancel(large.id)) == "upload" and not queue.retryable(queue.get(large.id))
    assert queue.retry(small.id).state == "queued" and queue.folders.upload(small.id) is not None
    queue.delete(small.id)
    assert not queue.folders.home(small.id).exists()


def test_without_its_avatar_no_job_can_be_run_again(queue: JobQueue, tmp_path: Path, make_bundle: MakeBundle) -> None:
    """A clip or a preparation needs the avatar; a job that makes one does not. Nothing is kept for what cannot be."""
    make_bundle("me")
    clip, making = (
        queue.submit(order_of_clip(avatar="me", audio=upload(tmp_path, "speech.wav"))),
        queue.submit(order_of_preset("mira", "Mira")),
    )
    AvatarLibrary(tmp_path / "avatars").delete("me")
    queue.cancel_all_of("me")
    queue.cancel_all_of("mira")
    assert queue.missing_input(queue.get(clip.id)) == "avatar" and not queue.folders.home(clip.id).exists()
    with pytest.raises(BadRequest) as told:
        queue.retry(clip.id)
    assert "avatar was deleted" in told.value.hint
    assert queue.retry(making.id).state == "queued"


def test_a_deleted_job_is_forgotten_with_its_clip(queue: JobQueue) -> None:
    """Deleting cancels, forgets, and removes the clip."""
    job = queue.submit(order_of_clip(avatar="me", text="hello"))
    clip = queue.folders.clip(job.id)
    clip.parent.mkdir()
    clip.write_bytes(b"mp4")
    queue.delete(job.id)
    assert queue.list() == [] and not clip.exists()
    with pytest.raises(JobNotFound):
        queue.get(job.id)


def test_presets_are_queued_once_and_before_others(queue: JobQueue, tmp_path: Path) -> None:
    """Every preset that the library lacks is queued, never twice."""
    queue.max_waiting = 50
    library = AvatarLibrary(tmp_path / "avatars")
    first = ensure_presets(library, queue)
    assert len(first) >= 2 and {job.kind for job in first} == {"prepare"}
    assert [job.id for job in ensure_presets(library, queue)] == [job.id for job in first]
    assert len(queue.list()) == len(first)


def test_a_full_disk_leaves_no_half_upload(queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left: the error says so, no job is queued, nothing is left of it."""

    def move(source: Path, target: Path) -> None:
        target.write_bytes(b"pix")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "move", move)
    with pytest.raises(DiskFull, match="space"):
        queue.submit(order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=True))
    assert queue.list() == [] and not list((tmp_path / "jobs").glob("*"))


def test_a_second_job_of_one_id_leaves_the_first_one_alone(queue: JobQueue, tmp_path: Path) -> None:
    """Two who chose one id in the same moment: the second is told, and the upload of the first stays."""

    def order(name: str) -> JobOrder:
        ordered = order_of_avatar(upload(tmp_path, f"{name}.png"), avatar=name, name=name, consent=True)
        return replace(ordered, id="task-musetalk-7")

    first = queue.submit(order("ada"))
    with pytest.raises(BadRequest, match="already"):
        queue.submit(order("bob"))
    assert [job.avatar for job in queue.list()] == ["ada"]
    assert (queue.folders.home(first.id) / "upload").read_bytes() == b"pixels"


def test_what_a_check_refuses_is_not_taken(queue: JobQueue, tmp_path: Path) -> None:
    """It is asked while nobody else submits."""

    def check() -> None:
        assert queue._admitting.locked()
        raise BadRequest("There is one.", "Choose another.")

    with pytest.raises(BadRequest):
        queue.submit(order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=True), check=check)
    assert queue.list() == [] and not list((tmp_path / "jobs").glob("*"))


def test_who_orders_does_not_wait_for_the_upload_of_somebody_else(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several machines share a store, the way there may take a minute."""
    begun, may_end, take = threading.Event(), threading.Event(), JobFolders.take_upload

    def slowly(folders: JobFolders, job_id: str, path: Path) -> None:
        begun.set()
        assert may_end.wait(20)
        take(folders, job_id, path)

    monkeypatch.setattr(JobFolders, "take_upload", slowly)
    with ThreadPoolExecutor(1) as pool:
        order = order_of_avatar(upload(tmp_path), avatar="me-1", name="Me", consent=True)
        slow = pool.submit(queue.submit, order)
        assert begun.wait(20)
        clip = queue.submit(order_of_clip(avatar="me", text="Hello."))
        may_end.set()
        assert sorted(job.id for job in (slow.result(), clip)) == sorted(job.id for job in queue.list())


def test_an_upload_is_not_kept_whatever_refuses_it(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an error that is none of ours leaves no file behind."""

    def surprised(_path: Path, _limits: Limits) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("portal.intake.submissions.check_media", surprised)
    path = upload(tmp_path)
    with pytest.raises(ZeroDivisionError):
        submit_avatar(AvatarLibrary(tmp_path / "avatars"), queue, path, name="Me", file_name="me.png", consent=True)
    assert not path.exists()


def ranks(queue: JobQueue, kind: str) -> list[tuple[str, int]]:
    return [(job.name, job.rank) for job in reversed(queue.list(kind=kind))]


def test_jobs_of_several_askers_are_taken_in_turn(queue: JobQueue) -> None:
    """The first job of somebody comes before the second one of somebody who asked for many before."""
    queue.max_waiting = 50
    for name in ("a1", "a2", "a3"):
        queue.submit(order_of_clip(avatar="me", text=name), "203.0.113.1")
    queue.submit(order_of_clip(avatar="me", text="b1"), "203.0.113.2")
    queue.submit(order_of_clip(avatar="me", text="ours"))
    queue.submit(order_of_parts("me", "Me", "wav2lip96", {}), "203.0.113.1")
    assert dict(ranks(queue, CLIP)) == {"a1": 0, "a2": 1, "a3": 2, "b1": 0, "ours": 0}
    assert [rank for _name, rank in ranks(queue, PARTS)] == [0]


def test_a_photo_waits_for_one_of_somebody_elses_many_clips(queue: JobQueue, tmp_path: Path) -> None:
    """A clip takes a minute to become an avatar. Somebody's next clip has its turn after everybody else's first file,
    and what an avatar is to say does not wait for these at all.
    """
    queue.max_waiting = 50

    def submit(name: str, asker: str) -> None:
        order = order_of_avatar(upload(tmp_path, name), avatar=Path(name).stem, name=name, consent=True)
        queue.submit(order, asker)

    for number in range(4):
        submit(f"film-{number}.mp4", "203.0.113.1")
    submit("photo-1.png", "203.0.113.2")
    submit("photo-2.png", "203.0.113.3")
    submit("film-4.mp4", "203.0.113.1")
    in_turn = sorted(queue.list(kind=PREPARE), key=lambda job: job.rank)
    assert {job.avatar for job in in_turn[:3]} == {"film-0", "photo-1", "photo-2"}
    assert [job.avatar for job in in_turn[3:]] == ["film-1", "film-2", "film-3", "film-4"]
    clip = queue.submit(order_of_clip(avatar="me", text="Hello."), "203.0.113.2")
    assert line_of(clip) != line_of(in_turn[0])


def test_one_address_has_few_minutes_of_speech_waiting(queue: JobQueue, tmp_path: Path) -> None:
    """A first clip is taken however long it is; beyond the bound further ones of that address wait to be asked for."""
    queue.max_waiting = 50
    long = [upload(tmp_path, f"{n}.wav") for n in range(3)]

    def order(audio: Path, audio_s: float) -> JobOrder:
        return order_of_clip(avatar="me", audio=audio, audio_s=audio_s)

    first = queue.submit(order(long[0], 2 * MAX_SPEECH_EACH_S), "203.0.113.1")
    assert first.speech_s == 2 * MAX_SPEECH_EACH_S
    with pytest.raises(TooMany, match="60 minutes") as told:
        queue.submit(order(long[1], 1.0), "203.0.113.1")
    assert told.value.hint
    assert queue.submit(order(long[2], 1.0), "203.0.113.2").speech_s == 1.0
    queue.cancel(first.id)
    english, chinese = "Hello there, my good old friend of the sea. " * 110, "\u4f60\u597d" * 2500
    spoken_s = [
        queue.submit(order_of_clip(avatar="me", text=text), "203.0.113.1").speech_s for text in (english, chinese)
    ]
    assert spoken_s == [pytest.approx(387, rel=0.01), pytest.approx(800)]
    with pytest.raises(TooMany):
        queue.submit(order_of_clip(avatar="me", text=chinese), "203.0.113.1")


def test_nobody_who_waits_is_passed_by_newcomers_for_ever(queue: JobQueue) -> None:
    """Once a second job of somebody has its turn, those who come then are behind what has waited as long."""
    queue.max_waiting = 50
    jobs = [queue.submit(order_of_clip(avatar="me", text=f"a{n}"), "203.0.113.1") for n in range(3)]
    queue.cancel(jobs[0].id)
    assert queue.submit(order_of_clip(avatar="me", text="b"), "203.0.113.2").rank == jobs[1].rank
    queue.cancel(jobs[1].id)
    assert queue.submit(order_of_clip(avatar="me", text="c"), "203.0.113.3").rank == 1


def test_another_process_sees_the_same_jobs(tmp_path: Path, library: AvatarLibrary) -> None:
    """The queue is its database: a second one on the same folder shows the same jobs."""
    queue = open_queue(tmp_path, library)
    job = queue.submit(order_of_clip(avatar="me", text="hello"))
    other = open_queue(tmp_path, library)
    assert other.get(job.id) == job
    for one in (queue, other, other):
        one.close()


@pytest.mark.parametrize(("code", "useful"), [("no_face", False), ("bad_media", False), ("disk_full", True)])
def test_only_what_may_turn_out_better_can_be_tried_again(
    queue: JobQueue, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, code: str, useful: bool
) -> None:
    """What went in is at fault: a second try is refused with its remedy. A full disk may have room then."""
    make_bundle("me")
    waiting = queue.submit(order_of_clip(avatar="me", text="hello"))
    queue.cancel(waiting.id)
    failure = JobFailure(code, "It failed.", "Do it otherwise.")
    failed = replace(queue.get(waiting.id), state="failed", error=failure)
    monkeypatch.setattr(queue, "get", lambda _id: failed)
    assert queue.retryable(failed) is useful
    if useful:
        queue.retry(failed.id)
    else:
        with pytest.raises(BadRequest, match="cannot be run again") as told:
            queue.retry(failed.id)
        assert told.value.hint == "Do it otherwise."


def test_an_order_for_an_avatar_that_is_erased_meanwhile_leaves_nothing(
    queue: JobQueue, library: AvatarLibrary, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure has looked for jobs before this one was there, and a recording of the person's would stay."""
    make_bundle("ada")
    speech = tmp_path / "speech.wav"
    speech.write_bytes(recording())
    submit = queue.submit

    def erased_meanwhile(order: JobOrder, asker: str, check: Callable[[], None]) -> Job:
        job = submit(order, asker, check)
        library.delete("ada")
        return job

    monkeypatch.setattr(queue, "submit", erased_meanwhile)
    with pytest.raises(AvatarNotFound):
        submit_clip(library, queue, avatar="ada", audio=speech)
    assert queue.list() == []
    assert not [path for path in queue.folders.data_dir.rglob("*") if path.suffix == ".wav"]


def test_part_of_the_disk_stays_free(queue: JobQueue, tmp_path: Path, library: AvatarLibrary) -> None:
    """Where less would be left than is kept free no job is taken, though the disk has room."""
    cautious = JobQueue(queue.store, queue.folders, library, keep_free_bytes=10**18)
    with pytest.raises(DiskFull, match="kept free"):
        cautious.submit(order_of_clip(avatar="me", text="hello", speaker="Me"))
    assert not queue.active()
    assert queue.submit(order_of_clip(avatar="me", text="hello", speaker="Me")).state == "queued"

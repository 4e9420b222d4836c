"""Two portals with a data folder each and one store: what is made, changed or erased at one is so at the other."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import portal.worker.runner
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotFound, StoreUnreachable
from avatars.library import Ownership
from avatars.shared_library import SharedLibrary
from avatars.shelf import Shelf
from portal.api.avatars import avatars_router
from portal.api.clips import clips_router
from portal.api.export import export_router
from portal.api.gestures import gestures_router
from portal.api.jobs import jobs_router
from portal.api.voice_samples import voice_samples_router
from portal.errors import RecordingNotFound
from portal.http.errors import answer_errors
from portal.http.login_key import secret_of
from portal.intake.submissions import submit_test_clip
from portal.intake.uploads import Uploads
from portal.jobs.opening import open_queue
from portal.jobs.orders import id_of_test_clip, order_of_avatar, order_of_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP, PREPARE, Job, JobInputs
from portal.jobs.shared_folders import SharedJobFolders
from portal.jobs.shares import JobShares
from portal.jobs.store import TakenJob
from portal.settings import Settings
from portal.shared_erasure import SharedErasureNotes
from portal.storage import IN_USE_S, Storage
from portal.worker.job_work import JobWork, Recipe, Step
from portal.worker.runner import JobRunner, Occupation
from tests.portal.api_requests import error_of
from tests.shared_stores import bring_back, take_away, unread
from tests.unreadable import unreadable


class Node:
    """A portal with a data folder of its own. `jobs`: another one, in whose database its jobs are."""

    def __init__(self, home: Path, store_url: str, jobs: Node | None = None) -> None:
        home.mkdir()
        self.settings = Settings(data_dir=home, store_url=store_url, keep_free_bytes=0)
        # Its clock has gone on each time it looks: what the store said before counts no more.
        self.storage = Storage.of(self.settings, itertools.count(0, 10).__next__)
        self.library, self.folders = self.storage.library, self.storage.folders
        if jobs is None:
            self.queue = open_queue(home, self.library, folders=self.folders)
        else:
            self.queue = JobQueue(jobs.queue.store, self.folders, self.library)
        app = FastAPI()
        answer_errors(app)
        uploads, shares = Uploads(home), JobShares(self.queue.active_askers, 50)
        for router in (
            avatars_router(self.library, self.queue, self.settings, uploads, shares),
            clips_router(self.library, self.queue, self.settings, uploads, shares),
            gestures_router(self.library, self.queue, self.settings, uploads, shares),
            voice_samples_router(self.library, self.queue, self.settings, uploads, shares),
            export_router(self.library, self.queue),
            jobs_router(self.queue, shares, self.library),
        ):
            app.include_router(router)
        self.web = TestClient(app)

    @property
    def shelf(self) -> Shelf:
        assert isinstance(self.library, SharedLibrary)
        return self.library.shelf

    def work_on(self, job: Job, recipe: Recipe, inputs: JobInputs, ended: dict[str, object] | None = None) -> object:
        """Do a job as a worker does it. ended: what its steps gave that have ended before, by their names; those that
        end now are added.
        """
        known = {} if ended is None else ended

        def once(name: str, step: Callable[[], object]) -> object:
            if name not in known:
                known[name] = step()
            return known[name]

        runner = JobRunner(self.settings, self.queue, self.library, Occupation())
        return runner.run(recipe, TakenJob(job.id, inputs, once))


@contextmanager
def opened(*nodes: Node) -> Iterator[None]:
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.queue.close)
            stack.enter_context(node.web)
        yield


@pytest.fixture
def ours(tmp_path: Path, store_url: str) -> Iterator[Node]:
    node = Node(tmp_path / "ours", store_url)
    with opened(node):
        yield node


@pytest.fixture
def theirs(tmp_path: Path, store_url: str, ours: Node) -> Iterator[Node]:
    """Its jobs are in the database of ours, as with Postgres."""
    node = Node(tmp_path / "theirs", store_url, jobs=ours)
    with node.web:
        yield node


@pytest.fixture
def make(make_bundle: Callable[..., AvatarBundle]) -> Callable[..., None]:
    def made(node: Node, avatar_id: str = "ada") -> None:
        bundle = make_bundle(avatar_id)
        with node.library.making(avatar_id) as folder:
            bundle.path.rename(folder)

    return made


def speak(work: JobWork) -> dict[str, object]:
    clip = work.folders.clip(work.id)
    clip.parent.mkdir(parents=True, exist_ok=True)
    clip.write_bytes(b"moving pictures")
    work.folders.keep_clip(work.id, "mp4")
    return {"clip": f"/api/clips/{clip.name}"}


SPEAK = Recipe(CLIP, (Step("render", 1, speak),))


def order_clip(node: Node, recording: Path | None = None) -> tuple[Job, JobInputs]:
    text = None if recording else "Hello."
    order = order_of_clip(avatar="ada", text=text, audio=recording, voice=None, name="", speaker="Ada")
    return node.queue.submit(order), order.inputs


def test_an_avatar_made_at_one_portal_is_shown_at_the_other(
    ours: Node, theirs: Node, make: Callable[..., None]
) -> None:
    """With its picture and who it is; what is changed there is so here."""
    make(ours)
    (shown,) = theirs.web.get("/api/avatars").json()
    assert shown == ours.web.get("/api/avatars").json()[0]
    assert theirs.web.get(shown["poster"]).content == ours.web.get(shown["poster"]).content != b""
    theirs.web.patch("/api/avatars/ada/persona", json={"greeting": "Hello!"})
    assert ours.web.get("/api/avatars/ada/persona").json()["greeting"] == "Hello!"
    theirs.web.patch("/api/avatars/ada", json={"name": "Adele"})
    assert ours.library.open("ada").name == "Adele"


def test_a_worker_elsewhere_reads_the_upload_and_its_clip_is_fetched_here(
    ours: Node, theirs: Node, make: Callable[..., None], tmp_path: Path
) -> None:
    """The upload is nowhere then."""
    make(ours)
    recording = tmp_path / "speech.wav"
    recording.write_bytes(b"a voice")
    job, inputs = order_clip(ours, recording)
    assert not recording.exists()
    heard = []

    def hear(work: JobWork) -> dict[str, object]:
        heard.append(work.upload.read_bytes())
        return speak(work)

    assert theirs.work_on(job, Recipe(CLIP, (Step("render", 1, hear),)), inputs) == {"clip": f"/api/clips/{job.id}.mp4"}
    assert heard == [b"a voice"]
    assert ours.web.get(f"/api/clips/{job.id}.mp4").content == b"moving pictures"
    assert theirs.folders.upload(job.id) is None and ours.folders.upload(job.id) is None
    ours.storage.look()
    assert not list(ours.settings.data_dir.rglob("upload")), "its copy goes as well"


def test_steps_that_another_machine_has_done_are_done_again(ours: Node, theirs: Node, tmp_path: Path) -> None:
    """What they hand on lies there. On the same machine they are not."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a face")
    done: list[str] = []

    def first(work: JobWork) -> None:
        done.append("first")
        (work.folder / "handed on").write_bytes(work.upload.read_bytes())

    def last(work: JobWork) -> dict[str, object]:
        done.append("last")
        if len(done) < 4:
            raise KeyboardInterrupt  # the machine is gone
        return {"seen": (work.folder / "handed on").read_bytes().decode()}

    order = order_of_avatar(photo, avatar="ada", name="Ada", consent=True)
    recipe = Recipe(PREPARE, (Step("first", 1, first), Step("last", 1, last)))
    ended: dict[str, object] = {}
    job = ours.queue.submit(order)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ours.work_on(job, recipe, order.inputs, ended)
    assert done == ["first", "last", "last"]
    assert theirs.work_on(job, recipe, order.inputs, ended) == {"seen": "a face"}
    assert done == ["first", "last", "last", "first", "last"]


def test_a_deleted_clip_is_gone_at_both(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    """Also where it was fetched before."""
    make(ours)
    job, inputs = order_clip(ours)
    theirs.work_on(job, SPEAK, inputs)
    assert ours.web.get(f"/api/clips/{job.id}.mp4").status_code == 200
    ours.queue.store.cancel(job.id)
    theirs.queue.delete(job.id)
    assert error_of(ours.web.get(f"/api/clips/{job.id}.mp4"), 404)["code"] == "job_not_found"
    assert not list(ours.settings.data_dir.rglob("*.mp4"))


def test_a_test_clip_is_shown_with_its_avatar(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    make(ours)
    job = replace(order_clip(ours)[0], id=id_of_test_clip("ada"))
    theirs.folders.clip(job.id).parent.mkdir(parents=True)
    theirs.folders.clip(job.id).write_bytes(b"words")
    theirs.folders.keep_clip(job.id, "mp4")
    assert ours.web.get("/api/avatars/ada").json()["test_clip"] == f"/api/clips/{job.id}.mp4"


def test_the_upload_of_a_failed_job_waits_in_the_store_for_a_retry_elsewhere(
    ours: Node, theirs: Node, make: Callable[..., None], tmp_path: Path
) -> None:
    make(ours)
    recording = tmp_path / "speech.wav"
    recording.write_bytes(b"a voice")
    job, _ = order_clip(ours, recording)
    ours.queue.cancel(job.id)
    assert theirs.queue.retryable(theirs.queue.get(job.id))
    theirs.queue.retry(job.id)
    path = theirs.folders.upload(job.id)
    assert path is not None and path.read_bytes() == b"a voice"


def test_a_worker_deletes_no_clips_because_the_store_does_not_say_which_there_are(
    ours: Node, theirs: Node, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that starts tidies up: the oldest jobs that have no clip go. Here it knows of no clip yet."""
    monkeypatch.setattr(portal.worker.runner, "KEPT_JOBS", 0)
    make(ours)
    job, inputs = order_clip(ours)
    ours.work_on(job, Recipe(CLIP, (Step("render", 1, speak),)), inputs)
    ours.queue.cancel(job.id)
    assert isinstance(theirs.folders, SharedJobFolders)
    store = theirs.folders.store
    names = store.names

    def silent(_kind: str) -> dict[str, str]:
        raise StoreUnreachable("It does not answer.", "Try again.")

    monkeypatch.setattr(store, "names", silent)
    portal.worker.runner._sweep(theirs.queue)
    monkeypatch.setattr(store, "names", names)
    assert ours.web.get(f"/api/clips/{job.id}.mp4").content == b"moving pictures"
    monkeypatch.setattr(store, "indexes", lambda _kind, _names: iter([{}]))  # none can be read
    portal.worker.runner._sweep(theirs.queue)
    assert ours.web.get(f"/api/clips/{job.id}.mp4").content == b"moving pictures"


def test_a_worker_tidies_up_around_what_cannot_be_read(
    ours: Node, theirs: Node, make: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could not start. What could not be read is tidied up by a later start."""
    monkeypatch.setattr(portal.worker.runner, "KEPT_JOBS", 0)
    for avatar in ("ada", "bob"):
        make(ours, avatar)
        job = ours.queue.submit(order_of_clip(avatar=avatar, text="Hello."))
        ours.queue.cancel(job.id)
    with unread("reports", "bob"):
        portal.worker.runner._sweep(theirs.queue)
        assert [job.avatar for job in theirs.queue.list()] == ["bob"]
    portal.worker.runner._sweep(theirs.queue)
    assert not theirs.queue.list()


def test_what_cannot_be_read_just_now_counts_as_there(
    ours: Node, theirs: Node, make: Callable[..., None], tmp_path: Path
) -> None:
    """A test clip is not deleted and made once more, and nobody is told to upload something again."""
    make(ours)
    recording = tmp_path / "speech.wav"
    recording.write_bytes(b"a voice")
    failed, _ = order_clip(ours, recording)
    ours.queue.cancel(failed.id)
    job = submit_test_clip(ours.queue, "ada", "Ada")
    ours.work_on(job, SPEAK, {"avatar": "ada"})
    ours.queue.store.cancel(job.id)
    with unread("uploads", failed.id):
        assert theirs.queue.retryable(theirs.queue.get(failed.id))
    with unread("clips", job.id):
        assert submit_test_clip(theirs.queue, "ada", "Ada").state == "cancelled"
    assert theirs.web.get(f"/api/clips/{job.id}.mp4").content == b"moving pictures"


def test_pictures_of_a_face_report_are_seen_and_deleted_everywhere(ours: Node, theirs: Node) -> None:
    ours.folders.reports.keep("ada", {"0.jpg": b"a face"}, "job-1")
    reports = theirs.folders.reports
    assert (reports.pictures("ada"), reports.job_of("ada")) == (["0.jpg"], "job-1")
    assert theirs.web.get("/api/avatars/ada/report/0.jpg").content == b"a face"
    reports.delete("ada")
    assert ours.web.get("/api/avatars/ada/report/0.jpg").status_code == 404
    assert reports.job_of("ada") is None


def test_a_deleted_avatar_is_gone_at_both(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    make(ours)
    theirs.library.open("ada")
    assert ours.web.delete("/api/avatars/ada").status_code == 204
    assert theirs.web.get("/api/avatars/ada").status_code == 404
    with pytest.raises(AvatarNotFound):
        theirs.library.open("ada")
    assert not theirs.library.path_of("ada").exists()


def test_erasures_are_told_through_the_store(ours: Node, theirs: Node) -> None:
    """Each is told once; what was not finished is known to all, also after a restart."""
    assert ours.storage.store is not None and theirs.storage.store is not None
    here = SharedErasureNotes(ours.settings.data_dir, ours.storage.store, are_jobs_apart=False)
    there = SharedErasureNotes(theirs.settings.data_dir, theirs.storage.store, are_jobs_apart=False)
    here.begin("ada")
    assert list(there.unfinished()) == ["ada"]
    here.note("ada")
    here.finish("ada")
    assert [list(notes.news()) for notes in (there, there, here)] == [["ada"], [], []]
    assert not there.unfinished()


def test_what_was_erased_while_a_portal_was_off_is_news_when_it_starts_again(ours: Node, theirs: Node) -> None:
    """It may have what nobody else sees. What it was told before it went off, and what was before its first start, is
    no news.
    """
    assert ours.storage.store is not None and theirs.storage.store is not None
    here = SharedErasureNotes(ours.settings.data_dir, ours.storage.store, are_jobs_apart=True)
    here.note("before")
    there = partial(SharedErasureNotes, theirs.settings.data_dir, theirs.storage.store, are_jobs_apart=True)
    running = there()
    here.note("told")
    assert list(running.news()) == ["told"]
    assert not running.news()
    here.note("ada")
    again = there()
    assert list(again.news()) == ["ada"]
    again.ask_again("ada")
    assert list(again.news()) == ["ada"]
    assert list(there().news()) == ["ada"], "nobody knows whether it was done"


def test_an_export_has_the_bundle_and_nothing_of_ours(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    make(ours)
    told = theirs.web.get("/api/avatars/ada/export")
    assert b"frames.bin" in told.content and b".index.json" not in told.content


def test_a_store_that_is_away_is_named_and_what_is_here_goes_on(
    ours: Node, theirs: Node, make: Callable[..., None], store_url: str, tmp_path: Path
) -> None:
    """For whoever asks, and for the operator. A photo that is handed in meanwhile leaves nothing behind."""
    make(ours)
    theirs.library.open("ada")
    theirs.storage.look()
    assert not theirs.storage.troubles
    take_away(store_url)
    assert theirs.web.get("/api/avatars/ada").status_code == 200
    assert theirs.library.open("ada").frame_count == 5
    assert error_of(theirs.web.patch("/api/avatars/ada", json={"name": "Adele"}), 503)["code"] == "store_unreachable"
    theirs.storage.look()
    assert any("cannot be used" in trouble or "did not answer" in trouble for trouble in theirs.storage.troubles)
    recording = tmp_path / "speech.wav"
    recording.write_bytes(b"a voice")
    with pytest.raises(StoreUnreachable):
        order_clip(ours, recording)
    assert ours.queue.list() == []
    assert not list(ours.settings.data_dir.rglob("upload"))


def test_copies_that_nobody_used_for_longest_make_room(ours: Node, theirs: Node, make: Callable[..., None]) -> None:
    """Those that a session shows stay, and those that were used just now: another process may be reading them."""
    for name in ("ada", "bob", "carl"):
        make(ours, name)
        theirs.library.open(name)
    copies = theirs.storage.copies
    assert copies is not None
    here = {copy.name: copy for copy in theirs.shelf.copies}
    now_s = here["carl"].used_at
    copies.max_bytes = here["ada"].size_bytes
    copies.now_unix_s = lambda: now_s + 1
    theirs.storage.look()
    assert {copy.name for copy in theirs.shelf.copies} == {"ada", "bob", "carl"}
    for age_s, name in enumerate(("carl", "bob", "ada")):
        os.utime(here[name].path / ".index.json", (now_s + age_s, now_s + age_s))
    copies.now_unix_s = lambda: now_s + 10 * IN_USE_S
    theirs.storage.keep_copies_of(lambda: {"bob"})
    theirs.storage.look()
    assert {copy.name for copy in theirs.shelf.copies} == {"bob"}
    assert theirs.library.open("carl").frame_count == 5, "it is fetched again"


def test_a_login_at_one_portal_is_known_at_the_other(ours: Node, theirs: Node) -> None:
    for node in (ours, theirs):
        node.storage.start()
        node.storage.close()
    assert secret_of(ours.settings.data_dir) == secret_of(theirs.settings.data_dir)


def test_without_a_store_nothing_is_shared(tmp_path: Path) -> None:
    """The plain library and folders, as before."""
    storage = Storage.of(Settings(data_dir=tmp_path))
    assert (storage.store, storage.copies, storage.library.root) == (None, None, tmp_path / "avatars")
    assert storage.folders.hands_on_work and storage.folders.clip("1") == tmp_path / "clips" / "1.mp4"


RECORDING = "r" * 24


def record(node: Node, recording_id: str = RECORDING) -> None:
    """As a recording lies there that has just ended."""
    node.storage.recordings.note_owner(recording_id, "anna")
    folder = node.storage.recordings.root / recording_id
    (folder / "recording.mp4").write_bytes(b"she speaks")
    (folder / "recording.json").write_text('{"name": "Ada", "avatars": ["ada"]}')


def test_a_recording_is_fetched_at_any_portal_and_goes_everywhere(ours: Node, theirs: Node) -> None:
    """Whose it is, is known there too. Once it is old, whichever portal looks first removes it."""
    record(ours)
    assert theirs.storage.recordings.ownership(RECORDING) is None
    ours.storage.recordings.keep(RECORDING)
    kept = theirs.storage.recordings
    assert kept.path(RECORDING, "mp4").read_bytes() == b"she speaks"
    assert kept.ownership(RECORDING) == Ownership("anna")
    with pytest.raises(RecordingNotFound):
        kept.path(RECORDING, "vtt")
    (ended,) = kept.ended(set())
    assert (ended.owner, abs(ended.ended_at - time.time()) < 60) == ("anna", True)
    ended.remove()
    for node in (ours, theirs):
        with pytest.raises(RecordingNotFound):
            node.storage.recordings.path(RECORDING, "mp4")


def test_recordings_of_an_erased_avatar_are_erased_wherever_they_were_made(ours: Node, theirs: Node) -> None:
    record(ours)
    ours.storage.recordings.keep(RECORDING)
    assert theirs.storage.recordings.erase_all_of("ada") == 1
    with pytest.raises(RecordingNotFound):
        ours.storage.recordings.path(RECORDING, "mp4")
    assert theirs.storage.recordings.erase_all_of("ada") == 0


def test_an_erasure_is_not_done_while_a_recording_cannot_be_read(ours: Node, theirs: Node) -> None:
    """Nobody knows whom it shows. All others are erased, and this one with the next try; until then nothing removes
    it.
    """
    other = "s" * 24
    for recording_id in (RECORDING, other):
        record(ours, recording_id)
        ours.storage.recordings.keep(recording_id)
    kept = theirs.storage.recordings
    with unread("recordings", RECORDING):
        with pytest.raises(StoreUnreachable):
            kept.erase_all_of("ada")
        assert list(kept.ended(set())) == []
    assert kept.ownership(RECORDING) == Ownership("anna") and kept.ownership(other) is None
    assert kept.erase_all_of("ada") == 1
    assert kept.ownership(RECORDING) is None


def test_a_recording_that_cannot_be_read_when_it_ends_is_put_into_the_store_later(ours: Node, theirs: Node) -> None:
    """With the avatars that it shows: else it would outlive their erasure."""
    record(ours)
    with unreadable(ours.storage.recordings.root / RECORDING / "recording.json"):
        ours.storage.recordings.keep(RECORDING)
        assert list(ours.storage.recordings.ended(set())) == []
        assert theirs.storage.recordings.ownership(RECORDING) is None
    assert list(ours.storage.recordings.ended(set())) == []
    assert theirs.storage.recordings.erase_all_of("ada") == 1


def test_a_recording_that_ends_while_the_store_is_away_is_put_there_later(
    ours: Node, theirs: Node, store_url: str
) -> None:
    """Meanwhile it can be fetched where it was made, and nothing is erased without the others'."""
    assert ours.folders.make_mark()
    take_away(store_url)
    record(ours)
    ours.storage.recordings.keep(RECORDING)
    assert ours.storage.recordings.path(RECORDING, "mp4").read_bytes() == b"she speaks"
    with pytest.raises(StoreUnreachable):
        ours.storage.recordings.erase_all_of("ada")
    bring_back(store_url)
    assert list(ours.storage.recordings.ended({RECORDING})) == []
    assert list(ours.storage.recordings.ended(set())) == []
    assert theirs.storage.recordings.path(RECORDING, "mp4").read_bytes() == b"she speaks"

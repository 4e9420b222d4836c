"""Erasing an avatar: nothing that was made from it is left, and nothing of others is missing."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from avatars.errors import AvatarNotFound, StoreUnreachable
from avatars.library import AvatarLibrary
from pipeline.transports.loops import LoopCoding
from portal.api.erasure import erasure_router
from portal.app import Portal
from portal.erasure import Erasure, ErasureNotes
from portal.errors import DatabaseUnreachable
from portal.http.errors import answer_errors
from portal.jobs.face_reports import FaceReports
from portal.jobs.orders import order_of_avatar, order_of_clip
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.kept_recordings import KeptRecordings
from portal.recordings import Recording, Recordings
from portal.setting_loading import load_settings
from tests.portal.grey_manager import write_grey_avatar
from tests.unreadable import unreadable

WITHIN_S = 60.0


@dataclass
class House:
    portal: Portal
    http: AsyncClient
    folder: Path

    @property
    def library(self) -> AvatarLibrary:
        return self.portal.desk.library

    @property
    def recordings(self) -> Recordings:
        return self.portal.talk.recordings

    def made_clip(self, avatar: str) -> str:
        job = self.portal.desk.queue.submit(order_of_clip(avatar=avatar, text="Hello.", owner="max"))
        clip = self.portal.desk.queue.folders.clip(job.id)
        clip.parent.mkdir(exist_ok=True)
        clip.write_bytes(b"a clip")
        return job.id

    def kept_files(self) -> set[str]:
        """Everything in the data folder but the database and what belongs to the portal itself."""
        folders = ("avatars", "clips", "recordings", "reports", "jobs", "former-avatars")
        return {
            str(path.relative_to(self.folder))
            for folder in folders
            for path in (self.folder / folder).rglob("*")
            if path.is_file()
        }


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A portal with two avatars, sessions and recordings of it, and no worker."""
    for avatar in ("ada", "grey"):
        write_grey_avatar(tmp_path / "avatars" / avatar)
    given = {"data_dir": tmp_path, "worker": False, "avatar": "grey", "llm": "echo", "tts": "beep", "lipsync": "flash"}
    portal = Portal.build(load_settings({**given, "keep_free_bytes": 0, "max_sessions": 4}))
    app = FastAPI()
    answer_errors(app)
    desk, talk = portal.desk, portal.talk
    app.include_router(erasure_router(erasure_of(portal)))
    async with desk.running(), talk.running(), AsyncClient(transport=ASGITransport(app), base_url="http://t") as http:
        yield House(portal, http, tmp_path)


def erasure_of(portal: Portal) -> Erasure:
    desk, talk = portal.desk, portal.talk
    notes = ErasureNotes(portal.settings.data_dir)
    return Erasure(desk.library, desk.queue, talk.sessions, talk.memory, talk.recordings, talk.keeper, notes)


async def has_begun(recording: Recording) -> None:
    async with asyncio.timeout(WITHIN_S):
        while recording.recorder.duration_s == 0:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.02)


async def test_nothing_of_it_is_left_and_all_of_others(house: House) -> None:
    """The bundle, clips of any owner, an ended recording and a running one, uploads, the report, loops in memory."""
    sessions, queue = house.portal.talk.sessions, house.portal.desk.queue
    adas, greys = await sessions.open(avatar="ada"), await sessions.open(avatar="grey")
    kept = house.recordings.begin(greys)
    ended = house.recordings.begin(adas)
    await has_begun(kept)
    await has_begun(ended)
    await house.recordings.end(adas)
    running = house.recordings.begin(adas)
    await has_begun(running)
    await house.recordings.end(greys)
    upload = house.folder / "upload.jpg"
    upload.write_bytes(b"a photo")
    queue.submit(order_of_avatar(upload, avatar="ada", name="Ada", file_name="ada.jpg", consent=True))
    house.made_clip("ada")
    other_clip = house.made_clip("grey")
    FaceReports(house.folder).keep("ada", {"01.jpg": b"a face"}, "a job")
    for session in (adas, greys):
        await house.portal.talk.loops.wait(session.bundle, LoopCoding("JPEG", 75))
    others_bytes = house.portal.talk.loops.held_bytes // 2  # both loops are the same grey picture

    answer = await house.http.delete("/api/avatars/ada/everything")

    assert answer.json() == {"jobs": 2, "recordings": 2, "sessions": 1}
    assert adas.closed and not greys.closed
    assert "ada" not in house.library and "grey" in house.library
    assert [job.id for job in queue.list(limit=None)] == [other_clip]
    assert house.portal.talk.loops.held_bytes == others_bytes
    assert house.recordings.path(kept.id, "mp4").is_file()
    assert not [
        name for name in house.kept_files() if "grey" not in name and other_clip not in name and kept.id not in name
    ]


async def test_what_another_portal_erases_ends_here_too(house: House) -> None:
    """Sessions of programs as well, which no database knows; a recording that was completed just after is removed."""
    talk, other = house.portal.talk, ErasureNotes(house.folder)
    adas, greys = await talk.sessions.open(avatar="ada"), await talk.sessions.open(avatar="grey")
    recording = house.recordings.begin(adas)
    await has_begun(recording)
    erasure = erasure_of(house.portal)
    house.library.delete("ada")
    await house.recordings.end(adas)
    assert house.recordings.path(recording.id, "mp4").is_file()
    other.note("ada")
    await erasure.follow()
    assert adas.closed and not greys.closed
    assert not (house.folder / "recordings" / recording.id).exists()


async def test_what_another_portal_erases_is_asked_for_again_while_nobody_knows_whether_it_is_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    adas = await house.portal.talk.sessions.open(avatar="ada")
    other, erasure = ErasureNotes(house.folder), erasure_of(house.portal)
    house.library.delete("ada")
    other.note("ada")
    knows = erasure.library.holds_now
    answers = [StoreUnreachable("It does not answer.", "Try again."), None]

    def asked(avatar_id: str) -> bool:
        trouble = answers.pop(0)
        if trouble is not None:
            raise trouble
        return knows(avatar_id)

    monkeypatch.setattr(erasure.library, "holds_now", asked)
    await erasure.follow()
    assert not adas.closed
    await erasure.follow()
    assert adas.closed and not answers
    await erasure.follow()  # it is no news any more: nobody is asked


async def test_an_erasure_that_fails_half_way_is_finished_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away keeps nothing from being erased that is not in it, and the rest follows by itself."""
    adas = await house.portal.talk.sessions.open(avatar="ada")
    recording = house.recordings.begin(adas)
    await has_begun(recording)
    clip = house.made_clip("ada")
    is_away = True

    def listed(*given: Any, then: Any, **named: Any) -> Any:
        if is_away:
            raise DatabaseUnreachable("It does not answer.", "Try again.")
        return then(*given, **named)

    store = house.portal.desk.queue.store
    monkeypatch.setattr(store, "list", partial(listed, then=store.list))
    answer = await house.http.delete("/api/avatars/ada/everything")
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "erasure_unfinished"
    assert adas.closed and not (house.folder / "recordings" / recording.id).exists()
    another = erasure_of(house.portal)  # as after a restart
    await another.follow()
    assert house.portal.desk.queue.folders.clip(clip).exists()
    is_away = False
    await another.follow()
    assert not house.portal.desk.queue.folders.clip(clip).exists() and not another.notes.unfinished()
    assert not [name for name in house.kept_files() if "grey" not in name]


async def test_an_erasure_waits_for_a_recording_that_cannot_be_read_and_erases_all_else(house: House) -> None:
    """Nobody knows whom it shows, so the erasure is not over before it can be read."""
    adas = await house.portal.talk.sessions.open(avatar="ada")
    recording = house.recordings.begin(adas)
    await has_begun(recording)
    await house.recordings.end(adas)
    clip = house.portal.desk.queue.folders.clip(house.made_clip("ada"))
    erasure = erasure_of(house.portal)
    with unreadable(house.folder / "recordings" / recording.id / "recording.json"):
        answer = await house.http.delete("/api/avatars/ada/everything")
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "erasure_unfinished"
        assert not clip.exists() and "ada" not in house.library
        await erasure.follow()
        assert list(erasure.notes.unfinished()) == ["ada"]
    await erasure.follow()
    assert not erasure.notes.unfinished()
    assert not [name for name in house.kept_files() if "grey" not in name]


async def test_an_erasure_that_cannot_be_finished_erases_nothing_of_a_new_avatar_of_that_id(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One recording that cannot be read holds it up, of anybody. The log says so once."""
    queue, erasure = house.portal.desk.queue, erasure_of(house.portal)
    KeptRecordings(house.folder / "recordings").note_owner("of-somebody", "")
    (house.folder / "recordings" / "of-somebody" / "recording.json").write_text('{"avatars": ["grey"]}')
    old = house.made_clip("ada")
    with unreadable(house.folder / "recordings" / "of-somebody" / "recording.json"):
        await house.http.delete("/api/avatars/ada/everything")
        assert old not in [job.id for job in queue.list(limit=None)]
        upload = house.folder / "upload.jpg"
        upload.write_bytes(b"a new photo")
        new = queue.submit(order_of_avatar(upload, avatar="ada", name="Ada", file_name="ada.jpg", consent=True))
        queue.folders.reports.keep("ada", {"01.jpg": b"a new face"}, new.id)
        listed = queue.store.list

        def a_minute_later(**wish: Any) -> list[Job]:
            return [replace(job, created_at=job.created_at + 60 * (job.id == new.id)) for job in listed(**wish)]

        monkeypatch.setattr(queue.store, "list", a_minute_later)
        monkeypatch.setattr(
            queue.store, "get", lambda job_id: next(job for job in a_minute_later() if job.id == job_id)
        )
        for _ in range(2):
            await erasure.follow()
        again = await house.http.delete("/api/avatars/ada/everything")
        assert again.status_code == 404
        await erasure.follow()
        assert list(erasure.notes.unfinished()) == ["ada"], "it is forgotten when somebody asks again"
    assert caplog.text.count("every look tries again") == 1
    await erasure.follow()
    assert not erasure.notes.unfinished()
    assert [(job.id, job.state) for job in queue.list(limit=None)] == [(new.id, "queued")]
    assert list((house.folder / "jobs" / new.id).rglob("upload*"))
    assert queue.folders.reports.pictures("ada") == ["01.jpg"]


async def test_jobs_that_were_ordered_until_the_avatar_was_gone_are_erased_after_a_restart(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To delete the avatar may take minutes where a store is slow."""
    clip, former_ids = house.made_clip("ada"), house.portal.desk.queue.folders.former_ids
    retire, notes = former_ids.retire, house.folder / "erased" / ".unfinished"

    def retired_slowly(library: AvatarLibrary, avatar_id: str) -> None:
        retire(library, avatar_id)
        os.utime(notes / avatar_id, (0, 0))  # the erasure began long ago

    def ends(*_given: object) -> None:
        raise StoreUnreachable("The portal ends here.", "Start it again.")

    with monkeypatch.context() as patch:
        patch.setattr(type(former_ids), "retire", lambda _ids, *given: retired_slowly(*given))
        patch.setattr(Erasure, "_erase_rest", ends)
        assert (await house.http.delete("/api/avatars/ada/everything")).status_code == 503
    assert house.portal.desk.queue.folders.clip(clip).exists()
    await erasure_of(house.portal).follow()
    assert not house.portal.desk.queue.list(limit=None)


async def test_an_avatar_that_cannot_be_looked_for_keeps_no_other_erasure_from_being_followed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasure, other = erasure_of(house.portal), ErasureNotes(house.folder)
    holds_now = erasure.library.holds_now

    def failing(avatar_id: str) -> bool:
        if avatar_id == "ada":
            raise StoreUnreachable("Its index cannot be read.", "Try again.")
        return holds_now(avatar_id)

    monkeypatch.setattr(erasure.library, "holds_now", failing)
    other.begin("ada")
    other.begin("bob")
    await erasure.follow()
    assert list(erasure.notes.unfinished()) == ["ada"]


async def test_an_erasure_waits_for_a_clip_that_cannot_be_removed_and_erases_all_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, queue = [house.made_clip("ada") for _ in range(3)], house.portal.desk.queue
    delete, lost = JobQueue.delete, clips[1]

    def deleted(self: JobQueue, job_id: str) -> None:
        if job_id == lost:
            raise StoreUnreachable("Its index cannot be read.", "Try again.")
        delete(self, job_id)

    with monkeypatch.context() as patch:
        patch.setattr(JobQueue, "delete", deleted)
        answer = await house.http.delete("/api/avatars/ada/everything")
    assert answer.status_code == 503
    assert [job.id for job in queue.list(limit=None)] == [lost]
    await erasure_of(house.portal).follow()
    assert not queue.list(limit=None)


def test_notes_of_erasures_are_news_to_others_once(tmp_path: Path) -> None:
    """Not to whoever wrote them, nor what was there before; an id that is erased again is news again."""
    ours, theirs = ErasureNotes(tmp_path), ErasureNotes(tmp_path)
    ours.note("ada")
    assert [list(notes.news()) for notes in (ours, theirs, theirs)] == [[], ["ada"], []]
    ours.note("ada")
    (erased_at,) = theirs.news().values()
    assert abs(erased_at - time.time()) < WITHIN_S
    assert not ErasureNotes(tmp_path).news()


def test_our_own_note_is_never_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks between the note and the mark that it is ours."""
    notes, touch, held = ErasureNotes(tmp_path), Path.touch, list[bool]()

    def noted(path: Path) -> None:
        touch(path)
        held.append(notes._looking.locked())

    monkeypatch.setattr(Path, "touch", noted)
    notes.note("ada")
    assert held == [True] and not notes.news()


async def test_an_avatar_that_is_erased_while_a_recorded_session_changes_to_it_is_in_no_recording(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its erasure has come to its end before the session would show it, so nothing would look for it any more."""
    sessions, engine = house.portal.talk.sessions, house.portal.talk.engine
    session = await sessions.open(avatar="grey")
    recording = house.recordings.begin(session)
    await has_begun(recording)

    async def erased_meanwhile(*given: Any, then: Any) -> Any:
        await house.http.delete("/api/avatars/ada/everything")
        return await then(*given)

    monkeypatch.setattr(engine, "change", partial(erased_meanwhile, then=engine.change))
    with pytest.raises(AvatarNotFound):
        await sessions.change(session, {"avatar": "ada"})
    assert not session.closed
    await house.recordings.end(session)
    told = json.loads(house.recordings.path(recording.id, "json").read_text())
    assert told["avatars"] == ["grey"]


async def test_an_avatar_that_is_not_there_is_told(house: House) -> None:
    """And nothing happens."""
    before = house.kept_files()
    answer = await house.http.delete("/api/avatars/nobody/everything")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "avatar_not_found")
    assert house.kept_files() == before


async def test_a_session_that_has_gone_on_as_another_avatar_loses_its_recording(house: House) -> None:
    """The session itself goes on: it does not show the erased avatar any more."""
    sessions = house.portal.talk.sessions
    session = await sessions.open(avatar="ada")
    recording = house.recordings.begin(session)
    await has_begun(recording)
    await sessions.change(session, {"avatar": "grey"})
    answer = await house.http.delete("/api/avatars/ada/everything")
    assert answer.json() == {"jobs": 0, "recordings": 1, "sessions": 0}
    assert not session.closed and house.recordings.of(session) is None
    assert not list((house.folder / "recordings").iterdir())

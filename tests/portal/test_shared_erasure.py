"""Two portals with one store, and a database each: what one erases is erased at the other, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portal.app import Portal
from portal.erasure import Erasure
from portal.jobs.orders import order_of_clip
from portal.jobs.records import Job
from portal.setting_loading import load_settings
from portal.shared_erasure import SharedErasureNotes
from tests.portal.grey_manager import write_grey_avatar
from tests.shared_stores import new_store


class Node:
    def __init__(self, home: Path, store_url: str) -> None:
        home.mkdir()
        self.home = home
        given = {"data_dir": home, "worker": False, "avatar": "grey", "llm": "echo", "tts": "beep", "lipsync": "flash"}
        self.portal = Portal.build(load_settings({**given, "keep_free_bytes": 0, "store_url": store_url}))
        self.erasure = self.started_erasure()

    def started_erasure(self) -> Erasure:
        """As after a start of the portal."""
        desk, talk = self.portal.desk, self.portal.talk
        assert desk.storage.store is not None
        notes = SharedErasureNotes(self.home, desk.storage.store, are_jobs_apart=True)
        return Erasure(desk.library, desk.queue, talk.sessions, talk.memory, talk.recordings, talk.keeper, notes)

    def make(self, avatar: str) -> None:
        with self.portal.desk.library.making(avatar) as folder:
            write_grey_avatar(folder)

    def made_clip(self) -> str:
        folders = self.portal.desk.queue.folders
        job = self.portal.desk.queue.submit(order_of_clip(avatar="ada", text="Hello.", owner="max"))
        clip = folders.clip(job.id)
        clip.parent.mkdir(exist_ok=True)
        clip.write_bytes(b"a clip")
        folders.keep_clip(job.id, "mp4")
        return job.id

    @property
    def clips(self) -> list[str]:
        """Ids of the jobs whose clips are there."""
        queue = self.portal.desk.queue
        return [job.id for job in queue.list(limit=None) if queue.folders.made_clip(job.id)]


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Both know an avatar `ada`."""
    url = new_store("memory", tmp_path)
    ours, theirs = Node(tmp_path / "ours", url), Node(tmp_path / "theirs", url)
    ours.make("ada")
    left, right = ours.portal, theirs.portal
    async with left.desk.running(), right.desk.running(), left.talk.running(), right.talk.running():
        yield ours, theirs


async def test_clips_that_another_portal_knows_alone_are_erased_there(nodes: tuple[Node, Node]) -> None:
    """When it is told, or at its next start, if it was off."""
    ours, theirs = nodes
    theirs.made_clip()
    await theirs.erasure.follow()
    await ours.erasure.erase("ada")
    assert len(theirs.clips) == 1
    await theirs.started_erasure().follow()
    assert not theirs.clips


async def test_of_a_new_avatar_of_that_id_nothing_is_erased(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there before the other portal was told; clips of the erased one go all the same."""
    ours, theirs = nodes
    theirs.made_clip()
    await ours.erasure.erase("ada")
    ours.make("ada")
    new = theirs.made_clip()
    store = theirs.portal.desk.queue.store
    listed = store.list

    def a_minute_later(**wish: Any) -> list[Job]:
        return [replace(job, created_at=job.created_at + 60 * (job.id == new)) for job in listed(**wish)]

    monkeypatch.setattr(store, "list", a_minute_later)
    theirs.portal.desk.queue.folders.reports.keep("ada", {"0.jpg": b"a face"}, "a job")
    await theirs.erasure.follow()
    assert theirs.clips == [new]
    assert theirs.portal.desk.queue.folders.reports.pictures("ada") == ["0.jpg"]
    assert "ada" in theirs.portal.desk.library


async def test_whoever_finishes_an_erasure_for_another_portal_tells_it(nodes: tuple[Node, Node]) -> None:
    """That one has ended before it told anybody, and has clips that nobody else knows."""
    ours, theirs = nodes
    ours.made_clip()
    await ours.erasure.follow()
    ours.erasure.notes.begin("ada")
    ours.portal.desk.queue.folders.former_ids.retire(ours.portal.desk.library, "ada")
    await theirs.erasure.follow()
    assert not theirs.erasure.notes.unfinished()
    assert len(ours.clips) == 1
    await ours.started_erasure().follow()
    assert not ours.clips

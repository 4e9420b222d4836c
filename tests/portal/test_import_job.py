"""What follows the job of an import: its own network is made ready, and a test clip is made as of any new avatar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from avatars.library import AvatarLibrary
from avatars.stages import Source
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP, PARTS, PREPARE, JobFolders, JobInputs
from portal.settings import Settings
from portal.worker.job_work import JobWork
from portal.worker.recipes import recipes
from tests.backend_rows import replace_backend
from tests.portal.test_parts_job import Ready
from tests.portraits import portrait_bundle


@pytest.fixture
def queue(tmp_path: Path, library: AvatarLibrary) -> Iterator[JobQueue]:
    queue = open_queue(tmp_path, library)
    yield queue
    queue.close()


@pytest.fixture
def follow(tmp_path: Path, queue: JobQueue, library: AvatarLibrary) -> Callable[[], None]:
    """What the worker calls after the avatar `ada` was prepared."""
    inputs: JobInputs = {"avatar": "ada", "name": "Ada"}
    work = JobWork("job", inputs, Settings(data_dir=tmp_path), JobFolders(tmp_path), library, lambda _done: None)
    (prepare,) = (recipe for recipe in recipes() if recipe.kind == PREPARE)
    return lambda: prepare.then(work, queue)


def kinds(queue: JobQueue) -> list[str]:
    return sorted(job.kind for job in queue.list())


def imported_with(networks: Sequence[str], library: AvatarLibrary) -> None:
    """The avatar `ada`, imported with these networks of its own."""
    folder = portrait_bundle(library.root / "ada", size=128).path
    manifest = folder / "manifest.json"
    told = json.loads(manifest.read_text()) | {"source": {"imported": {"networks": networks}}}
    manifest.write_text(json.dumps(told))
    (folder / "parts").mkdir()
    for backend in networks:
        (folder / "parts" / f"{backend}.pth").write_bytes(b"weights")


@pytest.mark.parametrize(("networks", "expected"), [(["ultralight"], [CLIP, PARTS]), ([], [CLIP])])
def test_an_import_that_brought_its_network_is_prepared_for_it(
    networks: Sequence[str],
    expected: list[str],
    follow: Callable[[], None],
    queue: JobQueue,
    library: AvatarLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One job for the backend of the network, however often the worker comes by; none of an import without."""
    replace_backend(monkeypatch, "lipsync", "ultralight", f"{Ready.__module__}:Ready")
    imported_with(networks, library)
    follow()
    follow()
    assert kinds(queue) == expected
    assert [job.name for job in queue.list(kind=PARTS)] == [f"woman: {backend}" for backend in networks]


def test_what_is_made_of_an_avatar_belongs_to_its_owner(
    follow: Callable[[], None], queue: JobQueue, library: AvatarLibrary
) -> None:
    """Here the test clip. The avatar itself has the owner from the job that makes it."""
    imported_with([], library)
    manifest = library.path_of("ada") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"source": {"owner": "anna"}}))
    follow()
    assert [job.owner for job in queue.list()] == ["anna"]


def test_a_new_avatar_has_the_owner_of_its_job(tmp_path: Path, library: AvatarLibrary) -> None:
    """It is in what the preparation begins from, and so in the manifest as it appears."""
    Image.new("RGB", (320, 400), "grey").save(upload := tmp_path / "photo.png")
    inputs: JobInputs = {"avatar": "ada", "name": "Ada", "owner": "anna", "file_name": "photo.png", "consent": True}
    folders = JobFolders(tmp_path)
    folders.home("job").mkdir(parents=True)
    upload.rename(folders.home("job") / "upload")
    work = JobWork("job", inputs, Settings(data_dir=tmp_path), folders, library, lambda _done: None)
    (prepare,) = (recipe for recipe in recipes() if recipe.kind == PREPARE)
    prepare.steps[0].run(work)
    assert Source.load(work.folder).facts["owner"] == "anna"


def test_an_import_for_a_backend_that_cannot_run_here_still_speaks(
    follow: Callable[[], None], queue: JobQueue, library: AvatarLibrary
) -> None:
    """Without HuBERT's weights nothing is prepared for Ultralight; the test clip is made all the same."""
    imported_with(["ultralight"], library)
    follow()
    assert kinds(queue) == [CLIP]


def test_other_avatars_get_their_test_clip_only(
    follow: Callable[[], None], queue: JobQueue, library: AvatarLibrary
) -> None:
    """A photo has no network of its own."""
    portrait_bundle(library.root / "ada", size=128)
    follow()
    assert kinds(queue) == [CLIP]


def test_an_avatar_that_was_deleted_meanwhile_does_not_stop_the_worker(
    follow: Callable[[], None], queue: JobQueue
) -> None:
    """Nothing is queued for it."""
    follow()
    assert kinds(queue) == []

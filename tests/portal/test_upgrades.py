"""Data folders as earlier versions left them: avatars, jobs, clips and settings are still there, and jobs go on.

Each zip in tests/assets/data_folders is the folder of a portal of the commit in its name: an avatar of two pictures, a
clip that was made, and one that waited when the portal was killed. `made.json` has the ids of the two jobs, and the
names of that version's settings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from avatars.library import AvatarLibrary
from portal.jobs.opening import open_queue
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP
from portal.settings import Settings

KEPT = Path(__file__).parents[1] / "assets" / "data_folders"
VERSIONS = sorted(path.stem for path in KEPT.glob("*.zip"))
DONE_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True)
class Home:
    """A data folder that has come from an earlier version."""

    data_dir: Path
    queue: JobQueue
    library: AvatarLibrary
    done: str
    waiting: str
    settings: tuple[str, ...]


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with zipfile.ZipFile(KEPT / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    made = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    library = AvatarLibrary(tmp_path / "avatars")
    queue = open_queue(tmp_path, library)
    yield Home(tmp_path, queue, library, made["done"], made["waiting"], tuple(made["settings"]))
    queue.close()


def plays(clip: Path) -> bool:
    with av.open(str(clip)) as source:
        return sum(1 for _ in source.decode(video=0)) > 0


@pytest.mark.parametrize("home", VERSIONS, indirect=True)
def test_avatars_jobs_and_clips_of_earlier_versions_are_there(home: Home) -> None:
    """The avatar opens, the clip is listed and plays, and the one that waited waits on."""
    assert [summary.name for summary in home.library.list()] == ["Kept"]
    assert home.library.open("kept").frame_count == 2
    done, waiting = home.queue.get(home.done), home.queue.get(home.waiting)
    assert (done.kind, done.state, done.name, done.avatar) == (CLIP, "done", "Done", "kept")
    assert plays(home.queue.folders.clip(home.done))
    assert waiting.active and (waiting.kind, waiting.name, waiting.avatar) == (CLIP, "Waiting", "kept")
    assert {home.done, home.waiting} <= {job.id for job in home.queue.list(limit=None)}
    assert home.waiting in {job.id for job in home.queue.active()}


@pytest.mark.parametrize("home", VERSIONS, indirect=True)
def test_settings_of_earlier_versions_are_still_taken(home: Home) -> None:
    """A file or a command line with any of them starts the portal."""
    assert set(home.settings) - set(Settings.model_fields) == set()


@pytest.mark.thorough
@pytest.mark.parametrize("home", [VERSIONS[0], VERSIONS[-1]], indirect=True)
def test_a_job_of_an_earlier_version_is_done_by_the_worker_of_today(home: Home) -> None:
    """The real one, in a process of its own."""
    settings = Settings(data_dir=home.data_dir, tts="beep", lipsync="flash", worker_idle_s=1.0, keep_free_bytes=0)
    worker = subprocess.Popen([sys.executable, "-m", "portal.worker.child"], stdin=subprocess.PIPE)
    try:
        assert worker.stdin is not None
        worker.stdin.write(settings.with_secrets() + b"\n")
        worker.stdin.flush()
        until_s = time.monotonic() + DONE_WITHIN_S
        while (job := home.queue.get(home.waiting)).active and time.monotonic() < until_s:
            assert worker.poll() is None or not home.queue.get(home.waiting).active, "the worker has given up"
            time.sleep(0.1)
    finally:
        worker.kill()
        worker.wait()
    assert job.state == "done", job.error
    assert plays(home.queue.folders.clip(home.waiting))

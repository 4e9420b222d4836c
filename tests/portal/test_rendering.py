"""Clips with a network: an avatar that is not prepared for it is prepared first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
import pytest

from avatars import backend_parts
from avatars.bundle import AvatarBundle
from avatars.errors import DiskFull, NetworkMissing
from avatars.library import AvatarLibrary
from avatars.parts import BackendParts, networks_of
from pipeline.errors import BackendUnavailable, RenderError
from portal.intake.submissions import submit_test_clip
from portal.jobs.opening import open_queue
from portal.jobs.records import JobFolders
from portal.making.avatar_parts import prepare_for_backend
from portal.making.rendering import render_clip
from portal.settings import Settings
from portal.worker import recipes
from portal.worker.process import WorkerProcess
from tests.certificates import verdict_of
from tests.portal.test_jobs_worker import until
from tests.portraits import portrait_bundle
from tests.recordings import spoken, write_recording

if TYPE_CHECKING:
    from portal.worker.job_work import JobWork

pytestmark = pytest.mark.thorough


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def bundle(library: AvatarLibrary) -> AvatarBundle:
    return portrait_bundle(library.root / "ada", size=192, shifts=(0, 2, 4, 6))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, lipsync="wav2lip96", tts="beep", worker_idle_s=30)


@pytest.fixture
def weights(settings: Settings) -> None:
    pytest.importorskip("torch")
    from tests.tiny_wav2lip import write_wav2lip_weights

    write_wav2lip_weights(settings.weights_folder, 96)


@pytest.mark.usefixtures("weights")
def test_an_avatar_is_prepared_for_its_first_clip(settings: Settings, bundle: AvatarBundle, tmp_path: Path) -> None:
    """The clip is made, the parts stay for the next one, which is not kept waiting; progress goes up to its end."""

    def clip(name: str) -> list[float]:
        told: list[float] = []
        output, work = tmp_path / name, tmp_path / "work"
        render_clip(settings, bundle, output=output, work=work, text="Hello.", progress=told.append)
        assert output.stat().st_size > 1000
        return told

    first = clip("first.mp4")
    assert first == sorted(first) and first[0] == 0 and 0.5 in first and first[-1] == 1
    prepared = BackendParts.open(bundle, "wav2lip96").row("faces", 0)
    second = clip("second.mp4")
    assert second == sorted(second) and second[-1] == 1
    assert np.array_equal(BackendParts.open(bundle, "wav2lip96").row("faces", 0), prepared)


@pytest.mark.usefixtures("weights")
def test_a_killed_clip_goes_on_preparing_where_it_was(
    settings: Settings, bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished lies in the folder it is given."""
    monkeypatch.setattr(backend_parts, "BATCH_FRAMES", 1)
    work = tmp_path / "work"

    def killed_half_way(share: float) -> None:
        if share > 0.25:
            raise Killed

    def clip(progress: object = lambda _share: None) -> None:
        render_clip(settings, bundle, output=tmp_path / "clip.mp4", work=work, text="Hi.", progress=progress)  # type: ignore[arg-type]

    with pytest.raises(Killed):
        clip(killed_half_way)
    finished = {path: path.stat().st_mtime_ns for path in work.glob("*/batch-*")}
    assert len(finished) == 2 and not (tmp_path / "clip.mp4").exists()
    clip()
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(work.glob("*/batch-*"))) == bundle.frame_count and (tmp_path / "clip.mp4").exists()


@pytest.mark.usefixtures("weights")
def test_what_a_person_had_prepared_meanwhile_counts(
    settings: Settings, bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that is preparing stops when somebody else is done, and uses that: its own would undo a choice."""
    monkeypatch.setattr(backend_parts, "BATCH_FRAMES", 1)
    chosen = {"pads": [0, 30, 0, 0]}

    def prepared_half_way(share: float) -> None:
        if share == 0.25:
            prepare_for_backend(settings, bundle, "wav2lip96", chosen, tmp_path / "other", lambda _share: None)

    clip = tmp_path / "clip.mp4"
    render_clip(settings, bundle, output=clip, work=tmp_path / "work", text="Hello.", progress=prepared_half_way)
    assert clip.exists()
    assert BackendParts.open(bundle, "wav2lip96").parameters["pads"] == chosen["pads"]


@pytest.mark.parametrize(("lipsync", "error"), [("wav2lip96", BackendUnavailable), ("ultralight", NetworkMissing)])
def test_what_cannot_be_drawn_is_said_before_anything_is_prepared(
    settings: Settings, bundle: AvatarBundle, tmp_path: Path, lipsync: str, error: type[Exception]
) -> None:
    """No weights, or no network of the avatar's own: nothing is prepared and nothing is loaded."""
    pytest.importorskip("torch")
    from tests.tiny_ultralight import write_hubert_weights

    write_hubert_weights(settings.weights_folder / "hubert-large-ls960-ft")
    settings = settings.model_copy(update={"lipsync": lipsync})
    with pytest.raises(error):
        render_clip(settings, bundle, output=tmp_path / "clip.mp4", work=tmp_path / "work", text="Hello.")
    assert not (tmp_path / "work").exists() and not (bundle.path / "parts").exists()
    assert networks_of(bundle.path) == []


@pytest.mark.usefixtures("weights")
async def test_the_test_clip_of_a_new_avatar_shows_the_network(
    settings: Settings, bundle: AvatarBundle, library: AvatarLibrary, tmp_path: Path
) -> None:
    """The real worker prepares the avatar inside the clip's own job, and leaves nothing of it behind."""
    queue = open_queue(tmp_path, library)
    worker = WorkerProcess(settings, queue)
    job = await asyncio.to_thread(submit_test_clip, queue, "ada", "Ada")
    await worker.start()
    try:
        job = await until(queue, job.id, lambda job: not job.active)
        assert job.state == "done", job.error
        assert queue.folders.clip(job.id).exists() and not queue.folders.home(job.id).exists()
        assert BackendParts.open(bundle, "wav2lip96").boxes.shape == (4, 4)
    finally:
        await worker.aclose()
        queue.close()


def test_a_recording_without_a_length_tells_its_true_progress(bundle: AvatarBundle, tmp_path: Path) -> None:
    """Its header says nothing, so its seconds are counted first; the clip is as long, and nothing is noticed."""
    settings = Settings(data_dir=tmp_path, lipsync="flash", tts="beep")
    speech = write_recording(tmp_path / "speech", spoken(3)[None], "webm", "libopus", live="1")
    told: list[float] = []
    notices = render_clip(
        settings, bundle, output=tmp_path / "clip.mp4", work=tmp_path / "work", audio=speech, progress=told.append
    )
    assert notices == [] and told == sorted(told) and told[-1] == 1
    assert sum(0.1 < share < 0.9 for share in told) > 40


def test_a_recording_that_is_too_long_is_refused_before_anything_is_made(bundle: AvatarBundle, tmp_path: Path) -> None:
    """Its real length decides."""
    settings = Settings(data_dir=tmp_path, lipsync="flash", tts="beep")
    speech = write_recording(tmp_path / "speech", spoken(3)[None], "webm", "libopus", live="1")
    with pytest.raises(RenderError, match="more than") as told:
        render_clip(
            settings,
            bundle,
            output=tmp_path / "clip.mp4",
            work=tmp_path / "work",
            audio=speech,
            longest_speech_s=2,
        )
    assert told.value.code == "unsupported_media" and not (tmp_path / "clip.mp4").exists()


def test_a_clip_shows_that_it_was_made_by_ai(bundle: AvatarBundle, tmp_path: Path) -> None:
    """The label is in the first pictures, unless the operator leaves it out."""

    def first_picture(label: str) -> np.ndarray:
        chosen = Settings(data_dir=tmp_path, lipsync="flash", tts="beep", clip_label=label)  # type: ignore[arg-type]
        output = tmp_path / f"{label}.mp4"
        render_clip(chosen, bundle, output=output, work=tmp_path / "work", text="Hi.")
        with av.open(str(output)) as file:
            return next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)

    plain, labelled = first_picture("off"), first_picture("start")
    changed = np.abs(plain - labelled).max(axis=2) > 60
    assert changed.sum() > 200 and changed[: bundle.height // 2, : bundle.width // 2].sum() == 0


def test_a_clip_is_signed_or_says_why_not(bundle: AvatarBundle, tmp_path: Path) -> None:
    """With the certificate of this portal; one that is missing costs the signature, not the clip."""
    pytest.importorskip("c2pa")

    def made(**chosen: object) -> tuple[Path, list[str]]:
        settings = Settings(data_dir=tmp_path, lipsync="flash", tts="beep", **chosen)  # type: ignore[arg-type]
        output = tmp_path / "clip.mp4"
        notices = render_clip(settings, bundle, output=output, work=tmp_path / "work", text="Hi.")
        return output, [notice.code for notice in notices]

    clip, codes = made(c2pa=True)
    assert codes == [] and verdict_of(clip).state == "Valid"
    clip, codes = made(c2pa_certificate=tmp_path / "gone.pem", c2pa_key=tmp_path / "gone.pem")
    assert codes == ["not_signed"]
    with av.open(str(clip)) as file:
        assert len(list(file.decode(video=0))) > 10


def test_a_clip_that_would_fill_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again while the clip is written: a transparent one has a hundred times the bytes of others."""

    def writes_half(*_given: Any, progress: Callable[[float], None], **_named: Any) -> None:
        progress(0.5)

    monkeypatch.setattr(recipes, "render_clip", writes_half)
    reported: list[float] = []
    work = SimpleNamespace(
        id="a-1",
        inputs={"avatar": "ada", "text": "Hello.", "voice": None},
        settings=Settings(data_dir=tmp_path, keep_free_bytes=10**18),
        library=SimpleNamespace(open=lambda avatar: avatar),
        folders=JobFolders(tmp_path),
        folder=tmp_path,
        progress=reported.append,
    )
    with pytest.raises(DiskFull):
        recipes._render(cast("JobWork", work))
    assert reported == []

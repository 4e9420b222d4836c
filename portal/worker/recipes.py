"""The recipes of all kinds of jobs: what each step does. This runs in the worker process only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from avatars.bundle import AvatarBundle
from avatars.disk import require_room
from avatars.errors import FaceNotFound
from avatars.gesture_making import read_gesture, write_gesture
from avatars.importers.account import import_words
from avatars.library import presets
from avatars.prepare import Upload, cut_out, find_faces, make_loop, preset_upload, read_source, report_strip, write
from avatars.records import SourceRecord
from models.errors import VivavoceError
from pipeline.types import NoticeEvent
from portal.intake.submissions import ensure_parts, submit_test_clip, taken
from portal.intake.uploads import MAX_SPEECH_S
from portal.jobs.queue import JobQueue
from portal.jobs.records import CLIP, GESTURE, MP4, PARTS, PREPARE, VOICE_SAMPLE
from portal.making.avatar_parts import prepare_for_backend
from portal.making.rendering import render_clip
from portal.making.voice_samples import read_sample, write_sample
from portal.worker.job_work import JobFailed, JobWork, Recipe, Step

__all__ = ["recipes"]

logger = logging.getLogger(__name__)


def recipes() -> tuple[Recipe, ...]:
    """Return the recipes of all kinds of jobs.

    Weights are the steps' relative CPU times for a typical photo, or for a typical clip in the case of `cut_out`.
    """
    return (
        Recipe(
            PREPARE,
            (
                Step("read_source", 1, _read_source),
                Step("find_faces", 5, _find_faces),
                Step("make_loop", 8, _make_loop),
                Step("cut_out", 6, _cut_out),
                Step("write", 1, _write),
            ),
            then=_go_on,
        ),
        Recipe(CLIP, (Step("render", 1, _render),)),
        Recipe(PARTS, (Step("prepare_parts", 1, _prepare_parts),)),
        Recipe(
            GESTURE,
            (
                Step("read_source", 1, _read_gesture),
                Step("find_faces", 5, _find_gesture_faces),
                Step("write_gesture", 2, _write_gesture),
            ),
        ),
        Recipe(VOICE_SAMPLE, (Step("read_voice", 1, _read_voice), Step("write_voice", 2, _write_voice))),
    )


def _upload_of(work: JobWork) -> Upload:
    wanted = work.inputs.get("preset")
    if wanted is not None:
        preset = next((preset for preset in presets() if preset.id == wanted), None)
        if preset is None:
            raise JobFailed("avatar_not_found", f"There is no preset {wanted!r} any more.", "Delete this job.")
        return preset_upload(preset)
    source: SourceRecord = {
        "file": work.inputs["file_name"],
        "consent": work.inputs["consent"],
        "job": work.id,
        "owner": work.inputs.get("owner", ""),
    }
    return Upload(
        path=work.upload,
        avatar_id=work.inputs["avatar"],
        name=work.inputs["name"],
        framing=work.inputs.get("framing"),  # missing in jobs of earlier versions
        cutout=work.inputs.get("cutout", False),
        source=source,
    )


def _read_source(work: JobWork) -> None:
    read_source(_upload_of(work), work.folder, work.progress)


def _find_faces(work: JobWork) -> None:
    try:
        find_faces(work.folder, work.progress)
    except FaceNotFound as error:
        raise JobFailed(error.code, error.message, error.hint, _keep_report(work), error.cause) from error
    _keep_report(work)


def _check_id(work: JobWork) -> None:
    """Raise BadRequest if somebody else has got the avatar's id since this was ordered.

    Machines without a common database do not see what is ordered at the others. If two of them write in the same
    second, the later avatar stays. Nothing has been made with the other one by then.
    """
    avatar, owner = work.inputs["avatar"], work.inputs.get("owner", "")
    if "preset" not in work.inputs and work.folders.former_ids.is_anothers(work.library, avatar, owner):
        raise taken(avatar)


def _keep_report(work: JobWork) -> dict[str, object]:
    _check_id(work)  # else the report of somebody else's avatar would be replaced
    report, pictures = report_strip(work.folder)
    work.folders.reports.keep(work.inputs["avatar"], pictures, work.id)
    return report


def _make_loop(work: JobWork) -> None:
    make_loop(work.folder, work.progress)


def _cut_out(work: JobWork) -> None:
    cut_out(work.folder, work.progress)


def _write(work: JobWork) -> dict[str, object]:
    _check_id(work)
    avatar = write(work.folder, work.library, work.progress)
    imported = work.library.open(avatar).manifest["source"].get("imported")
    return {"avatar": avatar} if imported is None else {"avatar": avatar, "notices": import_words(imported)}


def _go_on(work: JobWork, queue: JobQueue) -> None:
    """Queue what follows the making of an avatar: parts for its own networks, and a test clip for its page.

    If that fails because the queue is full or weights are missing, it does not matter: the page asks for what it needs.
    """
    if "preset" in work.inputs:
        return
    avatar, library = work.inputs["avatar"], work.library
    with _passed_over(avatar):
        bundle = library.open(avatar)
        imported = bundle.manifest["source"].get("imported")
        for backend in () if imported is None else imported.get("networks", ()):
            with _passed_over(avatar):
                ensure_parts(library, queue, work.settings, avatar=avatar, backend=backend)
        submit_test_clip(queue, avatar, work.inputs["name"], owner=bundle.owner)


@contextmanager
def _passed_over(avatar: str) -> Iterator[None]:
    """Log errors of ours in the block instead of raising them."""
    try:
        yield
    except VivavoceError as error:
        logger.warning("something is not made of %s: %s", avatar, error)


def _render(work: JobWork) -> dict[str, object]:
    """Make a clip, in one step. If the avatar lacks parts for the lip-sync, they are prepared first."""
    ending = work.inputs.get("format", MP4)
    clip = work.folders.clip(work.id, ending)

    def progress(part: float) -> None:
        require_room(clip.parent, work.settings.keep_free_bytes, "the clip was not made")  # ProRes takes 5 MB a second
        work.progress(part)

    notices = render_clip(
        work.settings,
        work.library.open(work.inputs["avatar"]),
        output=clip,
        work=work.folder,
        text=work.inputs["text"],
        audio=None if work.inputs["text"] else work.upload,
        voice=work.inputs["voice"],
        longest_speech_s=MAX_SPEECH_S,
        progress=progress,
    )
    work.folders.keep_clip(work.id, ending)
    return {"clip": f"/api/clips/{clip.name}", **_in_words(notices)}


def _prepare_parts(work: JobWork) -> dict[str, object]:
    """Prepare an avatar for a backend, in one step. Finished batches stay in the job's folder, so it can be resumed."""
    avatar, backend = work.inputs["avatar"], work.inputs["backend"]
    with work.library.changing(avatar) as folder:
        notices = prepare_for_backend(
            work.settings,
            AvatarBundle.open(folder),
            backend,
            work.inputs["parameters"],
            work.folder,
            work.progress,
        )
    return {"avatar": avatar, "backend": backend, **_in_words(notices)}


def _read_gesture(work: JobWork) -> None:
    inputs = work.inputs
    source: SourceRecord = {"file": inputs["file_name"], "consent": inputs["consent"], "job": work.id}
    if inputs.get("idle"):
        source["idle"] = True
    upload = Upload(path=work.upload, avatar_id=inputs["avatar"], name=inputs["gesture"], source=source)
    read_gesture(upload, work.folder, work.progress)


def _find_gesture_faces(work: JobWork) -> None:
    find_faces(work.folder, work.progress)


def _write_gesture(work: JobWork) -> dict[str, object]:
    avatar, name = work.inputs["avatar"], work.inputs["gesture"]
    sound_of = work.upload if work.inputs["sound"] else None
    with work.library.changing(avatar) as folder:
        write_gesture(work.folder, AvatarBundle.open(folder), name, sound_of, work.progress)
    return {"avatar": avatar, "gesture": name}


def _read_voice(work: JobWork) -> None:
    read_sample(work.upload, work.folder, work.progress)


def _write_voice(work: JobWork) -> dict[str, object]:
    inputs = work.inputs
    source = {"file": inputs["file_name"], "consent": inputs["consent"], "job": work.id}
    with work.library.changing(inputs["avatar"]) as folder:
        sample = write_sample(work.settings, AvatarBundle.open(folder), work.folder, inputs["transcript"], source)
    return {"avatar": inputs["avatar"], "transcript": sample.transcript}


def _in_words(notices: Sequence[NoticeEvent]) -> dict[str, list[str]]:
    """Return notices in English and their codes, for which the page has texts in its own language."""
    return {
        "notices": [f"{notice.message} {notice.hint}".strip() for notice in notices],
        "notice_codes": [notice.code for notice in notices],
    }

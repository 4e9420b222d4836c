"""Taking in what a person gives, from the page or over HTTP alike: looked at, then queued, or refused with a remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.bundle import AvatarBundle
from avatars.confined import LONG_LOOK, TOOK_TOO_LONG, Limits
from avatars.errors import AvatarNotFound, BadParameters
from avatars.face_crops import CropParameters, UnknownParameter
from avatars.face_formats import crop_parameters
from avatars.gestures import MAX_GESTURES, gesture_name, gesture_names
from avatars.importers.crops import boxes_of, parameters_for
from avatars.library import VALID_ID, AvatarLibrary, presets
from avatars.voice_sample import LONGEST_SAMPLE_S, check_length
from models.errors import VivavoceError
from pipeline import registry
from pipeline.errors import BadRequest
from pipeline.tts.copied_voice import CopyingVoice
from portal.errors import JobNotFound
from portal.intake.uploads import HandedIn, check_media, check_speech
from portal.jobs.orders import (
    id_of_test_clip,
    order_of_avatar,
    order_of_clip,
    order_of_gesture,
    order_of_parts,
    order_of_preset,
    order_of_test_clip,
    order_of_voice_sample,
    title_of,
)
from portal.jobs.queue import JobQueue
from portal.jobs.records import MP4, PREPARE, Job, JobOrder
from portal.making.avatar_parts import check_preparable

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = [
    "chosen_parameters",
    "ensure_parts",
    "ensure_presets",
    "submit_avatar",
    "submit_clip",
    "submit_gesture",
    "submit_parts",
    "submit_test_clip",
    "submit_voice_sample",
    "taken",
]

ROUNDING = 0.001
"by which a framing may reach beyond the picture"


def submit_avatar(
    library: AvatarLibrary,
    queue: JobQueue,
    path: Path,
    *,
    name: str,
    file_name: str,
    consent: bool,
    framing: str = "",
    cutout: bool = False,
    owner: str = "",
    avatar_id: str = "",
    job_id: str = "",
    notify: str = "",
    asker: str = "",
    limits: Limits = LONG_LOOK,
) -> Job:
    """Queue the preparation of a stored upload. The file is moved, or removed if it is refused; it stays if the look at
    it was broken off (cause TOOK_TOO_LONG), so that there can be a longer one.

    owner: name of the person whose avatar it will be; empty for everybody's.
    asker: see JobQueue.submit(). limits: of the look.
    framing: "x,y,width,height" of what is used of a photo or clip, in parts of the picture; empty for all of it.
    cutout: the person is cut out of a clip, too.
    notify: address that is told of each change of the job's state; empty for none.
    avatar_id, job_id: those that the avatar and the job are to have; empty for fresh ones.
    Raises BadRequest (no consent, a framing that does not fit, an id that is taken or none), BadMedia, BadImport,
    QueueFull, DiskFull.
    """

    def submit() -> Job:
        used = _framing(framing)
        is_long = check_media(path, limits)
        avatar = avatar_id or library.new_id(title_of(name, file_name))
        order = order_of_avatar(
            path,
            avatar=avatar,
            name=name,
            consent=consent,
            file_name=file_name,
            framing=used,
            cutout=cutout,
            owner=owner,
        )
        return queue.submit(replace(order, id=job_id, notify=notify, is_long=is_long), asker, check_id)

    def check_id() -> None:
        if avatar_id:
            _check_free(library, queue, avatar_id, owner)

    return _or_remove(path, submit)


def _check_free(library: AvatarLibrary, queue: JobQueue, avatar_id: str, owner: str) -> None:
    """Raises BadRequest: no avatar can be made under that id. Whether one is being made is for the store to find out,
    which other portals ask as well.

    The id of somebody else's avatar stays taken, whatever became of it. There may be a report of it, its job may be run
    again, and clips and recordings go by that id: whoever erases the new avatar would erase them.
    """
    if not VALID_ID.fullmatch(avatar_id):
        raise BadRequest(
            f"{avatar_id!r} is no id of an avatar.", "Use small letters, digits and hyphens, 64 at most.", cause="id"
        )
    if avatar_id in library:
        raise BadRequest(f"There is an avatar {avatar_id!r} already.", "Choose another id, or delete it.", cause="id")
    if _earlier_owners(queue, avatar_id) - {owner}:
        raise taken(avatar_id)


def taken(avatar_id: str) -> BadRequest:
    """Return the error for an id that is, or was, somebody else's."""
    return BadRequest(f"The id {avatar_id!r} is taken.", "Choose another one.", cause="id")


def _earlier_owners(queue: JobQueue, avatar_id: str) -> set[str]:
    """Names of those whose an avatar of that id was, or would have been; "" for everybody's.

    Where nobody knows (an earlier version deleted it, and its job was forgotten), of those who made something with it.
    """
    jobs = [job for job in queue.list(limit=None) if job.avatar == avatar_id]
    owners = {job.owner for job in jobs if job.kind == PREPARE} | queue.folders.former_ids.owners_of(avatar_id)
    if any(preset.id == avatar_id for preset in presets()):  # made again at the next start
        owners.add("")
    return owners or {job.owner for job in jobs}


def _framing(text: str) -> list[float] | None:
    if not text:
        return None
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        x = y = width = height = math.nan
    is_finite = all(map(math.isfinite, (x, y, width, height)))
    within = is_finite and min(x, y) >= 0 and min(width, height) > 0 and max(x + width, y + height) <= 1 + ROUNDING
    if not within:
        raise BadRequest(
            f"The framing {text[:80]!r} is no part of the picture.",
            'Send "x,y,width,height" with numbers from 0 to 1, such as "0.25,0.1,0.5,0.4".',
            cause="framing",
        )
    return [x, y, width, height]


def submit_clip(
    library: AvatarLibrary,
    queue: JobQueue,
    *,
    avatar: str,
    text: str | None = None,
    audio: Path | None = None,
    voice: str | None = None,
    name: str = "",
    clip_format: str = MP4,
    owner: str = "",
    asker: str = "",
    limits: Limits = LONG_LOOK,
) -> Job:
    """Queue a clip. A stored recording `audio` is moved, removed or left as by submit_avatar().

    clip_format: one of CLIP_TYPES. owner: whose clip it will be. asker: see JobQueue.submit(). limits: of the look at
    it.
    Raises BadRequest (one with alpha: nobody knows what of the avatar is the person), AvatarNotFound, UnsupportedMedia,
    QueueFull, TooMany, DiskFull.
    """

    def submit() -> Job:
        if not avatar:
            raise BadRequest("No avatar was chosen.", "Choose who should speak.", cause="no_avatar")
        bundle = library.open(avatar)
        if clip_format != MP4 and not bundle.mattes_path.is_file():
            raise BadRequest(
                f"It is not known which part of '{bundle.name}' is the person, so the clip cannot be transparent.",
                "Make the avatar again (for a clip, tick 'Cut out the background'), or choose MP4.",
                cause="no_alpha",
            )
        audio_s = 0.0 if audio is None else check_speech(audio, limits)
        order = order_of_clip(
            avatar=avatar,
            text=text,
            audio=audio,
            audio_s=audio_s,
            voice=voice,
            name=name,
            speaker=bundle.name,
            owner=owner,
            clip_format=clip_format,
        )
        return _submit(library, queue, order, asker)

    return submit() if audio is None else _or_remove(audio, submit)


def _submit(
    library: AvatarLibrary, queue: JobQueue, order: JobOrder, asker: str, check: Callable[[], None] = lambda: None
) -> Job:
    """Queue what is made for an avatar. Raises AvatarNotFound: it was deleted meanwhile; nothing is left of the order.

    Whoever erases an avatar removes it, then its jobs. A job that came after that look would keep its upload for ever.
    """
    job = queue.submit(order, asker, check)
    if order.avatar not in library:
        queue.delete(job.id)
        raise AvatarNotFound(f"There is no avatar {order.avatar!r} any more.", "Choose one of the gallery.")
    return job


def submit_gesture(
    library: AvatarLibrary, queue: JobQueue, form: HandedIn, avatar: str, *, asker: str, limits: Limits
) -> Job:
    """Queue the preparation of a stored clip as a gesture of an avatar; one of the same name is replaced.

    form: with `name`, `consent`, and `sound` and `idle` (see order_of_gesture()). asker, limits, and what becomes of
    the file: see submit_avatar().
    Raises BadRequest (no consent, no name, too many gestures), AvatarNotFound, BadMedia, QueueFull, DiskFull.
    """

    def submit() -> Job:
        bundle, gesture = library.open(avatar), gesture_name(form.texts.get("name", ""))
        if gesture is None:
            raise BadRequest(
                "The gesture needs a name of letters and digits, 24 at most.",
                "Call it by a word or two, such as wave.",
                cause="gesture_name",
            )
        there = gesture_names(bundle.path)
        if gesture not in there and len(there) >= MAX_GESTURES:
            raise BadRequest(
                f"The avatar has {len(there)} gestures, and takes no more.",
                "Delete one of them first.",
                cause="many_gestures",
            )
        check_media(form.path, limits)
        order = order_of_gesture(
            form.path,
            bundle,
            gesture,
            sound=form.is_on("sound"),
            idle=form.is_on("idle"),
            consent=form.is_on("consent"),
            file_name=form.file_name,
        )
        return _submit(library, queue, order, asker)

    return _or_remove(form.path, submit)


def submit_voice_sample(
    library: AvatarLibrary, queue: JobQueue, form: HandedIn, avatar: str, tts: str, *, asker: str, limits: Limits
) -> Job:
    """Queue a stored recording as the voice sample of an avatar, in place of the one before.

    form: with `consent` and `transcript` (see order_of_voice_sample()). tts: the voices that the portal uses; some take
    shorter samples than others. asker, limits, and what becomes of the file: see submit_avatar().
    Raises BadRequest (no consent), AvatarNotFound, UnsupportedMedia, BadMedia (too short, too long), QueueFull,
    DiskFull.
    """

    def submit() -> Job:
        bundle = library.open(avatar)
        words = form.texts.get("transcript", "")
        order = order_of_voice_sample(form.path, bundle, words, consent=form.is_on("consent"), file_name=form.file_name)
        voices = registry.backend_class("tts", tts)
        copies = issubclass(voices, CopyingVoice)
        check_length(check_speech(form.path, limits), voices.longest_sample_s if copies else LONGEST_SAMPLE_S)
        return _submit(library, queue, order, asker)

    return _or_remove(form.path, submit)


def submit_test_clip(queue: JobQueue, avatar: str, name: str, asker: str = "", *, owner: str = "") -> Job:
    """Queue a few spoken words of an avatar, unless they are there or under way. owner: the avatar's.

    Raises QueueFull, DiskFull.
    """
    job_id = id_of_test_clip(avatar)
    with suppress(JobNotFound):
        job = queue.get(job_id)
        if job.active or queue.folders.has_clip(job_id):
            return job
        queue.delete(job_id)
    return queue.submit(order_of_test_clip(avatar, name, owner), asker)


def submit_parts(
    library: AvatarLibrary,
    queue: JobQueue,
    settings: Settings,
    *,
    avatar: str,
    backend: str,
    parameters: Mapping[str, object],
    join: bool = False,
    asker: str = "",
    check: Callable[[], None] = lambda: None,
) -> Job:
    """Queue the preparation of an avatar for a lip-sync backend; `parameters` by their names in CropParameters.

    join: whatever is under way for them will do. check: see JobQueue.submit().
    Raises BadRequest (no such backend or parameter), BadParameters, FaceNotFound, AvatarNotFound, BundleError,
    BackendUnavailable (it cannot run here), NetworkMissing, QueueFull, DiskFull.
    """
    bundle = library.open(avatar)
    chosen = chosen_parameters(backend, parameters, bundle)
    boxes_of(bundle, backend, chosen)
    check_preparable(settings, bundle, backend)
    order = order_of_parts(avatar, bundle.name, backend, chosen.to_json(), join=join, owner=bundle.owner)
    return _submit(library, queue, order, asker, check)


def ensure_parts(
    library: AvatarLibrary,
    queue: JobQueue,
    settings: Settings,
    *,
    avatar: str,
    backend: str,
    asker: str = "",
    check: Callable[[], None] = lambda: None,
) -> Job:
    """The job under way that prepares an avatar for a backend, however; a new one with its defaults if there is none.

    asker, check: see JobQueue.submit(). Raises as submit_parts, and what `check` raises.
    """
    return submit_parts(
        library, queue, settings, avatar=avatar, backend=backend, parameters={}, join=True, asker=asker, check=check
    )


def chosen_parameters(
    backend: str, parameters: Mapping[str, object], bundle: AvatarBundle | None = None
) -> CropParameters:
    """The backend's parameters of boxes and masks, with what a person chose; of an avatar that there is, else as its
    owner had them.

    Raises BadRequest (no such backend or parameter), BadParameters (a value that does not fit).
    """
    if backend not in registry.prepared_names():
        raise BadRequest(
            f"Nothing needs to be prepared for {backend[:80]!r}.",
            f"Choose one of {', '.join(registry.prepared_names())}.",
        )
    try:
        if bundle is None:
            return crop_parameters(backend, parameters)
        return parameters_for(bundle, backend, parameters)
    except UnknownParameter as error:
        names = ", ".join(crop_parameters(backend).to_json())
        raise BadRequest(f"The parameters do not fit: {error}.", f"There are: {names}.") from error
    except ValueError as error:
        raise BadParameters(
            f"The parameters do not fit: {error}.", "Left out, it has its usual value.", cause="out_of_range"
        ) from error


def ensure_presets(library: AvatarLibrary, queue: JobQueue) -> list[Job]:
    """Queue our own characters that the library lacks; gives their jobs. May be called at every start."""
    return [
        queue.submit(order_of_preset(preset.id, preset.names["en"])) for preset in presets() if preset.id not in library
    ]


def _or_remove(path: Path, submit: Callable[[], Job]) -> Job:
    try:
        return submit()
    except BaseException as error:  # a client that hangs up too: no job will remove the file
        if isinstance(error, VivavoceError) and error.cause == TOOK_TOO_LONG:
            raise
        path.unlink(missing_ok=True)
        raise

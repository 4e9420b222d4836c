"""Makes orders for jobs from what people ask for: checks and names them, for submission to the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from avatars.bundle import AvatarBundle
from avatars.voice_sample import MAX_TRANSCRIPT_CHARACTERS
from pipeline.errors import BadRequest
from pipeline.text.scripts import width
from portal.jobs.records import CLIP, GESTURE, MP4, PARTS, PREPARE, VOICE_SAMPLE, JobInputs, JobOrder, Joins
from portal.names import clean_file_name, clean_name

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "id_of_test_clip",
    "order_of_avatar",
    "order_of_clip",
    "order_of_gesture",
    "order_of_parts",
    "order_of_preset",
    "order_of_test_clip",
    "order_of_voice_sample",
    "title_of",
]

MAX_TEXT_CHARACTERS = 5000
"Longest text of a clip."
LETTER_S = 0.08
"Seconds that a usual voice takes for a letter."
TEST_WORDS = "Hello! This is how I look when I speak."


def title_of(name: str, file_name: str) -> str:
    """Return an avatar's name: the one that was typed, or else one made from the file's name."""
    return clean_name(name) or clean_name(Path(clean_file_name(file_name, limit=255)).stem) or "Avatar"


def order_of_avatar(
    upload: Path,
    *,
    avatar: str,
    name: str,
    consent: bool,
    file_name: str = "",
    framing: Sequence[float] | None = None,
    cutout: bool = False,
    owner: str = "",
) -> JobOrder:
    """Return the order to prepare `upload` as an avatar with the new id `avatar`.

    owner: of the job and of the avatar, as in all orders here; empty if they belong to everybody.
    framing: x, y, width, height of the part to use, as fractions of the picture.
    cutout: whether to cut the person out of a clip, as is always done with photos.

    Raises BadRequest (no consent).
    """
    _require_consent(consent)
    shown_name, title = clean_file_name(file_name or upload.name, limit=120), title_of(name, file_name or upload.name)
    inputs: JobInputs = {
        "avatar": avatar,
        "name": title,
        "owner": owner,
        "file_name": shown_name,
        "consent": True,
        "framing": framing,
        "cutout": cutout,
    }
    return JobOrder(PREPARE, title, avatar, inputs, upload=upload, owner=owner)


def order_of_gesture(
    upload: Path, bundle: AvatarBundle, gesture: str, *, sound: bool, idle: bool, consent: bool, file_name: str = ""
) -> JobOrder:
    """Return the order to prepare the clip `upload` as a gesture of an avatar.

    sound: whether the clip's own sound is heard. idle: whether the avatar shows it by itself while idle; then it is
    shown without sound.

    Raises BadRequest (no consent).
    """
    _require_consent(consent)
    inputs: JobInputs = {
        "avatar": bundle.id,
        "gesture": gesture,
        "sound": sound and not idle,
        "idle": idle,
        "file_name": clean_file_name(file_name or upload.name, limit=120),
        "consent": True,
    }
    return JobOrder(GESTURE, f"{bundle.name}: {gesture}", bundle.id, inputs, upload=upload, owner=bundle.owner)


def order_of_voice_sample(
    upload: Path, bundle: AvatarBundle, transcript: str, *, consent: bool, file_name: str = ""
) -> JobOrder:
    """Return the order to make the recording `upload` the voice sample of an avatar.

    transcript: what is said in it, if known; else "".

    Raises BadRequest (no consent, or the transcript is too long).
    """
    if not consent:
        raise BadRequest(
            "Nobody has confirmed that this voice may be copied.",
            "Tick the box that says that the person who speaks agrees.",
            cause="voice_consent",
        )
    words = " ".join(transcript.split())
    if len(words) > MAX_TRANSCRIPT_CHARACTERS:
        raise BadRequest(
            f"The transcript has {len(words)} characters; a voice sample takes {MAX_TRANSCRIPT_CHARACTERS}.",
            "Type what is said in the recording, and nothing else.",
            cause="transcript",
        )
    name = clean_file_name(file_name or upload.name, limit=120)
    inputs: JobInputs = {"avatar": bundle.id, "transcript": words, "file_name": name, "consent": True}
    return JobOrder(VOICE_SAMPLE, bundle.name, bundle.id, inputs, upload=upload, owner=bundle.owner)


def _require_consent(given: bool) -> None:
    if not given:
        raise BadRequest(
            "Nobody has confirmed that this picture may be used.",
            "Tick the box that says that you have the consent of the person shown.",
            cause="consent",
        )


def order_of_preset(preset: str, name: str) -> JobOrder:
    """Return the order to prepare one of our own characters. It is urgent: without one there is nobody to talk to."""
    inputs: JobInputs = {"avatar": preset, "name": name, "preset": preset}
    return JobOrder(PREPARE, name, preset, inputs, urgent=True, joins=Joins.ANY)


def order_of_clip(
    *,
    avatar: str,
    text: str | None = None,
    audio: Path | None = None,
    voice: str | None = None,
    audio_s: float = 0.0,
    name: str = "",
    speaker: str = "",
    owner: str = "",
    clip_format: str = MP4,
) -> JobOrder:
    """Return the order to make a clip in which `avatar`, called `speaker`, says `text` or the recording `audio`.

    audio_s: length of the recording in seconds. clip_format: one of CLIP_TYPES.

    Raises BadRequest (neither text nor recording, or both; the text is too long).
    """
    words = (text or "").strip()
    if bool(words) == (audio is not None):
        raise BadRequest(
            "A clip needs a text or a recording, one of the two.", "Type a text or choose a file.", cause="empty"
        )
    if len(words) > MAX_TEXT_CHARACTERS:
        raise BadRequest(
            f"The text has {len(words)} characters; a clip takes {MAX_TEXT_CHARACTERS}.",
            "Split it into several clips.",
            cause="clip_too_long",
        )
    title = clean_name(name) or clean_name(words) or "Clip"
    inputs: JobInputs = {"avatar": avatar, "text": words or None, "voice": voice, "format": clip_format}
    speech_s = audio_s if audio is not None else LETTER_S * width(words)
    return JobOrder(CLIP, title, avatar, inputs, upload=audio, speaker=speaker, speech_s=speech_s, owner=owner)


def id_of_test_clip(avatar: str) -> str:
    """Return the id of an avatar's test clip. There is only one, which shows how the avatar speaks."""
    return f"test-{avatar}"


def order_of_test_clip(avatar: str, name: str, owner: str = "") -> JobOrder:
    """Return the order to make the test clip of an avatar called `name`."""
    inputs: JobInputs = {"avatar": avatar, "text": TEST_WORDS, "voice": None}
    return JobOrder(
        CLIP, f"{name}: {TEST_WORDS}", avatar, inputs, speaker=name, id=id_of_test_clip(avatar), owner=owner
    )


def order_of_parts(
    avatar: str, name: str, backend: str, parameters: Mapping[str, object], *, join: bool = False, owner: str = ""
) -> JobOrder:
    """Return the order to prepare an avatar called `name` for a lip-sync backend. parameters: JSON.

    Such jobs run one after another, and each replaces what the one before has made, so the last order counts. An order
    with the same parameters as the newest job under way joins that job. With `join`, it joins it whatever the
    parameters.
    """
    inputs: JobInputs = {"avatar": avatar, "backend": backend, "parameters": dict(parameters)}
    joins = Joins.ANY if join else Joins.SAME
    return JobOrder(PARTS, f"{name}: {backend}", avatar, inputs, joins=joins, owner=owner)

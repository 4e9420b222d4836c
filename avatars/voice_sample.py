"""The voice sample of an avatar: a recording of a person speaking. Voices that can copy a voice sound like it.

It is in the avatar's folder, so it is deleted with the avatar: `voice-sample.json`, and the sound file named in there.
A new sample gets a new file name, so nobody reads the sound of one sample with the transcript of another.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from avatars.disk import disk_full_explained, read_object, write_object
from avatars.errors import BadMedia, VoiceSampleNotFound

__all__ = [
    "LONGEST_SAMPLE_S",
    "MAX_TRANSCRIPT_CHARACTERS",
    "SAMPLE_RATE_HZ",
    "SHORTEST_SAMPLE_S",
    "VoiceSample",
    "change_transcript",
    "check_length",
    "delete_voice_sample",
    "keep_voice_sample",
    "read_voice_sample",
]

logger = logging.getLogger(__name__)

SHORTEST_SAMPLE_S: Final = 3.0
LONGEST_SAMPLE_S: Final = 30.0
SAMPLE_RATE_HZ: Final = 24_000
"Sample rate of the stored sound. Every service that copies voices accepts it, or converts it itself."
MAX_TRANSCRIPT_CHARACTERS: Final = 1000
FILE: Final = "voice-sample.json"
MAX_FILE_BYTES: Final = 64 * 1024
_SOUND: Final = re.compile(r"voice-sample\.[0-9a-f]{8}\.wav")


@dataclass(frozen=True, slots=True)
class VoiceSample:
    """A recorded voice and its origin."""

    sound: Path
    "a WAV file: one channel, 16 bits, SAMPLE_RATE_HZ"
    seconds: float
    transcript: str = ""
    "the words spoken in it; empty if unknown"
    source: Mapping[str, object] = field(default_factory=dict)
    "name of the uploaded file, consent, job"


def check_length(seconds: float, longest_s: float = LONGEST_SAMPLE_S) -> None:
    """Raise BadMedia if this is too short or too long for a voice sample."""
    if seconds < SHORTEST_SAMPLE_S:
        raise BadMedia(
            f"The recording lasts {seconds:.1f} seconds; a voice sample takes {SHORTEST_SAMPLE_S:g} at least.",
            "Record five to ten seconds of speech.",
            cause="voice_too_short",
        )
    if seconds > longest_s:
        raise BadMedia(
            f"The recording lasts {seconds:.0f} seconds; a voice sample takes {longest_s:g} at most here.",
            "Cut out five to ten seconds in which one person speaks.",
            cause="voice_too_long",
        )


def read_voice_sample(avatar: Path) -> VoiceSample | None:
    """Return the voice sample of the avatar in this folder; None if it has none.

    One that cannot be read counts as none, and is logged.
    """
    try:
        told = read_object(avatar / FILE, MAX_FILE_BYTES)
        name, source = str(told["sound"]), told.get("source")
        if not _SOUND.fullmatch(name) or not (avatar / name).is_file():  # the name must not lead out of the folder
            raise ValueError(f"there is no sound {name[:80]!r}")
        return VoiceSample(
            avatar / name,
            float(str(told["seconds"])),
            str(told.get("transcript", ""))[:MAX_TRANSCRIPT_CHARACTERS],
            source if isinstance(source, dict) else {},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("the voice sample of %s is not used: %s", avatar.name, error)
        return None


def keep_voice_sample(
    avatar: Path, wav: bytes, seconds: float, transcript: str, source: Mapping[str, object]
) -> VoiceSample:
    """Store a sample for the avatar in this folder, and replace the former one.

    wav, seconds and the rest: see VoiceSample. Raises DiskFull, OSError; the former sample then stays.
    """
    before = read_voice_sample(avatar)
    sound = avatar / f"voice-sample.{secrets.token_hex(4)}.wav"
    sample = VoiceSample(sound, seconds, transcript, source)
    try:
        with disk_full_explained():
            sound.write_bytes(wav)
        _write(avatar, sample)
    except BaseException:  # on any failure, cancellation too: a sound file without a record is of no use
        sound.unlink(missing_ok=True)
        raise
    if before is not None:
        before.sound.unlink(missing_ok=True)
    return sample


def change_transcript(avatar: Path, transcript: str) -> VoiceSample:
    """Change the transcript of the sample. Raises VoiceSampleNotFound, DiskFull, OSError."""
    sample = read_voice_sample(avatar)
    if sample is None:
        raise _not_found()
    changed = replace(sample, transcript=transcript)
    _write(avatar, changed)
    return changed


def delete_voice_sample(avatar: Path) -> None:
    """Remove the sample. Sessions speak with another voice from their next sentence on. Raises VoiceSampleNotFound."""
    sample = read_voice_sample(avatar)
    try:
        (avatar / FILE).unlink()
    except OSError as error:
        raise _not_found() from error
    if sample is not None:
        sample.sound.unlink(missing_ok=True)


def _write(avatar: Path, sample: VoiceSample) -> None:
    told = {
        "sound": sample.sound.name,
        "seconds": round(sample.seconds, 3),
        "transcript": sample.transcript,
        "source": dict(sample.source),
    }
    write_object(avatar / FILE, told)


def _not_found() -> VoiceSampleNotFound:
    return VoiceSampleNotFound("The avatar has no voice sample.", "Add one to the avatar first.")

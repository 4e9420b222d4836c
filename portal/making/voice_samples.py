"""Makes an avatar's voice sample from an uploaded recording, for the job queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.plain_sound import wav_of
from avatars.voice_sample import (
    MAX_TRANSCRIPT_CHARACTERS,
    SAMPLE_RATE_HZ,
    VoiceSample,
    check_length,
    keep_voice_sample,
)
from pipeline.audio import resample_file
from pipeline.backends import Backends
from pipeline.ears.hearing import Hearing
from pipeline.errors import BackendUnavailable, RecognitionError
from pipeline.recording import open_recording
from pipeline.types import LISTEN_RATE_HZ, FloatArray
from portal.backends import backend_options, hearing_choice

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["read_sample", "write_sample"]

logger = logging.getLogger(__name__)

SOUND: Final = "voice.npy"
"The file that the first step leaves for the second: float32 mono at SAMPLE_RATE_HZ."


def read_sample(upload: Path, work: Path, progress: Callable[[float], None]) -> None:
    """Decode a recording, and bring it to the loudness of all voices and to SAMPLE_RATE_HZ. Blocks.

    Raises RenderError (it cannot be read, or is silent), BadMedia (too short or too long).
    """
    samples = asyncio.run(_speech(upload, progress))
    staging = work / f"{SOUND}.part"
    with staging.open("wb") as file:
        np.save(file, samples)
    staging.replace(work / SOUND)


async def _speech(upload: Path, progress: Callable[[float], None]) -> FloatArray:
    recording = await open_recording(upload, on_read=lambda _seconds: progress(0.0))
    check_length(recording.facts.duration_s)
    parts = [chunk.samples async for chunk in recording.speech()]
    return resample_file(np.concatenate(parts), recording.facts.rate_hz, SAMPLE_RATE_HZ)


def write_sample(
    settings: Settings, avatar: AvatarBundle, work: Path, transcript: str, source: Mapping[str, object]
) -> VoiceSample:
    """Store the sound that read_sample() has left as the avatar's voice sample. Blocks.

    transcript: what is said in it; empty: it is recognised, if there is a recogniser. source: see VoiceSample. Raises
    DiskFull.
    """
    samples: FloatArray = np.load(work / SOUND)
    words = transcript or asyncio.run(_recognised(settings, samples))
    wav = wav_of(samples, SAMPLE_RATE_HZ)
    return keep_voice_sample(avatar.path, wav, len(samples) / SAMPLE_RATE_HZ, words[:MAX_TRANSCRIPT_CHARACTERS], source)


async def _recognised(settings: Settings, samples: FloatArray) -> str:
    """Return what is said, or "" if there is no recogniser. Without the words, voices can copy a voice less well."""
    options = backend_options(settings)
    backends = Backends(options)
    hearing = Hearing(backends, options, hearing_choice(settings))
    try:
        recogniser = await backends.get("asr", hearing.recognizer().name)
        heard = resample_file(samples, SAMPLE_RATE_HZ, LISTEN_RATE_HZ)
        return (await recogniser.transcribe(heard, settings.asr_language or None)).text.strip()
    except (BackendUnavailable, RecognitionError) as error:
        logger.info("what is said in a voice sample is not known: %s", error)
        return ""
    finally:
        await backends.aclose()
        await hearing.aclose()

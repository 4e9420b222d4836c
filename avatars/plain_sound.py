"""Reads undamaged WAV, FLAC and MP3 recordings with libsndfile, and writes WAV.

Damaged or cut-off files, and all other formats, are read with FFmpeg (`sound`), which continues after damage and counts
what is lost. Ogg is not read here, because libsndfile silently fills damaged pages with sound of its own.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from avatars.cut_off import tells_frames, wav_share
from avatars.signatures import first_bytes
from models.arrays import FloatArray

__all__ = ["NotPlain", "plain_pieces", "wav_of"]


HEADS: Final = (b"RIFF", b"fLaC", b"ID3", b"\xff\xe3", b"\xff\xf2", b"\xff\xf3", b"\xff\xfa", b"\xff\xfb")
CODINGS: Final = ("PCM_", "FLOAT", "DOUBLE")
"Beginnings of libsndfile's names for codings with which a WAV header gives the length of the sound."


class NotPlain(Exception):
    """The file is not a plain recording, or it is damaged. Pieces that were read before must be discarded."""


def plain_pieces(path: Path, piece_s: float, highest_hz: int) -> Iterator[tuple[int, FloatArray]]:
    """Give the sample rate of a recording, and its sound as float32 (channels, n), `piece_s` seconds at a time.

    The last piece is shorter. highest_hz: a recording with a higher rate is not plain, because it must be converted.

    Raises NotPlain. This may happen after some pieces: damage may show only at the end.
    """
    if not first_bytes(path).startswith(HEADS):
        raise NotPlain
    try:
        with soundfile.SoundFile(path) as file:
            if not _is_read(path, file) or file.samplerate > highest_hz:
                raise NotPlain
            read = 0
            while len(block := file.read(max(1, round(piece_s * file.samplerate)), "float32", always_2d=True)):
                read += len(block)
                yield file.samplerate, block.T
            if not read or read != file.frames:
                raise NotPlain
    except (soundfile.SoundFileError, OSError, ValueError, RuntimeError) as error:
        raise NotPlain from error


def _is_read(path: Path, file: soundfile.SoundFile) -> bool:
    """Whether the format is read here, and its header gives the length, so that a cut-off file is noticed."""
    match file.format:
        case "FLAC":
            return True
        case "MP3":
            return tells_frames(path)
        case "WAV" | "WAVEX":
            return file.subtype.startswith(CODINGS) and wav_share(path) == 1.0
        case _:
            return False


def wav_of(samples: FloatArray, rate_hz: int) -> bytes:
    """Return a WAV file of 16-bit mono from samples (n,); values beyond [-1, 1] are clipped."""
    file = io.BytesIO()
    soundfile.write(file, (np.clip(samples, -1, 1) * 32767).astype(np.int16), rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()

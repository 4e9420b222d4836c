"""Plain recordings by libsndfile: WAV, FLAC and MP3 are read as long as they are whole, and WAV is written.

Whatever is damaged, cut off, or in another form is FFmpeg's (`sound`), which goes on after damage and counts what is
lost. Ogg is not read here: libsndfile fills damaged pages with sound of its own, and says nothing of it.
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
"how its names of codings begin in which the header of a WAV tells the length of the sound"


class NotPlain(Exception):
    """It is no plain recording, or none that is whole. Of what was read of it, nothing counts."""


def plain_pieces(path: Path, piece_s: float, highest_hz: int) -> Iterator[tuple[int, FloatArray]]:
    """The rate of a recording, and its sound in pieces float32 (channels, n) of so many seconds; the last one is less.

    highest_hz: NotPlain is raised where the rate is higher, as for all else that has to be converted.

    Raises NotPlain, also after pieces that were given: that a recording is not whole shows at its end.
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
    """Whether its form is one that is read here, and whether its header tells how long it is when it is whole."""
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
    """A WAV file of 16-bit samples, from (n,) of one channel; what is beyond [-1, 1] is cut off."""
    file = io.BytesIO()
    soundfile.write(file, (np.clip(samples, -1, 1) * 32767).astype(np.int16), rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()

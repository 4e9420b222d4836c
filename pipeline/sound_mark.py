"""Puts an inaudible mark into the sound of a finished clip, and finds it there.

The pictures are copied unchanged. The sound is decoded, marked in pieces, and encoded again, so it must be marked
before the clip is signed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import av
import numpy as np
from av import AudioFrame, AudioStream, VideoStream
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from models.errors import VivavoceError
from pipeline.audio import resample_file
from pipeline.errors import NotMarked
from pipeline.types import LISTEN_RATE_HZ, FloatArray

__all__ = ["SoundMark", "mark_sound", "marked_share"]

PIECE_S: Final = 10
"Length of sound that is marked at a time."
ENCODERS: Final = {"opus": "libopus"}
"Encoders by decoder name, where the names differ."
OF_THE_FILE: Final = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
"Metadata that the muxer writes by itself."


class SoundMark(Protocol):
    """Something that can mark sound and find its marks."""

    def mark_of(self, samples: FloatArray) -> FloatArray:
        """Return the signal to add to samples, (n,) at LISTEN_RATE_HZ."""
        ...

    def marked_share(self, pieces: list[FloatArray]) -> float:
        """Return the share of the samples that is marked, 0 to 1. Each piece is (n,) at LISTEN_RATE_HZ."""
        ...


def mark_sound(clip: Path, mark: SoundMark) -> None:
    """Replace a clip by one whose sound is marked. Raises NotMarked, and then leaves the clip as it was."""
    staging = clip.with_name(f".{secrets.token_hex(8)}{clip.suffix}")
    try:
        _rewrite(clip, staging, mark)
        staging.replace(clip)
    except (FFmpegError, OSError, VivavoceError) as error:
        raise NotMarked("The sound has no mark: the clip could not be written again.", str(error)) from error
    finally:
        staging.unlink(missing_ok=True)


def marked_share(clip: Path, mark: SoundMark) -> float:
    """Return the share of a clip's sound that is marked, 0 to 1. Raises FFmpegError, IndexError if it has no sound."""
    with av.open(str(clip)) as read:
        rate_hz = read.streams.audio[0].rate
        pieces = [resample_file(piece, rate_hz, LISTEN_RATE_HZ) for piece in _pieces(read.decode(audio=0), rate_hz)]
    return mark.marked_share(pieces)


def _rewrite(clip: Path, staging: Path, mark: SoundMark) -> None:
    options = {"movflags": "+faststart+use_metadata_tags"} if clip.suffix in (".mp4", ".mov") else {}
    with av.open(str(clip)) as read, av.open(str(staging), "w", options=options) as written:
        written.metadata.update({key: value for key, value in read.metadata.items() if key not in OF_THE_FILE})
        pictures, sound = read.streams.video[0], read.streams.audio[0]
        copied = written.add_stream_from_template(pictures)
        name = ENCODERS.get(sound.codec_context.name, sound.codec_context.name)
        coded = written.add_stream(name, rate=sound.rate)
        assert isinstance(coded.codec_context, AudioCodecContext)
        coded.codec_context.layout = "mono"
        if sound.bit_rate and not name.startswith("pcm"):
            coded.codec_context.bit_rate = sound.bit_rate
        place = 0
        for piece in _pieces(_heard(read, pictures, sound, copied, written), sound.rate):
            frame = av.AudioFrame.from_ndarray(_marked(piece, sound.rate, mark)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = sound.rate, place, Fraction(1, sound.rate)
            place += len(piece)
            written.mux(coded.encode(frame))
        written.mux(coded.encode())


def _heard(
    read: InputContainer, pictures: VideoStream, sound: AudioStream, copied: VideoStream, written: OutputContainer
) -> Iterator[AudioFrame]:
    """Yield the sound of a file. Copies its pictures meanwhile, so that both are interleaved in the new file."""
    for packet in read.demux(pictures, sound):
        if packet.stream is sound:
            yield from (frame for frame in packet.decode() if isinstance(frame, AudioFrame))
        elif packet.dts is not None:
            packet.stream = copied
            written.mux(packet)


def _pieces(frames: Iterable[AudioFrame], rate_hz: int) -> Iterator[FloatArray]:
    """Yield all sound as one channel, in pieces of about PIECE_S."""
    resampler = av.AudioResampler("fltp", "mono", rate_hz)
    waiting: list[FloatArray] = []
    held = 0
    for frame in frames:
        for one in resampler.resample(frame):
            waiting.append(np.asarray(one.to_ndarray()[0], np.float32))
            held += len(waiting[-1])
        if held >= PIECE_S * rate_hz:
            yield np.concatenate(waiting)
            waiting, held = [], 0
    if held:
        yield np.concatenate(waiting)


def _marked(piece: FloatArray, rate_hz: int, mark: SoundMark) -> FloatArray:
    added = resample_file(mark.mark_of(resample_file(piece, rate_hz, LISTEN_RATE_HZ)), LISTEN_RATE_HZ, rate_hz)
    added = np.pad(added[: len(piece)], (0, max(0, len(piece) - len(added))))
    return np.asarray(np.clip(piece + added, -1, 1), np.float32)

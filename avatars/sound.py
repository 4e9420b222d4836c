"""Reads recordings: any common file, as the sound of one person who speaks. The files are untrusted.

Only the formats in FORMATS are opened, whatever a file is called, and none of them can lead to another file or address.
The length in a header is not trusted: seconds are counted while decoding. Damaged parts are left out.

Undamaged WAV, FLAC and MP3 files are read by libsndfile (`plain_sound`), everything else by FFmpeg: libsndfile gives up
on an MP3 with a single damaged kilobyte, and cannot read M4A or WebM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from avatars.confined import Emit, Limits
from avatars.cut_off import lacks_last_page, matroska_share, tells_frames, wav_share
from avatars.errors import BadMedia
from avatars.pieces import check_pieces
from avatars.plain_sound import NotPlain, plain_pieces
from avatars.signatures import first_bytes, is_recording
from avatars.sound_energies import FAINTEST_DBFS, Energies
from models.arrays import AnyArray, FloatArray

__all__ = ["READABLE", "READING", "SpeechFacts", "check_sound", "speech_facts", "speech_pieces"]


FORMATS: Final = (
    "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,adts,ac3,eac3,dts,loas,amr,ape,wv,tta,dsf,voc,asf,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts"
)
"The demuxers of these formats read the given file only. Playlists and other formats that name files are not included."
READABLE: Final = "Use a WAV, MP3, M4A, FLAC or OGG recording."

READING: Final = Limits(patience_s=30, cpu_s=900, memory_bytes=512 * 2**20)

HIGHEST_RATE_HZ: Final = 48_000
"Recordings with a higher sample rate are resampled to this one."
LOUDEST: Final = 8.0
"Samples are clipped to this magnitude; full scale is 1."
PIECE_S: Final = 0.5
"Length of the pieces that are read, in seconds."
LOST_GAP_S: Final = 0.1
"A longer gap between the times of two frames means that sound was lost there."
SHORTEST_S: Final = 0.1
"Anything shorter cannot be speech: the rest of the recording has been lost."
CUT_SHORT_S: Final = 0.5
"A recording that ends this much earlier than its header says has been cut off."
TELLS_LENGTH: Final = ("aiff", "flac", "mov", "ape", "tta")
"FFmpeg's names of formats whose header gives the exact length; in other formats it is an estimate."
BELIEVED_S: Final = 3600.0
"A header that gives more than this is ignored: programs that do not know the length yet write the largest number."


@dataclass(frozen=True, slots=True)
class SpeechFacts:
    """Facts about a whole recording, known after all of it has been decoded once."""

    rate_hz: int
    "sample rate of what speech_pieces() emits"
    duration_s: float
    lost_s: float
    "at least this many seconds could not be decoded; they are left out"
    level_dbfs: float
    "RMS level of the parts with speech"
    weights: tuple[float, ...]
    "share of each channel in the mono sound"
    offsets: tuple[float, ...]
    "DC offset of each channel, which is subtracted"
    ends_early: bool = False
    "True if the file is cut off and the missing length is unknown"
    is_plain: bool = False
    "True if libsndfile could read all of it"


def check_sound(emit: Emit, path: Path, longest_s: float) -> float:
    """Return the length of a recording in seconds, counted from its packets; almost nothing is decoded.

    Raises BadMedia if it cannot be read or is longer than `longest_s`. A task for avatars.confined.
    """
    with _opened(path) as file:
        # There may be 100,000 packets. Adding their durations as fractions would take longer than reading them.
        unit_s = float(file.streams.audio[0].time_base or 0)
        counted, heard = 0, False
        try:
            for packet in file.demux(audio=0):
                counted += packet.duration or 0
                _check_length(counted * unit_s, longest_s)
                if not heard:
                    heard = bool(_decoded(packet))
        except av.FFmpegError as error:
            if not heard:
                raise _unreadable(path) from error
    if not heard:
        raise _unreadable(path)
    return counted * unit_s


def speech_facts(emit: Emit, path: Path, longest_s: float) -> dict[str, Any]:
    """Decode a whole recording once; return the fields of SpeechFacts.

    Emits the seconds read so far, about once a second. Raises BadMedia if the recording is unreadable, longer than
    `longest_s`, or silent. A task for avatars.confined.
    """
    check_pieces(path)
    try:
        facts = _facts(emit, path, longest_s, is_plain=True)
    except NotPlain:
        facts = _facts(emit, path, longest_s, is_plain=False)
    return asdict(facts)


def _facts(emit: Emit, path: Path, longest_s: float, *, is_plain: bool) -> SpeechFacts:
    decoder = _Decoder(path, longest_s, is_plain=is_plain)
    energies: Energies | None = None
    told_s = 0.0
    for piece in decoder.pieces():
        if energies is None:
            energies = Energies(len(piece), decoder.rate_hz)
        energies.push(piece)
        if decoder.read_s >= told_s + 1:
            told_s = decoder.read_s
            emit(told_s)
    if energies is None:
        raise _unreadable(path)
    if decoder.read_s < SHORTEST_S:
        raise BadMedia(
            f"Only {decoder.read_s:.2f} seconds of the recording can be read.",
            "Record or export it again.",
            cause="too_short",
        )
    weights = energies.weights()
    level_dbfs = energies.level_dbfs(weights)
    if level_dbfs < FAINTEST_DBFS:
        raise BadMedia(
            "The recording is silent: there is nothing in it that could be made audible.",
            "Check the microphone and its level, then record it again.",
            cause="silent",
        )
    return SpeechFacts(
        decoder.rate_hz,
        decoder.read_s,
        decoder.lost_s,
        level_dbfs,
        tuple(weights.tolist()),
        energies.offsets(),
        ends_early=first_bytes(path).startswith(b"OggS") and lacks_last_page(path),
        is_plain=is_plain,
    )


def speech_pieces(emit: Emit, path: Path, facts: SpeechFacts) -> None:
    """Emit the mono sound of a recording as float32 bytes, half a second at a time. A task for avatars.confined."""
    weights, offsets = np.array(facts.weights, np.float32), np.array(facts.offsets, np.float32)
    # The decoder checks the length again, because the file may have been replaced since the first reading.
    decoder = _Decoder(path, facts.duration_s + 1, facts.rate_hz, is_plain=facts.is_plain)
    try:
        for piece in decoder.pieces():
            same = len(piece) == len(weights)
            mono = weights @ (piece - offsets[:, None]) if same else piece.mean(axis=0)
            emit(np.ascontiguousarray(mono, np.float32).tobytes())
    except NotPlain as error:  # it was plain at the first reading, so the file has changed
        raise _unreadable(path) from error


class _Decoder:
    """Decodes the sound of a file once, from its beginning."""

    def __init__(self, path: Path, longest_s: float, rate_hz: int = 0, *, is_plain: bool) -> None:
        """is_plain: read with libsndfile; pieces() then raises NotPlain if the file is damaged."""
        self.rate_hz = rate_hz
        "sample rate of the pieces; 0 means that of the first frame, up to HIGHEST_RATE_HZ"
        self.read_s = 0.0
        self.lost_s = 0.0
        self._path = path
        self._longest_s = longest_s
        self._is_plain = is_plain
        self._resampler: tuple[object, av.AudioResampler] | None = None

    def pieces(self) -> Iterator[FloatArray]:
        """Give pieces (channels, n) of PIECE_S or a little more; the last may be shorter.

        Channels may change midway.
        """
        if self._is_plain:
            yield from self._plain_pieces()
            return
        held: list[FloatArray] = []
        with _opened(self._path) as file:
            for part in self._parts(file):
                if held and len(part) != len(held[0]):
                    yield np.concatenate(held, axis=1)
                    held = []
                held.append(part)
                if sum(one.shape[1] for one in held) >= PIECE_S * self.rate_hz:
                    yield np.concatenate(held, axis=1)
                    held = []
        if held:
            yield np.concatenate(held, axis=1)

    def _plain_pieces(self) -> Iterator[FloatArray]:
        for rate_hz, piece in plain_pieces(self._path, PIECE_S, HIGHEST_RATE_HZ):
            self.rate_hz = rate_hz
            self.read_s += piece.shape[1] / rate_hz
            _check_length(self.read_s, self._longest_s)
            yield _playable(piece)

    def _parts(self, file: InputContainer) -> Iterator[FloatArray]:
        for frame in self._frames(file):
            if not frame.samples or not frame.sample_rate:
                continue
            self.rate_hz = self.rate_hz or min(frame.sample_rate, HIGHEST_RATE_HZ)
            part = self._resampled(frame)
            self.read_s += frame.samples / frame.sample_rate
            _check_length(self.read_s, self._longest_s)
            if part.shape[1]:
                yield part

    def _frames(self, file: InputContainer) -> Iterator[AudioFrame]:
        """Give the frames that can be decoded; add the length of the rest to `lost_s`."""
        expected_s: float | None = None
        sound_bytes, sound_s = 0, 0.0
        try:
            for packet in file.demux(audio=0):
                frames = _decoded(packet)
                if not frames:
                    # A decoder that has lost its place takes many packets for one. So count at least the time that
                    # this many bytes usually last.
                    usual_s = packet.size * sound_s / max(1, sound_bytes)
                    declared_s = float((packet.duration or 0) * (packet.time_base or 0))
                    self.lost_s += max(usual_s, declared_s) if frames is None else 0.0
                    continue
                sound_bytes += packet.size
                for frame in frames:
                    sound_s += frame.samples / (frame.sample_rate or 1)
                    if frame.time is not None:
                        gap_s = frame.time - (frame.time if expected_s is None else expected_s)
                        self.lost_s += gap_s if gap_s > LOST_GAP_S and packet.time_base else 0.0
                        expected_s = frame.time + frame.samples / (frame.sample_rate or 1)
                    yield frame
        except av.FFmpegError:
            pass  # the file ends abruptly; what is missing is counted below
        missing_s = _declared_s(file, self._path, sound_s) - sound_s - self.lost_s
        self.lost_s += missing_s if missing_s > CUT_SHORT_S else 0.0

    def _resampled(self, frame: AudioFrame) -> FloatArray:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or self._resampler[0] != form:
            # Interleaved, because PyAV handles only 8 channels of planar samples and reads invalid memory beyond them.
            self._resampler = form, av.AudioResampler("flt", frame.layout, self.rate_hz)
        frame.pts = None  # with times, the resampler would fill gaps with silence; lost parts are to be left out
        channels = frame.layout.nb_channels
        parts = [part.to_ndarray().reshape(-1, channels).T for part in self._resampler[1].resample(frame)]
        whole = np.concatenate(parts, axis=1) if parts else np.zeros((channels, 0), np.float32)
        return _playable(whole)


def _opened(path: Path) -> InputContainer:
    """Open a recording that has sound. Raises BadMedia."""
    only_this = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    if first_bytes(path).startswith(b"RIFX"):  # FFmpeg would read its numbers the wrong way round, as noise
        raise BadMedia("WAV recordings of this unusual kind (RIFX) are not read.", READABLE, cause="unknown_type")
    check_pieces(path)
    try:
        file = av.open(f"file:{path}", options=only_this, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path) from error
    if not file.streams.audio:
        file.close()
        raise BadMedia("There is no sound in the file.", READABLE, cause="no_sound")
    return file


def _playable(piece: AnyArray) -> FloatArray:
    """Return finite float32 samples within LOUDEST: files in floating point may contain any value."""
    playable: FloatArray = np.clip(np.nan_to_num(piece), -LOUDEST, LOUDEST)
    return playable


def _declared_s(file: InputContainer, path: Path, read_s: float) -> float:
    """Return the length of the recording by its header; 0 if that is unknown. read_s: the length that was decoded."""
    stream = file.streams.audio[0]
    told_s = float((stream.duration or 0) * (stream.time_base or 0))
    match file.format.name.split(",")[0]:
        case "wav":  # FFmpeg reports the length of the data that exists, not that in the header
            told_s = read_s / wav_share(path)
        case "matroska":
            told_s = read_s / (matroska_share(path) or 1.0)
        case "mp3" if tells_frames(path):
            pass
        case form if form not in TELLS_LENGTH:
            told_s = 0.0
    return told_s if told_s < BELIEVED_S else 0.0


def _decoded(packet: av.Packet[av.AudioStream]) -> list[AudioFrame] | None:
    """Decode one packet; return None if it is damaged."""
    try:
        return [frame for frame in packet.decode() if isinstance(frame, AudioFrame)]  # all are, in a stream of sound
    except av.FFmpegError:
        return None


def _check_length(seconds: float, longest_s: float) -> None:
    if seconds > longest_s:
        raise BadMedia(
            f"The recording lasts more than {longest_s / 60:g} minutes, which is what a clip takes.",
            "Cut it into shorter pieces.",
            cause="too_long",
        )


def _unreadable(path: Path) -> BadMedia:
    head = first_bytes(path)
    if not head:
        return BadMedia("The file is empty.", f"Record or upload it again. {READABLE}", cause="empty")
    if is_recording(head):
        return BadMedia(
            "The recording is damaged or cut off.", f"Upload or export it again. {READABLE}", cause="damaged"
        )
    return BadMedia("The file is not a sound recording that can be read.", READABLE, cause="unknown_type")

"""Plain recordings by libsndfile: read while they are whole, and as FFmpeg reads them; WAV is written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from avatars.errors import BadMedia
from avatars.plain_sound import NotPlain, plain_pieces, wav_of
from avatars.sound import HIGHEST_RATE_HZ, SpeechFacts, speech_facts, speech_pieces
from tests.recordings import RATE_HZ, spoken, write_recording

PLAIN = [("wav", "pcm_s16le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("mp3", "libmp3lame")]
Sound = npt.NDArray[np.float32]


def read(path: Path) -> tuple[int, Sound]:
    pieces = list(plain_pieces(path, 0.5, HIGHEST_RATE_HZ))
    return pieces[0][0], np.concatenate([piece for _rate_hz, piece in pieces], axis=1)


def facts_of(path: Path, longest_s: float = 600.0) -> SpeechFacts:
    return SpeechFacts(**speech_facts(lambda _item: None, path, longest_s))


def sound_of(path: Path, facts: SpeechFacts) -> Sound:
    pieces: list[object] = []
    speech_pieces(pieces.append, path, facts)
    return np.frombuffer(b"".join(piece for piece in pieces if isinstance(piece, bytes)), np.float32)


@pytest.mark.parametrize(("form", "codec"), PLAIN)
def test_a_whole_recording_sounds_as_it_was_recorded(tmp_path: Path, form: str, codec: str) -> None:
    """Both channels, at its own rate, in pieces of half a second."""
    channels = np.stack([spoken(2), 0.5 * spoken(2, seed=1)])
    path = write_recording(tmp_path / "upload", channels, form, codec)
    rate_hz, sound = read(path)
    assert rate_hz == RATE_HZ and sound.shape == channels.shape
    assert min(np.corrcoef(one, other)[0, 1] for one, other in zip(sound, channels, strict=True)) > 0.98
    assert facts_of(path).is_plain


@pytest.mark.parametrize(("form", "codec"), PLAIN)
def test_both_readers_give_the_same(tmp_path: Path, form: str, codec: str) -> None:
    """Who is heard, how loud and how long does not depend on which library reads it."""
    path = write_recording(tmp_path / "upload", spoken(2)[None], form, codec)
    plain = facts_of(path)
    by_ffmpeg = SpeechFacts(plain.rate_hz, plain.duration_s, 0.0, plain.level_dbfs, plain.weights, plain.offsets)
    assert np.abs(sound_of(path, plain) - sound_of(path, by_ffmpeg)).max() < 1e-4


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + np.random.default_rng(1).bytes(1000) + data[middle + 1000 :]


@pytest.mark.parametrize(("form", "codec"), PLAIN)
def test_what_is_cut_off_is_left_to_ffmpeg(tmp_path: Path, form: str, codec: str) -> None:
    """It counts what is missing."""
    path = write_recording(tmp_path / "upload", spoken(6)[None], form, codec)
    path.write_bytes(half(path.read_bytes()))
    with pytest.raises(NotPlain):
        read(path)
    facts = facts_of(path)
    assert not facts.is_plain and facts.lost_s > 1


@pytest.mark.parametrize(("form", "codec"), [("flac", "flac"), ("mp3", "libmp3lame")])
def test_what_is_damaged_is_left_to_ffmpeg(tmp_path: Path, form: str, codec: str) -> None:
    """It goes on behind the damage, where libsndfile gives up."""
    path = write_recording(tmp_path / "upload", spoken(20)[None], form, codec)
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(NotPlain):
        read(path)
    facts = facts_of(path)
    assert not facts.is_plain and facts.duration_s > 18


@pytest.mark.parametrize(
    ("form", "codec", "options"),
    [
        ("ogg", "libopus", {}),
        ("aiff", "pcm_s16be", {}),
        ("ipod", "aac", {}),
        ("wav", "adpcm_ms", {}),
        ("mp3", "libmp3lame", {"write_xing": "0"}),
    ],
)
def test_other_forms_are_left_to_ffmpeg(tmp_path: Path, form: str, codec: str, options: dict[str, str]) -> None:
    """And those whose header does not tell when they are whole."""
    if codec == "adpcm_ms":
        soundfile.write(path := tmp_path / "upload", spoken(1), RATE_HZ, format="WAV", subtype="MS_ADPCM")
    else:
        path = write_recording(tmp_path / "upload", spoken(1)[None], form, codec, **options)
    with pytest.raises(NotPlain):
        read(path)
    assert not facts_of(path).is_plain


def test_what_has_to_be_converted_is_left_to_ffmpeg(tmp_path: Path) -> None:
    """A rate above the highest that speech has here."""
    path = tmp_path / "upload"
    soundfile.write(path, np.repeat(spoken(1), 2), 2 * RATE_HZ, format="WAV")
    with pytest.raises(NotPlain):
        read(path)
    facts = facts_of(path)
    assert not facts.is_plain and facts.rate_hz == HIGHEST_RATE_HZ


@pytest.mark.parametrize("change", [half, damaged])
def test_a_file_that_is_exchanged_while_it_is_read_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """What was whole when it was looked at has to be so when it is spoken."""
    path = write_recording(tmp_path / "upload", spoken(20)[None], "flac", "flac")
    facts = facts_of(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadMedia) as told:
        sound_of(path, facts)
    assert told.value.cause == "damaged"


def test_a_wav_holds_what_was_written() -> None:
    """16 bits, one channel; what is too loud is cut off and does not turn over."""
    samples = np.concatenate([spoken(0.5), np.array([1.5, -1.5], np.float32)])
    sound, rate_hz = soundfile.read(io.BytesIO(wav_of(samples, 24_000)), dtype="float32")
    about = soundfile.info(io.BytesIO(wav_of(samples, 24_000)))
    assert (rate_hz, about.channels, about.format, about.subtype) == (24_000, 1, "WAV", "PCM_16")
    assert np.abs(sound - np.clip(samples, -1, 1)).max() < 1e-4

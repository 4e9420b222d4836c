"""Recordings as strangers send them: whatever a header says, what is in the file counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from avatars.errors import BadMedia
from avatars.sound import SpeechFacts, check_sound, speech_facts, speech_pieces
from avatars.sound_energies import FAINTEST_DBFS
from tests.recordings import RATE_HZ, playlists, spoken, write_recording

pytestmark = pytest.mark.thorough

SUFFIXES = ("", ".wav", ".mp3", ".m3u8", ".mp4", ".webm")
FORMS = [
    ("wav", "pcm_s16le"),
    ("wav", "pcm_f32le"),
    ("flac", "flac"),
    ("ogg", "libopus"),
    ("mp3", "libmp3lame"),
    ("ipod", "aac"),
    ("adts", "aac"),
    ("webm", "libopus"),
    ("matroska", "aac"),
    ("aiff", "pcm_s16be"),
    ("mpegts", "aac"),
]


def facts_of(path: Path, longest_s: float = 600.0) -> SpeechFacts:
    return SpeechFacts(**speech_facts(lambda _item: None, path, longest_s))


def sound_of(path: Path, facts: SpeechFacts) -> np.ndarray[Any, np.dtype[np.float32]]:
    pieces: list[Any] = []
    speech_pieces(pieces.append, path, facts)
    return np.frombuffer(b"".join(pieces), np.float32)


def level_dbfs(samples: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.fixture
def asked_for() -> Iterator[tuple[str, list[str]]]:
    """Address of a server that serves a playlist which never ends, and what it was asked for."""
    requests: list[str] = []

    class Live(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """It is quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Live) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live.ts", requests
        server.shutdown()


@pytest.mark.parametrize("kind", sorted(playlists("")))
def test_nothing_that_names_another_file_is_opened(tmp_path: Path, asked_for: tuple[str, list[str]], kind: str) -> None:
    """A playlist is no recording, whatever it is called and whether it names a file or an address."""
    secret = write_recording(tmp_path / "secret.wav", spoken(1)[None], "wav", "pcm_s16le")
    address, requests = asked_for
    for target in (f"file://{secret}", str(secret), secret.name, address):
        for suffix in SUFFIXES:
            path = tmp_path / f"upload{suffix}"
            path.write_text(playlists(target)[kind])
            with pytest.raises(BadMedia, match="recording") as told:
                check_sound(lambda _item: None, path, 600)
            assert "WAV" in told.value.hint
            with pytest.raises(BadMedia):
                facts_of(path)
    assert requests == []


@pytest.mark.parametrize(("form", "codec"), FORMS)
def test_common_forms_are_read_whole(tmp_path: Path, form: str, codec: str) -> None:
    """Each is taken by its content alone, and as long as what was recorded."""
    path = write_recording(tmp_path / "upload", spoken(3)[None], form, codec)
    check_sound(lambda _item: None, path, 600)
    facts = facts_of(path)
    assert abs(facts.duration_s - 3) < 0.1 and facts.lost_s < 0.05
    assert abs(len(sound_of(path, facts)) / facts.rate_hz - 3) < 0.1


def without_lengths(path: Path, form: str) -> None:
    """Take the length out of a header, as programs that write into a pipe leave it."""
    data = bytearray(path.read_bytes())
    if form == "flac":
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    elif form == "wav":
        at = data.index(b"data")
        data[4:8] = data[at + 4 : at + 8] = b"\xff" * 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("form", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),
        ("flac", "flac", {}),
        ("wav", "pcm_s16le", {}),
        ("mp3", "libmp3lame", {"write_xing": "0"}),
        ("ogg", "libopus", {}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "100000"}),
    ],
)
def test_the_real_length_decides(tmp_path: Path, form: str, codec: str, options: dict[str, str]) -> None:
    """A recording without a length in its header is refused once more seconds have come than are taken."""
    path = write_recording(tmp_path / "upload", spoken(4)[None], form, codec, **options)
    without_lengths(path, form)
    check_sound(lambda _item: None, path, 5)
    assert abs(facts_of(path, 5).duration_s - 4) < 0.1
    for look in (check_sound, speech_facts):
        with pytest.raises(BadMedia, match="more than 0") as told:
            look(lambda _item: None, path, 3)
        assert "shorter" in told.value.hint


def test_a_wrong_header_does_not_refuse_a_short_recording(tmp_path: Path) -> None:
    """An MP3 whose header claims an hour is as long as its sound."""
    path = write_recording(tmp_path / "upload", spoken(4)[None], "mp3", "libmp3lame")
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 8 : at + 12] = (150_000).to_bytes(4, "big")
    path.write_bytes(data)
    check_sound(lambda _item: None, path, 600)
    assert abs(facts_of(path).duration_s - 4) < 0.1


@pytest.mark.parametrize(
    ("form", "codec"),
    [("mp3", "libmp3lame"), ("adts", "aac"), ("ogg", "libopus"), ("flac", "flac"), ("webm", "libopus")],
)
def test_damage_in_the_middle_is_left_out_and_counted(tmp_path: Path, form: str, codec: str) -> None:
    """A tenth of a file that is overwritten costs a tenth of its sound and what hangs on it, and is noticed."""
    path = write_recording(tmp_path / "upload", spoken(20)[None], form, codec)
    data = bytearray(path.read_bytes())
    middle, tenth = len(data) // 2, len(data) // 10
    data[middle : middle + tenth] = np.random.default_rng(1).bytes(tenth)
    path.write_bytes(data)
    facts = facts_of(path)
    assert 14 < facts.duration_s < 20.5
    assert 0.2 < facts.lost_s < 6


def test_inverted_stereo_does_not_cancel(tmp_path: Path) -> None:
    """Two channels that are each other's opposite give the sound of one."""
    voice = spoken(2)
    path = write_recording(tmp_path / "upload", np.stack([voice, -voice]), "wav", "pcm_f32le")
    sound = sound_of(path, facts_of(path))
    assert abs(level_dbfs(sound) - level_dbfs(voice)) < 0.5


def test_channels_that_agree_are_mixed(tmp_path: Path) -> None:
    """The same voice on both channels, each with noise of its own, is the mean of both."""
    voice, rng = spoken(2), np.random.default_rng(3)
    noisy = np.stack([voice + 0.01 * rng.normal(size=len(voice)).astype(np.float32) for _ in range(2)])
    assert facts_of(write_recording(tmp_path / "upload", noisy, "wav", "pcm_f32le")).weights == (0.5, 0.5)


@pytest.mark.parametrize("speaking", [0, 1])
@pytest.mark.parametrize("other", ["silence", "hum", "hiss"])
def test_the_channel_with_speech_is_taken(tmp_path: Path, speaking: int, other: str) -> None:
    """Not the louder one, if that only hums or hisses."""
    voice = spoken(2)
    sounds: dict[str, npt.NDArray[np.floating]] = {
        "silence": 0 * voice,
        "hum": 0.5 * np.sin(2 * np.pi * 150 * np.arange(len(voice)) / RATE_HZ),
        "hiss": 0.2 * np.random.default_rng(5).normal(size=len(voice)),
    }
    rest = sounds[other].astype(np.float32)
    channels = np.stack([voice, rest] if speaking == 0 else [rest, voice])
    weights = facts_of(write_recording(tmp_path / "upload", channels, "wav", "pcm_f32le")).weights
    assert weights == ((1.0, 0.0) if speaking == 0 else (0.0, 1.0))


@pytest.mark.parametrize("gain_db", [0.0, -30.0, 12.0])
def test_the_level_is_that_of_the_speech(tmp_path: Path, gain_db: float) -> None:
    """Pauses do not lower it, and a click or a constant part do not raise it."""
    voice = spoken(4) * np.float32(10 ** (gain_db / 20))
    paused = np.concatenate([np.zeros(4 * RATE_HZ, np.float32), voice, np.zeros(4 * RATE_HZ, np.float32)])
    plain = facts_of(write_recording(tmp_path / "plain", paused[None], "wav", "pcm_f32le")).level_dbfs
    paused[RATE_HZ : RATE_HZ + 500] = 0.9
    clicked = facts_of(write_recording(tmp_path / "clicked", paused[None] + np.float32(0.02), "wav", "pcm_f32le"))
    assert abs(plain - (gain_db - 18)) < 3
    assert abs(clicked.level_dbfs - plain) < 1.5 and abs(clicked.offsets[0] - 0.02) < 0.01


@pytest.mark.parametrize("level", [0.0, 10 ** ((FAINTEST_DBFS - 20) / 20)])
def test_a_silent_recording_is_refused(tmp_path: Path, level: float) -> None:
    """Nothing, or next to nothing, cannot be made audible; the microphone is the remedy."""
    path = tmp_path / "upload"
    soundfile.write(path, spoken(1) * level, RATE_HZ, format="WAV", subtype="FLOAT")
    with pytest.raises(BadMedia, match="silent") as told:
        facts_of(path)
    assert "microphone" in told.value.hint


def test_samples_that_are_no_numbers_are_read(tmp_path: Path) -> None:
    """A float recording may hold anything; what comes out can be played."""
    voice = spoken(1)
    voice[1000:1010], voice[2000] = np.nan, np.inf
    path = tmp_path / "upload"
    soundfile.write(path, voice, RATE_HZ, format="WAV", subtype="FLOAT")
    assert np.isfinite(sound_of(path, facts_of(path))).all()


@pytest.mark.parametrize("content", [b"", b"this is text, not sound", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"OggS", b"ID3"])
def test_what_is_no_recording_is_told(tmp_path: Path, content: bytes) -> None:
    """Empty, foreign and truncated files are refused with the forms that are read."""
    path = tmp_path / "upload"
    path.write_bytes(content)
    for look in (check_sound, speech_facts):
        with pytest.raises(BadMedia) as told:
            look(lambda _item: None, path, 600)
        assert "WAV" in told.value.hint


@pytest.mark.parametrize(("channels", "form"), [(8, "FLAC"), (9, "WAV"), (16, "WAV"), (32, "CAF")])
def test_any_number_of_channels_is_read(tmp_path: Path, channels: int, form: str) -> None:
    """Field recorders write many; one of them has the voice."""
    samples = np.full((2 * RATE_HZ, channels), 1e-5, np.float32)
    samples[:, channels - 1] = spoken(2)
    path = tmp_path / "upload"
    soundfile.write(path, samples, RATE_HZ, format=form, subtype="PCM_24")
    facts = facts_of(path)
    assert facts.weights[channels - 1] == 1.0 and len(facts.weights) == channels
    assert np.corrcoef(sound_of(path, facts), samples[:, -1])[0, 1] > 0.99


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC"])
def test_a_recording_that_is_cut_off_says_so(tmp_path: Path, form: str) -> None:
    """Where its header tells how long it was, what is missing at its end is counted as lost."""
    path = tmp_path / "upload"
    soundfile.write(path, spoken(4), RATE_HZ, format=form)
    assert facts_of(path).lost_s == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    facts = facts_of(path)
    assert facts.duration_s > 1 and abs(facts.duration_s + facts.lost_s - 4) < 0.2


@pytest.mark.parametrize(
    ("form", "codec"), [("mp3", "libmp3lame"), ("webm", "libopus"), ("matroska", "aac"), ("ogg", "libopus")]
)
def test_a_packed_recording_that_is_cut_off_says_so(tmp_path: Path, form: str, codec: str) -> None:
    """By the count of its frames, the size in its header, or a last page that is missing; a whole one says nothing."""
    path = write_recording(tmp_path / "upload", spoken(6)[None], form, codec)
    whole = facts_of(path)
    assert whole.lost_s < 0.05 and not whole.ends_early
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = facts_of(path)
    assert 1 < cut.duration_s < 5
    assert cut.ends_early if form == "ogg" else abs(cut.duration_s + cut.lost_s - 6) < 1.0


def test_a_recording_of_unknown_size_is_not_called_cut_off(tmp_path: Path) -> None:
    """Browsers write WebM without knowing its size."""
    path = write_recording(tmp_path / "upload", spoken(3)[None], "webm", "libopus", live="1")
    facts = facts_of(path)
    assert facts.lost_s < 0.05 and not facts.ends_early


def test_what_is_left_of_a_recording_is_not_called_silent(tmp_path: Path) -> None:
    """A file of which next to nothing can be read is told as that: its microphone is not to blame."""
    path = tmp_path / "upload"
    soundfile.write(path, np.zeros(500), RATE_HZ, format="WAV")
    with pytest.raises(BadMedia) as told:
        facts_of(path)
    assert told.value.cause == "too_short"


@pytest.mark.parametrize(("form", "codec"), [("mp4", "aac"), ("mov", "pcm_s16le"), ("wav", "pcm_s16le")])
def test_a_recording_cut_off_beyond_reading_is_called_damaged(tmp_path: Path, form: str, codec: str) -> None:
    """It begins as a recording, so it is not told to be none."""
    path = write_recording(tmp_path / "upload", spoken(1)[None], form, codec)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadMedia) as told:
        check_sound(lambda _item: None, path, 600)
    assert told.value.cause == "damaged"


def test_numbers_the_wrong_way_round_are_not_spoken(tmp_path: Path) -> None:
    """FFmpeg reads a RIFX file as noise, so it is refused."""
    path = write_recording(tmp_path / "upload", spoken(1)[None], "wav", "pcm_s16le")
    path.write_bytes(b"RIFX" + path.read_bytes()[4:])
    with pytest.raises(BadMedia, match="RIFX"):
        check_sound(lambda _item: None, path, 600)


@pytest.mark.parametrize("around", [0.0, 1e-5, 1e-3])
def test_one_word_in_a_long_silence_is_speech(tmp_path: Path, around: float) -> None:
    """However long the pause around it, a word is neither called silent nor raised by the level of the pause."""
    word = spoken(0.5)
    noise = np.random.default_rng(0).normal(size=20 * RATE_HZ) * around
    noise[RATE_HZ : RATE_HZ + len(word)] += word
    path = tmp_path / "upload"
    soundfile.write(path, noise, RATE_HZ, format="WAV", subtype="FLOAT")
    assert -24 < facts_of(path).level_dbfs < -14


def test_a_click_in_silence_is_no_speech(tmp_path: Path) -> None:
    """It is not made loud."""
    samples = np.zeros(3 * RATE_HZ)
    samples[RATE_HZ : RATE_HZ + 50] = 0.9
    path = tmp_path / "upload"
    soundfile.write(path, samples, RATE_HZ, format="WAV")
    with pytest.raises(BadMedia) as told:
        facts_of(path)
    assert told.value.cause == "silent"

import numpy as np
import pytest

from pipeline.features.loudness import LoudnessStream
from pipeline.polish import VoicePolish
from pipeline.registry import create
from pipeline.timeline import SentenceTimeline, SpeechSlice
from pipeline.types import SAMPLES_PER_PICTURE, AudioChunk, FeatureWindow, FloatArray, Phoneme


class Listener:
    """A FeatureExtractor that keeps what it was fed."""

    name, lookahead_ms = "listener", 0.0

    def __init__(self) -> None:
        self.chunks: list[AudioChunk] = []
        self._given = 0

    def push(self, chunk: AudioChunk) -> list[FeatureWindow]:
        self.chunks.append(chunk)
        return []

    def flush(self) -> list[FeatureWindow]:
        samples = sum(len(chunk.samples) for chunk in self.chunks)
        assert samples % 640 == 0
        return [FeatureWindow(np.zeros(1, np.float32), index) for index in range(samples // 640)]

    def reset(self) -> None:
        self.chunks.clear()


def tone(seconds: float, rate_hz: int, level: float = 0.3) -> FloatArray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def feed(timeline: SentenceTimeline, speech: FloatArray, rate_hz: int, piece: int) -> list[SpeechSlice]:
    pictures: list[SpeechSlice] = []
    for start in range(0, len(speech), piece):
        part = speech[start : start + piece]
        final = start + piece >= len(speech)
        pictures += timeline.push(AudioChunk(part, rate_hz, start_sample=start, final=final))
    return pictures


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("piece", [1_000, 7_001, 10**9])
def test_a_sentence_becomes_whole_pictures_whatever_its_rate_and_pieces(rate_hz: int, piece: int) -> None:
    """1.01 s of speech is 26 pictures; their audio is the speech at 48 kHz, padded with silence."""
    pictures = feed(SentenceTimeline(0, "Hello.", LoudnessStream()), tone(1.01, rate_hz), rate_hz, piece)
    assert len(pictures) == 26
    assert all(picture.audio.shape == (SAMPLES_PER_PICTURE,) for picture in pictures)
    audio = np.concatenate([picture.audio for picture in pictures])
    expected = tone(1.01, 48_000)
    middle = slice(2_000, 45_000)
    assert np.abs(audio[: len(expected)] - expected)[middle].max() < 0.01
    assert not audio[round(1.012 * 48_000) :].any()


def test_the_pieces_of_a_sentence_do_not_change_it() -> None:
    """Streamed or whole, the same pictures come out."""
    speech = tone(0.5, 24_000)
    whole = feed(SentenceTimeline(0, "", LoudnessStream()), speech, 24_000, 10**9)
    streamed = feed(SentenceTimeline(0, "", LoudnessStream()), speech, 24_000, 777)
    for a, b in zip(whole, streamed, strict=True):
        np.testing.assert_allclose(a.audio, b.audio, atol=1e-5)
        np.testing.assert_allclose(a.window.data, b.window.data, atol=0.05)


def test_a_sentence_starts_and_ends_without_a_click() -> None:
    """20 ms fades at both ends."""
    pictures = feed(SentenceTimeline(0, "", LoudnessStream()), np.full(24_000, 0.5, np.float32), 24_000, 10**9)
    audio = np.concatenate([picture.audio for picture in pictures])
    assert abs(audio[0]) < 0.01
    assert abs(audio[47_999]) < 0.01
    assert audio[24_000] == pytest.approx(0.5, abs=0.01)


def test_the_subtitle_comes_with_the_first_picture_and_the_share_heard_grows_to_one() -> None:
    """The first picture carries text and duration; the last says that all was heard."""
    pictures = feed(SentenceTimeline(3, "Hello.", LoudnessStream()), tone(1.0, 48_000), 48_000, 10**9)
    assert [picture.text for picture in pictures] == ["Hello.", *[""] * 24]
    assert pictures[0].duration_s == pytest.approx(1.0)
    shares = [picture.played_share for picture in pictures]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {picture.sentence for picture in pictures} == {3}


def test_phoneme_times_follow_the_audio_to_16_khz() -> None:
    """A phoneme at 0.3 s of the sentence is at 0.3 s of what the extractor hears, also in later chunks."""
    listener = Listener()
    timeline = SentenceTimeline(0, "", listener)
    chunk_s = 0.2
    for index in range(3):
        phoneme = Phoneme("a", 0.1, 0.15)
        samples = tone(chunk_s, 24_000)
        timeline.push(AudioChunk(samples, 24_000, phonemes=(phoneme,), final=index == 2))
    starts = [chunk.start_sample / 16_000 + chunk.phonemes[0].start_s for chunk in listener.chunks if chunk.phonemes]
    assert starts == pytest.approx([0.1, 0.3, 0.5], abs=0.01)


def test_polish_drops_the_silence_before_the_first_sound_and_moves_the_phonemes() -> None:
    """350 ms of dead lead-in become 20 ms; phonemes keep their place in the sound; pauses inside are kept."""
    speech = np.concatenate([np.zeros(8_400, np.float32), tone(0.2, 24_000), np.zeros(4_800, np.float32)])
    chunk = AudioChunk(speech, 24_000, phonemes=(Phoneme("", 0.0, 0.3), Phoneme("a", 0.35, 0.5)), final=True)
    polished = VoicePolish().push(chunk)
    assert polished.duration_s == pytest.approx(0.42, abs=0.002)
    assert polished.phonemes is not None
    assert [phoneme.ipa for phoneme in polished.phonemes] == ["a"]
    assert polished.phonemes[0].start_s == pytest.approx(0.02, abs=0.002)


def test_polish_brings_faint_and_loud_voices_to_one_level() -> None:
    """A voice at -35 dBFS and one at -10 dBFS come out within 2 dB of each other."""
    levels = []
    for level in (0.025, 0.45):
        polished = VoicePolish().push(AudioChunk(tone(1.0, 24_000, level), 24_000, final=True))
        levels.append(20 * np.log10(np.sqrt(np.mean(polished.samples**2))))
    assert levels[0] == pytest.approx(levels[1], abs=2.0)


def test_a_silent_chunk_before_the_first_sound_is_empty() -> None:
    """Streaming voices that begin with silence do not delay the first picture by it."""
    polish = VoicePolish()
    assert len(polish.push(AudioChunk(np.zeros(5_000, np.float32), 24_000)).samples) == 0
    assert len(polish.push(AudioChunk(tone(0.1, 24_000), 24_000, final=True)).samples) == 2_400


def test_stresses_of_a_sentence_do_not_depend_on_its_pieces() -> None:
    """Streamed or whole, the same pictures are stressed; and only the last three know that the end is near."""
    features = create("features", "visemes_around")
    features.load("cpu")
    loud = np.repeat(np.random.default_rng(5).uniform(0.02, 0.4, 20), 4_800)
    speech = (tone(2.0, 48_000, 1.0) * loud).astype(np.float32)
    whole, streamed = (
        feed(SentenceTimeline(0, "", features.stream()), speech, 48_000, piece) for piece in (10**9, 1_777)
    )
    assert any(picture.stress for picture in whole)
    assert [picture.stress for picture in streamed] == [picture.stress for picture in whole]
    assert [picture.left for picture in streamed] == [picture.left for picture in whole] == [*[3] * 47, 2, 1, 0]

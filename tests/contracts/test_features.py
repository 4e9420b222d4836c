"""What every feature extractor in the registry promises."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_ultralight import write_hubert_weights
from tiny_whisper import BESIDE_WHISPER, write_whisper_weights

from pipeline.interfaces import FeatureExtractor, FeatureStream
from pipeline.registry import create, names
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FeatureWindow, FloatArray, Phoneme

pytestmark = pytest.mark.thorough

PICTURE = 640
WITH_WEIGHTS = ("whisper15", "whisper10", "hubert")
TIMED = ("viseme", "visemes_around")
"Extractors that use the times of phonemes where the synthesizer gives them. A test below finds a wrong list."
CASES = [*((name, False) for name in names("features")), *((name, True) for name in TIMED)]
"(name of an extractor, whether the synthesizer gives the times of its phonemes)"
WORDS = "hˈəlˌO bˈɑb ˈaɪ meɪk pˈaɪp fɹʌm wʊd"


def speech(seconds: float, seed: int = 0) -> FloatArray:
    """Return something like speech: buzzes of changing timbre, hisses and pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * FEATURE_RATE_HZ)) / FEATURE_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30) if k % (2 + seed % 3))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t + seed), 0, 1)
    hiss = rng.standard_normal(len(t)) * np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1) ** 4
    return (0.15 * buzz * syllables + 0.05 * hiss).astype(np.float32)


def timing(seconds: float, seed: int = 0) -> tuple[Phoneme, ...]:
    """Return phonemes of random length with some pauses, up to the end of the speech."""
    rng = np.random.default_rng(seed)
    phonemes: list[Phoneme] = []
    at_s = 0.0
    while at_s < seconds:
        end_s = at_s + float(rng.choice([0.025, 0.05, 0.0875, 0.15, 0.3]))
        ipa = str(rng.choice([*WORDS])).strip() if rng.random() < 0.85 else ""
        phonemes.append(Phoneme(ipa, at_s, end_s))
        at_s = end_s
    return tuple(phonemes)


def chunks(samples: FloatArray, cuts: Sequence[int], phonemes: tuple[Phoneme, ...] | None) -> list[AudioChunk]:
    """Cut the speech into chunks, each with the phonemes that start in it."""
    edges = [0, *sorted(cuts), len(samples)]
    pieces = []
    for a, b in pairwise(edges):
        start_s, stop_s = a / FEATURE_RATE_HZ, (b / FEATURE_RATE_HZ if b < len(samples) else np.inf)
        own = phonemes and tuple(
            Phoneme(p.ipa, p.start_s - start_s, p.end_s - start_s) for p in phonemes if start_s <= p.start_s < stop_s
        )
        pieces.append(AudioChunk(samples[a:b], FEATURE_RATE_HZ, start_sample=a, phonemes=own, final=b == len(samples)))
    return pieces


def windows_of(stream: FeatureStream, pieces: list[AudioChunk]) -> list[FeatureWindow]:
    return [w for piece in pieces for w in stream.push(piece)] + stream.flush()


def table(windows: list[FeatureWindow]) -> FloatArray:
    return np.stack([w.data for w in windows])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with everything that the extractors need; other files of a network only have to exist."""
    folder = tmp_path_factory.mktemp("weights")
    write_whisper_weights(folder)
    write_hubert_weights(folder / "hubert-large-ls960-ft")
    for name in BESIDE_WHISPER:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'timing' if case[1] else 'sound'}")
def case(request: pytest.FixtureRequest) -> tuple[str, bool]:
    name, timed = request.param
    return name, timed


@pytest.fixture(scope="module")
def extractor(case: tuple[str, bool], weights: Path) -> FeatureExtractor:
    """Each extractor of the registry, loaded once. State of a sentence is in its stream, which each test has anew."""
    options = {"weights": weights} if case[0] in WITH_WEIGHTS else {}
    made: FeatureExtractor = create("features", case[0], **options)
    made.load("cpu")
    return made


@pytest.fixture
def stream(extractor: FeatureExtractor) -> FeatureStream:
    return extractor.stream()


@pytest.fixture
def timed(case: tuple[str, bool]) -> bool:
    """Whether the synthesizer gives the times of its phonemes."""
    return case[1]


def test_it_keeps_to_the_protocol(extractor: FeatureExtractor) -> None:
    """An extractor has everything that FeatureExtractor names."""
    assert isinstance(extractor, FeatureExtractor)
    assert extractor.name in names("features")


@pytest.mark.parametrize("size", [100, 640, 700, None])
def test_pieces_do_not_matter(stream: FeatureStream, timed: bool, size: int | None) -> None:
    """Pieces of any size, here None, or of one size give the same windows as the whole speech at once."""
    rng = np.random.default_rng(size or 0)
    samples = speech(2.73, size or 0)
    phonemes = timing(2.73, size or 0) if timed else None
    whole = windows_of(stream, chunks(samples, [], phonemes))
    cuts = list(range(size, 20_000, size)) if size else rng.integers(0, len(samples), 40).tolist()
    pieces = windows_of(stream, chunks(samples, cuts, phonemes))
    assert [w.picture for w in pieces] == [w.picture for w in whole]
    np.testing.assert_allclose(table(pieces), table(whole), atol=1e-4)


def test_the_times_of_phonemes_matter_where_they_are_used(extractor: FeatureExtractor, stream: FeatureStream) -> None:
    """And nowhere else, so that the other extractors need no case with them."""
    samples = speech(1.0)
    heard = table(windows_of(stream, chunks(samples, [], None)))
    told = table(windows_of(stream, chunks(samples, [], timing(1.0))))
    assert np.array_equal(heard, told) == (extractor.name not in TIMED)


@pytest.mark.parametrize("n", [0, 1, 639, 640, 641, 12_345])
def test_a_flushed_sentence_has_all_its_pictures(stream: FeatureStream, timed: bool, n: int) -> None:
    """By the end of flush() there are exactly ceil(samples / 640) windows, numbered from 0."""
    samples = speech(1.0)[:n]
    phonemes = timing(n / FEATURE_RATE_HZ) if timed else None
    windows = windows_of(stream, chunks(samples, [n // 3], phonemes))
    assert [w.picture for w in windows] == list(range(-(-n // PICTURE)))
    assert all(w.data.dtype == np.float32 and np.isfinite(w.data).all() for w in windows)


def test_a_window_waits_no_longer_than_the_lookahead(
    extractor: FeatureExtractor, stream: FeatureStream, timed: bool
) -> None:
    """A window is given as soon as lookahead_ms of audio after its picture's end are known."""
    samples = speech(2.0)
    phonemes = timing(2.0) if timed else None
    heard = given = 0
    for piece in chunks(samples, list(range(160, len(samples), 160)), phonemes):
        given += len(stream.push(piece))
        heard += len(piece.samples)
        due = (heard / FEATURE_RATE_HZ * 1000 - extractor.lookahead_ms) // 40
        assert given >= due


def test_later_audio_does_not_matter(extractor: FeatureExtractor, stream: FeatureStream, timed: bool) -> None:
    """A window does not depend on audio later than lookahead_ms after its picture."""
    seconds, known_s = 2.0, 1.2
    known = round(known_s * FEATURE_RATE_HZ)
    fixed = int((known_s * 1000 - extractor.lookahead_ms) // 40)
    tables = []
    for seed in (1, 2):
        samples = np.concatenate([speech(seconds)[:known], speech(seconds, seed)[known:]])
        phonemes = None
        if timed:
            early = [p for p in timing(seconds) if p.start_s < known_s]
            phonemes = (*early, *(p for p in timing(seconds, seed) if p.start_s >= max(known_s, early[-1].end_s)))
        tables.append(table(windows_of(stream, chunks(samples, [], phonemes))))
    np.testing.assert_allclose(tables[0][:fixed], tables[1][:fixed], atol=1e-4)
    assert not np.allclose(tables[0], tables[1], atol=1e-3)


def test_sentences_do_not_touch(extractor: FeatureExtractor, stream: FeatureStream, timed: bool) -> None:
    """A second sentence gives the same windows as on a new stream, also after a reset in the middle of a sentence."""
    first = chunks(speech(1.0, 1), [5000], timing(1.0, 1) if timed else None)
    second = chunks(speech(1.5, 2), [5000], timing(1.5, 2) if timed else None)
    alone = windows_of(extractor.stream(), second)
    windows_of(stream, first)
    after_a_sentence = windows_of(stream, second)
    stream.push(first[0])
    stream.reset()
    after_a_reset = windows_of(stream, second)
    for windows in (after_a_sentence, after_a_reset):
        assert [w.picture for w in windows] == [w.picture for w in alone]
        np.testing.assert_array_equal(table(windows), table(alone))


def test_another_sample_rate_is_refused(stream: FeatureStream) -> None:
    """Audio that is not at 16 kHz raises a ValueError that names both rates."""
    with pytest.raises(ValueError, match=r"16000.*48000"):
        stream.push(AudioChunk(np.zeros(1920, np.float32), 48_000))


def test_nothing_to_flush(stream: FeatureStream) -> None:
    """flush() and reset() before anything was pushed do nothing."""
    assert stream.flush() == []
    stream.reset()
    assert stream.flush() == []

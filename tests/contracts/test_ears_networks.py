"""The detectors of speech and of the end of a turn in the registry, with their real networks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from microphone import quiet, spoken

from pipeline import registry
from pipeline.ears.packaged import PackagedNetwork
from pipeline.ears.utterance import WINDOW_SAMPLES
from pipeline.errors import BackendUnavailable
from pipeline.interfaces import EndOfTurnDetector, VoiceActivityDetector, VoiceActivityStream
from pipeline.types import FloatArray

pytestmark = pytest.mark.thorough

NOISE = (0.05 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)


def loaded(kind: str, name: str) -> object:
    try:
        made = registry.create(kind, name)
    except BackendUnavailable:
        pytest.skip("python launch.py fetch ears")
    made.load()
    return made


@pytest.fixture(scope="module", params=registry.names("vad"))
def vad(request: pytest.FixtureRequest) -> VoiceActivityDetector:
    made = loaded("vad", request.param)
    assert isinstance(made, VoiceActivityDetector)
    return made


@pytest.fixture(scope="module", params=registry.names("endpoint"))
def endpoint(request: pytest.FixtureRequest) -> EndOfTurnDetector:
    made = loaded("endpoint", request.param)
    assert isinstance(made, EndOfTurnDetector)
    return made


@pytest.fixture(scope="module")
def question() -> FloatArray:
    """A spoken question of two seconds, with half a second of silence before and after it."""
    return asyncio.run(spoken("What can you tell me about this picture?"))


def probabilities(stream: VoiceActivityStream, sound: FloatArray) -> list[float]:
    whole = len(sound) // WINDOW_SAMPLES * WINDOW_SAMPLES
    return [stream.push(window) for window in sound[:whole].reshape(-1, WINDOW_SAMPLES)]


def test_speech_is_told_from_noise(vad: VoiceActivityDetector, question: FloatArray) -> None:
    """Most windows of a spoken question count as speech, and none of silence or hiss."""
    found = probabilities(vad.stream(), question)
    assert all(0 <= probability <= 1 for probability in found)
    assert np.mean(np.array(found[25:-20]) >= 0.5) > 0.7
    assert max(probabilities(vad.stream(), quiet(2))) < 0.35
    assert max(probabilities(vad.stream(), NOISE)) < 0.35


def test_streams_know_nothing_of_each_other(vad: VoiceActivityDetector, question: FloatArray) -> None:
    """Two streams used in turn hear what each hears alone; a stream that is reset is like new."""
    alone = probabilities(vad.stream(), question)
    one, other = vad.stream(), vad.stream()
    together = []
    for window in question[: len(alone) * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES):
        together.append(one.push(window))
        other.push(NOISE[:WINDOW_SAMPLES])
    assert together == alone
    one.reset()
    assert probabilities(one, question) == alone


@pytest.mark.parametrize("samples", [0, 1, 300, 16_000, 20 * 16_000])
def test_any_length_has_a_probability(endpoint: EndOfTurnDetector, samples: int) -> None:
    """Any length gives a probability, from no sound at all to more than the detector uses."""
    assert 0 <= endpoint.probability(np.zeros(samples, np.float32)) <= 1


def test_smart_turn_hears_that_all_has_been_said(question: FloatArray) -> None:
    """It tells a complete question from a sentence that trails off; sound from over 8 s ago does not count."""
    detector = loaded("endpoint", "smart-turn")
    assert isinstance(detector, EndOfTurnDetector)
    assert detector.probability(question) > 0.8
    assert detector.probability(asyncio.run(spoken("So what I really want is to, um"))) < 0.3
    padded = np.concatenate([quiet(8), question])
    assert detector.probability(np.concatenate([NOISE, padded])) == detector.probability(padded)


@pytest.mark.parametrize(("kind", "name"), [("vad", "silero"), ("endpoint", "smart-turn")])
def test_a_file_that_is_not_the_checked_one_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    """The package has a single maintainer, so a different file under the same name is not run. The remedy is named."""
    made = loaded(kind, name)
    assert isinstance(made, PackagedNetwork)
    network = made.file
    for other in (replace(network, sha256="0" * 64), replace(network, path="data/absent.onnx")):
        monkeypatch.setattr(type(made), "file", other)
        with pytest.raises(BackendUnavailable) as caught:
            made.load()
        assert caught.value.hint == "python launch.py fetch ears"


async def test_closing_may_be_repeated(vad: VoiceActivityDetector) -> None:
    """A stream that is in use keeps working."""
    made = loaded("vad", vad.name)
    assert isinstance(made, VoiceActivityDetector)
    stream = made.stream()
    await made.aclose()
    await made.aclose()
    assert 0 <= stream.push(np.zeros(WINDOW_SAMPLES, np.float32)) <= 1

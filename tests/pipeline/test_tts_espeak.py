"""eSpeak NG, the last resort for languages that no other voice here speaks."""

import subprocess
import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest

from models.visemes import VISEMES, visemes_of
from pipeline.errors import BackendUnavailable, LanguageNotSupported
from pipeline.tts import espeak as module
from pipeline.tts.espeak import EspeakSynthesizer
from pipeline.types import AudioChunk


@pytest.fixture
async def espeak() -> AsyncIterator[EspeakSynthesizer]:
    made = EspeakSynthesizer()
    yield made
    await made.aclose()


async def speak(espeak: EspeakSynthesizer, text: str, voice: str | None = None) -> list[AudioChunk]:
    return [chunk async for chunk in espeak.synthesize(text, voice)]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Привет, как дела?", "ru"),
        ("Γεια σου, τι κάνεις;", "el"),
        ("Xin chào các bạn, hôm nay thế nào?", "vi"),
        ("你好，很高兴见到你。", "zh"),
        ("مرحبا كيف حالك", "ar"),
        ("Labdien, kā jums šodien klājas?", "lv"),
    ],
)
async def test_languages(espeak: EspeakSynthesizer, text: str, language: str) -> None:
    """A sentence is spoken in its language, with phonemes from the first to the last sound."""
    (chunk,) = await speak(espeak, text)
    assert chunk.voice == f"espeak-{language}"
    assert 0.8 < chunk.duration_s < 4
    assert np.sqrt(np.mean(chunk.samples**2)) > 0.02
    assert chunk.phonemes
    assert chunk.phonemes[-1].end_s == pytest.approx(chunk.duration_s)
    shapes = {shape for phoneme in chunk.phonemes for shape in visemes_of(phoneme.ipa)}
    assert len(shapes - {VISEMES.index("sil")}) >= 4


@pytest.mark.parametrize("text", ["こんにちは、元気ですか。", "Kumusta ka? Ako ang iyong katulong."])
async def test_no_language_is_read_with_the_sounds_of_another(espeak: EspeakSynthesizer, text: str) -> None:
    """What it does not speak is refused by its name, also where it knows the letters."""
    with pytest.raises(LanguageNotSupported, match=r"Japanese|Filipino"):
        await speak(espeak, text)


async def test_each_of_its_languages_has_a_voice(espeak: EspeakSynthesizer) -> None:
    """No language is promised that the program does not know."""
    for voice in espeak.voices:
        assert espeak._process.speak("a", voice)


async def test_lips_shut_for_m(espeak: EspeakSynthesizer) -> None:
    """The sound of "mama" is shut lips twice."""
    (chunk,) = await speak(espeak, "мама")
    shut = [p for p in chunk.phonemes or () if visemes_of(p.ipa) == (VISEMES.index("PP"),)]
    assert len(shut) == 2


async def test_phonemes_in_brackets_are_no_command(espeak: EspeakSynthesizer) -> None:
    """eSpeak reads [[...]] as phonemes; people who write that mean something else."""
    plain, bracketed = [(await speak(espeak, text))[0].duration_s for text in ("abc def", "[[abc def]]")]
    assert bracketed == pytest.approx(plain, rel=0.2)


def test_the_portal_contains_nothing_of_it() -> None:
    """Its library is under the GPL: importing the backend loads nothing of it, only its own process does."""
    look = "import sys, pipeline.tts.espeak; sys.exit('espeakng_loader' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_without_it_the_error_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable) as caught:
        EspeakSynthesizer()
    assert caught.value.hint == "python launch.py fetch espeak"

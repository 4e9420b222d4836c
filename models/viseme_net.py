"""The network from audio to visemes: log-mel features and a causal temporal convolution network, in numpy.

Input is speech at 16 kHz. Output is the probability of each of the 15 visemes (models/visemes.py) every 20 ms, decided
with LOOKAHEAD_STEPS * 20 ms of later speech in view. There is one code path: a `VisemeStream` keeps each layer's last
inputs, so the result does not depend on how a sentence is split into pieces.

The weights are made by models/training/; see its README for data and accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = [
    "LOOKAHEAD_STEPS",
    "N_FEATURES",
    "SAMPLES_PER_STEP",
    "SAMPLE_RATE_HZ",
    "STEP_MS",
    "WEIGHTS_PATH",
    "FeatureStream",
    "SpectralChange",
    "VisemeNetwork",
    "VisemeStep",
    "VisemeStream",
]

SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
FFT_SIZE = 512
N_MELS = 40
MEL_LOW_HZ, MEL_HIGH_HZ = 60.0, 7600.0
N_FEATURES = N_MELS + 2

HOPS_PER_STEP = 2
STEP_MS = 20
SAMPLES_PER_STEP = HOPS_PER_STEP * HOP_SAMPLES
LOOKAHEAD_STEPS = 6
"""120 ms: the output for a step comes this many steps later."""

INPUT_KERNEL = 6
BLOCK_KERNEL = 3
DILATIONS = (1, 2, 4, 8, 1, 2)

WEIGHTS_PATH = Path(__file__).with_name("viseme_net.npz")

Array = npt.NDArray[np.float32]


def _mel_filters() -> Array:
    """Return (FFT_SIZE // 2 + 1, N_MELS): triangular filters, evenly spaced on the HTK mel scale."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (MEL_LOW_HZ, MEL_HIGH_HZ))
    points = 700 * (10 ** (np.linspace(low, high, N_MELS + 2) / 2595) - 1)
    left, centre, right = points[:-2], points[1:-1], points[2:]
    hz = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE_HZ)[:, None]
    rising, falling = (hz - left) / (centre - left), (right - hz) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


class FeatureStream:
    """Converts 16 kHz samples to (n, N_FEATURES) float32, one row per 10 ms; row i is centred on sample 160 i + 80.

    Columns: 40 log-mel energies relative to a running level, the distance of this row's peak below that level, and the
    level. The level rises with peaks at once and decays slowly, so loudness and microphone gain cancel out without
    knowing the whole clip.
    """

    _LEVEL_FLOOR, _LEVEL_START, _LEVEL_DECAY = -7.0, -2.0, 0.012
    """Natural logs of power, and the share of the distance by which the level falls per row."""

    def __init__(self) -> None:
        self._filters = _mel_filters()
        self._taper = np.hanning(WINDOW_SAMPLES).astype(np.float32)
        self._samples = np.zeros(WINDOW_SAMPLES // 2 - HOP_SAMPLES // 2, np.float32)
        self._level = self._LEVEL_START

    def push(self, samples: Array) -> Array:
        """Take samples, and return the rows that are complete."""
        self._samples = np.concatenate([self._samples, samples])
        n = max(0, (len(self._samples) - WINDOW_SAMPLES) // HOP_SAMPLES + 1)
        if n == 0:
            return np.zeros((0, N_FEATURES), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, WINDOW_SAMPLES)[::HOP_SAMPLES][:n]
        spectrum = np.fft.rfft(windows * self._taper, FFT_SIZE)
        power = spectrum.real**2 + spectrum.imag**2
        mels = np.log(power @ self._filters + 1e-5)
        self._samples = self._samples[n * HOP_SAMPLES :]
        return self._below_level(mels)

    def _below_level(self, mels: Array) -> Array:
        peaks = mels.max(1)
        levels = np.empty_like(peaks)
        level = self._level
        for i, peak in enumerate(peaks.tolist()):
            level = max(peak, level - self._LEVEL_DECAY * (level - peak), self._LEVEL_FLOOR)
            levels[i] = level
        self._level = level
        return np.concatenate(
            [(mels - levels[:, None] + 5) / 3, (peaks - levels)[:, None] / 3, (levels + 2)[:, None] / 6], axis=1
        )


def _gelu(x: Array) -> Array:
    """Gaussian error linear unit, tanh form (Hendrycks & Gimpel 2016)."""
    result: Array = 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
    return result


@dataclass(frozen=True, slots=True)
class VisemeNetwork:
    """The weights. Immutable, so any number of streams may share one."""

    entry: tuple[Array, Array]
    "(6 * N_FEATURES, C) and (C,): convolution with stride 2, oldest input first"
    blocks: tuple[tuple[Array, Array, Array, Array], ...]
    "per residual block: (3 * C, C), (C,) dilated convolution; (C, C), (C,) mixing"
    head: tuple[Array, Array]
    "(C, 15) and (15,)"

    @classmethod
    def load(cls, path: Path = WEIGHTS_PATH) -> VisemeNetwork:
        """Read an .npz of half-precision arrays. Raises OSError or KeyError if it is missing or not ours."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float32) for name in stored.files}

        def pair(name: str) -> tuple[Array, Array]:
            return arrays[f"{name}.weight"], arrays[f"{name}.bias"]

        return cls(
            entry=pair("entry"),
            blocks=tuple((*pair(f"blocks.{i}.dilated"), *pair(f"blocks.{i}.mix")) for i in range(len(DILATIONS))),
            head=pair("head"),
        )

    def stream(self) -> VisemeStream:
        return VisemeStream(self)


@dataclass(frozen=True, slots=True)
class VisemeStep:
    """Consecutive steps of 20 ms."""

    probabilities: Array
    "(n, 15), rows sum to 1"
    loudness: Array
    "(n,): distance below the speaker's running level, natural log of power / 3; 0 is the loudest"
    change: Array
    "(n,): recent change of the spectrum, see SpectralChange"


class SpectralChange:
    """Measures how much the spectrum changes between rows of FeatureStream, averaged over the last 0.3 s.

    Speech changes all the time: in 100 s of two people it never fell below .149, with a mean of .21. Held notes and
    chords keep their spectrum: .04 to .12, struck or not. Quiet rows do not count, or pauses would look like held
    notes.
    """

    _TYPICAL, _MOST, _ROWS = 0.2, 0.25, 30
    _QUIET = -1.3
    """17 dB below the running level."""

    def __init__(self) -> None:
        self._row: Array | None = None
        self._mean = self._TYPICAL

    def push(self, rows: Array) -> Array:
        """Return (n,): the average up to each row. rows: (n, N_FEATURES)."""
        averages = np.empty(len(rows), np.float32)
        for index, row in enumerate(rows):
            bands, loudness = row[:N_MELS], row[N_MELS]
            if self._row is not None and loudness > self._QUIET:
                change = min(float(np.abs(bands - self._row).mean()), self._MOST)
                self._mean += (change - self._mean) / self._ROWS
            self._row = bands
            averages[index] = self._mean
        return averages


class _CausalConvolution:
    """Dilated convolution over rows. It keeps the past rows that it needs."""

    def __init__(self, weight: Array, bias: Array, kernel: int, *, dilation: int = 1, stride: int = 1) -> None:
        self._weight, self._bias = weight, bias
        self._kernel, self._dilation, self._stride = kernel, dilation, stride
        reach = (kernel - 1) * dilation + 1
        self._past = np.zeros((reach - stride, len(weight) // kernel), np.float32)

    def push(self, rows: Array) -> Array:
        """Take rows, and return the output that is complete."""
        rows = np.concatenate([self._past, rows])
        n = max(0, (len(rows) - (self._kernel - 1) * self._dilation - 1) // self._stride + 1)
        last = n * self._stride
        taps = [rows[k * self._dilation :][: last : self._stride][:n] for k in range(self._kernel)]
        self._past = rows[last:]
        return np.concatenate(taps, axis=1) @ self._weight + self._bias


class VisemeStream:
    """Takes samples and returns viseme probabilities. Holds the state of one sentence."""

    _SHARPNESS = 1 / 0.75
    """Label smoothing in training makes the network less confident than it is accurate; this corrects it."""

    def __init__(self, network: VisemeNetwork) -> None:
        self._features = FeatureStream()
        self._entry = _CausalConvolution(*network.entry, INPUT_KERNEL, stride=HOPS_PER_STEP)
        self._blocks = [
            (_CausalConvolution(w, b, BLOCK_KERNEL, dilation=d), mix_w, mix_b)
            for (w, b, mix_w, mix_b), d in zip(network.blocks, DILATIONS, strict=True)
        ]
        self._head = network.head
        self._change = SpectralChange()
        self._waiting = np.zeros((0, 2), np.float32)
        "rows of loudness and change whose steps are not final yet"
        self._to_skip = LOOKAHEAD_STEPS
        self._samples = 0
        self._steps = 0

    def push(self, samples: Array) -> VisemeStep:
        """Take float32 (n,) samples at 16 kHz. Returns the steps that have become final.

        A step is final 127.5 ms after its last sample, which is the lookahead and half a feature window.
        """
        self._samples += len(samples)
        features = self._features.push(samples)
        measured = np.column_stack([features[:, N_MELS], self._change.push(features)])
        self._waiting = np.concatenate([self._waiting, measured])
        hidden = _gelu(self._entry.push(features))
        for dilated, mix_weight, mix_bias in self._blocks:
            hidden = hidden + _gelu(dilated.push(hidden)) @ mix_weight + mix_bias
        weight, bias = self._head
        scores = (_gelu(hidden) @ weight + bias) * self._SHARPNESS
        skipped = min(self._to_skip, len(scores))
        self._to_skip -= skipped
        scores = scores[skipped:]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        n = len(scores)
        self._steps += n
        loudness, change = self._waiting[: n * HOPS_PER_STEP].reshape(n, HOPS_PER_STEP, 2).mean(axis=1).T
        self._waiting = self._waiting[n * HOPS_PER_STEP :]
        return VisemeStep(scores / scores.sum(axis=1, keepdims=True), loudness, change)

    def finish(self) -> VisemeStep:
        """Return the remaining steps up to the end of what was pushed, as if silence followed. Ends the stream."""
        missing = -(-self._samples // SAMPLES_PER_STEP) - self._steps
        rest = self.push(np.zeros(SAMPLES_PER_STEP * (missing + LOOKAHEAD_STEPS + 1), np.float32))
        return VisemeStep(rest.probabilities[:missing], rest.loudness[:missing], rest.change[:missing])

"""Train the viseme network on what synthesize.py made, and write models/viseme_net.npz.

Run (needs torch 2.13.0, numpy, scipy; one thread, about 12 CPU minutes):

    python -m models.training.train /tmp/speech.npz models/viseme_net.npz

Prints frame accuracy and recall of lip closures for each held-out set, measured with the run-time code. The figures of
the weights that are in the repository stand in models/training/README.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import fftconvolve, lfilter
from torch import nn
from torch.nn import functional

from models.training.synthesize import SETS, Utterance, load_corpus
from models.viseme_net import (
    BLOCK_KERNEL,
    DILATIONS,
    HOPS_PER_STEP,
    INPUT_KERNEL,
    LOOKAHEAD_STEPS,
    N_FEATURES,
    N_MELS,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_STEP,
    STEP_MS,
    FeatureStream,
    VisemeNetwork,
)
from models.visemes import CLOSED, REST, VISEMES

CHANNELS = 104
STEPS_PER_CROP = 200
CROPS_PER_BATCH = 24
VERSIONS = 3
"""Number of augmented copies of the corpus."""
CLOSURE_WEIGHT = 1.6
"""Factor in addition to the class's rarity: a missed p, b or m is obvious, a superfluous one is not."""
RESTLESSNESS_WEIGHT = 0.5
"""Cost of changing the answer within a sound, because fluttering lips are noticed with real people's voices."""
UNKNOWN = -1
MOUTH_GROUPS = np.array([0, 1, 2, 3, 3, 3, 4, 4, 3, 4, 5, 6, 6, 7, 7])
"""Groups of visemes that look alike: rest, PP, FF, tongue consonants, CH SS RR, aa, E ih, oh ou."""

Array = npt.NDArray[np.float32]
Steps = npt.NDArray[np.int64]


class TrainableNetwork(nn.Module):
    """The network of models/viseme_net.py, for whole sequences."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.entry = nn.Conv1d(N_FEATURES, channels, INPUT_KERNEL, stride=HOPS_PER_STEP)
        self.dilated = nn.ModuleList(nn.Conv1d(channels, channels, BLOCK_KERNEL, dilation=d) for d in DILATIONS)
        self.mix = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in DILATIONS)
        self.head = nn.Conv1d(channels, len(VISEMES), 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, 15, T) scores for (B, N_FEATURES, 2 T); score t is about step t - LOOKAHEAD_STEPS."""
        hidden = _gelu(self.entry(functional.pad(features, (INPUT_KERNEL - HOPS_PER_STEP, 0))))
        for dilated, mix, dilation in zip(self.dilated, self.mix, DILATIONS, strict=True):
            past = functional.pad(hidden, ((BLOCK_KERNEL - 1) * dilation, 0))
            hidden = hidden + mix(_gelu(dilated(past)))
        scores: torch.Tensor = self.head(_gelu(hidden))
        return scores

    def export(self, path: Path) -> None:
        """Save in half precision, with convolutions flattened to (kernel * in, out) as the run time multiplies them."""
        layers: dict[str, Any] = {"entry": self.entry, "head": self.head}
        for i, (dilated, mix) in enumerate(zip(self.dilated, self.mix, strict=True)):
            layers |= {f"blocks.{i}.dilated": dilated, f"blocks.{i}.mix": mix}
        arrays = {}
        for name, layer in layers.items():
            weight = layer.weight.detach().permute(2, 1, 0).flatten(0, 1)
            arrays[f"{name}.weight"] = weight.numpy().astype(np.float16)
            arrays[f"{name}.bias"] = layer.bias.detach().numpy().astype(np.float16)
        np.savez(path, allow_pickle=False, **arrays)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x, approximate="tanh")


@dataclass(frozen=True, slots=True)
class Augmenter:
    """Simulates voices, rooms, microphones and levels that the synthesizers do not have."""

    rng: np.random.Generator

    def __call__(self, utterance: Utterance) -> tuple[Array, npt.NDArray[np.uint8]]:
        speech = utterance.samples.astype(np.float32) / np.float32(32768)
        labels = utterance.labels
        if self.rng.random() < 0.6:
            speech, labels = self._other_speaker(speech, labels)
        if self.rng.random() < 0.5:
            speech, labels = self._pauses_around(speech, labels)
        if self.rng.random() < 0.7:
            speech = self._equalized(speech)
        if self.rng.random() < 0.35:
            speech = self._reverberated(speech)
        return self._noisy(speech), labels

    def _chance(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _other_speaker(self, speech: Array, labels: npt.NDArray[np.uint8]) -> tuple[Array, npt.NDArray[np.uint8]]:
        """Play faster or slower, which changes pitch, vocal tract and pace."""
        speed = self._chance(0.83, 1.2)
        at = np.arange(int(len(speech) / speed)) * speed
        at_ms = (np.arange(int(len(labels) / speed)) * speed).astype(int)
        return np.interp(at, np.arange(len(speech)), speech).astype(np.float32), labels[at_ms]

    def _pauses_around(self, speech: Array, labels: npt.NDArray[np.uint8]) -> tuple[Array, npt.NDArray[np.uint8]]:
        before, after = (int(self._chance(0, 500)) for _ in range(2))
        labels = np.pad(labels, (before, after), constant_values=REST)
        per_ms = SAMPLE_RATE_HZ // 1000
        return np.pad(speech, (before * per_ms, after * per_ms)), labels

    def _equalized(self, speech: Array) -> Array:
        spectrum = np.fft.rfft(speech)
        hz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
        gain_db = self._chance(-9, 9) * (hz / 8000 - 0.3)
        for _ in range(3):
            centre, breadth = self._chance(100, 7000), self._chance(200, 1500)
            gain_db += self._chance(-8, 8) * np.exp(-(((hz - centre) / breadth) ** 2))
        if self.rng.random() < 0.25:  # telephone, low-bit-rate codec
            gain_db -= 60 / (1 + np.exp(-(hz - self._chance(3400, 7000)) / 100))
        if self.rng.random() < 0.25:  # small loudspeaker, rumble filter
            gain_db -= 40 / (1 + np.exp((hz - self._chance(80, 300)) / 30))
        return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(speech)).astype(np.float32)

    def _reverberated(self, speech: Array) -> Array:
        length = int(SAMPLE_RATE_HZ * self._chance(0.05, 0.3))
        tail = self.rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length) * self._chance(0.02, 0.12)
        tail[0] = 1
        sound: Array = fftconvolve(speech, tail)[: len(speech)].astype(np.float32)
        return sound

    def _noisy(self, speech: Array) -> Array:
        colour = ([1.0], [1.0]), ([1.0], [1.0, -0.95]), ([1.0, -0.7], [1.0])
        noise = lfilter(*colour[self.rng.integers(3)], self.rng.standard_normal(len(speech)))
        level = np.sqrt(np.mean(speech**2)) + 1e-6
        noise *= level / noise.std() * 10 ** (-self._chance(5, 60) / 20)
        wanted = 10 ** (self._chance(-40, -12) / 20)
        mixed: Array = ((speech + noise) * wanted / level).astype(np.float32)
        return mixed


def features_and_steps(speech: Array, labels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float16], Steps]:
    """Return (2 T, N_FEATURES) features, and the (T,) visemes at the middle of each step."""
    steps = labels[STEP_MS // 2 :: STEP_MS].astype(np.int64)
    features = FeatureStream().push(np.pad(speech, (0, SAMPLES_PER_STEP)))
    n = min(len(features) // HOPS_PER_STEP, len(steps))
    return features[: n * HOPS_PER_STEP].astype(np.float16), steps[:n]


def batches(
    pool: list[tuple[npt.NDArray[np.float16], Steps]], rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of masked 4 s crops, endlessly."""
    crops: list[tuple[Array, Steps]] = []
    while True:
        for i in rng.permutation(len(pool)):
            features, steps = pool[i]
            for start in range(-int(rng.integers(0, 50)), len(steps) - 20, STEPS_PER_CROP):
                a, b = max(start, 0), start + STEPS_PER_CROP
                crops.append((_masked(features[a * HOPS_PER_STEP : b * HOPS_PER_STEP], rng), steps[a:b]))
            while len(crops) >= CROPS_PER_BATCH:
                batch, crops = crops[:CROPS_PER_BATCH], crops[CROPS_PER_BATCH:]
                yield _stack(batch)


def _masked(features: npt.NDArray[np.float16], rng: np.random.Generator) -> Array:
    """Hide a few bands, or add noise to all (SpecAugment, Park et al. 2019)."""
    masked = features.astype(np.float32)
    if rng.random() < 0.4:
        low = int(rng.integers(0, N_MELS - 4))
        masked[:, low : low + int(rng.integers(2, 7))] = masked[:, :N_MELS].mean()
    if rng.random() < 0.3:
        masked[:, :N_MELS] += rng.normal(0, 0.25)
    return masked


def _stack(crops: list[tuple[Array, Steps]]) -> tuple[torch.Tensor, torch.Tensor]:
    features = np.zeros((len(crops), STEPS_PER_CROP * HOPS_PER_STEP, N_FEATURES), np.float32)
    steps = np.full((len(crops), STEPS_PER_CROP), UNKNOWN)
    for i, (crop, labels) in enumerate(crops):
        features[i, : len(crop)], features[i, len(crop) :] = crop, crop[-1]
        steps[i, : len(labels)] = labels
    return torch.from_numpy(features).transpose(1, 2), torch.from_numpy(steps)


def class_weights(pool: list[tuple[npt.NDArray[np.float16], Steps]]) -> torch.Tensor:
    """Return the weight of each viseme in the loss: the rarer, the higher; more for closed lips."""
    counts = np.bincount(np.concatenate([steps for _, steps in pool]), minlength=len(VISEMES)) + 1
    weights = (counts.sum() / counts) ** 0.3
    weights /= weights.mean()
    weights[CLOSED] *= CLOSURE_WEIGHT
    return torch.tensor(weights, dtype=torch.float32)


def restlessness(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how much the probabilities change between steps within a sound. scores: (B, 15, T), labels: (B, T)."""
    within = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != UNKNOWN)
    moved = scores.softmax(dim=1).diff(dim=2).abs().sum(dim=1)
    return (moved * within).sum() / within.sum().clamp(min=1)


def train(
    pool: list[tuple[npt.NDArray[np.float16], Steps]], n_steps: int, rng: np.random.Generator
) -> TrainableNetwork:
    """Train a network on random crops of the pool for n_steps batches."""
    network = TrainableNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=n_steps)
    loss_of = nn.CrossEntropyLoss(class_weights(pool), ignore_index=UNKNOWN, label_smoothing=0.05)
    started, running = time.process_time(), 0.0
    for step, (features, labels) in zip(range(1, n_steps + 1), batches(pool, rng), strict=False):
        scores = network(features)[:, :, LOOKAHEAD_STEPS:]
        wanted = labels[:, : labels.shape[1] - LOOKAHEAD_STEPS]
        loss = loss_of(scores, wanted) + RESTLESSNESS_WEIGHT * restlessness(scores, wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running += 0.02 * (loss.item() - running) if step > 1 else loss.item()
        if step % 100 == 0:
            print(f"step {step}: loss {running:.3f}, {time.process_time() - started:.0f} CPU s", flush=True)
    return network


def evaluate(network: VisemeNetwork, utterances: list[Utterance]) -> dict[str, float]:
    """Measure frame accuracy and lip closures, with the run-time code."""
    probabilities, labels = [], []
    for utterance in utterances:
        stream = network.stream()
        speech = utterance.samples.astype(np.float32) / 32768
        found = stream.push(np.pad(speech, (0, SAMPLES_PER_STEP * (LOOKAHEAD_STEPS + 2)))).probabilities
        steps = utterance.labels[STEP_MS // 2 :: STEP_MS]
        n = min(len(steps), len(found))
        probabilities.append(found[:n])
        labels.append(steps[:n])
    p, true = np.concatenate(probabilities), np.concatenate(labels)
    best = p.argmax(axis=1)
    closed = p[:, CLOSED] > 0.4
    spoken, heard = _runs(true == CLOSED), _runs(closed)
    return {
        "minutes": len(true) * STEP_MS / 60_000,
        "accuracy": float((best == true).mean()),
        "mouth group": float((MOUTH_GROUPS[best] == MOUTH_GROUPS[true]).mean()),
        "rest or speech": float(((best == REST) == (true == REST)).mean()),
        "closures": len(spoken),
        "closure recall": float(np.mean([closed[max(a - 1, 0) : b + 1].any() for a, b in spoken])),
        "closure precision": float(np.mean([(true[max(a - 1, 0) : b + 1] == CLOSED).any() for a, b in heard])),
        "changes against true ones": float(np.count_nonzero(np.diff(best)) / np.count_nonzero(np.diff(true))),
    }


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--steps", type=int, default=2400)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    corpus = load_corpus(arguments.corpus)
    augment = Augmenter(rng)
    pool = [features_and_steps(*augment(u)) for _ in range(VERSIONS) for u in corpus["train"]]
    print(f"features: {time.process_time():.0f} CPU s", flush=True)
    train(pool, arguments.steps, rng).export(arguments.weights)
    network = VisemeNetwork.load(arguments.weights)
    for name in SETS[1:]:
        print(name, {key: round(value, 3) for key, value in evaluate(network, corpus[name]).items()}, flush=True)
    print(f"total: {time.process_time():.0f} CPU s")


if __name__ == "__main__":
    main()

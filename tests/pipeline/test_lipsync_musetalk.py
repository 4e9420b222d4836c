"""The MuseTalk backends: latents, audio and positions reach the networks as the originals feed them."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="a neural backend; pip install -e .[neural]")

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from neural_avatars import add_parts, write_weights

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared
from models.musetalk_unet import load_musetalk_unet, predict_latents
from models.musetalk_vae import decode_faces, load_musetalk_vae
from models.positional_encoding import positional_encoding
from pipeline.errors import BackendUnavailable, DeviceOutOfMemory
from pipeline.lipsync.musetalk import MuseTalk10LipSync, MuseTalk15LipSync
from pipeline.types import FeatureWindow, LipSyncRequest

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for backend in ("musetalk15", "musetalk10"):
        write_weights(folder, backend)
    return folder


@pytest.fixture
def backend(weights: Path) -> MuseTalk15LipSync:
    made = MuseTalk15LipSync(weights)
    made.load("cpu")
    return made


@pytest.fixture
def requests(backend: MuseTalk15LipSync, make_bundle: Callable[..., AvatarBundle]) -> Sequence[LipSyncRequest]:
    bundle = make_bundle(frames=3)
    add_parts(bundle, "musetalk15")
    windows = np.random.default_rng(4).normal(0, 1, (3, 50, 384)).astype(np.float32)
    parts = backend.prepare(bundle)
    return [LipSyncRequest(parts, frame, FeatureWindow(windows[i], i), 0.0) for i, frame in enumerate((2, 0, 1))]


def test_the_networks_get_latents_and_audio_with_positions(
    backend: MuseTalk15LipSync, weights: Path, requests: Sequence[LipSyncRequest]
) -> None:
    """A patch is what the UNet and the decoder make of the frame's latents and the window plus its positions."""
    unet = load_musetalk_unet(weights / "musetalkV15/unet.pth", weights / "musetalkV15/musetalk.json")
    vae = load_musetalk_vae(weights / "sd-vae-ft-mse")
    patches = backend.infer(requests)
    for request, patch in zip(requests, patches, strict=True):
        latents = torch.from_numpy(request.state.row("latents", request.frame_index)).float()[None]
        audio = torch.from_numpy(request.window.data)[None] + positional_encoding()
        (expected,) = decode_faces(vae, predict_latents(unet, latents, audio))
        assert patch.pixels.shape == (256, 256, 3)
        assert np.abs(patch.pixels.astype(int) - expected).max() <= 1
        assert patch.box == tuple(request.state.boxes[request.frame_index])


def test_other_speech_moves_the_mouth(backend: MuseTalk15LipSync, requests: Sequence[LipSyncRequest]) -> None:
    """The same face with another window is another picture."""
    first, second = (LipSyncRequest(requests[0].state, 0, request.window, 0.0) for request in requests[:2])
    one, other = (patch.pixels for patch in backend.infer([first, second]))
    assert (one != other).any()


def test_the_versions_differ_in_weights_and_in_how_speech_begins_and_ends(weights: Path) -> None:
    """1.5 pads the edges of a sentence's features with zeros, 1.0 repeats them; each finds its own file."""
    assert (MuseTalk15LipSync(weights).features, MuseTalk10LipSync(weights).features) == ("whisper15", "whisper10")


@pytest.mark.parametrize(("precision", "levels"), [("fp16", 0.2), ("bf16", 1.6)])
def test_half_precision_draws_nearly_the_same(
    weights: Path,
    backend: MuseTalk15LipSync,
    requests: Sequence[LipSyncRequest],
    precision: Literal["fp16", "bf16"],
    levels: float,
) -> None:
    """Either half, by choice, is near fp32 (measured: 0.14 and 1.08 levels)."""
    half = MuseTalk15LipSync(weights, precision=precision)
    half.load("cpu")
    for exact, rough in zip(backend.infer(requests), half.infer(requests), strict=True):
        assert np.abs(exact.pixels.astype(int) - rough.pixels).mean() < levels


def test_what_draws_is_compiled_by_choice_only(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compiled hands the UNet and the decoder to torch.compile; the encoder, which no picture needs, is left."""
    compiled = []
    monkeypatch.setattr(MuseTalk15LipSync, "max_batch", 1)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(type(network).__name__))
    MuseTalk15LipSync(weights).load("cpu")
    assert compiled == []
    MuseTalk15LipSync(weights, compiled=True).load("cpu")
    assert compiled == ["UNet2DConditionModel", "Decoder"]


def test_a_batch_that_does_not_fit_is_told_so_that_it_can_be_halved(
    backend: MuseTalk15LipSync, requests: Sequence[LipSyncRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device's own error becomes DeviceOutOfMemory, and a smaller batch is drawn afterwards."""
    fits = torch.nn.Conv2d.forward

    def full(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return fits(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", full)
    with pytest.raises(DeviceOutOfMemory):
        backend.infer(requests)
    assert len(backend.infer(requests[:1])) == 1


def test_an_avatar_prepared_for_the_other_version_is_refused(
    weights: Path, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Boxes and masks differ between the versions: 1.0 does not take what 1.5 was given."""
    bundle = make_bundle("other")
    add_parts(bundle, "musetalk15")
    with pytest.raises(AvatarNotPrepared, match="musetalk10"):
        MuseTalk10LipSync(weights).prepare(bundle)


def test_a_configuration_of_another_network_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    """Stable Diffusion's own UNet has 4 channels in and is refused; nothing is half loaded."""
    write_weights(tmp_path, "musetalk15")
    config = tmp_path / "musetalkV15/musetalk.json"
    config.write_text(config.read_text().replace('"in_channels": 8', '"in_channels": 4'))
    with pytest.raises(BackendUnavailable, match="in_channels"):
        MuseTalk15LipSync(tmp_path).load("cpu")


def test_a_missing_part_is_named_when_it_is_built(tmp_path: Path) -> None:
    """Without the autoencoder the error says which file, and what brings it."""
    write_weights(tmp_path, "musetalk15")
    (tmp_path / "sd-vae-ft-mse/config.json").unlink()
    with pytest.raises(BackendUnavailable, match=r"sd-vae-ft-mse/config\.json") as caught:
        MuseTalk15LipSync(tmp_path)
    assert "fetch musetalk15" in caught.value.hint

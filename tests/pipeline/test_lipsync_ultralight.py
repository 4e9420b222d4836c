"""The Ultralight backend: every avatar speaks through its own network."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="a neural backend; pip install -e .[neural]")

from collections.abc import Callable

from neural_avatars import add_parts, write_weights
from tiny_ultralight import write_ultralight_network

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared, NetworkMissing
from avatars.parts import network_path, parts_path
from models.ultralight import AUDIO_SHAPE, draw, load_ultralight
from pipeline.errors import BackendUnavailable
from pipeline.lipsync.ultralight import UltralightLipSync
from pipeline.types import FeatureWindow, LipSyncRequest

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"), "ultralight")


@pytest.fixture
def backend(weights: Path) -> UltralightLipSync:
    made = UltralightLipSync(weights)
    made.load("cpu")
    return made


def test_each_avatar_is_drawn_by_its_own_network(
    backend: UltralightLipSync, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """A batch that mixes avatars gives each picture from its own avatar's network, face and speech, in order."""
    bundles = [make_bundle("first"), make_bundle("second")]
    for seed, bundle in enumerate(bundles):
        add_parts(bundle, "ultralight")
        write_ultralight_network(network_path(bundle.path, "ultralight"), seed)
    states = [backend.prepare(bundle) for bundle in bundles]
    audio = np.random.default_rng(3).normal(0, 1, (4, *AUDIO_SHAPE)).astype(np.float32)
    asked = [LipSyncRequest(states[i % 2], i, FeatureWindow(audio[i], i), 0.0) for i in range(4)]
    for i, patch in enumerate(backend.infer(asked)):
        face = states[i % 2].parts.row("faces", i)
        (expected,) = draw(load_ultralight(network_path(bundles[i % 2].path, "ultralight")), face[None], audio[i][None])
        assert np.abs(patch.pixels.astype(int) - expected).max() <= 1
        assert patch.box == tuple(bundles[i % 2].boxes[i])
    assert (backend.infer(asked)[0].pixels != backend.infer(asked)[1].pixels).any()


def test_an_avatar_without_a_network_of_its_own_is_refused(
    backend: UltralightLipSync, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Preparing it would not help: only who trained one can; with one, parts are all that is missing."""
    bundle = make_bundle()
    with pytest.raises(NetworkMissing, match="LiveTalking"):
        backend.prepared_from(bundle)
    add_parts(bundle, "ultralight")
    before = backend.prepared_from(bundle)
    write_ultralight_network(network_path(bundle.path, "ultralight"), seed=3)
    assert backend.prepared_from(bundle) != before
    parts_path(bundle, "ultralight").unlink()
    with pytest.raises(AvatarNotPrepared, match="ultralight"):
        backend.prepared_from(bundle)


def test_a_damaged_network_is_told(backend: UltralightLipSync, make_bundle: Callable[..., AvatarBundle]) -> None:
    """An upload that is no network is refused when a session is opened, with its name."""
    bundle = make_bundle()
    add_parts(bundle, "ultralight")
    network_path(bundle.path, "ultralight").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BackendUnavailable, match=r"ultralight\.pth"):
        backend.prepare(bundle)

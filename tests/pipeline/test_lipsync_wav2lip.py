"""The Wav2Lip backends: the right face and the right speech reach the network, and faults are told with a remedy."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="a neural backend; pip install -e .[neural]")

from collections.abc import Callable
from pathlib import Path

from neural_avatars import add_parts
from tiny_wav2lip import write_wav2lip_weights

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared
from models.wav2lip import draw, load_wav2lip
from pipeline.errors import BackendUnavailable
from pipeline.lipsync.wav2lip import Wav2Lip96LipSync, Wav2Lip256LipSync
from pipeline.types import FeatureWindow, LipSyncRequest

pytestmark = pytest.mark.thorough


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    write_wav2lip_weights(tmp_path / "weights", 96)
    return tmp_path / "weights"


@pytest.fixture
def backend(weights: Path) -> Wav2Lip96LipSync:
    made = Wav2Lip96LipSync(weights)
    made.load("cpu")
    return made


def test_the_network_sees_the_frames_face_and_hears_its_window(
    backend: Wav2Lip96LipSync, weights: Path, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """A patch is what the network draws from that frame's face and that picture's mel, for that frame's box."""
    bundle = make_bundle(frames=3)
    add_parts(bundle, "wav2lip96")
    state = backend.prepare(bundle)
    mels = np.random.default_rng(2).normal(0, 1, (3, 80, 16)).astype(np.float32)
    asked = [LipSyncRequest(state, frame, FeatureWindow(mels[i], i), 0.0) for i, frame in enumerate((2, 0, 1))]
    patches = backend.infer(asked)
    faces = np.stack([state.row("faces", request.frame_index) for request in asked])
    expected = draw(load_wav2lip(weights / "wav2lip96.pth", 96), faces, mels)
    for patch, request, pixels in zip(patches, asked, expected, strict=True):
        assert np.abs(patch.pixels.astype(int) - pixels).max() <= 1
        assert patch.box == tuple(bundle.boxes[request.frame_index])
        assert patch.mask is not None and np.array_equal(patch.mask, state.mask(request.frame_index))


def test_other_speech_moves_the_mouth(backend: Wav2Lip96LipSync, make_bundle: Callable[..., AvatarBundle]) -> None:
    """The same face with another mel is another picture."""
    bundle = make_bundle()
    add_parts(bundle, "wav2lip96")
    state = backend.prepare(bundle)
    speech = [FeatureWindow(np.full((80, 16), level, np.float32), 0) for level in (-4.0, 4.0)]
    quiet, loud = (patch.pixels for patch in backend.infer([LipSyncRequest(state, 0, w, 0.0) for w in speech]))
    assert (quiet != loud).any()


def test_an_avatar_that_is_not_prepared_is_refused_by_name(
    backend: Wav2Lip96LipSync, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """The error names the avatar, the backend and the command that prepares it."""
    with pytest.raises(AvatarNotPrepared, match=r"'test'.*wav2lip96"):
        backend.prepare(make_bundle())


def test_missing_weights_are_told_when_it_is_built(tmp_path: Path) -> None:
    """A folder without the file, or no folder at all, is refused at once, with the remedy."""
    with pytest.raises(BackendUnavailable, match=r"wav2lip256\.pth") as caught:
        Wav2Lip256LipSync(tmp_path)
    assert "fetch wav2lip256" in caught.value.hint
    with pytest.raises(BackendUnavailable, match="--weights"):
        Wav2Lip256LipSync()


def test_another_networks_weights_are_told_when_it_is_loaded(tmp_path: Path) -> None:
    """The file of the 96 px network under the name of the other is refused; nothing is half loaded."""
    write_wav2lip_weights(tmp_path, 96).rename(tmp_path / "wav2lip256.pth")
    backend = Wav2Lip256LipSync(tmp_path)
    with pytest.raises(BackendUnavailable, match="96 px network"):
        backend.load("cpu")


def test_truncated_weights_are_told_when_it_is_loaded(weights: Path) -> None:
    """Half a file is refused with the remedy."""
    file = weights / "wav2lip96.pth"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BackendUnavailable, match="truncated"):
        Wav2Lip96LipSync(weights).load("cpu")

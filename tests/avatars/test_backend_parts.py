"""Preparing an avatar for a backend: what comes out fits the pictures, and a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avatars import backend_parts
from avatars.backend_parts import blindness_warning, prepare_parts, softness_warning
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from avatars.face_crops import CropParameters, crop_box
from avatars.face_formats import crop_parameters
from avatars.face_masks import musetalk_mask
from avatars.latents import FaceEncoder
from avatars.parts import BackendParts
from models.errors import WeightsDamaged, WeightsMissing
from tests.portraits import portrait_bundle

pytestmark = pytest.mark.thorough


class Killed(Exception):
    """Stands for the end of the process."""


def killed_at(share: float) -> Callable[[float], None]:
    def progress(done: float) -> None:
        if done >= share:
            raise Killed

    return progress


def silent(_: float) -> None:
    return


@pytest.fixture
def bundle(tmp_path: Path) -> AvatarBundle:
    return portrait_bundle(tmp_path / "ada", size=192, shifts=(0, 2, 4, 6, 8))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from tests.tiny_musetalk import write_musetalk_weights

    return write_musetalk_weights(tmp_path / "weights")


@pytest.mark.parametrize(("backend", "side"), [("wav2lip256", 256), ("wav2lip96", 96), ("ultralight", 168)])
def test_faces_are_the_pictures_in_their_boxes(bundle: AvatarBundle, tmp_path: Path, backend: str, side: int) -> None:
    """A face of each frame, in the network's size and in RGB, needs no weights; boxes follow the moving head."""
    work = tmp_path / "work"
    prepare_parts(bundle, backend, tmp_path / "nothing", crop_parameters(backend), work, silent)
    parts = BackendParts.open(bundle, backend)
    for frame in range(bundle.frame_count):
        x0, y0, x1, y1 = parts.boxes[frame]
        face = parts.row("faces", frame)
        again = cv2.resize(bundle.frame(frame)[y0:y1, x0:x1], (side, side))
        assert face.shape == (side, side, 3) and np.array_equal(face, again)
        mask = parts.mask(frame)
        assert mask.shape == (y1 - y0, x1 - x0) and mask.max() == 255 and not mask[0].any()
    assert parts.boxes[4, 0] > parts.boxes[0, 0]


@pytest.mark.parametrize("backend", ["musetalk15", "musetalk10"])
def test_latents_are_those_of_the_masked_and_the_whole_face(
    bundle: AvatarBundle, weights: Path, tmp_path: Path, backend: str
) -> None:
    """MuseTalk's rows are the autoencoder's latents of each face: 4 channels of the masked one, 4 of the whole one."""
    from models.musetalk_vae import encode_faces, load_musetalk_vae

    parameters = crop_parameters(backend)
    parts = prepare_parts(bundle, backend, weights, parameters, tmp_path / "work", silent)
    assert parts.parameters["parsing_mode"] == ("jaw" if backend == "musetalk15" else "raw")
    x0, y0, x1, y1 = parts.boxes[3]
    crop = bundle.frame(3)[y0:y1, x0:x1]
    face = np.asarray(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_LANCZOS4), np.uint8)
    expected = encode_faces(load_musetalk_vae(weights / "sd-vae-ft-mse"), face[None])[0].numpy()
    latents = parts.row("latents", 3)
    assert latents.dtype == np.float16 and latents.shape == (8, 32, 32)
    assert np.abs(latents - expected).max() < 2e-3 * max(1, np.abs(expected).max())
    assert parts.mask(3).max() == 255


def test_a_face_parser_makes_the_masks_if_its_weights_are_there(
    bundle: AvatarBundle, weights: Path, tmp_path: Path
) -> None:
    """With BiSeNet's weights in the folder the masks are of the classes that it sees, black beyond the edge."""
    from models.bisenet import load_bisenet, parse
    from tests.tiny_musetalk import write_bisenet_weights

    parameters = crop_parameters("musetalk15", {"upper_boundary_ratio": 0.3})
    drawn = prepare_parts(bundle, "musetalk15", weights, parameters, tmp_path / "work", silent)
    assert drawn.parameters["parser"] == "landmarks"
    network = load_bisenet(write_bisenet_weights(weights))
    parts = prepare_parts(bundle, "musetalk15", weights, parameters, tmp_path / "work", silent)
    assert parts.parameters["parser"] == "bisenet"
    x0, y0, x1, y1 = parts.boxes[2].tolist()
    crop, half = crop_box((x0, y0, x1, y1))
    padded = np.pad(bundle.frame(2), ((half, half), (half, half), (0, 0)))
    seen = padded[crop[1] + half : crop[3] + half, crop[0] + half : crop[2] + half]
    expected = musetalk_mask(parse(network, seen[None])[0], (x0, y0, x1, y1), parameters)
    assert np.array_equal(parts.mask(2), expected) and not np.array_equal(expected, drawn.mask(2))
    assert expected.any()


@pytest.mark.parametrize("seen", [0, 1], ids=["background", "one pixel of skin"])
def test_a_face_parser_that_sees_no_face_leaves_the_masks_to_the_landmarks(
    bundle: AvatarBundle, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: int
) -> None:
    """A painted or masked face may be none to BiSeNet: the mouth shows all the same, and the person is told."""
    from tests.tiny_musetalk import write_bisenet_weights

    parameters = crop_parameters("musetalk15")
    drawn = prepare_parts(bundle, "musetalk15", weights, parameters, tmp_path / "drawn", silent)
    assert blindness_warning(drawn.parameters) == ""
    write_bisenet_weights(weights)
    classes = np.zeros((512, 512), np.uint8)
    classes[400, 256] = seen
    monkeypatch.setattr("avatars.face_parsing.FaceParser.classes", lambda self, crop: classes)
    parts = prepare_parts(bundle, "musetalk15", weights, parameters, tmp_path / "work", silent)
    assert all(np.array_equal(parts.mask(frame), drawn.mask(frame)) for frame in range(bundle.frame_count))
    assert "no face in 5 pictures" in blindness_warning(parts.parameters)


def test_one_avatar_serves_several_backends(bundle: AvatarBundle, tmp_path: Path) -> None:
    """Preparing for a second backend leaves the first as it was."""
    for backend in ("wav2lip96", "ultralight"):
        prepare_parts(bundle, backend, tmp_path, crop_parameters(backend), tmp_path / "work", silent)
    assert BackendParts.open(bundle, "wav2lip96").row("faces", 0).shape == (96, 96, 3)
    assert BackendParts.open(bundle, "ultralight").row("faces", 0).shape == (168, 168, 3)


def test_a_killed_preparation_goes_on_where_it_was(
    bundle: AvatarBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished batches are not computed again, and the result is that of a run in one go."""
    monkeypatch.setattr(backend_parts, "BATCH_FRAMES", 2)
    cut: list[int] = []
    cut_face = backend_parts._Maker._face

    def counting(maker: backend_parts._Maker, frame: int) -> np.ndarray:
        cut.append(frame)
        return cut_face(maker, frame)

    monkeypatch.setattr(backend_parts._Maker, "_face", counting)
    parameters, work = CropParameters(), tmp_path / "work"
    with pytest.raises(Killed):
        prepare_parts(bundle, "wav2lip96", tmp_path, parameters, work, killed_at(0.8))
    assert len(cut) == 4
    with pytest.raises(AvatarError):
        BackendParts.open(bundle, "wav2lip96")
    parts = prepare_parts(bundle, "wav2lip96", tmp_path, parameters, work, silent)
    assert len(cut) == 4 + 3  # the batch that was not finished, and the last one
    faces = [parts.row("faces", frame) for frame in range(5)]
    whole = prepare_parts(bundle, "wav2lip96", tmp_path, parameters, tmp_path / "fresh", silent)
    assert all(np.array_equal(face, whole.row("faces", frame)) for frame, face in enumerate(faces))


def test_other_parameters_are_computed_afresh(bundle: AvatarBundle, tmp_path: Path) -> None:
    """What was kept of a run with other parameters is not taken for this one's."""
    work = tmp_path / "work"
    plain = prepare_parts(bundle, "wav2lip96", tmp_path, CropParameters(), work, silent).row("faces", 0)
    padded = crop_parameters("wav2lip96", {"pads": [20, 20, 20, 20]})
    parts = prepare_parts(bundle, "wav2lip96", tmp_path, padded, work, silent)
    assert parts.parameters["pads"] == [20, 20, 20, 20]
    assert not np.array_equal(parts.row("faces", 0), plain)


def test_other_weights_make_other_batches(bundle: AvatarBundle, weights: Path, tmp_path: Path) -> None:
    """Weights that were replaced after a kill: what was made with the old ones does not count."""
    from tests.tiny_musetalk import write_musetalk_weights

    def prepare(seed: int, work: str) -> np.ndarray:
        write_musetalk_weights(weights, seed=seed)
        return prepare_parts(bundle, "musetalk15", weights, CropParameters(), tmp_path / work, silent).row("latents", 0)

    first = prepare(0, "work")
    second = prepare(1, "work")
    assert not np.array_equal(first, second) and np.array_equal(second, prepare(1, "fresh"))


def test_faces_are_encoded_a_few_at_a_time(
    bundle: AvatarBundle, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at once on the CPU, with progress after each two, so that memory stays small and a cancel is noticed."""
    counts = counted(monkeypatch, fitting=16)
    told: list[float] = []
    prepare_parts(bundle, "musetalk15", weights, CropParameters(), tmp_path / "work", told.append)
    assert counts == [2, 2, 1]
    assert told == sorted(told) and {0.4, 0.8, 1.0} <= set(told)


def test_faces_are_encoded_one_by_one_where_memory_is_short(
    bundle: AvatarBundle, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is halved once for all, on a GPU from four on; a single face that does not fit is an error."""
    import torch

    counts = counted(monkeypatch, fitting=1)
    faces = np.zeros((5, 256, 256, 3), np.uint8)
    encoder = FaceEncoder(weights, "musetalk15", device="cpu:0")
    assert [len(latents) for latents in encoder.encode(faces)] == [1] * 5
    assert counts == [4, 2, *[1] * 5]
    counted(monkeypatch, fitting=0)
    with pytest.raises(torch.OutOfMemoryError):
        list(encoder.encode(faces))


def counted(monkeypatch: pytest.MonkeyPatch, fitting: int) -> list[int]:
    """How many faces are encoded at once, from now on; more than `fitting` are too many for the memory."""
    import torch

    from models.musetalk_vae import encode_faces

    counts: list[int] = []

    def counting(vae: Any, faces: np.ndarray) -> torch.Tensor:
        counts.append(len(faces))
        if len(faces) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode_faces(vae, faces)

    monkeypatch.setattr("models.musetalk_vae.encode_faces", counting)
    return counts


def test_what_is_missing_or_damaged_is_said_before_anything_is_kept(bundle: AvatarBundle, tmp_path: Path) -> None:
    """No weights, a truncated file, a backend that needs nothing: an error with the remedy, and no parts."""
    pytest.importorskip("torch")
    from tests.tiny_musetalk import write_musetalk_weights

    def prepare(backend: str, weights: Path) -> None:
        prepare_parts(bundle, backend, weights, CropParameters(), tmp_path / "work", silent)

    with pytest.raises(WeightsMissing, match="fetch musetalk15"):
        prepare("musetalk15", tmp_path / "nothing")
    weights = write_musetalk_weights(tmp_path / "weights")
    file = weights / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsDamaged):
        prepare("musetalk15", weights)
    with pytest.raises(AvatarError, match="wav2lip96"):
        prepare("viseme", weights)
    assert not (bundle.path / "parts").exists()


def test_a_face_far_larger_than_the_network_draws_is_told() -> None:
    """Up to half as wide again is no matter; beyond, both sizes are named, with what helps."""
    boxes = np.array([[0, 0, 384, 400], [10, 0, 200, 400]], np.int32)
    assert softness_warning("musetalk15", boxes) == ""
    assert "600 px" in softness_warning("wav2lip256", boxes + np.array([0, 0, 216, 0], np.int32))
    assert "96 px" in softness_warning("wav2lip96", boxes)

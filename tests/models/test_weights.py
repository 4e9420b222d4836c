"""The weights folder: our layout and those of peers are found, and what is missing is named with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import WeightsMissing
from models.hugging_face import weights_file
from models.weights import WeightsFolder, read_manifest

BACKENDS = ("musetalk15", "musetalk10", "wav2lip256", "wav2lip96", "ultralight", "face-parse", "audioseal")


def folder(root: Path, *files: str) -> WeightsFolder:
    """A weights folder with these (one-byte) files."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"w")
    return WeightsFolder(root)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_fetch_brings_is_what_is_found(tmp_path: Path, backend: str) -> None:
    """With every file of the manifest at its place nothing is missing, and each role has a path."""
    parts = read_manifest().backends[backend]
    weights = folder(tmp_path, *(file.path for part in parts for file in part.files))
    assert weights.missing(backend) == ()
    assert set(weights.find(backend)) == {part.role for part in parts}


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_folder_lacks_every_file(tmp_path: Path, backend: str) -> None:
    """Nothing there, or no folder at all: every file is named, and the error tells the command that brings them."""
    weights = WeightsFolder(tmp_path / "absent")
    files = tuple(file.path for part in weights.parts(backend) for file in part.files)
    assert weights.missing(backend) == files
    with pytest.raises(WeightsMissing) as caught:
        weights.find(backend)
    assert all(file in caught.value.message for file in files)
    assert f"python launch.py fetch {backend}" in caught.value.hint
    assert "--weights DIR" in caught.value.hint


MUSETALK_FOLDER = (
    *("musetalk/musetalk.json", "musetalk/pytorch_model.bin", "musetalkV15/musetalk.json", "musetalkV15/unet.pth"),
    *("sd-vae/config.json", "sd-vae/diffusion_pytorch_model.bin"),
    *("whisper/config.json", "whisper/pytorch_model.bin", "whisper/preprocessor_config.json"),
    *("face-parse-bisent/79999_iter.pth", "face-parse-bisent/resnet18-5c106cde.pth"),
)


def test_the_folder_of_musetalk_is_used_as_it_is(tmp_path: Path) -> None:
    """What MuseTalk's download script makes serves both versions and the face parser."""
    weights = folder(tmp_path, *MUSETALK_FOLDER)
    assert weights.find("musetalk15") == {
        "unet_config": tmp_path / "musetalkV15/musetalk.json",
        "unet": tmp_path / "musetalkV15/unet.pth",
        "vae": tmp_path / "sd-vae",
        "whisper": tmp_path / "whisper",
    }
    assert weights.find("musetalk10")["unet"] == tmp_path / "musetalk/pytorch_model.bin"
    assert weights.find("face-parse") == {"face_parse": tmp_path / "face-parse-bisent/79999_iter.pth"}


def test_the_folder_of_livetalking_is_used_as_it_is(tmp_path: Path) -> None:
    """Its wav2lip.pth is the 256-pixel network, its whisper the one file of OpenAI."""
    weights = folder(tmp_path, "wav2lip.pth", "whisper/tiny.pt", "sd-vae-ft-mse/config.json", *MUSETALK_FOLDER[:4])
    assert weights.find("wav2lip256") == {"network": tmp_path / "wav2lip.pth"}
    assert weights.missing("wav2lip96") == ("wav2lip96.pth",)
    assert weights.missing("musetalk15") == ("sd-vae-ft-mse/diffusion_pytorch_model.safetensors",)
    (tmp_path / "sd-vae-ft-mse/diffusion_pytorch_model.bin").touch()
    found = weights.find("musetalk15")
    assert (found["whisper"], found["vae"]) == (tmp_path / "whisper/tiny.pt", tmp_path / "sd-vae-ft-mse")


def test_a_checkout_of_a_peer_will_do(tmp_path: Path) -> None:
    """Naming the folder above `models` finds the same files."""
    folder(tmp_path / "models", *MUSETALK_FOLDER)
    assert WeightsFolder(tmp_path).find("musetalk10")["vae"] == tmp_path / "models/sd-vae"


@pytest.mark.parametrize("name", ["wav2lip96.pth", "wav2lip_gan.pth"])
def test_the_small_wav2lip_has_two_names(tmp_path: Path, name: str) -> None:
    """The original's file name is accepted, and is no 256-pixel network."""
    weights = folder(tmp_path, name)
    assert weights.find("wav2lip96") == {"network": tmp_path / name}
    assert weights.missing("wav2lip256") == ("wav2lip256.pth",)


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    """Where both forms lie in different folders, the one that cannot hold code is taken."""
    weights = folder(
        tmp_path,
        *("sd-vae-mine/config.json", "sd-vae-mine/diffusion_pytorch_model.bin"),
        *("sd-vae-yours/config.json", "sd-vae-yours/diffusion_pytorch_model.safetensors"),
    )
    vae = next(part for part in weights.parts("musetalk15") if part.role == "vae")
    assert weights.locate(vae) == tmp_path / "sd-vae-yours"


@pytest.mark.parametrize("exact", ["sd-vae", "sd-vae-ft-mse"])
def test_an_autoencoder_by_its_name_goes_before_others_of_the_family(tmp_path: Path, exact: str) -> None:
    """MuseTalk was trained with -mse: -ema beside it is not taken because its name comes first."""
    weights = folder(
        tmp_path,
        *("sd-vae-ft-ema/config.json", "sd-vae-ft-ema/diffusion_pytorch_model.safetensors"),
        *(f"{exact}/config.json", f"{exact}/diffusion_pytorch_model.bin"),
    )
    vae = next(part for part in weights.parts("musetalk15") if part.role == "vae")
    assert weights.locate(vae) == tmp_path / exact


@pytest.mark.parametrize("large", ["hubert-large-ls960-ft", "hubert-large"])
def test_the_large_hubert_goes_before_others(tmp_path: Path, large: str) -> None:
    """hubert-base beside it is another network."""
    files = (f"{name}/{file}" for name in ("hubert-base", large) for file in ("config.json", "pytorch_model.bin"))
    assert folder(tmp_path, *files).find("ultralight") == {"hubert": tmp_path / large}


def test_half_a_folder_is_missing_its_other_half(tmp_path: Path) -> None:
    """Of a folder without its weights only the weights are named."""
    weights = folder(tmp_path, "hubert-large-ls960-ft/config.json")
    assert weights.missing("ultralight") == ("hubert-large-ls960-ft/pytorch_model.bin",)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ("sd-vae/diffusion_pytorch_model.bin", "sd-vae/config.json"),
        ("sd-vae/diffusion_pytorch_model.safetensors", "sd-vae/config.json"),
        ("whisper/pytorch_model.bin", "whisper/config.json"),
        ("whisper-tiny/model.safetensors", "whisper-tiny/config.json"),
    ],
)
def test_a_configuration_alone_is_missing_beside_weights_of_either_form(
    tmp_path: Path, there: str, missing: str
) -> None:
    """Nothing is said to be missing that is there in another form, and nothing more is fetched."""
    weights = folder(tmp_path, *MUSETALK_FOLDER[2:4], there)
    part = next(part for part in weights.parts("musetalk15") if part.role in there)
    lacking = [path for path in weights.missing("musetalk15") if path.split("/")[0] == there.split("/", maxsplit=1)[0]]
    assert lacking == [missing]
    fetched = [file.path for file in weights.to_fetch(part)]
    assert fetched == [missing] or missing.startswith("whisper-tiny")  # fetch has no folder of that name


NEARLY = {
    "unet": ("musetalkV1.5/unet.pth", "MuseTalkV15/unet.pth", "musetalk_v15/unet.safetensors"),
    "unet_config": ("MuseTalkV15/musetalk.json", "musetalkV1.5/config.json"),
    "vae": ("sd-vae", "SD-VAE-FT-MSE", "vae", "sd_vae_ft_mse"),
    "whisper": ("Whisper/tiny.pt", "tiny.pt"),
}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in NEARLY.items() for name in names])
def test_a_name_that_is_nearly_right_will_do(tmp_path: Path, role: str, name: str) -> None:
    """Capitals, points and dashes differ from folder to folder; what is in the file is checked when it is loaded."""
    inside = ("config.json", "diffusion_pytorch_model.fp16.safetensors") if role == "vae" else ()
    weights = folder(tmp_path, *(f"{name}/{file}" for file in inside) if inside else (name,))
    part = next(part for part in weights.parts("musetalk15") if part.role == role)
    assert weights.locate(part) == tmp_path / name


def test_weights_in_half_precision_are_found_in_their_folder(tmp_path: Path) -> None:
    """Hugging Face's `.fp16` files serve where there is no other, and the whole one is preferred."""
    names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    folder(tmp_path, "diffusion_pytorch_model.fp16.safetensors")
    assert weights_file(tmp_path, names).name == "diffusion_pytorch_model.fp16.safetensors"
    folder(tmp_path, "diffusion_pytorch_model.bin")
    assert weights_file(tmp_path, names).name == "diffusion_pytorch_model.bin"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438375973\n"


@pytest.mark.parametrize(
    ("backend", "pointer"),
    [
        ("musetalk15", "musetalkV15/unet.pth"),
        ("musetalk15", "sd-vae/diffusion_pytorch_model.bin"),
        ("musetalk15", "whisper/pytorch_model.bin"),
        ("face-parse", "face-parse-bisent/79999_iter.pth"),
    ],
)
def test_a_pointer_of_git_lfs_is_no_weights_file(tmp_path: Path, backend: str, pointer: str) -> None:
    """A clone without Git LFS has a file of every name and nothing in it: it is missing, and the remedy is named."""
    weights = folder(tmp_path, *MUSETALK_FOLDER)
    (tmp_path / pointer).write_bytes(POINTER)
    (missing,) = weights.missing(backend)
    assert missing.split("/")[0] == pointer.split("/", maxsplit=1)[0]
    with pytest.raises(WeightsMissing) as caught:
        weights.find(backend)
    assert str(tmp_path / pointer) in caught.value.message and "git lfs pull" in caught.value.message


def test_a_file_at_the_wrong_place_is_named(tmp_path: Path) -> None:
    """A weights file of a telling name, somewhere in the folder, comes with the place it belongs to."""
    weights = folder(tmp_path, "downloads/new/wav2lip256.pth")
    (hint,) = weights.hints("wav2lip256")
    assert str(tmp_path / "downloads/new/wav2lip256.pth") in hint and str(tmp_path / "wav2lip256.pth") in hint


def test_a_download_that_goes_on_is_not_there(tmp_path: Path) -> None:
    """What fetch has not finished is no weights file, however near its name."""
    weights = folder(tmp_path, "wav2lip256.pth.part", "wav2lip96.part")
    assert weights.missing("wav2lip256") == ("wav2lip256.pth",)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder that has the name of a weights file does not count."""
    (tmp_path / "wav2lip.pth").mkdir()
    assert WeightsFolder(tmp_path).missing("wav2lip256") == ("wav2lip256.pth",)


def test_the_manifest_is_complete() -> None:
    """Every file has one source, a checksum only in full, a path below the folder, and a licence in two languages."""
    for parts in read_manifest().backends.values():
        for part in parts:
            assert part.licence.name and part.licence.en
            assert any("\u4e00" <= letter <= "\u9fff" for letter in part.licence.zh)
            for file in part.files:
                assert bool(file.repository and file.file) != bool(file.by_hand), file.path
                assert len(bytes.fromhex(file.sha256)) in (0, 32), file.path
                assert file.by_hand is None or set(file.by_hand) == {"en", "zh"}
                assert ".." not in file.path and not file.path.startswith("/")

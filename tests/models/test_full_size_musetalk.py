"""MuseTalk 1.5 at its published size: random weights in the original formats, 3.7 GB on disk while the test runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from tiny_musetalk import old_attention_names, unet_config, vae_config, write_config
from torch import Tensor, nn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is told apart by Linux alone"),
]

SCRIPT = Path(__file__).with_name("musetalk_memory_script.py")
UNET_BYTES, VAE_BYTES = 3_400_074_924, 334_643_276
"""Of the published files."""


@pytest.fixture
def weights_folder(tmp_path: Path) -> Iterator[Path]:
    """Removed at the end: pytest would keep it for its next three runs."""
    folder = tmp_path / "weights"
    (folder / "musetalkV15").mkdir(parents=True)
    (folder / "sd-vae-ft-mse").mkdir()
    try:
        write_config(unet_config(), folder / "musetalkV15" / "musetalk.json")
        torch.save(random_state(UNet2DConditionModel, unet_config()), folder / "musetalkV15" / "unet.pth")
        write_config(vae_config(), folder / "sd-vae-ft-mse" / "config.json")
        vae = old_attention_names(random_state(AutoencoderKL, vae_config()))
        save_file(vae, folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors")
        yield folder
    finally:
        shutil.rmtree(folder)


def random_state(kind: type[nn.Module], config: dict[str, Any]) -> dict[str, Tensor]:
    """Weights that keep what goes through them at about its size."""
    with torch.device("meta"):
        network = kind(**config)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            spread = (3 / value[0].numel()) ** 0.5
            state[name] = torch.empty(value.shape).uniform_(-spread, spread, generator=generator)
        else:
            state[name] = torch.full(value.shape, float(name.endswith("weight")))
    return state


def test_a_full_size_checkpoint_loads_in_little_more_than_its_file(weights_folder: Path) -> None:
    """3.4 GB of float32 load strictly in at most 1.3 times the file, all pages looked at, and draw a batch."""
    assert abs((weights_folder / "musetalkV15" / "unet.pth").stat().st_size - UNET_BYTES) < 1_000_000
    vae_file = weights_folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors"
    assert abs(vae_file.stat().st_size - VAE_BYTES) < 100_000

    run = subprocess.run([sys.executable, SCRIPT, weights_folder], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    sys.stdout.write(json.dumps(told, indent=2))

    assert told["finite"]
    assert told["in_use"]["of_files_bytes"] > 0.99 * told["file_bytes"]
    assert told["in_use"]["peak_bytes"] <= 1.3 * told["file_bytes"]
    assert told["predicted_shape"] == [2, 4, 32, 32]
    assert told["predicted_deviation"] > 0.01
    assert told["pictures_shape"] == [2, 256, 256, 3]
    assert told["pictures_deviation"] > 1

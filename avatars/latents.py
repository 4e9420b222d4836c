"""Faces to the latents that MuseTalk's UNet starts from. Needs torch, which is imported when it comes to that."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avatars.errors import AvatarError
from models.weights import WeightsFolder

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

__all__ = ["FaceEncoder"]


class FaceEncoder:
    """MuseTalk's autoencoder, loaded at its first use."""

    def __init__(self, weights: Path, backend: str, device: str = "cpu") -> None:
        """Raises WeightsMissing, and AvatarError if the packages of neural backends are not installed."""
        if find_spec("torch") is None or find_spec("diffusers") is None:
            raise AvatarError(
                f"{backend} needs packages that are not installed: torch and diffusers.",
                f"Get them, and its weights, with: python launch.py fetch {backend}",
            )
        folder = WeightsFolder(weights)
        located = (folder.locate(part) for part in folder.parts(backend) if part.role == "vae")
        # find() says in full what is missing
        self._folder = next(located) or folder.find(backend)["vae"]
        self._device = device
        self._vae: AutoencoderKL | None = None

    def encode(self, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
        """uint8 RGB (n, 256, 256, 3) -> float16 (n, 8, 32, 32): latents of the masked face, then of the whole one.

        Raises WeightsDamaged, WrongArchitecture.
        """
        from models.musetalk_vae import encode_faces, load_musetalk_vae

        if self._vae is None:
            self._vae = load_musetalk_vae(self._folder).float().to(self._device)
        latents: npt.NDArray[np.float16] = encode_faces(self._vae, faces).half().cpu().numpy()
        return latents

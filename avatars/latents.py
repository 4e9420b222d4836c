"""Encodes faces to the latents that MuseTalk's UNet starts from. Needs torch, which is imported at the first use."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from avatars.errors import AvatarError
from models.memory import means_no_room
from models.weights import WeightsFolder

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

__all__ = ["FaceEncoder"]

ON_THE_CPU, ON_A_GPU = 2, 4
"""Number of faces encoded at once. In float32 on the CPU, a process with two takes 1.2 GB at its peak (one: 0.9 GB,
four: 2.0 GB, eight: 3.2 GB)."""

Faces = npt.NDArray[np.uint8]
Latents = npt.NDArray[np.float16]


class FaceEncoder:
    """MuseTalk's autoencoder, loaded at its first use."""

    def __init__(self, weights: Path, backend: str, device: str = "cpu") -> None:
        """Raise WeightsMissing, or AvatarError if the packages of neural backends are not installed."""
        if find_spec("torch") is None or find_spec("diffusers") is None:
            raise AvatarError(
                f"{backend} needs packages that are not installed: torch and diffusers.",
                f"Get them, and its weights, with: python launch.py fetch {backend}",
            )
        folder = WeightsFolder(weights)
        located = (folder.locate(part) for part in folder.parts(backend) if part.role == "vae")
        # find() raises a full account of what is missing
        self._folder = next(located) or folder.find(backend)["vae"]
        self._device = device
        self._at_once = ON_THE_CPU if device == "cpu" else ON_A_GPU
        self._vae: AutoencoderKL | None = None

    @property
    def files(self) -> list[Path]:
        """The files of its weights: other weights would make other latents."""
        return sorted(self._folder.iterdir())

    def encode(self, faces: Faces) -> Iterator[Latents]:
        """Encode uint8 RGB (n, 256, 256, 3); give float16 (k, 8, 32, 32) for a few faces at a time, until all are done.

        The first four channels are latents of the masked face, the others those of the whole one. If memory is too
        short, fewer faces are encoded at once from then on. Raises WeightsDamaged, WrongArchitecture, and MemoryError
        or torch's RuntimeError if not even a single face fits.
        """
        while len(faces):
            few = faces[: self._at_once]
            try:
                latents = self._latents_of(few)
            except (MemoryError, RuntimeError) as error:
                if len(few) == 1 or not means_no_room(error):
                    raise
                self._at_once = len(few) // 2
                continue
            yield latents
            faces = faces[len(few) :]

    def _latents_of(self, faces: Faces) -> Latents:
        from models.musetalk_vae import encode_faces, load_musetalk_vae

        if self._vae is None:
            vae = load_musetalk_vae(self._folder)
            self._vae = vae.float().to(self._device)  # type: ignore[no-untyped-call]  # diffusers gives it no types
        return np.asarray(encode_faces(self._vae, faces).half().cpu().numpy(), np.float16)

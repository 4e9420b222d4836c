"""Faces to the latents that MuseTalk's UNet starts from. Needs torch, which is imported when it comes to that."""

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
"""Faces encoded at once. In float32 on the CPU two take a process of 1.2 GB at its peak (one 0.9 GB, four 2.0 GB, eight
3.2 GB)."""

Faces = npt.NDArray[np.uint8]
Latents = npt.NDArray[np.float16]


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
        self._at_once = ON_THE_CPU if device == "cpu" else ON_A_GPU
        self._vae: AutoencoderKL | None = None

    @property
    def files(self) -> list[Path]:
        """Its weights: with others, latents are others."""
        return sorted(self._folder.iterdir())

    def encode(self, faces: Faces) -> Iterator[Latents]:
        """uint8 RGB (n, 256, 256, 3) -> float16 (k, 8, 32, 32) of a few at a time, until all have come: latents of the
        masked face, then of the whole one.

        Fewer at a time from then on if memory is too short. Raises WeightsDamaged, WrongArchitecture, and MemoryError
        or torch's RuntimeError if a single face does not fit.
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

"""MuseTalk 1.0 and 1.5: faces inpainted in the latent space of Stable Diffusion's autoencoder, in one step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from avatars.bundle import AvatarBundle
from avatars.parts import BackendParts
from pipeline.lipsync.patches import RowFormat, open_parts, parts_stamp, patches_of, rows_of, windows_of
from pipeline.lipsync.torch_device import PACKAGES, Precision, find_weights, memory_told, open_device, weights_told
from pipeline.types import FacePatch, LipSyncRequest

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

__all__ = ["MuseTalk10LipSync", "MuseTalk15LipSync"]


@dataclass(frozen=True, slots=True)
class _Networks:
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    positions: torch.Tensor
    "(50, 384), added to the audio; all in one float type on one device"


class _MuseTalkLipSync:
    """UNet and decoder; prepare() gives the avatar's parts: boxes, masks and latents of its faces.

    weights    the folder of weights
    precision  float type of the networks
    compiled   through torch.compile: slower to start, faster on a GPU
    """

    name: ClassVar[str]
    features: ClassVar[str]
    max_batch = 16
    on_device = True
    draws_rest = False
    _rows = RowFormat("latents", (8, 32, 32), np.float16)

    def __init__(self, weights: Path | None = None, precision: Precision = "auto", compiled: bool = False) -> None:
        """Raises BackendUnavailable."""
        self._files = find_weights(self.name, weights, (*PACKAGES, "diffusers"))
        self._precision: Precision = precision
        self._compiled = compiled
        self._networks: _Networks | None = None

    def load(self, device: str) -> None:
        """See LipSync. Raises BackendUnavailable."""
        from models.musetalk_unet import load_musetalk_unet
        from models.musetalk_vae import load_musetalk_vae
        from models.positional_encoding import positional_encoding

        place = open_device(self.name, device, self._precision)
        with weights_told(self.name):
            unet = load_musetalk_unet(self._files["unet"], self._files["unet_config"])
            vae = load_musetalk_vae(self._files["vae"])
            positions = positional_encoding().to(place.device, place.dtype)
            self._networks = _Networks(place.place(unet, compiled=self._compiled), place.place(vae), positions)
        if self._compiled:
            vae.decoder.compile()  # the one part of it that draws

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """See LipSync."""
        return parts_stamp(bundle, self.name, self._rows)

    def prepare(self, bundle: AvatarBundle) -> BackendParts:
        """Raises AvatarNotPrepared, BundleError."""
        return open_parts(bundle, self.name, self._rows)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (50, 384), whisper's states around the picture. Raises DeviceOutOfMemory."""
        import torch

        from models.musetalk_unet import predict_latents
        from models.musetalk_vae import decode_faces

        if not requests:
            return []
        assert self._networks is not None, "load() comes first"
        networks = self._networks
        with memory_told(), torch.inference_mode():
            audio = torch.from_numpy(windows_of(requests)).to(networks.positions) + networks.positions
            latents = torch.from_numpy(rows_of(requests, "latents")).to(networks.positions)
            drawn = decode_faces(networks.vae, predict_latents(networks.unet, latents, audio))
        return patches_of(requests, drawn)

    def close(self) -> None:
        self._networks = None


class MuseTalk10LipSync(_MuseTalkLipSync):
    name = "musetalk10"
    features = "whisper10"


class MuseTalk15LipSync(_MuseTalkLipSync):
    name = "musetalk15"
    features = "whisper15"

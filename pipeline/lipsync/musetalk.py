"""MuseTalk 1.0 and 1.5: faces inpainted in the latent space of Stable Diffusion's autoencoder, in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.lipsync.face_network import FaceNetwork
from pipeline.lipsync.patches import RowFormat
from pipeline.lipsync.torch_device import PACKAGES, TorchDevice, compile_whole
from pipeline.types import ImageArray

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


class _MuseTalkLipSync(FaceNetwork[_Networks]):
    """UNet and decoder; the avatar's parts are boxes, masks and latents of its faces. See FaceNetwork."""

    rows = RowFormat("latents", (8, 32, 32), np.float16)
    packages = (*PACKAGES, "diffusers")

    def _loaded(self, place: TorchDevice) -> _Networks:
        from models.musetalk_unet import load_musetalk_unet
        from models.musetalk_vae import load_musetalk_vae
        from models.positional_encoding import positional_encoding

        unet = load_musetalk_unet(self._files["unet"], self._files["unet_config"])
        vae = load_musetalk_vae(self._files["vae"])
        positions = positional_encoding().to(place.device, place.dtype)
        networks = _Networks(place.place(unet), place.place(vae), positions)
        if self._compiled:
            self._compile(networks)
        return networks

    def _drawn(self, network: _Networks, rows: npt.NDArray[np.float16], windows: npt.NDArray[np.float32]) -> ImageArray:
        """rows: (n, 8, 32, 32). windows: (n, 50, 384), whisper's states around the picture. -> (n, 256, 256, 3)."""
        import torch

        from models.musetalk_unet import predict_latents
        from models.musetalk_vae import decode_faces

        with torch.inference_mode():
            audio = torch.from_numpy(windows).to(network.positions) + network.positions
            faces = torch.from_numpy(rows).to(network.positions)
            return decode_faces(network.vae, predict_latents(network.unet, faces, audio))

    def _compile(self, networks: _Networks) -> None:
        """The UNet and the decoder: no picture needs the rest."""
        latents = np.zeros((self.max_batch, *self.rows.shape), np.float16)
        windows = np.zeros((self.max_batch, *networks.positions.shape), np.float32)
        compile_whole(
            [networks.unet, networks.vae.decoder],
            lambda size: self._drawn(networks, latents[:size], windows[:size]),
            self.max_batch,
        )


class MuseTalk10LipSync(_MuseTalkLipSync):
    name = "musetalk10"
    features = "whisper10"


class MuseTalk15LipSync(_MuseTalkLipSync):
    name = "musetalk15"
    features = "whisper15"

"""MuseTalk 1.0 and 1.5: faces inpainted in the latent space of Stable Diffusion's autoencoder, in one step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.parts import BackendParts
from pipeline.lipsync.patches import RowFormat, open_parts, parts_stamp, patches_of, rows_of, windows_of
from pipeline.lipsync.torch_device import (
    PACKAGES,
    Precision,
    compile_whole,
    drawing_told,
    find_weights,
    open_device,
    weights_told,
)
from pipeline.types import FacePatch, LipSyncRequest

if TYPE_CHECKING:
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

__all__ = ["MuseTalk10LipSync", "MuseTalk15LipSync"]

_ROWS = RowFormat("latents", (8, 32, 32), np.float16)


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
    compiled   through torch.compile, as a whole in load(): minutes to start, faster on a GPU
    """

    name: ClassVar[str]
    features: ClassVar[str]
    max_batch = 16
    on_device = True
    draws_rest = False

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
            networks = _Networks(place.place(unet), place.place(vae), positions)
            if self._compiled:
                _compile(networks, self.max_batch)
        self._networks = networks

    def prepared_from(self, bundle: AvatarBundle) -> Hashable:
        """See LipSync."""
        return parts_stamp(bundle, self.name, _ROWS)

    def prepare(self, bundle: AvatarBundle) -> BackendParts:
        """Raises AvatarNotPrepared, BundleError."""
        return open_parts(bundle, self.name, _ROWS)

    def infer(self, requests: Sequence[LipSyncRequest]) -> list[FacePatch]:
        """windows: float32 (50, 384), whisper's states around the picture.

        Raises DeviceOutOfMemory, NetworkOverflow.
        """
        if not requests:
            return []
        assert self._networks is not None, "load() comes first"
        with drawing_told():
            drawn = _draw(self._networks, rows_of(requests, "latents"), windows_of(requests))
        return patches_of(requests, drawn)

    def close(self) -> None:
        self._networks = None


def _draw(
    networks: _Networks, latents: npt.NDArray[np.float16], windows: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """(n, 8, 32, 32) and (n, 50, 384) -> (n, 256, 256, 3) RGB. Raises torch.OutOfMemoryError, FloatingPointError."""
    import torch

    from models.musetalk_unet import predict_latents
    from models.musetalk_vae import decode_faces

    with torch.inference_mode():
        audio = torch.from_numpy(windows).to(networks.positions) + networks.positions
        faces = torch.from_numpy(latents).to(networks.positions)
        return decode_faces(networks.vae, predict_latents(networks.unet, faces, audio))


def _compile(networks: _Networks, largest: int) -> None:
    """The UNet and the decoder: no picture needs the rest."""
    latents = np.zeros((largest, *_ROWS.shape), np.float16)
    windows = np.zeros((largest, *networks.positions.shape), np.float32)
    compile_whole(
        [networks.unet, networks.vae.decoder],
        lambda size: _draw(networks, latents[:size], windows[:size]),
        largest,
    )


class MuseTalk10LipSync(_MuseTalkLipSync):
    name = "musetalk10"
    features = "whisper10"


class MuseTalk15LipSync(_MuseTalkLipSync):
    name = "musetalk15"
    features = "whisper15"

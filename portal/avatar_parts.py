"""Preparing an avatar for a neural backend with what the settings say, for a job and for the command line alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatars.backend_parts import prepare_parts, softness_warning
from avatars.face_crops import CropParameters
from avatars.library import AvatarLibrary
from pipeline.device import find_devices
from pipeline.lipsync.torch_device import weights_told

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["prepare_for_backend"]


def prepare_for_backend(
    settings: Settings,
    avatar: str,
    backend: str,
    parameters: Mapping[str, Any],
    work: Path,
    progress: Callable[[float], None],
) -> list[str]:
    """Make and store what `backend` needs of the avatar of that id; `parameters` as in CropParameters.of.

    Returns notices to show, e.g. of a face too large for the network.

    Raises AvatarNotFound, AvatarError (no such backend), FaceNotFound, BundleError, DiskFull, BackendUnavailable.
    """
    bundle = AvatarLibrary(settings.data_dir / "avatars").open(avatar)
    chosen, device = CropParameters.of(backend, parameters), find_devices(settings.device)[0]
    with weights_told(backend):
        parts = prepare_parts(bundle, backend, settings.weights_folder, chosen, work, progress, device=device)
    warning = softness_warning(backend, parts.boxes)
    return [warning] if warning else []

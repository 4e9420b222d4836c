"""Prepares an avatar for a neural backend according to the settings, both for jobs and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from avatars.backend_parts import blindness_warning, prepare_parts, softness_warning
from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared, NetworkMissing
from avatars.face_formats import face_format
from avatars.importers.crops import parameters_for
from avatars.importers.reading import is_import, open_foreign
from avatars.parts import BackendParts, networks_of
from pipeline import registry
from pipeline.device import find_devices
from pipeline.errors import BadRequest
from pipeline.lipsync.torch_device import open_device, weights_told
from pipeline.types import NoticeEvent
from portal.backends import backend_options, check_backend

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["check_preparable", "check_upload_preparable", "is_prepared", "prepare_for_backend"]


def check_preparable(settings: Settings, bundle: AvatarBundle, backend: str) -> None:
    """Check whether an avatar can be prepared for a backend. This is cheap, while preparing takes minutes.

    Raises BackendUnavailable (the backend cannot run here), NetworkMissing (it needs a network trained for the avatar).
    """
    check_backend("lipsync", backend, backend_options(settings))
    if _has_own_network(backend) and backend not in networks_of(bundle.path):
        raise NetworkMissing(bundle.id, backend)


def check_upload_preparable(settings: Settings, upload: Path, backend: str) -> None:
    """Check the same for the avatar that will be made from a photo, a clip or a foreign avatar.

    Raises BackendUnavailable, BadRequest (the avatar will have no network of its own), BadImport.
    """
    check_backend("lipsync", backend, backend_options(settings))
    if _has_own_network(backend) and backend not in _networks_in(upload):
        raise BadRequest(
            f"The avatar that {upload.name} becomes has no network of its own for {backend}.",
            "Import LiveTalking's folder of it; or make the avatar first, and put its file of weights at "
            f"data/avatars/ID/parts/{backend}.pth.",
        )


def _networks_in(upload: Path) -> Collection[str]:
    if not is_import(upload):
        return ()
    with open_foreign(upload) as foreign:
        return tuple(foreign.networks)


def is_prepared(bundle: AvatarBundle, backend: str) -> bool:
    """Return whether the avatar has everything that a lip-sync backend needs. Many need nothing. Raises BundleError."""
    if backend not in registry.prepared_names():
        return True
    try:
        BackendParts.open(bundle, backend)
    except AvatarNotPrepared:
        return False
    return True


def prepare_for_backend(
    settings: Settings,
    bundle: AvatarBundle,
    backend: str,
    parameters: Mapping[str, object],
    work: Path,
    progress: Callable[[float], None],
) -> list[NoticeEvent]:
    """Make and store the files that `backend` needs for an avatar.

    parameters: see parameters_for(). work: folder for intermediate results, from which an interrupted preparation goes
    on. progress: called with the share done, 0 to 1. Returns notices to show, e.g. about a face that is too large for
    the network.

    Raises AvatarError (no such backend), BadParameters (with these, nothing of a face is left), FaceNotFound,
    BundleError, DiskFull, BackendUnavailable. Parameters that chosen_parameters() would refuse raise ValueError.
    """
    chosen, device = parameters_for(bundle, backend, parameters), find_devices(settings.device)[0]
    if _encodes_faces(backend) and find_spec("torch") is not None:  # without torch prepare_parts() reports it
        open_device(backend, device)
    with weights_told(backend):
        parts = prepare_parts(bundle, backend, settings.weights_folder, chosen, work, progress, device=device)
    warnings = {
        "face_too_large": softness_warning(backend, parts.boxes),
        "face_not_parsed": blindness_warning(parts.parameters),
    }
    return [NoticeEvent(code, warning) for code, warning in warnings.items() if warning]


def _encodes_faces(backend: str) -> bool:
    """Return whether preparing runs a network. For other backends the faces are only cut out."""
    return backend in registry.prepared_names() and face_format(backend).rows == "latents"


def _has_own_network(backend: str) -> bool:
    return backend in registry.prepared_names() and face_format(backend).own_network

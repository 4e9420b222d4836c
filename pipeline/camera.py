"""The virtual camera of this machine: what is missing before other programs can see an avatar in it."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.errors import BackendUnavailable

__all__ = ["CAMERA", "Lack", "camera_lacks", "require_camera"]

CAMERA: Final = "camera"
"Stands for the virtual camera where the address of a streaming server is expected."
PACKAGE: Final = "pyvirtualcam"
LOADING: Final = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Vivavoce"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing, with its remedy."""

    reason: str
    hint: str


def camera_lacks(platform: str = sys.platform, root: Path = Path("/")) -> Lack | None:
    """Return what the camera lacks; None if nothing, as far as can be told beforehand.

    root: root of the file system.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        return Lack(
            f"the package {PACKAGE} is missing",
            "python launch.py fetch camera installs it. It is under the GPL, version 2, and runs in its own process",
        )
    if platform != "linux":  # elsewhere OBS provides the camera, and whether it does shows only in use
        return None
    if not (root / "sys" / "module" / "v4l2loopback").exists():
        return Lack(
            "the kernel module v4l2loopback is not loaded",
            f"sudo apt install v4l2loopback-dkms && {LOADING} (in a container: on its host, and pass /dev/video0 in)",
        )
    found = sorted(path.name for path in (root / "sys" / "devices" / "virtual" / "video4linux").glob("video*"))
    devices = [device for name in found if (device := root / "dev" / name).exists()]
    if not devices:
        return Lack("v4l2loopback is loaded, but has no device here", f"sudo modprobe -r v4l2loopback && {LOADING}")
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return Lack(
            f"{', '.join(map(str, devices))} may not be written by this user",
            "sudo usermod -aG video $USER, then log in again",
        )
    return None


def require_camera() -> None:
    """Raise BackendUnavailable if the camera lacks something."""
    lack = camera_lacks()
    if lack is not None:
        raise BackendUnavailable(CAMERA, lack.reason, lack.hint)

"""The virtual camera of this machine: what it lacks before other programs can see an avatar in it."""

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
"In the place of a streaming server's address."
PACKAGE: Final = "pyvirtualcam"
LOADED: Final = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Vivavoce"


@dataclass(frozen=True, slots=True)
class Lack:
    """What is missing, and the remedy."""

    reason: str
    hint: str


def camera_lacks(platform: str = sys.platform, root: Path = Path("/")) -> Lack | None:
    """None: as far as can be known beforehand, nothing. root: where this machine's files are."""
    if importlib.util.find_spec(PACKAGE) is None:
        return Lack(
            f"the package {PACKAGE} is missing",
            "python launch.py fetch camera installs it. It is under the GPL, version 2, and runs in its own process",
        )
    if platform != "linux":  # OBS brings the camera, and only says so when it is used
        return None
    if not (root / "sys" / "module" / "v4l2loopback").exists():
        return Lack(
            "the kernel module v4l2loopback is not loaded",
            f"sudo apt install v4l2loopback-dkms && {LOADED} (in a container: on its host, and pass /dev/video0 in)",
        )
    found = sorted(path.name for path in (root / "sys" / "devices" / "virtual" / "video4linux").glob("video*"))
    devices = [device for name in found if (device := root / "dev" / name).exists()]
    if not devices:
        return Lack("v4l2loopback is loaded, but has no device here", f"sudo modprobe -r v4l2loopback && {LOADED}")
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return Lack(
            f"{', '.join(map(str, devices))} may not be written by this user",
            "sudo usermod -aG video $USER, then log in again",
        )
    return None


def require_camera() -> None:
    """Raises BackendUnavailable."""
    lack = camera_lacks()
    if lack is not None:
        raise BackendUnavailable(CAMERA, lack.reason, lack.hint)

"""The networks that come with the project, in files beside this one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from avatars.errors import AvatarError

__all__ = ["network_file"]

FOLDER = Path(__file__).parent


def network_file(name: str, sha256: str, without_it: str) -> bytes:
    """The content of the file. `without_it` goes on with "so ...": what cannot be done without this network.

    Raises AvatarError unless it is the file that we know.
    """
    path = FOLDER / name
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AvatarError(
            f"{path} is damaged or missing, so {without_it}.",
            f"Get this file of the project again, for example with: git checkout -- avatars/{name}",
        )
    return content

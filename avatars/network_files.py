"""Loads the networks that come with the project, which are files in this folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from avatars.errors import AvatarError

__all__ = ["network_file"]

FOLDER = Path(__file__).parent


def network_file(name: str, sha256: str, without_it: str) -> bytes:
    """Return the content of a network's file. without_it: ends the message "..., so ..." if it is missing.

    Raises AvatarError unless the file has this SHA-256.
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

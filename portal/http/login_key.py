"""The key that cookies of people who have logged in are signed with: a file of the data folder."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

__all__ = ["fingerprint", "secret_of", "use_secret"]


def secret_of(data_dir: Path) -> bytes:
    """Return the key that signs our cookies. It is made once and kept, so that a restart logs nobody out."""
    path = data_dir / "login.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    return path.read_bytes()


def fingerprint(data_dir: Path, content: bytes) -> str:
    """Return a fingerprint made with this key. It says nothing to anybody who does not have the key."""
    return hmac.new(secret_of(data_dir), content, hashlib.sha256).hexdigest()[:32]


def use_secret(data_dir: Path, secret: bytes) -> None:
    """Replace the key that secret_of() returns."""
    if secret_of(data_dir) != secret:
        staging = data_dir / f".{secrets.token_hex(4)}.key"
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        staging.replace(data_dir / "login.key")

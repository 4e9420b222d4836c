"""Signs finished clips by C2PA (Content Credentials): who signed a clip, and that it was not changed since.

c2pa-python is an extra, and imported only to sign something. It asks no server, so there is no time-stamp, and a
signature counts only while its certificate is valid. The manifest says what made the clip, and of which kind its source
is. It names no person, avatar or text.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np

from pipeline.clip_marks import PRODUCER, SOURCE_TYPE
from pipeline.errors import NotSigned

__all__ = ["Certificate", "ClipSigner"]

FORMATS: Final = {".mp4": "video/mp4", ".mov": "video/quicktime"}
ALGORITHMS: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"C2PA's name for the algorithm of keys on elliptic curves, by curve."
MANIFEST: Final = {
    "claim_generator_info": [{"name": PRODUCER}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": SOURCE_TYPE,
                        "softwareAgent": {"name": PRODUCER},
                    }
                ]
            },
        }
    ],
}
SETTINGS: Final[dict[str, object]] = {
    "core": {"backing_store_memory_threshold_in_mb": 16, "merkle_tree_chunk_size_in_kb": 1024},
    "verify": {"verify_after_sign": True, "verify_after_sign_hash": True},
}
"""Settings of the SDK. By default signing takes twice the file's size in memory, up to 1 GB, as it hashes 256 MB at a
time. Hashes of smaller pieces are right only for a file with a single mdat, as ours are, so each signature is verified.
"""
OPERATOR: Final = "The operator finds out more with: python launch.py doctor"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate that clips are signed with, and its key."""

    chain: bytes
    "PEM: the signer's certificate, followed by those that issued it"
    key: bytes = field(repr=False)
    "PEM, without a password"


@dataclass(frozen=True, slots=True)
class _Ready:
    """A certificate that fits its key and is valid now."""

    chain: bytes
    key: bytes
    "PEM, PKCS #8"
    algorithm: str
    expires: datetime


class ClipSigner:
    """Signs clips. Its methods block.

    certificate: called for each signature, so a renewed certificate applies at once. It raises OSError, NotSigned.
    """

    def __init__(
        self, certificate: Callable[[], Certificate], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._certificate = certificate
        self._now = now

    def check(self) -> datetime:
        """Sign a small picture as a test. Returns when the certificate expires. Raises NotSigned."""
        ready = self._ready()
        encoded, png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
        assert encoded
        _sign(ready, "image/png", io.BytesIO(png.tobytes()), io.BytesIO())
        return ready.expires

    def sign(self, clip: Path) -> None:
        """Replace the clip by a signed copy. Raises NotSigned, and then leaves the clip as it was."""
        form = FORMATS.get(clip.suffix.lower())
        if form is None:
            raise NotSigned(f"A clip of the kind {clip.suffix} cannot carry a signature.", "Make an MP4 or a MOV.")
        ready = self._ready()
        staging = clip.with_name(f".{secrets.token_hex(8)}{clip.suffix}")
        try:
            with clip.open("rb") as source, staging.open("w+b") as signed:
                _sign(ready, form, source, signed)
            staging.replace(clip)
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise NotSigned(f"The clip is not signed: {cause}.", "Free some disk space for the next one.") from error
        finally:
            staging.unlink(missing_ok=True)

    def _ready(self) -> _Ready:
        try:
            certificate = self._certificate()
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise NotSigned(f"The certificate that signs clips cannot be read: {cause}.", OPERATOR) from error
        return _checked(certificate, self._now())


def _checked(certificate: Certificate, now: datetime) -> _Ready:
    """Check what can be checked beforehand.

    Raises NotSigned with a plain text; signing a test picture finds the rest.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        chain = x509.load_pem_x509_certificates(certificate.chain)
        key = serialization.load_pem_private_key(certificate.key, None)
        own = chain[0].public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key has a password
        raise NotSigned(
            "The certificate that signs clips, or its key, cannot be used: it is no PEM, or has a password.", OPERATOR
        ) from error
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != key.public_key().public_bytes(*form):
        raise NotSigned("The key does not belong to the certificate that signs clips.", OPERATOR)
    begins, expires = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if now > expires:
        raise NotSigned(f"The certificate that signs clips expired on {expires:%Y-%m-%d}.", OPERATOR)
    if now < begins:
        raise NotSigned(f"The certificate that signs clips is not valid before {begins:%Y-%m-%d}.", OPERATOR)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _Ready(certificate.chain, pkcs8, _algorithm_of(key), expires)


def _algorithm_of(key: object) -> str:
    """Return C2PA's name for the key's algorithm. Raises NotSigned."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ALGORITHMS:
        return ALGORITHMS[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise NotSigned("The key that signs clips is of a kind that C2PA does not know.", OPERATOR)


def _sign(ready: _Ready, form: str, source: BinaryIO, signed: BinaryIO) -> None:
    """Write a signed copy of `source`. Raises NotSigned."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:  # the last two: its library does not load
        raise NotSigned(
            f"The package c2pa-python, which signs clips, cannot be used: {error}.",
            "The operator can bring it with: python launch.py fetch c2pa",
        ) from error
    try:
        info = c2pa.C2paSignerInfo(ready.algorithm, ready.chain, ready.key, None)
        with c2pa.Context(c2pa.Settings.from_dict(SETTINGS), c2pa.Signer.from_info(info)) as context:
            c2pa.Builder(json.dumps(MANIFEST), context).sign(form, source, signed)
    except c2pa.C2paError as error:
        raise NotSigned(f"The clip is not signed: {str(error).splitlines()[0]}", OPERATOR) from error

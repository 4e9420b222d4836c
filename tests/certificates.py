"""Certificates for tests: good and bad ones of an operator, and the verdict of C2PA's own reader on a signed clip."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pipeline.clip_signature import Certificate

NOW = datetime.now(UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Verdict:
    """The verdict of C2PA's reader on a file."""

    state: str
    "Invalid, Valid or Trusted"
    faults: frozenset[str]
    manifest: dict[str, Any]


def operators_certificate(
    *,
    begins: datetime = NOW - timedelta(days=1),
    expires: datetime = NOW + timedelta(days=90),
    purpose: ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
    key: Key | None = None,
) -> Certificate:
    """Return an operator's certificate, issued by another authority."""
    own, root_key = key or ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _builder("Root", "Root", root_key, begins, expires).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    leaf = (
        _builder("Operator", "Root", own, begins, expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .add_extension(_usage(), critical=True)
    )
    chain = b"".join(
        one.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for one in (leaf, root)
    )
    return Certificate(chain, pem_of(own))


def pem_of(key: Key, password: bytes = b"") -> bytes:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def verdict_of(clip: Path | bytes, trusting: bytes = b"") -> Verdict:
    """Read a clip with C2PA's reader. trusting: PEM of a root certificate that it trusts."""
    c2pa = pytest.importorskip("c2pa")
    content = clip if isinstance(clip, bytes) else clip.read_bytes()
    trust = {"trust": {"trust_anchors": trusting.decode()}} if trusting else {}
    context = c2pa.Context.from_dict({"verify": {"verify_trust": True}, **trust})
    told = json.loads(c2pa.Reader("video/mp4", io.BytesIO(content), context=context).json())
    faults = frozenset(fault["code"] for fault in told.get("validation_status", ()))
    return Verdict(told["validation_state"], faults, told["manifests"][told["active_manifest"]])


def _usage() -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign")
    rest = ("crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(digital_signature=True, **dict.fromkeys((*others, *rest), False))


def _builder(subject: str, issuer: str, key: Key, begins: datetime, expires: datetime) -> x509.CertificateBuilder:
    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )

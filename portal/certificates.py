"""The certificate that signs clips and recordings: the operator's, or one that is made here."""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.clip_signature import Certificate, ClipSigner
from pipeline.errors import NotSigned

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from portal.settings import Settings

__all__ = ["FOLDER", "clip_signer", "local_certificate"]

FOLDER: Final = "c2pa"
"Folder in the data folder for the certificate that is made here."
CHAIN, KEY, ROOT = "certificate.pem", "key.pem", "root.pem"
VALID: Final = timedelta(days=3650)
CLOCKS_DIFFER: Final = timedelta(days=1)
"The certificate is valid from this long ago, for readers whose clocks are slow."
MAKER: Final = "Vivavoce (local)"


def clip_signer(settings: Settings) -> ClipSigner | None:
    """Return what signs this portal's clips and recordings, or None if they are not signed. Opens no file yet."""
    if not settings.signs_clips:
        return None
    return ClipSigner(lambda: _certificate(settings))


def local_certificate(folder: Path, now: datetime) -> Certificate:
    """Return the certificate in a folder. If there is none, make one that is valid for ten years. Raises OSError.

    Its root signs nothing else, so the root's key is not kept. To trust the signatures, trust `root.pem`.
    """
    if not folder.is_dir():
        _make(folder, now)
    return Certificate((folder / CHAIN).read_bytes(), (folder / KEY).read_bytes())


def _certificate(settings: Settings) -> Certificate:
    """Return the operator's certificate or, if none is set, our own. Raises OSError, NotSigned."""
    if settings.c2pa_certificate is None and settings.c2pa_key is None:
        return local_certificate(settings.data_dir / FOLDER, datetime.now(UTC))
    if settings.c2pa_certificate is None or settings.c2pa_key is None:
        raise NotSigned(
            "Of the certificate that signs clips and its key, only one is given.",
            "The operator can give both: --c2pa-certificate FILE --c2pa-key FILE",
        )
    return Certificate(settings.c2pa_certificate.read_bytes(), settings.c2pa_key.read_bytes())


def _make(folder: Path, now: datetime) -> None:
    """Make the folder with certificate, key and root.

    It is made under another name and then renamed, so that it appears complete. If another process makes it at the same
    moment, that one's folder stays.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _issue(root_key, root_key, now, is_root=True)
    leaf = _issue(key, root_key, now, is_root=False)
    pem = serialization.Encoding.PEM
    files = {
        CHAIN: leaf.public_bytes(pem) + root.public_bytes(pem),
        ROOT: root.public_bytes(pem),
        KEY: key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    staging = folder.with_name(f".{secrets.token_hex(8)}.c2pa")
    staging.mkdir(parents=True, mode=0o700)
    try:
        for name, content in files.items():
            with os.fdopen(os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _issue(
    key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, now: datetime, *, is_root: bool
) -> x509.Certificate:
    """Return a certificate as C2PA requires it (technical specification, 14.5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        attributes = {NameOID.ORGANIZATION_NAME: MAKER, NameOID.COMMON_NAME: common}
        return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes.items()])

    usage = x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Vivavoce root" if is_root else "Vivavoce clips"))
        .issuer_name(name("Vivavoce root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())

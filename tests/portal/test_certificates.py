"""Signed clips: read back by C2PA's own reader, with the operator's certificate and with one that is made here."""

from __future__ import annotations

import json
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.clip_marks import SOURCE_TYPE
from pipeline.clip_signature import Certificate, ClipSigner
from pipeline.clip_writer import MADE, RECORDED, ClipCoding, ClipWriter
from pipeline.errors import NotSigned
from pipeline.types import SAMPLES_PER_PICTURE, MediaFrame
from portal.certificates import FOLDER, clip_signer, local_certificate
from portal.settings import Settings
from tests.certificates import NOW, operators_certificate, pem_of, verdict_of

pytest.importorskip("c2pa")

ROOT = Path(__file__).parents[2]


async def write_clip(path: Path, coding: ClipCoding = MADE, pictures: int = 30) -> Path:
    """Noise that moves, with a tone."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    tone = (0.3 * np.sin(np.arange(SAMPLES_PER_PICTURE) / 8)).astype(np.float32)
    async with ClipWriter(path, 64, 48, title="Ada - a secret", coding=coding) as writer:
        for number in range(pictures):
            await writer.send(MediaFrame(np.roll(noise, number, 1), tone, number))
        await writer.finish()
    return path


def shown(path: Path) -> tuple[list[bytes], bytes]:
    """Pictures and sound."""
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24").tobytes() for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        return pictures, b"".join(frame.to_ndarray().tobytes() for frame in file.decode(audio=0))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def signer_with(certificate: Certificate, now: datetime = NOW) -> ClipSigner:
    return ClipSigner(lambda: certificate, lambda: now)


@pytest.mark.parametrize("coding", [MADE, RECORDED], ids=["made", "recorded"])
async def test_a_signed_clip_is_the_same_clip_and_its_reader_knows_it(coding: ClipCoding, tmp_path: Path) -> None:
    """Pictures, sound and metadata are as before; AI is named; neither title nor avatar is; a root makes it trusted."""
    clip = await write_clip(tmp_path / "clip.mp4", coding)
    before = shown(clip)
    with av.open(str(clip)) as file:
        marks = dict(file.metadata)
    certificate = operators_certificate()
    signer_with(certificate).sign(clip)
    assert shown(clip) == before and names_in(tmp_path) == ["clip.mp4"]
    with av.open(str(clip)) as file:
        assert dict(file.metadata) == marks
    assert json.loads(marks["AIGC"])["Label"] == "1" and marks["DigitalSourceType"] == SOURCE_TYPE
    assert verdict_of(clip).state == "Valid" and verdict_of(clip).faults == {"signingCredential.untrusted"}
    root = certificate.chain[certificate.chain.rindex(b"-----BEGIN") :]
    verdict = verdict_of(clip, root)
    assert verdict.state == "Trusted" and not verdict.faults
    (actions,) = [one["data"] for one in verdict.manifest["assertions"] if one["label"].startswith("c2pa.actions")]
    assert [(one["action"], one["digitalSourceType"]) for one in actions["actions"]] == [("c2pa.created", SOURCE_TYPE)]
    assert verdict.manifest["claim_generator_info"][0]["name"] == "Vivavoce"
    assert "Ada" not in json.dumps(verdict.manifest) and "secret" not in json.dumps(verdict.manifest)


async def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """One bit of a picture."""
    clip = await write_clip(tmp_path / "clip.mp4")
    signer_with(operators_certificate()).sign(clip)
    content = bytearray(clip.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    verdict = verdict_of(bytes(content))
    assert verdict.state == "Invalid" and "assertion.bmffHash.mismatch" in verdict.faults


@pytest.mark.parametrize(
    "key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["es384", "es512", "ps256"],
)
def test_other_kinds_of_keys_will_do(key: Callable[[], ec.EllipticCurvePrivateKey]) -> None:
    """As the operator has one."""
    certificate = operators_certificate(key=key())
    assert abs(signer_with(certificate).check() - (NOW + timedelta(days=90))) < timedelta(seconds=2)


def with_another_key() -> Certificate:
    return Certificate(operators_certificate().chain, operators_certificate().key)


def with_a_password() -> Certificate:
    return Certificate(operators_certificate().chain, pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"))


@pytest.mark.parametrize(
    ("certificate", "told"),
    [
        (lambda: operators_certificate(expires=NOW - timedelta(hours=1)), "expired on"),
        (lambda: operators_certificate(begins=NOW + timedelta(hours=1)), "not valid before"),
        (with_another_key, "does not belong"),
        (with_a_password, "a password"),
        (lambda: Certificate(b"no PEM", b"nor this"), "is no PEM"),
        (lambda: Certificate(b"", b""), "is no PEM"),
        (lambda: operators_certificate(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "not signed"),
        (lambda: operators_certificate(key=ec.generate_private_key(ec.SECP256K1())), "of a kind"),
    ],
    ids=["expired", "early", "another key", "password", "garbage", "empty", "of a web server", "curve"],
)
async def test_what_cannot_sign_is_told_and_the_clip_is_kept(
    certificate: Callable[[], Certificate], told: str, tmp_path: Path
) -> None:
    """By the trial at the start, and when a clip should be signed; not a byte of the clip changes."""
    signer = signer_with(certificate())
    with pytest.raises(NotSigned, match=told) as caught:
        signer.check()
    assert caught.value.hint
    clip = await write_clip(tmp_path / "clip.mp4", pictures=3)
    content = clip.read_bytes()
    with pytest.raises(NotSigned, match=told):
        signer.sign(clip)
    assert clip.read_bytes() == content and names_in(tmp_path) == ["clip.mp4"]


async def test_a_full_disk_leaves_the_clip_as_it_was(tmp_path: Path) -> None:
    """The signed copy finds no room: here no file may have more than 4 kB."""
    clip = await write_clip(tmp_path / "clip.mp4")
    content = clip.read_bytes()
    assert len(content) > 4096
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, allowed[1]))
    try:
        with pytest.raises(NotSigned):
            signer_with(operators_certificate()).sign(clip)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert clip.read_bytes() == content and names_in(tmp_path) == ["clip.mp4"]


SIGN_AND_MEASURE = """
import resource, sys
from pathlib import Path
from pipeline.clip_signature import Certificate, ClipSigner

clip, chain, key = map(Path, sys.argv[1:])
signer = ClipSigner(lambda: Certificate(chain.read_bytes(), key.read_bytes()))
signer.check()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
signer.sign(clip)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.thorough
async def test_a_long_recording_is_signed_in_little_memory(tmp_path: Path) -> None:
    """Beside a live portal: 200 MB take a tenth of that. The signature covers all of it."""
    clip = await write_clip(tmp_path / "clip.mp4")
    _enlarge(clip)
    certificate = operators_certificate()
    for name, content in (("chain.pem", certificate.chain), ("key.pem", certificate.key)):
        (tmp_path / name).write_bytes(content)
    command = [
        sys.executable,
        "-c",
        SIGN_AND_MEASURE,
        str(clip),
        *(str(tmp_path / name) for name in ("chain.pem", "key.pem")),
    ]
    taken_mb = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout  # noqa: ASYNC221
    assert int(taken_mb) < 40
    assert verdict_of(clip).faults == {"signingCredential.untrusted"}
    with clip.open("r+b") as file:
        file.seek(-100_000_000, 2)
        file.write(b"1")
    assert verdict_of(clip).state == "Invalid"


async def test_a_signature_that_does_not_hold_is_not_given_out(tmp_path: Path) -> None:
    """The SDK gets files with two boxes of media wrong, which ours never have."""
    clip = await write_clip(tmp_path / "clip.mp4")
    with clip.open("ab") as file:
        file.write((3_000_008).to_bytes(4, "big") + b"mdat" + bytes(3_000_000))
    content = clip.read_bytes()
    with pytest.raises(NotSigned, match="failed validation"):
        signer_with(operators_certificate()).sign(clip)
    assert clip.read_bytes() == content and names_in(tmp_path) == ["clip.mp4"]


def _enlarge(clip: Path) -> None:
    """By 200 MB, in the box that holds the media; it is the last one."""
    content = clip.read_bytes()
    at = content.rindex(b"mdat") - 4
    size = int.from_bytes(content[at : at + 4], "big")
    assert at + size == len(content)
    with clip.open("r+b") as file:
        file.seek(at)
        file.write((size + 200_000_000).to_bytes(4, "big"))
        file.truncate(len(content) + 200_000_000)


def test_webm_cannot_be_signed(tmp_path: Path) -> None:
    """C2PA has no place in it."""
    with pytest.raises(NotSigned, match=r"\.webm"):
        signer_with(operators_certificate()).sign(tmp_path / "clip.webm")


def test_one_is_made_here_once(tmp_path: Path) -> None:
    """Only its owner can read the key; the root's key is nowhere; the next start has the same certificate."""
    signer = clip_signer(Settings(data_dir=tmp_path, c2pa=True))
    assert signer is not None and not (tmp_path / FOLDER).exists()
    assert signer.check() > datetime.now(UTC) + timedelta(days=3600)
    made = local_certificate(tmp_path / FOLDER, datetime.now(UTC))
    assert made == local_certificate(tmp_path / FOLDER, datetime.now(UTC))
    assert stat.S_IMODE((tmp_path / FOLDER / "key.pem").stat().st_mode) == 0o600
    keys = [path.name for path in (tmp_path / FOLDER).iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys == ["key.pem"] and [path.name for path in tmp_path.iterdir()] == [FOLDER]


async def test_its_root_makes_it_trusted(tmp_path: Path) -> None:
    """By who takes root.pem, and nobody else."""
    signer = clip_signer(Settings(data_dir=tmp_path / "data", c2pa=True))
    assert signer is not None
    clip = await write_clip(tmp_path / "clip.mp4")
    signer.sign(clip)
    assert verdict_of(clip).state == "Valid"
    assert verdict_of(clip, (tmp_path / "data" / FOLDER / "root.pem").read_bytes()).state == "Trusted"


def test_the_operators_files_count_at_once(tmp_path: Path) -> None:
    """A certificate that expired is replaced while the portal runs; a missing file and half a pair are told."""
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    signer = clip_signer(Settings(data_dir=tmp_path, c2pa_certificate=chain, c2pa_key=key))
    assert signer is not None
    with pytest.raises(NotSigned, match="no such file"):
        signer.check()
    for expires in (NOW - timedelta(days=1), NOW + timedelta(days=9)):
        certificate = operators_certificate(begins=NOW - timedelta(days=2), expires=expires)
        chain.write_bytes(certificate.chain)
        key.write_bytes(certificate.key)
        if expires < NOW:
            with pytest.raises(NotSigned, match="expired"):
                signer.check()
    signer.check()
    half = clip_signer(Settings(data_dir=tmp_path, c2pa_key=key))
    assert half is not None
    with pytest.raises(NotSigned, match="only one"):
        half.check()
    assert clip_signer(Settings(data_dir=tmp_path)) is None

"""Downloads weights. Downloads are resumed and verified, and a file gets its final name only when it is complete.

See `download_part.py` for what is on the disk meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import httpx

from models.download_part import Download, Identity
from models.errors import DownloadFailed
from models.weights import WeightFile

__all__ = [
    "Checked",
    "Fetcher",
    "ServerBusy",
    "Unreachable",
    "download_of",
    "hub_endpoint",
    "open_client",
    "sha256_of",
]

HUB = "https://huggingface.co"
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
"A connection that delivers nothing for this long is dropped, and made anew."
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"Pauses between attempts that deliver nothing. An attempt that delivers something starts the sequence again."
LONGEST_WAIT_S = 60.0
"Longest pause that a busy server may ask for; beyond that the person should retry."
AGAIN = "Run the same command again to go on; what has come is kept."

Progress = Callable[[int, int | None], None]
"Called with the bytes on disk, and the total if it is known."
Checked = Literal["checksum", "size", "nothing"]
"What proved that a file is complete."


class Unreachable(DownloadFailed):
    """The server cannot be reached, or not for long. Other files will fail, too."""


class ServerBusy(DownloadFailed):
    """The server can be reached, but repeatedly refuses for now. Other files may still be available."""


class _Interrupted(Exception):
    """The connection broke, so another attempt is worthwhile."""


class _Restart(_Interrupted):
    """The part on disk belongs to none of the server's present files."""


class _Busy(_Interrupted):
    """The server asks for a pause."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def hub_endpoint(environ: Mapping[str, str]) -> str:
    """Return Hugging Face's address, or the mirror in HF_ENDPOINT, which Hugging Face's own tools use as well."""
    return (environ.get("HF_ENDPOINT", "").strip() or HUB).rstrip("/")


def download_of(file: WeightFile, folder: Path, environ: Mapping[str, str]) -> Download:
    """Return how to fetch a file of the manifest into a weights folder. Not for files that must be fetched by hand.

    Raises Unreachable if HF_TOKEN is malformed.
    """
    target = folder / file.path
    url = f"{hub_endpoint(environ)}/{file.repository}/resolve/{file.revision}/{file.file}"
    return Download(url, target, file.size_bytes, file.sha256, _token(environ))


def _token(environ: Mapping[str, str]) -> str:
    """Return HF_TOKEN if it is well-formed. It is never printed, even if it is not."""
    token = environ.get("HF_TOKEN", "").strip()
    if re.fullmatch(r"[!-~]*", token):
        return token
    raise Unreachable(
        "HF_TOKEN is no token: it has spaces or letters in it that cannot be sent.",
        "Copy it again from huggingface.co/settings/tokens (it begins with hf_), or unset it.",
    )


def open_client() -> httpx.Client:
    """Return a client. Raises DownloadFailed if the proxy in the environment cannot be used."""
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        return httpx.Client(follow_redirects=True, timeout=timeout, headers={"Accept-Encoding": "identity"})
    except (ImportError, ValueError) as error:
        raise DownloadFailed(
            f"The proxy named in the environment cannot be used: {str(error).rstrip('.')}.",
            "Name an HTTP proxy: HTTPS_PROXY=http://host:port, and unset ALL_PROXY.",
        ) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Fetcher:
    """Fetches files one after another over one client. pause: waits for that many seconds."""

    def __init__(self, client: httpx.Client, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._pause = pause

    def fetch(self, download: Download, progress: Progress) -> Checked:
        """Fetch one file, and return what it was verified by.

        Raises DownloadFailed with cause and remedy. The target then does not exist, or is unchanged.
        """
        try:
            download.target.parent.mkdir(parents=True, exist_ok=True)
            identity = self._bring(download, progress)
            return _put_in_place(download, identity)
        except OSError as error:
            raise _explain_disk(error, download) from error

    def _bring(self, download: Download, progress: Progress) -> Identity:
        """Make attempts until the part is complete. Only bytes beyond the most so far count as progress."""
        failures = most = 0
        while True:
            try:
                return self._attempt(download, progress)
            except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(
                    f"{download.url} cannot be fetched: {error}",
                    "Correct HF_ENDPOINT (it begins with https://), or unset it.",
                ) from error
            except httpx.LocalProtocolError:
                raise Unreachable(
                    f"The request for {download.url} cannot be sent.",
                    "Correct HF_TOKEN and HF_ENDPOINT, or unset them.",
                ) from None  # its message may contain the token
            except (_Interrupted, httpx.TransportError) as error:
                if isinstance(error, _Restart):
                    download.part.unlink(missing_ok=True)
                have = download.kept_bytes(download.read_note())
                failures, most = (1, have) if have > most else (failures + 1, most)
                if failures > len(PAUSES_S):
                    raise _explain_connection(error, download) from error
                asked_s = error.wait_s if isinstance(error, _Busy) else 0.0
                self._pause(max(PAUSES_S[failures - 1], asked_s))

    def _attempt(self, download: Download, progress: Progress) -> Identity:
        """Request the missing bytes and append them. Returns which file they belong to."""
        noted = download.read_note()
        have = download.kept_bytes(noted)
        headers = {"Authorization": f"Bearer {download.token}"} if download.token else {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if not noted.sha256:
                headers["If-Range"] = noted.etag
        with self._client.stream("GET", download.url, headers=headers) as response:
            if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if have == _total_bytes(response):
                    return replace(noted, size_bytes=have)
                raise _Restart("it has less of it now than has come")
            _check_status(response, download)
            identity = _identity(response, download, noted)
            if have and response.status_code == httpx.codes.PARTIAL_CONTENT:
                if _first_byte(response) != have or not noted.continues(identity):
                    raise _Restart("it has another file now")
            else:  # the complete file: the server does not support ranges, or has another file now
                have = 0
            total = _total_bytes(response)
            _check_size(download, identity.size_bytes, total, have)
            with download.part.open("ab" if have else "wb") as part:
                download.write_note(identity)  # now that the file of the previous note is gone
                progress(have, total)
                for chunk in response.iter_raw():  # unbuffered: a broken connection loses buffered bytes
                    part.write(chunk)
                    have += len(chunk)
                    progress(have, total)
            if identity.size_bytes is not None and have < identity.size_bytes:
                raise _Interrupted(f"{identity.size_bytes - have} bytes did not come")
            return identity


def _check_status(response: httpx.Response, download: Download) -> None:
    """Raise DownloadFailed for a refusal, and _Busy if the server may send the file later."""
    status, host = response.status_code, response.url.host
    by_hand = f"Or get the file elsewhere and put it at {download.target}."
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise DownloadFailed(
            f"{host} refuses {download.url} (status {status}): it is private, or its terms have to be accepted first.",
            f"Accept them on its page on huggingface.co, and set HF_TOKEN to a token of your account. {by_hand}",
        )
    if status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        raise DownloadFailed(
            f"{host} does not have {download.url} (status {status}).",
            f"A mirror may lack it: try without HF_ENDPOINT, or with another. {by_hand}",
        )
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        raise _Busy(f"it answers with status {status}", _asked_wait_s(response))
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise DownloadFailed(f"{host} answers {download.url} with status {status}.", f"Try again later. {by_hand}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadFailed(
            f"{host} sent a web page instead of {download.target.name}.",
            f"A login page of your network, or of the mirror? Open {download.url} in a browser. {by_hand}",
        )

    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise DownloadFailed(
            f"{host} sends {download.target.name} compressed ({encoding}), which it was asked not to do.",
            f"A proxy or mirror in between may do that: try without, or with another. {by_hand}",
        )


def _asked_wait_s(response: httpx.Response) -> float:
    """Return the pause that a busy server asks for, given in seconds or as a date, up to a limit."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST_WAIT_S)
    try:
        wait_s = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):  # no header, or a date without a time zone
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _check_size(download: Download, published: int | None, total: int | None, have: int) -> None:
    """Check before writing that it is the published file, and that the disk has room.

    Raises OSError, DownloadFailed.
    """
    if published is not None and total is not None and total != published:
        raise DownloadFailed(
            f"{download.url} has {total} bytes; {published} were published: it is another file.",
            f"Try another mirror (HF_ENDPOINT), or get the file elsewhere and put it at {download.target}.",
        )
    free_bytes = shutil.disk_usage(download.target.parent).free
    if total is not None and free_bytes < total - have:
        raise OSError(errno.ENOSPC, f"{(total - have) / 1e9:.1f} GB are needed, {free_bytes / 1e9:.1f} GB are free")


def _put_in_place(download: Download, identity: Identity) -> Checked:
    """Verify the complete part, and rename it. Returns what it was verified by."""
    found_bytes = download.part_bytes
    expected = download.sha256 or identity.sha256
    expected_bytes = identity.size_bytes if download.size_bytes is None else download.size_bytes
    wrong_size = expected_bytes is not None and found_bytes != expected_bytes
    if wrong_size or (expected and sha256_of(download.part) != expected):
        download.discard()
        raise DownloadFailed(
            f"What came from {download.url} ({found_bytes} bytes) is not the published file: its "
            f"{'size' if wrong_size else 'checksum'} is wrong. It was thrown away.",
            "Run the same command again; if that does not help, try another mirror with HF_ENDPOINT.",
        )
    with download.part.open("rb+") as part:
        os.fsync(part.fileno())  # otherwise a power failure may leave the name without the content
    download.part.replace(download.target)
    download.note.unlink(missing_ok=True)
    if expected:
        return "checksum"
    return "nothing" if expected_bytes is None else "size"


def _identity(response: httpx.Response, download: Download, noted: Identity) -> Identity:
    """Return which file the answer is, or must be. What was published, or stated once, must still hold.

    Raises DownloadFailed if the server states another checksum.
    """
    stated = _stated(response, "X-Linked-Etag", r'"?([0-9a-f]{64})"?')
    known = download.sha256 or noted.sha256
    if stated and known and stated != known:
        raise DownloadFailed(
            f"{download.url} has another checksum than was published: it is another file.",
            "Try another mirror (HF_ENDPOINT)"
            + ("." if download.sha256 else f", or delete {download.note} to take the file that is there now."),
        )
    etag = response.headers.get("ETag", "")
    linked = _stated(response, "X-Linked-Size", r"(\d+)")
    published = int(linked) if linked and download.size_bytes is None else download.size_bytes
    size_bytes = _total_bytes(response) if published is None else published
    return Identity(known or stated, "" if etag.startswith("W/") else etag, size_bytes)


def _stated(response: httpx.Response, header: str, pattern: str) -> str:
    """Return what Hugging Face states about a large file before redirecting to its storage; empty if nothing."""
    values = (answer.headers.get(header, "") for answer in (*response.history, response))
    return next((match[1] for value in values if (match := re.fullmatch(pattern, value))), "")


def _first_byte(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total_bytes(response: httpx.Response) -> int | None:
    """Return the size of the whole file, if the answer states it."""
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    text = match[1] if match else response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _explain_connection(error: Exception, download: Download) -> DownloadFailed:
    host = httpx.URL(download.url).host
    if isinstance(error, _Busy):
        return ServerBusy(f"{host} does not send {download.target.name} now: {error}.", f"Wait some minutes. {AGAIN}")
    if download.part_bytes:
        return Unreachable(f"The connection to {host} breaks again and again: {error}.", AGAIN)
    return Unreachable(
        f"{host} cannot be reached: {error}.",
        "Check the network and HTTPS_PROXY. Where Hugging Face is blocked, name a mirror: "
        "HF_ENDPOINT=https://hf-mirror.com. Offline, copy the files from another machine: docs/weights.md.",
    )


def _explain_disk(error: OSError, download: Download) -> DownloadFailed:
    folder = download.target.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadFailed(f"The disk is full where {folder} lies: {error.strerror}.", f"Make room. {AGAIN}")
    return DownloadFailed(
        f"{folder} cannot be written: {error.strerror or error}.", "Change its owner, or name another: --weights DIR."
    )

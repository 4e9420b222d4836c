"""Downloads of weights: resumed where they stopped, checked to the last byte, never half a file under the final name.

What has come of `unet.pth` lies in `unet.pth.part`, with a note (`unet.pth.part.json`) of which file it is a part of:
its checksum if that is known, else the server's ETag. A part is only ever continued with the same file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.errors import DownloadFailed
from models.weights import WeightFile

__all__ = ["Download", "Fetcher", "Unreachable", "download_of", "hub_endpoint", "open_client", "sha256_of"]

HUB = "https://huggingface.co"
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
"A connection that brings nothing for so long is given up and made anew."
PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"Waits between attempts that bring nothing; one that brings something starts the row again."
AGAIN = "Run the same command again to go on; what has come is kept."

Progress = Callable[[int, int | None], None]
"Bytes that are there, and bytes in all if that is known."


class Unreachable(DownloadFailed):
    """No connection to the server, or none that lasts: the next file will fare no better."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file to be fetched."""

    url: str
    target: Path
    size_bytes: int | None = None
    sha256: str = ""
    token: str = ""
    "sent to this server, and not to others it leads to"

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which version of a file a part belongs to. Without either nothing can be resumed."""

    sha256: str = ""
    etag: str = ""

    def continues(self, other: _Identity) -> bool:
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return bool(self.etag) and self.etag == other.etag


class _Interrupted(Exception):
    """The connection broke, or the server is busy: worth another attempt."""


class _Restart(Exception):
    """What has come belongs to no file that the server has now."""


def hub_endpoint(environ: Mapping[str, str]) -> str:
    """Hugging Face, or the mirror that HF_ENDPOINT names, as with Hugging Face's own tools."""
    return (environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def download_of(file: WeightFile, folder: Path, environ: Mapping[str, str]) -> Download:
    """How a file of the manifest is fetched into a weights folder. Not for files that are to be got by hand."""
    target = folder / file.path
    if file.url:
        return Download(file.url, target, file.size_bytes, file.sha256)
    url = f"{hub_endpoint(environ)}/{file.repository}/resolve/{file.revision}/{file.file}"
    return Download(url, target, file.size_bytes, file.sha256, environ.get("HF_TOKEN", ""))


def open_client() -> httpx.Client:
    """Raises DownloadFailed if the proxy that the environment names cannot be used."""
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        return httpx.Client(follow_redirects=True, timeout=timeout, headers={"Accept-Encoding": "identity"})
    except (ImportError, ValueError) as error:
        raise DownloadFailed(
            f"The proxy named in the environment cannot be used: {str(error).rstrip('.')}.",
            "Name an HTTP proxy: HTTPS_PROXY=http://host:port, and unset ALL_PROXY.",
        ) from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Fetcher:
    """Fetches files one after another over one client; `pause` waits that many seconds."""

    def __init__(self, client: httpx.Client, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._pause = pause

    def fetch(self, download: Download, progress: Progress) -> bool:
        """Bring one file to its place; True if a checksum was known to check it by, False if its size alone.

        Raises DownloadFailed with cause and remedy; then there is no file at the target, or the one that was there.
        """
        try:
            download.target.parent.mkdir(parents=True, exist_ok=True)
            identity = self._bring(download, progress)
            return _put_in_place(download, identity)
        except OSError as error:
            raise _explain_disk(error, download) from error

    def _bring(self, download: Download, progress: Progress) -> _Identity:
        """Attempt until the part is whole."""
        failures = 0
        while True:
            before = _size(download.part)
            try:
                return self._attempt(download, progress)
            except _Restart:
                _discard(download)
            except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise Unreachable(
                    f"{download.url} cannot be fetched: {error}",
                    "Correct HF_ENDPOINT (it begins with https://), or unset it.",
                ) from error
            except (_Interrupted, httpx.TransportError) as error:
                failures = 1 if _size(download.part) > before else failures + 1
                if failures > len(PAUSES_S):
                    raise _explain_connection(error, download) from error
                self._pause(PAUSES_S[failures - 1])

    def _attempt(self, download: Download, progress: Progress) -> _Identity:
        """Ask for what is missing and take it."""
        noted = _read_note(download)
        wanted = _Identity(download.sha256 or noted.sha256, noted.etag)
        have = _size(download.part) if noted.continues(wanted) else 0
        headers = {"Authorization": f"Bearer {download.token}"} if download.token else {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if not noted.sha256:
                headers["If-Range"] = noted.etag
        with self._client.stream("GET", download.url, headers=headers) as response:
            if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if have == _total_bytes(response):
                    return noted
                raise _Restart
            _check_status(response, download)
            identity = _identity(response, download)
            if have and response.status_code == httpx.codes.PARTIAL_CONTENT:
                if _first_byte(response) != have or not noted.continues(identity):
                    raise _Restart
            else:  # the whole file: the server knows no ranges, or has another file now
                have = 0
            total = _total_bytes(response)
            _check_size(download, total, have)
            _write_note(download, identity)
            with download.part.open("ab" if have else "wb") as part:
                progress(have, total)
                for chunk in response.iter_raw():  # as it comes: what a chunk size holds back is lost in a cut
                    part.write(chunk)
                    have += len(chunk)
                    progress(have, total)
            if total is not None and have < total:
                raise _Interrupted(f"{total - have} bytes did not come")
            return identity


def _check_status(response: httpx.Response, download: Download) -> None:
    """Raises DownloadFailed for a refusal, _Interrupted for a server that is busy."""
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
        raise _Interrupted(f"{host} answers with status {status}")
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise DownloadFailed(f"{host} answers {download.url} with status {status}.", f"Try again later. {by_hand}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadFailed(
            f"{host} sent a web page instead of {download.target.name}.",
            f"A login page of your network, or of the mirror? Open {download.url} in a browser. {by_hand}",
        )


def _check_size(download: Download, total: int | None, have: int) -> None:
    """Before anything is written: is it the published file, and is there room for it?"""
    if download.size_bytes is not None and total is not None and total != download.size_bytes:
        raise DownloadFailed(
            f"{download.url} has {total} bytes; {download.size_bytes} were published: it is another file.",
            f"Try another mirror (HF_ENDPOINT), or get the file elsewhere and put it at {download.target}.",
        )
    free_bytes = shutil.disk_usage(download.target.parent).free
    if total is not None and free_bytes < total - have:
        raise OSError(errno.ENOSPC, f"{(total - have) / 1e9:.1f} GB are needed, {free_bytes / 1e9:.1f} GB are free")


def _put_in_place(download: Download, identity: _Identity) -> bool:
    """Check the whole part and give it its name."""
    found_bytes = _size(download.part)
    expected = download.sha256 or identity.sha256
    wrong_size = download.size_bytes is not None and found_bytes != download.size_bytes
    if wrong_size or (expected and sha256_of(download.part) != expected):
        _discard(download)
        raise DownloadFailed(
            f"What came from {download.url} ({found_bytes} bytes) is not the published file: its "
            f"{'size' if wrong_size else 'checksum'} is wrong. It was thrown away.",
            "Run the same command again; if that does not help, try another mirror with HF_ENDPOINT.",
        )
    download.part.replace(download.target)
    download.note.unlink(missing_ok=True)
    return bool(expected)


def _identity(response: httpx.Response, download: Download) -> _Identity:
    """What the answer says about the file; Hugging Face states the checksum of large files before it redirects."""
    stated = (answer.headers.get("X-Linked-Etag", "").strip('"') for answer in (*response.history, response))
    checksum = next((text for text in stated if re.fullmatch(r"[0-9a-f]{64}", text)), "")
    etag = response.headers.get("ETag", "")
    return _Identity(download.sha256 or checksum, "" if etag.startswith("W/") else etag)


def _first_byte(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total_bytes(response: httpx.Response) -> int | None:
    """Size of the whole file, if the answer tells."""
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    text = match[1] if match else response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _discard(download: Download) -> None:
    download.part.unlink(missing_ok=True)
    download.note.unlink(missing_ok=True)


def _read_note(download: Download) -> _Identity:
    """What the part belongs to; nothing if that cannot be told."""
    try:
        content = json.loads(download.note.read_text(encoding="utf-8"))
        return _Identity(str(content["sha256"]), str(content["etag"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return _Identity()


def _write_note(download: Download, identity: _Identity) -> None:
    content = {"url": download.url, "sha256": identity.sha256, "etag": identity.etag}
    download.note.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _explain_connection(error: Exception, download: Download) -> DownloadFailed:
    host = httpx.URL(download.url).host
    if _size(download.part):
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

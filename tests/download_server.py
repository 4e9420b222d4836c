"""A file server on this machine that misbehaves as it is told, and a download that it interrupts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest

from models.download import PAUSES_S, Fetcher, ServerBusy
from models.download_part import Download

__all__ = ["CONTENT", "SHA256", "Behaviour", "Handler", "Serve", "interrupted", "silent"]

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it was asked for."""

    content: bytes = CONTENT
    etag: str = '"v1"'
    cut_after_bytes: list[int] = field(default_factory=list)
    "for each request in turn: the number of bytes before the connection breaks"
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    "for each request in turn: the status to refuse it with"
    retry_after: str = ""
    linked_sha256: str = ""
    linked_size: str = ""
    length: bool = True
    "False: send no length, so the end of the connection ends the file"
    encoding: str = ""
    new_etags: bool = False
    "send a new ETag with each answer, and ignore If-Range"
    content_type: str = "application/octet-stream"
    redirect_to: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        b = self.behaviour
        b.asked.append({name.lower(): value for name, value in self.headers.items()})
        if b.statuses:
            self.send_response(b.statuses.pop(0))
            self.send_header("Content-Length", "0")
            if b.retry_after:
                self.send_header("Retry-After", b.retry_after)
            return self.end_headers()
        if b.redirect_to:
            self.send_response(302)
            self.send_header("Location", b.redirect_to)
            self.send_header("X-Linked-Etag", f'"{b.linked_sha256}"')
            if b.linked_size:
                self.send_header("X-Linked-Size", b.linked_size)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = 0
        wanted = self.headers.get("Range", "")
        if b.ranges and wanted and (b.new_etags or self.headers.get("If-Range", b.etag) == b.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(b.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(b.content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(b.content) - 1}/{len(b.content)}")
        if b.length:
            self.send_header("Content-Length", str(len(b.content) - start))
        if b.encoding:
            self.send_header("Content-Encoding", b.encoding)
        self.send_header("Content-Type", b.content_type)
        if b.new_etags:
            self.send_header("ETag", f'"{len(b.asked)}"')
        elif b.etag:
            self.send_header("ETag", b.etag)
        self.end_headers()
        cut = b.cut_after_bytes.pop(0) if b.cut_after_bytes else len(b.content)
        self.wfile.write(b.content[start : start + cut])
        return None


Serve = Callable[[Behaviour], str]
"Starts a server with a behaviour, and returns its address."


def silent(_done: int, _total: int | None) -> None:
    pass


def interrupted(fetcher: Fetcher, behaviour: Behaviour, download: Download, kept: int) -> None:
    """Fetch until the server breaks off after `kept` bytes and refuses all retries; the partial file stays."""
    behaviour.cut_after_bytes = [kept]
    behaviour.statuses = []
    original = fetcher._pause

    def refuse_from_now_on(seconds: float) -> None:
        behaviour.statuses = [503] * (len(PAUSES_S) + 1)
        original(seconds)

    fetcher._pause = refuse_from_now_on
    with pytest.raises(ServerBusy):
        fetcher.fetch(download, silent)
    fetcher._pause = original
    behaviour.statuses = []
    behaviour.asked.clear()
    assert download.part.read_bytes() == CONTENT[:kept]
    assert not download.target.exists()

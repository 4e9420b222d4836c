"""Addresses of streaming servers: which are valid, and which are allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import BadRequest

__all__ = ["SCHEMES", "WHIP", "host_of", "is_below", "is_whip", "lies_below", "parse_stream_address"]

WHIP: Final = "whip+"
SCHEMES: Final = {"rtmp": 1935, "rtmps": 443, f"{WHIP}http": 80, f"{WHIP}https": 443}
"Allowed schemes, with their default ports."


SERVER: Final = re.compile(r"([^@\[\]]*@)?(\[[0-9a-fA-F:.]+\]|[^@:\[\]]+)(:\d+)?")
"""[user@]host[:port]. Python and FFmpeg disagree on the host if a bracket stands elsewhere, so that is refused."""


def parse_stream_address(address: str) -> SplitResult:
    """Return the parts of a valid address. Raises BadRequest.

    All else is refused, because FFmpeg would also write to files and speak other protocols.
    """
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in SCHEMES and bool(SERVER.fullmatch(parts.netloc)) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not address.isascii() or not address.isprintable() or " " in address:
        raise BadRequest(
            "This is no address of a streaming server.",
            "Write it like rtmp://server/app/key or whip+https://token@server/path.",
            cause="stream",
        )
    return parts


def is_whip(address: str) -> bool:
    """Whether the stream is sent by WebRTC, with its offer over HTTP. Raises BadRequest."""
    return parse_stream_address(address).scheme.startswith(WHIP)


def host_of(address: str) -> str:
    """Return the part of an address that may be shown. The rest may hold a key. Raises BadRequest."""
    return str(parse_stream_address(address).hostname)


def is_below(address: str, allowed: str) -> bool:
    """Whether an address equals the allowed one, or lies on the same server below its path. Raises BadRequest."""
    return lies_below(parse_stream_address(address), parse_stream_address(allowed), SCHEMES)


def lies_below(asked: SplitResult, base: SplitResult, ports: Mapping[str, int]) -> bool:
    """Whether `asked` equals `base`, or lies on the same server below its path. ports: default ports by scheme."""
    path, above = asked.path, base.path.rstrip("/")
    server, allowed = ((parts.scheme, parts.hostname, parts.port or ports[parts.scheme]) for parts in (asked, base))
    return server == allowed and (path == above or path.startswith(f"{above}/")) and ".." not in unquote(path)

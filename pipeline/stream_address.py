"""Addresses of streaming servers: what is one, and which are allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import BadRequest

__all__ = ["SCHEMES", "WHIP", "host_of", "is_below", "is_whip", "lies_below", "parse_stream_address"]

WHIP: Final = "whip+"
SCHEMES: Final = {"rtmp": 1935, "rtmps": 443, f"{WHIP}http": 80, f"{WHIP}https": 443}
"with the ports that they have by themselves"


SERVER: Final = re.compile(r"([^@\[\]]*@)?(\[[0-9a-fA-F:.]+\]|[^@:\[\]]+)(:\d+)?")
"""[user@]host[:port]. Python and FFmpeg read a bracket elsewhere as different servers."""


def parse_stream_address(address: str) -> SplitResult:
    """FFmpeg would write to files and by other protocols as well. Raises BadRequest."""
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
    """Whether the stream goes there by WebRTC, with its offer over HTTP. Raises BadRequest."""
    return parse_stream_address(address).scheme.startswith(WHIP)


def host_of(address: str) -> str:
    """What may be shown of an address: its end is a key. Raises BadRequest."""
    return str(parse_stream_address(address).hostname)


def is_below(address: str, allowed: str) -> bool:
    """Whether an address is the allowed one, or on the same server below its path. Raises BadRequest."""
    return lies_below(parse_stream_address(address), parse_stream_address(allowed), SCHEMES)


def lies_below(asked: SplitResult, base: SplitResult, ports: Mapping[str, int]) -> bool:
    """The same for addresses of any kind. ports: those that schemes have by themselves."""
    path, above = asked.path, base.path.rstrip("/")
    server, allowed = ((parts.scheme, parts.hostname, parts.port or ports[parts.scheme]) for parts in (asked, base))
    return server == allowed and (path == above or path.startswith(f"{above}/")) and ".." not in unquote(path)

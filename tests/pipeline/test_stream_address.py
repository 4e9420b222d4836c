"""Which addresses are those of streaming servers, and which are below an allowed one."""

from __future__ import annotations

import pytest

from pipeline.errors import BadRequest
from pipeline.stream_address import host_of, is_below, parse_stream_address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://server/live",
        "rtmp://",
        "rtmp:///live/key",
        "/etc/passwd",
        "rtmp://server/a b",
        "pipe:1",
        "rtmp://server:x/live",
        "rtmp://server/live\nkey",
        "file:rtmp://server/live",
        "camera",
        "whip+https://",
        "whip+ftp://server/live",
        "rtmp://evil.example:1935[2001:db8::1]/live",
        "rtmp://[2001:db8::1].evil.example/live",
        "rtmp://me[2001:db8::1]@evil.example/live",
    ],
)
def test_only_streaming_servers_are_written_to(address: str) -> None:
    """FFmpeg would write to files and by other protocols as well."""
    with pytest.raises(BadRequest) as refused:
        parse_stream_address(address)
    assert refused.value.hint


def test_what_is_shown_of_an_address_has_no_key() -> None:
    """The server's name alone."""
    assert host_of("rtmps://me:word@live.example.org:443/app/secret") == "live.example.org"
    assert host_of("rtmp://[2001:db8::1]:1935/live/secret") == "2001:db8::1"


@pytest.mark.parametrize(
    ("address", "allowed", "is_allowed"),
    [
        ("rtmp://a.example/live/key", "rtmp://a.example/live", True),
        ("rtmp://a.example/live/key", "rtmp://a.example", True),
        ("rtmp://a.example:1935/live/key", "rtmp://a.example/live/", True),
        ("rtmp://a.example/live2/key", "rtmp://a.example/live", False),
        ("rtmp://a.example/live/../admin", "rtmp://a.example/live", False),
        ("rtmp://a.example.evil.org/live/key", "rtmp://a.example/", False),
        ("rtmp://a.example@evil.org/live/key", "rtmp://a.example/", False),
        ("rtmp://a.example:1936/live/key", "rtmp://a.example/", False),
        ("rtmps://a.example/live/key", "rtmp://a.example/", False),
        ("whip+https://key@a.example/live/one?x=1", "whip+https://a.example:443/live", True),
        ("whip+http://a.example/live", "whip+https://a.example/live", False),
        ("whip+https://a.example/live/%2e%2e/admin", "whip+https://a.example/live", False),
        ("whip+https://a.example\\@evil.org/live", "whip+https://a.example/", False),
        ("rtmp://a.example/live", "whip+https://a.example/live", False),
    ],
)
def test_allowed_is_what_is_below_it_on_the_same_server(address: str, allowed: str, is_allowed: bool) -> None:
    """The same scheme, host and port; whole parts of the path."""
    assert is_below(address, allowed) is is_allowed

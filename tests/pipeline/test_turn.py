"""TURN: credentials that end by themselves, and what a server says of them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pipeline.transports.ice import IceServer, turn_with_secret
from pipeline.transports.turn_probe import turn_trouble
from tests.turn_server import shared_secret, turn_server

NOW_UNIX_S = 1_800_000_000


def trouble(url: str, server: IceServer, timeout_s: float = 30) -> str:
    return asyncio.run(turn_trouble(url, server, timeout_s))


def test_credentials_are_those_of_the_rest_draft() -> None:
    """The user name is the end of its time and a name; the password is its HMAC-SHA1 in base64 (values by openssl)."""
    server = turn_with_secret(("turn:a",), "north", "vivavoce", 1_800_000_300)
    assert (server.urls, server.username) == (("turn:a",), "1800000300:vivavoce")
    assert server.credential == "HSk1JZ1t7AhFGV3Pda9QfqkM+ms="


def test_a_relay_is_lent_and_given_back() -> None:
    """With credentials made from the shared secret a server lends a relay; the check leaves none behind."""
    with turn_server(shared_secret("north", NOW_UNIX_S)) as (url, server):
        assert trouble(url, turn_with_secret((url,), "north", "vivavoce", NOW_UNIX_S + 300)) == ""
    assert (server.names, server.lent) == (["1800000300:vivavoce"], 0)


@pytest.mark.parametrize(("secret", "expires_unix_s"), [("south", NOW_UNIX_S + 300), ("north", NOW_UNIX_S - 1)])
def test_wrong_or_old_credentials_are_told(secret: str, expires_unix_s: int) -> None:
    """Another secret, and a time that is over, are named as what they are."""
    with turn_server(shared_secret("north", NOW_UNIX_S)) as (url, _server):
        found = trouble(url, turn_with_secret((url,), secret, "vivavoce", expires_unix_s))
    assert found == "refuses the user name, the password or the secret"


def test_a_fixed_password_works_as_well() -> None:
    """A server with fixed users lends a relay for theirs only."""
    with turn_server({"viva": "pw"}.get) as (url, _server):
        assert trouble(url, IceServer((url,), "viva", "pw")) == ""
        assert "refuses" in trouble(url, IceServer((url,), "viva", "wrong"))


def test_silence_and_bad_addresses_are_told() -> None:
    """A port where nobody answers, one that is closed, and what is no address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        assert trouble(f"turn:127.0.0.1:{mute.getsockname()[1]}", IceServer(()), 0.2) == "does not answer"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "cannot be reached" in trouble(f"turn:127.0.0.1:{port}?transport=tcp", IceServer((), "u", "p"))
    assert trouble("turn.example.org", IceServer(())) == "is no address of a TURN server"

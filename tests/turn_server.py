"""A TURN server that lends relays and relays nothing: enough to see whose credentials it takes (RFC 8656, RFC 8489)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from aioice import stun
from aioice.turn import make_integrity_key

REALM, NONCE = "test", b"nonce"
UNAUTHORIZED = (401, "Unauthorized")

Password = Callable[[str], str | None]
"""The password of a user; None if the user may not come in."""


def shared_secret(secret: str, now_unix_s: float) -> Password:
    """As coturn's `use-auth-secret` has it: the user name says until when it is valid."""

    def password(username: str) -> str | None:
        expires, _, _name = username.partition(":")
        if int(expires) < now_unix_s:
            return None
        return base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()

    return password


@dataclass
class TurnServer(asyncio.DatagramProtocol):
    password: Password
    lent: int = 0
    "relays that were not given back"
    names: list[str] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._transport.sendto(bytes(self._answer(stun.parse_message(data), address)), address)

    def _answer(self, request: stun.Message, address: tuple[str, int]) -> stun.Message:
        key = self._key(request)
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        if key is None:
            answer.message_class = stun.Class.ERROR
            answer.attributes |= {"ERROR-CODE": UNAUTHORIZED, "REALM": REALM, "NONCE": NONCE}
            return answer
        wanted_s = request.attributes.get("LIFETIME", 600)
        answer.attributes["LIFETIME"] = wanted_s
        if request.message_method == stun.Method.ALLOCATE:
            self.names.append(request.attributes["USERNAME"])
            self.lent += 1
            answer.attributes |= {"XOR-RELAYED-ADDRESS": ("127.0.0.1", 50_000), "XOR-MAPPED-ADDRESS": address}
        elif wanted_s == 0:
            self.lent -= 1
        answer.add_message_integrity(key)
        return answer

    def _key(self, request: stun.Message) -> bytes | None:
        username = request.attributes.get("USERNAME")
        password = None if username is None else self.password(username)
        if username is None or password is None:
            return None
        key = make_integrity_key(username, REALM, password)
        return key if request.check_message_integrity(key) else None


@contextmanager
def turn_server(password: Password) -> Iterator[tuple[str, TurnServer]]:
    """Its address as a URL, and the server, which runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    server = TurnServer(password)
    transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"turn:127.0.0.1:{transport.get_extra_info('sockname')[1]}?transport=udp", server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        transport.close()
        loop.close()

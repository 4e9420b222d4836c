"""A TURN server over UDP on this machine (RFC 8656, RFC 8489). Its relays forward to any address."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import struct
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
"""Returns the password of a user; None if the user is refused."""


def shared_secret(secret: str, now_unix_s: float) -> Password:
    """Return passwords as coturn's `use-auth-secret` does: the user name begins with the time at which it expires."""

    def password(username: str) -> str | None:
        expires, _, _name = username.partition(":")
        if int(expires) < now_unix_s:
            return None
        return base64.b64encode(hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()).decode()

    return password


@dataclass
class Relay:
    """The relay of one client."""

    socket: socket.socket
    channels: dict[int, tuple[str, int]] = field(default_factory=dict)
    "channel number -> peer"


@dataclass
class TurnServer(asyncio.DatagramProtocol):
    password: Password
    lent: int = 0
    "number of relays that were not given back"
    names: list[str] = field(default_factory=list)
    relayed: int = 0
    "number of datagrams from clients that were forwarded"

    def __post_init__(self) -> None:
        self._relays: dict[tuple[str, int], Relay] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._loop = asyncio.get_running_loop()
        self._host = transport.get_extra_info("sockname")[0]

    def connection_lost(self, _error: Exception | None) -> None:
        for address in tuple(self._relays):
            self._end(address)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if data[0] & 0xC0 == 0x40:  # a message on a channel
            number, length = struct.unpack_from("!HH", data)
            self._lead_on(address, data[4 : 4 + length], lambda relay: relay.channels.get(number))
            return
        message = stun.parse_message(data)
        if message.message_class is stun.Class.INDICATION:
            self._lead_on(address, message.attributes["DATA"], lambda _: message.attributes["XOR-PEER-ADDRESS"])
        else:
            self._transport.sendto(bytes(self._answer(message, address)), address)

    def _lead_on(
        self, client: tuple[str, int], data: bytes, peer_of: Callable[[Relay], tuple[str, int] | None]
    ) -> None:
        relay = self._relays.get(client)
        peer = peer_of(relay) if relay else None
        if relay and peer:
            self.relayed += 1
            relay.socket.sendto(data, peer)

    def _bring_back(self, client: tuple[str, int], relay: Relay) -> None:
        data, peer = relay.socket.recvfrom(65_536)
        for number, bound in relay.channels.items():
            if bound == peer:
                self._transport.sendto(struct.pack("!HH", number, len(data)) + data, client)
                return
        facts = {"XOR-PEER-ADDRESS": peer, "DATA": data}
        self._transport.sendto(bytes(stun.Message(stun.Method.DATA, stun.Class.INDICATION, attributes=facts)), client)

    def _answer(self, request: stun.Message, address: tuple[str, int]) -> stun.Message:
        if request.message_method is stun.Method.BINDING:
            facts = {"XOR-MAPPED-ADDRESS": address}
            return stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id, facts)
        key = self._key(request)
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        if key is None:
            answer.message_class = stun.Class.ERROR
            answer.attributes |= {"ERROR-CODE": UNAUTHORIZED, "REALM": REALM, "NONCE": NONCE}
            return answer
        wanted_s = request.attributes.get("LIFETIME", 600)
        if request.message_method is stun.Method.ALLOCATE:
            self.names.append(request.attributes["USERNAME"])
            lent = self._lend(address)
            answer.attributes |= {"XOR-RELAYED-ADDRESS": lent, "XOR-MAPPED-ADDRESS": address}
        elif request.message_method is stun.Method.CHANNEL_BIND:
            number, peer = request.attributes["CHANNEL-NUMBER"], request.attributes["XOR-PEER-ADDRESS"]
            self._relays[address].channels[number] = peer
        elif request.message_method is stun.Method.REFRESH and wanted_s == 0:
            self._end(address)
        answer.attributes["LIFETIME"] = wanted_s
        answer.add_message_integrity(key)
        return answer

    def _lend(self, client: tuple[str, int]) -> tuple[str, int]:
        if client not in self._relays:
            relay = self._relays[client] = Relay(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            relay.socket.bind((self._host, 0))
            self._loop.add_reader(relay.socket, self._bring_back, client, relay)
            self.lent += 1
        host, port = self._relays[client].socket.getsockname()
        return host, port

    def _end(self, client: tuple[str, int]) -> None:
        relay = self._relays.pop(client, None)
        if relay is not None:
            self._loop.remove_reader(relay.socket)
            relay.socket.close()
            self.lent -= 1

    def _key(self, request: stun.Message) -> bytes | None:
        username = request.attributes.get("USERNAME")
        password = None if username is None else self.password(username)
        if username is None or password is None:
            return None
        key = make_integrity_key(username, REALM, password)
        return key if request.check_message_integrity(key) else None


@contextmanager
def turn_server(password: Password, host: str = "127.0.0.1") -> Iterator[tuple[str, TurnServer]]:
    """Run a server in a thread of its own; give its address as a URL, and the server."""
    loop = asyncio.new_event_loop()
    server = TurnServer(password)
    transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(lambda: server, local_addr=(host, 0)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"turn:{host}:{transport.get_extra_info('sockname')[1]}?transport=udp", server
    finally:
        loop.call_soon_threadsafe(transport.close)
        loop.call_soon_threadsafe(loop.call_soon, loop.stop)
        thread.join()
        loop.close()

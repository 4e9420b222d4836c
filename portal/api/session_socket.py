"""The session socket: one WebSocket per viewer for signalling, control, events and, when WebRTC fails, the media.

docs/protocol.md is its reference. This module decides who may connect. connection.py handles the messages after that.
"""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from pipeline.clock import Clock
from pipeline.transports.ice import IceServer, IceServers
from portal.api.allowances import OFFERS_EACH, SocketAllowances
from portal.api.connection import Connection, Shared
from portal.api.draining import RESTART, RESTART_REASON, drain
from portal.api.event_messages import error_message
from portal.api.open_sockets import OpenSockets
from portal.api.seating import Seating, Sessions, Streams
from portal.api.seats import Seats
from portal.api.transports import Transports
from portal.api.viewer_socket import ViewerSocket
from portal.errors import PortalStops
from portal.http.errors import error_response_for
from portal.http.limits import TooMany, TooOften
from portal.http.people import person_of
from portal.http.proxies import address_of, is_local
from portal.recordings import Recordings
from portal.session_keeper import Keeper, NoKeeper
from portal.webhooks import Tell, tell_nobody

__all__ = ["GRACE_S", "SessionSocket"]

GRACE_S = 30.0
"""How long a session outlives its broken socket."""


class SessionSocket:
    """Serves `/session` (mount `.router`). aclose() ends every session that was opened here.

    streams: the streaming servers that sessions may be sent to.
    ice_servers: called for each session that begins or is resumed. The servers are sent to the browser as they are,
    with their credentials.
    grace_s: how long a session outlives its broken socket. sockets, sockets_each: see OpenSockets.
    offers_each: most WebRTC offers from one address at once. watch_links: whether viewers may let others watch their
    session. tell: tells webhooks about turns. keeper: stores what another node needs to continue a session.
    """

    def __init__(
        self,
        sessions: Sessions,
        transports: Transports,
        recordings: Recordings,
        clock: Clock,
        streams: Streams,
        ice_servers: IceServers = tuple,
        grace_s: float = GRACE_S,
        *,
        sockets: int = 512,
        sockets_each: int = 64,
        offers_each: int = OFFERS_EACH,
        watch_links: bool = False,
        tell: Tell = tell_nobody,
        keeper: Keeper = NoKeeper(),  # noqa: B008 - it has no state
    ) -> None:
        seats, self._allowances = Seats(sessions.close, clock, grace_s, keeper), SocketAllowances(clock, offers_each)
        self.seating = Seating(sessions, seats, transports, self._allowances, streams, tell)
        self._ice_servers = ice_servers
        self._shared = Shared(self.seating, recordings, clock, self.browser_ice_servers, watch_links)
        self._open = OpenSockets(sockets, sockets_each)
        self._connections: set[Connection] = set()
        self._is_draining = False
        self.router = APIRouter()
        self.router.add_api_websocket_route("/session", self._serve)

    def browser_ice_servers(self) -> list[dict[str, object]]:
        """Return the ICE servers in the form that RTCPeerConnection expects."""
        return [_browser_ice_server(server) for server in self._ice_servers()]

    async def drain(self, within_s: float) -> None:
        """Accept no new viewers, and send away those who are connected; see draining.drain()."""
        self._is_draining = True
        for connection in tuple(self._connections):
            if not connection.has_seat:  # waits in line, or for an avatar to load: another node may be quicker
                await connection.dismiss(RESTART, RESTART_REASON)
        await drain(self.seating.seats, self._shared.clock, within_s)

    async def aclose(self) -> None:
        await self.seating.seats.aclose()

    async def _serve(self, socket: WebSocket) -> None:
        viewer = ViewerSocket(socket, self._shared.clock)
        if self._is_draining:  # a refused handshake makes a proxy try another node; a closed socket would not
            await viewer.deny(error_response_for(PortalStops()))
            return
        address = address_of(socket.scope)
        try:
            self._allowances.charge_greeting(address)
        except TooOften as error:
            if not self._allowances.explains_refusal(address):
                await viewer.deny(error_response_for(error))
            elif await viewer.accept():
                await viewer.refuse(error_message(error))
            return
        if await viewer.accept():
            try:
                person, local = person_of(socket.scope), is_local(socket.scope)
                with self._open.one(viewer, address, person.name):
                    await self._run(Connection(self._shared, viewer, address, person, local=local))
            except TooMany as error:
                await viewer.refuse(error_message(error))

    async def _run(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            if self._is_draining:  # draining began after the handshake
                await connection.dismiss(RESTART, RESTART_REASON)
            await connection.run()
        finally:
            self._connections.discard(connection)


def _browser_ice_server(server: IceServer) -> dict[str, object]:
    sent: dict[str, object] = {"urls": list(server.urls)}
    if server.username is not None:
        sent |= {"username": server.username, "credential": server.credential}
    return sent

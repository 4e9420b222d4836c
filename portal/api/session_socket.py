"""The session socket: one WebSocket per viewer for signalling, control, events and, when WebRTC fails, the media.

docs/protocol.md is its reference. Here is decided who may connect; what is said then is in connection.py.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from fastapi import APIRouter, WebSocket

from pipeline.clock import Clock
from pipeline.transports.ice import IceServer, IceServers
from portal.api.allowances import OFFERS_EACH, SocketAllowances
from portal.api.connection import Connection, Shared
from portal.api.messages import error_message
from portal.api.seating import Seating, Sessions
from portal.api.seats import Seats
from portal.api.transports import Transports
from portal.api.viewer_socket import ViewerSocket
from portal.http.errors import told
from portal.http.limits import AddressShares, Shares, TooMany, TooOften
from portal.http.people import person_of
from portal.http.proxies import address_of, is_local
from portal.recordings import Recordings
from portal.webhooks import Tell, tell_nobody

__all__ = ["GRACE_S", "SessionSocket"]

GRACE_S = 30.0
"""How long a session outlives its broken socket."""
ALL = "all"


class SessionSocket:
    """Serves `/session` (mount `.router`). aclose() ends every session that was opened here.

    ice_servers: sent to the browser as they are, with their credentials. Asked for each session that begins or is
    resumed.
    sockets, sockets_each: most of them at one time, and most from one address. offers_each: most WebRTC offers from
    one address at once. watch_links: viewers may let others watch their session. tell: tells webhooks of turns.
    """

    def __init__(
        self,
        sessions: Sessions,
        transports: Transports,
        recordings: Recordings,
        clock: Clock,
        ice_servers: IceServers = tuple,
        grace_s: float = GRACE_S,
        *,
        sockets: int = 512,
        sockets_each: int = 64,
        offers_each: int = OFFERS_EACH,
        watch_links: bool = False,
        tell: Tell = tell_nobody,
    ) -> None:
        seats, self._allowances = Seats(sessions.close, clock, grace_s), SocketAllowances(clock, offers_each)
        self.seating = Seating(sessions, seats, transports, self._allowances, tell)
        self._ice_servers = ice_servers
        self._shared = Shared(self.seating, recordings, clock, self.browser_ice_servers, watch_links)
        self._sockets = Shares(sockets)
        self._sockets_each = AddressShares(sockets_each)
        self.router = APIRouter()
        self.router.add_api_websocket_route("/session", self._serve)

    def browser_ice_servers(self) -> list[dict[str, object]]:
        """As RTCPeerConnection takes them."""
        return [_browser_ice_server(server) for server in self._ice_servers()]

    async def aclose(self) -> None:
        await self.seating.seats.aclose()

    async def _serve(self, socket: WebSocket) -> None:
        viewer = ViewerSocket(socket, self._shared.clock)
        address = address_of(socket.scope)
        try:
            self._allowances.charge_greeting(address)
        except TooOften as error:
            if not self._allowances.explains_refusal(address):
                await viewer.deny(told(error))
            elif await viewer.accept():
                await viewer.refuse(error_message(error))
            return
        if await viewer.accept():
            try:
                with self._one_of(self._sockets, ALL), self._one_of(self._sockets_each, address):
                    person, local = person_of(socket.scope), is_local(socket.scope)
                    await Connection(self._shared, viewer, address, person, local=local).run()
            except TooMany as error:
                await viewer.refuse(error_message(error))

    def _one_of(self, sockets: Shares, whose: str) -> AbstractContextManager[None]:
        if not whose:
            return nullcontext()
        return sockets.held(whose, TooMany("Too many pages are connected.", "Close another, or try again in a minute."))


def _browser_ice_server(server: IceServer) -> dict[str, object]:
    sent: dict[str, object] = {"urls": list(server.urls)}
    if server.username is not None:
        sent |= {"username": server.username, "credential": server.credential}
    return sent

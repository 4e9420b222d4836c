"""HTTP to servers on the public Internet that can never lead into a private network."""

from __future__ import annotations

from ipaddress import ip_address

import httpx2 as httpx

from pipeline.transports.whereabouts import LookUp, is_inner, look_up

__all__ = ["OutwardTransport"]


class OutwardTransport(httpx.AsyncBaseTransport):
    """Resolves each server's name, and connects to the address it has checked. So a name cannot change in between.

    transport: sends the requests, which have addresses in place of names. look: resolves names.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, look: LookUp = look_up) -> None:
        self._transport = transport
        self._look = look

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises ConnectError, also if a server has an address in a private network."""
        host, trouble = request.url.host, "it has no address"
        try:
            addresses = sorted(map(ip_address, await self._look(host)), key=lambda found: found.version)
        except OSError as error:
            raise httpx.ConnectError(f"there is no server {host}") from error
        if any(map(is_inner, addresses)):
            raise httpx.ConnectError("the server leads to an address inside a private network")
        for address in addresses:
            try:
                return await self._transport.handle_async_request(_at(str(address), request))
            except httpx.ConnectError as error:
                trouble = str(error)
        raise httpx.ConnectError(f"the server {host} cannot be reached: {trouble}")

    async def aclose(self) -> None:
        await self._transport.aclose()


def _at(address: str, request: httpx.Request) -> httpx.Request:
    """Return the same request to that address. The header `Host` and the certificate check still use the name."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )

"""Posts to addresses that the operator named, without following redirects or reaching private addresses by accident.

A name is looked up for each connection, and the connection goes to the very address that was checked. So the owner of a
public name cannot point it at a machine of the local network, even if no firewall prevents that.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, cast

from portal.http.addresses import Network, is_local_name, parse_address, parse_networks

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["NotPosted", "Poster", "leads_inwards"]

MAX_CONNECTIONS_EACH: Final = 2
"Most connections to one address at a time."


class NotPosted(Exception):
    """There was no answer. The text says why, in plain words."""


class Poster:
    """Posts JSON. It connects when there is something to post. Call aclose() at the end; that is idempotent.

    networks: private networks that names may lead to. timeout_s: limit for a whole request.
    """

    def __init__(self, networks: Collection[str] = (), timeout_s: float = 5.0) -> None:
        self._networks = parse_networks(networks)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a body, and return the HTTP status of the answer, whose own body is not read. Raises NotPosted."""
        import aiohttp
        from yarl import URL

        try:
            async with self._open().post(
                URL(address, encoded=True),
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": "Vivavoce", **headers},
                allow_redirects=False,
            ) as answer:
                return answer.status
        except TimeoutError as error:
            raise NotPosted(f"no answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotPosted(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            resolver = cast("AbstractResolver", _Resolver(aiohttp.ThreadedResolver(), self._networks))
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=resolver, use_dns_cache=False, limit_per_host=MAX_CONNECTIONS_EACH
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Resolver:
    """A resolver for aiohttp that refuses names which lead to private addresses (see aiohttp.abc.AbstractResolver).

    aiohttp asks it for names only. An address in digits is used as it is, because the operator wrote it.
    """

    def __init__(self, inner: AbstractResolver, networks: Collection[Network]) -> None:
        self._inner = inner
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look up a name. Raises OSError: there is no such name; PermissionError: it leads to a private address."""
        found = await self._inner.resolve(host, port, family)
        private = [one["host"] for one in found if leads_inwards(host, one["host"], self._networks)]
        if private:
            raise PermissionError(
                errno.EACCES,
                f"the name {host} leads to the private address {private[0]}: name that address itself, or allow its "
                "network with webhook_networks",
            )
        return found

    async def close(self) -> None:
        await self._inner.close()


def leads_inwards(name: str, address: str, networks: Collection[Network] = ()) -> bool:
    """Whether a name that anybody on the internet could own leads to a private address.

    networks: private networks that names may lead to. Returns True if the address cannot be parsed.
    """
    found = parse_address(address)
    if found is None:
        return True
    is_private = not found.is_global or found.is_multicast
    return is_private and not is_local_name(name.lower().rstrip(".")) and not _is_in(found, networks)


def _is_in(address: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(network.holds(address) for network in networks)

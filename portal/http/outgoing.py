"""What the portal sends to addresses that its operator named: no redirect is followed, no public name leads inwards.

A name is looked up anew for each connection, and what was looked up is what is connected to. So nobody who owns a name
can point it at a machine of this house, however the operator's firewall may look.
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

MOST_CONNECTIONS_EACH: Final = 2
"At one time, to one address."


class NotPosted(Exception):
    """Nothing was answered; the text says why, in plain words."""


class Poster:
    """Posts JSON. It connects when there is something to post; aclose() ends that, and may be called twice.

    networks: private ones to which names may lead. timeout_s: for a whole request.
    """

    def __init__(self, networks: Collection[str] = (), timeout_s: float = 5.0) -> None:
        self._networks = parse_networks(networks)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The HTTP status of the answer, whose body is not read. Raises NotPosted."""
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
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            resolver = cast("AbstractResolver", _Resolver(aiohttp.ThreadedResolver(), self._networks))
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=resolver, use_dns_cache=False, limit_per_host=MOST_CONNECTIONS_EACH
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Resolver:
    """See aiohttp.abc.AbstractResolver. It is asked for names only; an address in digits was named as it is."""

    def __init__(self, inner: AbstractResolver, networks: Collection[Network]) -> None:
        self._inner = inner
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError: there is no such name, or (PermissionError) it leads where it must not."""
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
    """Whether a name that anybody in the world could own leads to an address of this house.

    networks: private ones to which names may lead.
    """
    found = parse_address(address)
    if found is None:
        return True
    is_private = not found.is_global or found.is_multicast
    return is_private and not is_local_name(name.lower().rstrip(".")) and not _is_in(found, networks)


def _is_in(address: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(network.holds(address) for network in networks)

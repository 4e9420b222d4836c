"""Hosts, origins, networks and paths as text: read, checked, and brought into the form in which they are compared."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from pipeline.stream_address import lies_below

__all__ = [
    "Network",
    "is_below_web",
    "is_local_name",
    "is_path",
    "parse_address",
    "parse_host",
    "parse_host_pattern",
    "parse_networks",
    "parse_origin",
    "parse_ports",
    "parse_root_path",
    "parse_web_address",
    "split_target",
]

PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)\.?)(?::(?P<port>[0-9]{0,5}))?",
    re.IGNORECASE | re.ASCII,
)
MOST_NAME_CHARS = 253
ABSOLUTE = re.compile(r"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
FIRST_FREE_PORT, LAST_PORT = 1024, 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}
OWN_DOMAINS = ("local", "localhost", "lan", "home", "internal", "intranet", "corp", "private", "home.arpa")
"""Nobody can own a name below these: they are for a house or a company. Nor a name without a dot, but for those who run
a top-level domain, who must not give it an address."""
LEADS_UP = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def parse_origin(text: str) -> str:
    """An origin as it is compared: "https://EXAMPLE.org:443/page" -> "https://example.org".

    Raises ValueError: no scheme, or no host.
    """
    parts = urlsplit(text.strip())
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"'{text}' is no origin; write it like https://example.org")
    host, port = parse_host(_as_browsers_write(parts.netloc))
    return f"{scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def parse_host(text: str) -> tuple[str, int | None]:
    """A Host header as it is compared, and its port: "Portal.Example.:80" -> ("portal.example", 80).

    A dot at the end of a name and a colon without a port make no difference; an IPv6 address is written the short way,
    "[0:0::1]" -> "[::1]". Raises ValueError: it is none, such as one with an empty label, or port 0.
    """
    found = HOST.fullmatch(text.strip())
    if found is None or len(found["name"] or "") > MOST_NAME_CHARS:
        raise ValueError(f"'{text}' is no host name")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"'{text}' has a port that does not exist")
    return found["name"].lower() if found["name"] else f"[{IPv6Address(found['ipv6'])}]", port


def split_target(target: str) -> tuple[str, str] | None:
    """What is asked for as to a proxy, "http://portal.example/path" -> ("portal.example", "/path"); None for a path."""
    found = ABSOLUTE.fullmatch(target)
    return None if found is None else (found[1], found[2] or "/")


def parse_host_pattern(text: str) -> str:
    """A host name, "*.example.org" for all names below one, or "*" for any. Raises ValueError: none of these."""
    if text == "*":
        return text
    wild = text.startswith("*.")
    name, _port = parse_host(_as_browsers_write(text[2:] if wild else text))
    return f"*.{name}" if wild else name


def is_local_name(name: str) -> bool:
    """Whether a name can only be one of this house, such as "nas" or "nas.lan"; small letters."""
    return "." not in name or name.endswith(tuple(f".{domain}" for domain in OWN_DOMAINS))


def parse_web_address(text: str) -> SplitResult:
    """An address to which something is sent: http or https, with a host, without a password or a fragment.

    Raises ValueError: it is none, or its path leads upwards.
    """
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and not {" ", "\\", "#", "@"} & set(text)
    if parts.scheme not in DEFAULT_PORTS or not plain or LEADS_UP.search(parts.path):
        raise ValueError(f"'{text}' is no web address; write it like https://example.org/hook")
    parse_host(parts.netloc)
    return parts


def is_below_web(address: str, allowed: str) -> bool:
    """Whether a web address is the allowed one, or on the same server below its path. Raises ValueError."""
    return lies_below(parse_web_address(address), parse_web_address(allowed), DEFAULT_PORTS)


def parse_networks(texts: Collection[str]) -> tuple[Network, ...]:
    """Addresses and networks, e.g. "10.0.0.0/8"; "*" is every one. Raises ValueError naming the one it cannot read."""
    networks = []
    for text in texts:
        for part in ("0.0.0.0/0", "::/0") if text == "*" else (text,):
            try:
                networks.append(Network.of(part))
            except ValueError as error:
                raise ValueError(f"'{text}' is no address and no network such as 10.0.0.0/8") from error
    return tuple(networks)


def parse_ports(text: str) -> range:
    """Ports that need no rights, "40000-40999" -> range(40000, 41000). Raises ValueError: no such range."""
    first, dash, last = text.partition("-")
    if dash and all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (first, last)):
        ports = range(int(first), int(last) + 1)
        if ports and ports[0] >= FIRST_FREE_PORT and ports[-1] <= LAST_PORT:
            return ports
    raise ValueError(f"'{text}' is no range of ports from {FIRST_FREE_PORT} to {LAST_PORT}; write it like 40000-40999")


def parse_root_path(text: str) -> str:
    """The path as it is used: "avatar/" -> "/avatar", "/" -> "". Raises ValueError: no plain path."""
    path = f"/{text.strip('/')}" if text.strip("/") else ""
    if path and not is_path(path):
        raise ValueError("write a path of letters, digits and . _ ~ -, such as /avatar")
    return path


def is_path(path: str) -> bool:
    return PATH.fullmatch(path) is not None and ".." not in path.split("/")


@dataclass(frozen=True, slots=True)
class Network:
    version: int
    first: int
    mask: int

    @classmethod
    def of(cls, text: str) -> Network:
        network = ip_network(text, strict=False)
        return cls(network.version, int(network.network_address), int(network.netmask))

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        return address.version == self.version and int(address) & self.mask == self.first


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Also with a port, in brackets, with a zone, or an IPv4 address written as an IPv6 one."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _as_browsers_write(name: str) -> str:
    """A name in letters of any script as browsers send it: "münchen.de" -> "xn--mnchen-3ya.de"."""
    if name.isascii() or len(name) > MOST_NAME_CHARS:
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name  # is refused as any other that is none

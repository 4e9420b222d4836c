"""Parses hosts, origins, networks and paths: checks them, and brings them into a form that can be compared."""

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
"""A plain path; see is_path()."""
HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)\.?)(?::(?P<port>[0-9]{0,5}))?",
    re.IGNORECASE | re.ASCII,
)
MAX_NAME_CHARS = 253
ABSOLUTE = re.compile(r"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)
FIRST_FREE_PORT, LAST_PORT = 1024, 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}
OWN_DOMAINS = ("local", "localhost", "lan", "home", "internal", "intranet", "corp", "private", "home.arpa")
"""Domains for use inside a house or a company; nobody on the internet can own a name below them. The same is true of
names without a dot: only the owners of a top-level domain could, and they must not give it an address."""
LEADS_UP = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
"""A path with a segment "." or "..", also percent-encoded."""


def parse_origin(text: str) -> str:
    """Return an origin in the form to compare: "https://EXAMPLE.org:443/page" -> "https://example.org".

    Raises ValueError: it has no scheme, or no host.
    """
    parts = urlsplit(text.strip())
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"'{text}' is no origin; write it like https://example.org")
    host, port = parse_host(_as_browsers_write(parts.netloc))
    return f"{scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def parse_host(text: str) -> tuple[str, int | None]:
    """Split a Host header into the host, in the form to compare, and the port: "Portal.Ex.:80" -> ("portal.ex", 80).

    A dot at the end of the name and a colon without a port are ignored. An IPv6 address is shortened: "[0:0::1]" ->
    "[::1]". Raises ValueError: it is no host, for instance because of an empty label or port 0.
    """
    found = HOST.fullmatch(text.strip())
    if found is None or len(found["name"] or "") > MAX_NAME_CHARS:
        raise ValueError(f"'{text}' is no host name")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"'{text}' has a port that does not exist")
    return found["name"].lower() if found["name"] else f"[{IPv6Address(found['ipv6'])}]", port


def split_target(target: str) -> tuple[str, str] | None:
    """Split a request target in the form for proxies: "http://portal.example/path" -> ("portal.example", "/path").

    Returns None for a plain path.
    """
    found = ABSOLUTE.fullmatch(target)
    return None if found is None else (found[1], found[2] or "/")


def parse_host_pattern(text: str) -> str:
    """Check a pattern of host names: a name, "*.example.org" for all names below one, or "*" for any.

    Returns it in the form to compare. Raises ValueError: it is none of these.
    """
    if text == "*":
        return text
    wild = text.startswith("*.")
    name, _port = parse_host(_as_browsers_write(text[2:] if wild else text))
    return f"*.{name}" if wild else name


def is_local_name(name: str) -> bool:
    """Whether a name (in lower case) can only be one of the local network, such as "nas" or "nas.lan"."""
    return "." not in name or name.endswith(tuple(f".{domain}" for domain in OWN_DOMAINS))


def parse_web_address(text: str) -> SplitResult:
    """Split an address to send something to: http or https, with a host, without a password or a fragment.

    Raises ValueError: it is no such address, or its path contains "..".
    """
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and not {" ", "\\", "#", "@"} & set(text)
    if parts.scheme not in DEFAULT_PORTS or not plain or LEADS_UP.search(parts.path):
        raise ValueError(f"'{text}' is no web address; write it like https://example.org/hook")
    parse_host(parts.netloc)
    return parts


def is_below_web(address: str, allowed: str) -> bool:
    """Whether a web address is the allowed one, or lies below its path on the same server. Raises ValueError."""
    return lies_below(parse_web_address(address), parse_web_address(allowed), DEFAULT_PORTS)


def parse_networks(texts: Collection[str]) -> tuple[Network, ...]:
    """Parse addresses and networks, e.g. "10.0.0.0/8"; "*" stands for all. Raises ValueError naming the faulty one."""
    networks = []
    for text in texts:
        for part in ("0.0.0.0/0", "::/0") if text == "*" else (text,):
            try:
                networks.append(Network.of(part))
            except ValueError as error:
                raise ValueError(f"'{text}' is no address and no network such as 10.0.0.0/8") from error
    return tuple(networks)


def parse_ports(text: str) -> range:
    """Parse a range of unprivileged ports: "40000-40999" -> range(40000, 41000). Raises ValueError: it is none."""
    first, dash, last = text.partition("-")
    if dash and all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (first, last)):
        ports = range(int(first), int(last) + 1)
        if ports and ports[0] >= FIRST_FREE_PORT and ports[-1] <= LAST_PORT:
            return ports
    raise ValueError(f"'{text}' is no range of ports from {FIRST_FREE_PORT} to {LAST_PORT}; write it like 40000-40999")


def parse_root_path(text: str) -> str:
    """Return a root path as it is used: "avatar/" -> "/avatar", "/" -> "". Raises ValueError: it is no plain path."""
    path = f"/{text.strip('/')}" if text.strip("/") else ""
    if path and not is_path(path):
        raise ValueError("write a path of letters, digits and . _ ~ -, such as /avatar")
    return path


def is_path(path: str) -> bool:
    """Whether this is a plain path, without special characters, empty segments or ".."."""
    return PATH.fullmatch(path) is not None and ".." not in path.split("/")


@dataclass(frozen=True, slots=True)
class Network:
    """An IPv4 or IPv6 network, as integers, because that is faster to compare than the objects of ipaddress."""

    version: int
    first: int
    mask: int

    @classmethod
    def of(cls, text: str) -> Network:
        """Parse a network or a single address. Raises ValueError."""
        network = ip_network(text, strict=False)
        return cls(network.version, int(network.network_address), int(network.netmask))

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address is in the network."""
        return address.version == self.version and int(address) & self.mask == self.first


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address; None if it is none.

    It may have a port, brackets or a zone, or be an IPv4 address written as an IPv6 one, which is returned as IPv4.
    """
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
    """Return a name in any script as browsers send it: "münchen.de" -> "xn--mnchen-3ya.de"."""
    if name.isascii() or len(name) > MAX_NAME_CHARS:
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name  # the caller refuses it like any other invalid name

"""Selects the ICE candidates of a viewer that are used. Each one makes us send packets to an address the viewer chose.

Dropping candidates costs nobody a connection: the viewer's own checks reach us, and we answer where they came from.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from pipeline.errors import BadSignalling
from pipeline.transports.whereabouts import is_inner

__all__ = ["MAX_CANDIDATES", "CandidateFilter", "is_candidate_line"]

MAX_CANDIDATES = 64
"""Most candidates of an offer and those trickled later. A browser on a machine with many networks has about twenty."""
_LOOKED_AT = 2 * MAX_CANDIDATES
"""Candidates of an offer that are read; more are dropped unread, since reading one blocks the event loop for 20 us."""
_LINE = re.compile(
    r"[A-Za-z0-9+/]{1,32} 1 (?P<protocol>[A-Za-z]{1,8}) [0-9]{1,10} (?P<address>[0-9A-Za-z.:-]{1,255}) "
    r"(?P<port>[0-9]{1,5}) typ (?P<type>[a-z]{1,8})(?: [\x21-\x7e]+)*",
    re.ASCII,
)
_OTHER_COMPONENT = re.compile(r"\S{1,32} [2-9] \S.*")  # RTCP on a port of its own
_MAX_CHARS = 500
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_HINT = "Send it as the browser gave it."
_TYPES = frozenset({"host", "srflx", "prflx", "relay"})


def is_candidate_line(line: str) -> bool:
    """Whether a lenient parser would read this line of an SDP as a candidate."""
    return line.startswith("a=candidate")


class CandidateFilter:
    """Filters the candidates of one connection. Those of the offer and the trickled ones share its bound.

    local: the other end is on this machine, so its loopback addresses are allowed.
    far: the other end is known to be outside private networks, so addresses of such networks cannot be its own.
    """

    def __init__(self, *, local: bool, far: bool = False) -> None:
        self._local = local
        self._far = far
        self._seen: set[tuple[str, str]] = set()

    def usable(self, line: str) -> bool:
        """Whether a candidate (`candidate:...`, with or without `a=`) is used.

        Raises BadSignalling if it is malformed, or if there were too many. Returns False for candidates that browsers
        send but that are useless here: names that only multicast DNS resolves, TCP, a second component, an address
        given before, and addresses at which no viewer can be reached (multicast, unspecified, link-local, reserved,
        loopback unless `local`, and those of private networks if `far`).
        """
        text = line.removeprefix("a=").removeprefix("candidate:")
        found = _LINE.fullmatch(text) if len(text) <= _MAX_CHARS else None
        if found is None:
            if len(text) <= _MAX_CHARS and _OTHER_COMPONENT.fullmatch(text):
                return False
            raise BadSignalling("The ICE candidate is malformed.", _HINT)
        if found["type"] not in _TYPES or not 1 <= int(found["port"]) <= 65535:
            raise BadSignalling("The ICE candidate has a type or a port that does not exist.", _HINT)
        if found["protocol"].lower() != "udp" or found["address"].lower().endswith(".local"):
            return False
        if not self._reachable(found["address"]):
            return False
        if (found["address"], found["port"]) in self._seen:
            return False
        if len(self._seen) >= MAX_CANDIDATES:
            raise BadSignalling(f"There were {MAX_CANDIDATES} ICE candidates already.", "Send an offer anew.")
        self._seen.add((found["address"], found["port"]))
        return True

    def only_usable(self, sdp: str) -> str:
        """Return the SDP without the candidates that are not used."""
        kept: list[str] = []
        candidates = 0
        for line in sdp.splitlines(keepends=True):
            is_candidate = is_candidate_line(line)
            candidates += is_candidate
            if not is_candidate or (candidates <= _LOOKED_AT and self._stays(line)):
                kept.append(line)
        return "".join(kept)

    def _stays(self, line: str) -> bool:
        try:
            return self.usable(line.rstrip("\r\n"))
        except BadSignalling:
            return False

    def _reachable(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError as error:
            raise BadSignalling("The ICE candidate has a name, which is not looked up for anybody.", _HINT) from error
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return _is_for_one(plain or address, self._local) and not (self._far and is_inner(address))


def _is_for_one(address: IPv4Address | IPv6Address, local: bool) -> bool:
    if address.is_loopback:
        return local
    return not (
        address.is_multicast
        or address.is_unspecified
        or address.is_link_local
        or (isinstance(address, IPv4Address) and (address.is_reserved or address in _THIS_NETWORK))
    )

"""Which candidates of a viewer make us send packets."""

from __future__ import annotations

import pytest

from pipeline.errors import BadSignalling
from pipeline.transports.candidates import MAX_CANDIDATES, CandidateFilter
from pipeline.transports.whereabouts import Whereabouts


def candidate(address: str = "192.0.2.7", port: int | str = 50000, protocol: str = "udp", kind: str = "host") -> str:
    return f"candidate:842163049 1 {protocol} 1677729535 {address} {port} typ {kind} generation 0 ufrag EEtu"


@pytest.mark.parametrize(
    "line",
    [
        candidate(),
        "a=" + candidate(),
        candidate("2001:db8::7"),
        candidate("192.168.1.20"),
        candidate("10.0.0.3", 1),
        candidate(kind="srflx") + " raddr 0.0.0.0 rport 0",
        "candidate:0 1 UDP 2122252543 192.168.1.2 51234 typ host",
    ],
)
def test_what_browsers_send_is_used(line: str) -> None:
    """Addresses at which a viewer may be reached, as Chromium and Firefox write them."""
    assert CandidateFilter(local=False).usable(line)


@pytest.mark.parametrize(
    "line",
    [
        candidate("4f1c3a52-11c8-4e61-9d0c-6d3a7f1c2b3a.local"),
        candidate("X.LOCAL"),
        candidate(protocol="tcp", port=9) + " tcptype active",
        "candidate:1 2 UDP 2122252542 192.168.1.2 51235 typ host",
        candidate("127.0.0.1"),
        candidate("127.9.9.9"),
        candidate("::1"),
        candidate("::ffff:127.0.0.1"),
        candidate("224.0.0.251"),
        candidate("ff02::fb"),
        candidate("0.0.0.0"),
        candidate("0.1.2.3"),
        candidate("::"),
        candidate("255.255.255.255"),
        candidate("240.0.0.1"),
        candidate("169.254.169.254"),
        candidate("fe80::1"),
        candidate("::ffff:169.254.169.254"),
    ],
)
def test_what_is_of_no_use_or_nobodys_address_is_ignored(line: str) -> None:
    """It is no error, and nothing is sent there."""
    sdp = f"v=0\r\na={line}\r\na=end-of-candidates\r\n"
    assert not CandidateFilter(local=False).usable(line)
    assert CandidateFilter(local=False).only_usable(sdp) == "v=0\r\na=end-of-candidates\r\n"


@pytest.mark.parametrize(
    "line",
    [
        candidate("x.local\t"),
        candidate("x.local\t127.0.0.1"),
        candidate("example.org"),
        candidate("192.0.2.07"),
        candidate("127.1"),
        candidate("2130706433"),
        candidate("fe80::1%eth0"),
        candidate("192.0.2.7\x00"),
        candidate(port=0),
        candidate(port=99999),
        candidate(port=-1),
        candidate(port="٥"),
        candidate(kind="magic"),
        candidate() + " x\x1b[31m",
        candidate() + " x" * 300,
        "candidate:",
        "candidate:1 1 udp 2\v192.0.2.7 9 typ host",
        "candidate:1  1 udp 2 192.0.2.7 9 typ host",
        "candidate:1 1 udp 99999999999 192.0.2.7 9 typ host",
    ],
)
def test_what_no_browser_sends_is_refused(line: str) -> None:
    """Trickled, it is an error; in an offer the line is left out."""
    with pytest.raises(BadSignalling):
        CandidateFilter(local=False).usable(line)
    for kept in CandidateFilter(local=False).only_usable(f"v=0\r\na={line}\r\n").splitlines():
        assert not kept.startswith("a=candidate")


def test_a_viewer_on_this_machine_has_its_loopback_address() -> None:
    """But no more than that."""
    here = CandidateFilter(local=True)
    assert here.usable(candidate("127.0.0.1")) and here.usable(candidate("::1"))
    assert not here.usable(candidate("224.0.0.1"))


@pytest.mark.parametrize(
    "address", ["10.0.0.3", "192.168.1.20", "172.16.0.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.3"]
)
def test_a_viewer_out_in_the_world_has_no_address_of_a_private_network(address: str) -> None:
    """It would be one of our own network. A viewer in a private network has it: the portal may be there as well."""
    assert not CandidateFilter(local=False, far=True).usable(candidate(address))
    assert CandidateFilter(local=False).usable(candidate(address))
    assert CandidateFilter(local=False, far=True).usable(candidate("8.8.8.8"))


@pytest.mark.parametrize(
    ("at", "far"),
    [
        (Whereabouts("8.8.8.8"), True),
        (Whereabouts("2600:1::/64"), True),
        (Whereabouts("192.168.1.20"), False),
        (Whereabouts("fd00:1::/64"), False),
        (Whereabouts("127.0.0.1", local=True), False),
        (Whereabouts(), False),
    ],
)
def test_who_is_far_is_told_by_the_address(at: Whereabouts, far: bool) -> None:
    """As limits count it. One that is not known tells nothing."""
    assert at.is_far == far


def test_an_offer_and_what_is_trickled_after_it_share_one_bound() -> None:
    """An address counts once, however often it is named."""
    candidates = CandidateFilter(local=False)
    lines = [f"a={candidate(port=port)}\r\n" for port in range(1, 40)]
    assert candidates.only_usable("v=0\r\n" + "".join(lines)).count("a=candidate") == 39
    assert not candidates.usable(candidate(port=1))
    for port in range(40, MAX_CANDIDATES + 1):
        assert candidates.usable(candidate(port=port))
    with pytest.raises(BadSignalling, match="already"):
        candidates.usable(candidate(port=2000))
    flood = CandidateFilter(local=False)
    many = "".join(f"a={candidate(port=port)}\r\n" for port in range(1, 1112))
    assert flood.only_usable(many).count("a=candidate") == MAX_CANDIDATES


def test_of_an_offer_with_thousands_of_candidates_the_first_are_read() -> None:
    """What is dropped unread would not have been used by a browser's offer; all other lines stay."""
    useless = "".join(f"a={candidate('224.0.0.251', 1 + index)}\r\n" for index in range(2 * MAX_CANDIDATES - 1))
    first, last = (f"a={candidate(port=port)}\r\n" for port in (50001, 50002))
    kept = CandidateFilter(local=False).only_usable(f"v=0\r\n{useless}{first}{last}a=end-of-candidates\r\n")
    assert kept == f"v=0\r\n{first}a=end-of-candidates\r\n"

"""Offers, answers and candidates of WebRtcTransport, good and bad."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from aiortc import RTCSessionDescription
from transport_viewer import GatedExecutor, Pair, Viewer, idle_frame, open_files, speaking_frame, tasks_left

from avatars.bundle import AvatarBundle
from pipeline.errors import BadSignalling
from pipeline.transports.candidates import MAX_CANDIDATES
from pipeline.transports.loops import LoopCache
from pipeline.transports.webrtc import WebRtcTransport

OWN_WORDS = re.compile(r"[A-Z][^:]*\.")
MakeBundle = Callable[..., AvatarBundle]


def sent_to(transport: WebRtcTransport) -> int:
    """How many addresses of the viewer's naming ICE knows."""
    assert transport._peer is not None
    pairs = {t.receiver.transport.transport for t in transport._peer.getTransceivers()}
    return sum(len(ice.iceGatherer._connection.remote_candidates) for ice in pairs)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "   \r\n",
        "nonsense",
        "v=0\r\n",
        "v=0\r\nm=video\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
        "v=0\r\n" + "a=x\r\n" * 100_000,
        "\x00" * 100,
        "v=0\r\n" + 50 * "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    ],
    ids=["empty", "blank", "words", "no-media", "cut", "no-transport", "huge", "zeros", "many-media"],
)
async def test_a_bad_offer_leaves_nothing_behind(offer: str) -> None:
    """BadSignalling in our own words, with a remedy; no task, no socket, and the transport is closed."""
    files = open_files()
    transport = WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor())
    with pytest.raises(BadSignalling) as caught:
        await transport.answer(offer)
    assert caught.value.hint
    assert OWN_WORDS.fullmatch(caught.value.message)
    assert transport.closed.is_set()
    await transport.aclose()
    assert not await tasks_left()
    assert open_files() <= files


@pytest.mark.parametrize("missing", ["video", "audio", "codec", "fingerprint"])
async def test_an_offer_without_what_we_send_is_refused(missing: str) -> None:
    """Both sound and picture are needed, in codecs that we have."""
    viewer = Viewer(() if missing == "codec" else ("VP8", "H264"))
    offer = await viewer.offer()
    if missing == "video":
        offer = offer[: offer.index("m=video")].replace("BUNDLE 0 1", "BUNDLE 0")
    elif missing == "audio":
        offer = offer.replace(" opus/48000/2", " X-NONE/48000/2")
    elif missing == "fingerprint":
        offer = "".join(line for line in offer.splitlines(True) if not line.startswith("a=fingerprint"))
    transport = WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor())
    with pytest.raises(BadSignalling):
        await transport.answer(offer)
    await viewer.aclose()
    assert not await tasks_left()


async def test_an_offer_of_very_many_lines_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing takes the loop's time: the more lines of a kind, the longer each."""
    viewer = Viewer()
    offer = await viewer.offer() + "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(1300))
    await viewer.aclose()
    monkeypatch.setattr(
        "pipeline.transports.webrtc.SessionDescription.parse", lambda _sdp: pytest.fail("it was parsed")
    )
    with pytest.raises(BadSignalling, match="more than 600 lines"):
        await WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor()).answer(offer)


async def test_a_cut_offer_never_does_worse_than_bad_request() -> None:
    """An SDP cut anywhere, or with a line missing, is answered or refused, and leaves nothing."""
    viewer = Viewer()
    lines = (await viewer.offer()).splitlines(keepends=True)
    await viewer.aclose()
    for index in range(0, len(lines), 3):
        for text in ("".join(lines[:index]), "".join(lines[:index] + lines[index + 1 :])):
            transport = WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor())
            try:
                await transport.answer(text)
            except BadSignalling:
                assert transport.closed.is_set()
            await transport.aclose()
    assert not await tasks_left()


@pytest.mark.parametrize(
    "kinds", [("video", "audio"), ("audio", "video"), ("application", "video", "audio")], ids="-".join
)
async def test_the_order_of_media_in_the_offer_is_free(
    pair: Pair, make_bundle: MakeBundle, kinds: tuple[str, ...]
) -> None:
    """All share one connection, whichever comes first, with or without a data channel."""
    pair.viewer = Viewer(kinds=kinds)
    await pair.viewer.connect(pair.transport)
    await pair.send(idle_frame(0, make_bundle()))


async def test_it_may_offer_to_who_takes_a_stream(pair: Pair, make_bundle: MakeBundle) -> None:
    """The other end answers, and frames flow as ever; one connection over which all of it goes."""
    offer = await pair.transport.offer()
    assert offer.count("a=sendonly") == 2 and "a=group:BUNDLE" in offer
    await pair.transport.accept(await pair.viewer.answer(offer))
    async with asyncio.timeout(30):
        await pair.transport.connected.wait()
    await pair.send(idle_frame(0, make_bundle()), speaking_frame(1, make_bundle()))
    with pytest.raises(BadSignalling):
        await pair.transport.offer()
    with pytest.raises(BadSignalling):
        await pair.transport.answer(offer)


@pytest.mark.parametrize("missing", ["all", "video", "fingerprint", "codec", "half"])
async def test_an_answer_without_what_is_needed_is_refused(missing: str) -> None:
    """In our own words; nothing is left open."""
    viewer, transport = Viewer(), WebRtcTransport(LoopCache(GatedExecutor()), GatedExecutor())
    answer = await viewer.answer(await transport.offer())
    answer = {
        "all": "v=0 of nothing",
        "video": answer[: answer.index("m=audio")],
        "fingerprint": "".join(line for line in answer.splitlines(True) if not line.startswith("a=fingerprint")),
        "codec": answer.replace(" opus/48000/2", " X-NONE/48000/2"),
        "half": answer[: len(answer) // 2],
    }[missing]
    with pytest.raises(BadSignalling) as caught:
        await transport.accept(answer)
    assert OWN_WORDS.fullmatch(caught.value.message)
    assert transport.closed.is_set()
    await viewer.aclose()
    assert not await tasks_left()


async def test_a_second_offer_is_refused(pair: Pair) -> None:
    """One transport is one connection."""
    await pair.viewer.connect(pair.transport)
    with pytest.raises(BadSignalling):
        await pair.transport.answer(await Viewer().offer())
    assert not pair.transport.closed.is_set()


async def test_the_answer_names_host_candidates_only(pair: Pair) -> None:
    """Without settings no server in the world is asked for our address."""
    answer = await pair.transport.answer(await pair.viewer.offer())
    kinds = {line.split(" typ ")[1].split()[0] for line in answer.splitlines() if line.startswith("a=candidate")}
    assert kinds == {"host"}


async def test_candidates_trickle(pair: Pair) -> None:
    """An offer without candidates connects by candidates that come after the answer."""
    offer = await pair.viewer.offer()
    candidates = [line for line in offer.splitlines() if line.startswith("a=candidate")]
    bare = "".join(
        line for line in offer.splitlines(keepends=True) if not line.startswith(("a=candidate", "a=end-of-candidates"))
    )
    answer = await pair.transport.answer(bare)
    for candidate in candidates:
        await pair.transport.add_candidate(candidate.removeprefix("a="), "0", 0)
    await pair.transport.add_candidate("", "0", 0)
    await pair.transport.add_candidate("candidate:1 1 udp 2 abcd-ef.local 9 typ host", "0", 0)
    await pair.viewer.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    async with asyncio.timeout(30):
        await pair.transport.connected.wait()


async def test_an_offer_full_of_candidates_has_us_send_to_few_addresses(pair: Pair) -> None:
    """Those of an offer and those trickled share one bound, and nothing is sent to nobody's addresses."""
    offer = (await pair.viewer.offer()).replace(
        "a=end-of-candidates",
        "\r\n".join(
            [
                *(f"a=candidate:1 1 udp 2 192.0.2.7 {port} typ host" for port in range(1, 1000)),
                "a=candidate:1 1 udp 2 224.0.0.1 9 typ host",
                "a=candidate:1 1 udp 2 192.0.2.8 99999 typ host",
                "a=candidate:1 1 udp 2 x.local\t 9 typ host",
                "a=end-of-candidates",
            ]
        ),
        1,
    )
    await pair.transport.answer(offer)
    assert sent_to(pair.transport) <= MAX_CANDIDATES
    with pytest.raises(BadSignalling):
        await pair.transport.add_candidate("candidate:1 1 udp 2 192.0.2.9 9 typ host", "0", 0)


@pytest.mark.parametrize("candidate", ["candidate:", "candidate:1 2", "x y z", "candidate:1 a udp b c d typ host"])
async def test_a_bad_candidate_is_a_bad_request(pair: Pair, candidate: str) -> None:
    """Nonsense from a viewer is told to the viewer; the connection goes on."""
    await pair.viewer.connect(pair.transport)
    with pytest.raises(BadSignalling) as caught:
        await pair.transport.add_candidate(candidate, "0", 0)
    assert OWN_WORDS.fullmatch(caught.value.message)
    with pytest.raises(BadSignalling):
        await pair.transport.add_candidate("candidate:1 1 udp 2 192.0.2.7 9 typ host", None, None)
    assert not pair.transport.closed.is_set()

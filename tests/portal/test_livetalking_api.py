"""LiveTalking's HTTP API against a portal as a user starts it, spoken to by a client that knows nothing else."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import av
import httpx
import numpy as np
import pytest
import soundfile
from aiortc.mediastreams import MediaStreamError

from avatars.library import AvatarLibrary
from portal.app import create_app
from portal.commands.portal_process import PortalProcess
from portal.settings import Settings
from tests.browser.conftest import write_avatar
from tests.portal.receiving_peer import WITHIN_S, ReceivingPeer

pytestmark = pytest.mark.thorough
STUN = "stun:stun.example.org:3478"


@pytest.fixture
def portal(calling_portal: PortalProcess) -> PortalProcess:
    return calling_portal


class Caller:
    """A client of LiveTalking: plain HTTP, and a peer connection that gathers before it offers."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.peer = ReceivingPeer()
        self.session = ""

    async def start(self, **fields: Any) -> dict[str, Any]:
        offer = {"sdp": await self.peer.offer(), "type": "offer", **fields}
        # The tests before this one made offers from the same address, and a quick machine is soon through with them.
        while "too often" in (answer := await self.post("/offer", json=offer)).get("msg", ""):  # noqa: ASYNC110
            await asyncio.sleep(1)
        if "sessionid" in answer:
            self.session = answer["sessionid"]
            await self.peer.accept(answer["sdp"])
        return answer

    async def post(self, path: str, **options: Any) -> dict[str, Any]:
        """The answer's JSON, which always comes with HTTP 200."""
        response = await self.http.post(path, **options)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        return await self.post(path, json={"sessionid": self.session, **fields})

    async def follow(self, count: int) -> asyncio.Task[list[dict[str, Any]]]:
        """The next `count` speech events: those of whatever is asked for once this has returned."""
        follows = asyncio.Event()
        told = asyncio.create_task(self._events(count, follows))
        async with asyncio.timeout(WITHIN_S):
            await follows.wait()
        return told

    async def _events(self, count: int, follows: asyncio.Event) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        async with self.http.stream("GET", "/sse", params={"sessionid": self.session}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            follows.set()
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    told.append(json.loads(line.removeprefix("data: ")))
                if len(told) == count:
                    break
        return told

    async def aclose(self) -> None:
        await self.peer.aclose()


@pytest.fixture
async def http(portal: PortalProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=portal.url, timeout=WITHIN_S) as client:
        yield client


@pytest.fixture
async def caller(http: httpx.AsyncClient) -> AsyncIterator[Caller]:
    one = Caller(http)
    yield one
    if one.session:
        await one.ask("/close")
    await one.aclose()


def wav() -> bytes:
    """A second of a tone that sounds like speech to what looks for it: it comes and goes."""
    times = np.arange(16_000) / 16_000
    file = io.BytesIO()
    soundfile.write(
        file,
        0.4 * np.sin(2 * np.pi * 220 * times) * (np.sin(2 * np.pi * 4 * times) > 0),
        16_000,
        "PCM_16",
        format="WAV",
    )
    return file.getvalue()


async def test_a_text_is_spoken_and_its_events_are_told(caller: Caller) -> None:
    """Offer, echo: pictures and sound arrive over WebRTC; the stream of events has the text and what came with it."""
    answer = await caller.start(avatar="beta")
    assert set(answer) == {"sdp", "type", "sessionid"} and answer["type"] == "answer"
    await caller.peer.shown()
    events = await caller.follow(2)
    tts = {"emotion": "glad"}
    assert await caller.ask("/human", text="Hello there.", type="echo", tts=tts) == {"code": 0, "msg": "ok"}
    await caller.peer.loud()
    async with asyncio.timeout(WITHIN_S):
        assert await events == [{"status": status, "text": "Hello there.", "tts": tts} for status in ("start", "end")]


async def test_a_page_of_an_older_livetalking_sends_its_id_as_a_number(caller: Caller) -> None:
    """`parseInt(sessionid)`: the id is a UUID whose beginning is a number that JavaScript keeps as it is."""
    answer = await caller.start()
    session = answer["sessionid"]
    assert uuid.UUID(session).version == 4 and session == uuid.UUID(session).hex
    number = int("".join(itertools.takewhile(str.isdecimal, session)))
    assert 10**14 <= number < 2**53 and float(number) == number
    for known in (session, number, str(number)):
        assert await caller.post("/is_speaking", json={"sessionid": known}) == {"code": 0, "msg": "ok", "data": False}
    for unknown in (number - 1, number // 10, session[:16], "", None):
        refused = await caller.post("/is_speaking", json={"sessionid": unknown})
        assert refused == {"code": -1, "msg": "session not found"}


@pytest.mark.parametrize("named", ["wav2lip256_Avatar1", "wav2lip256-avatar1", "Its Folder"])
async def test_avatars_have_the_ids_that_clients_of_livetalking_know(
    caller: Caller, portal: PortalProcess, http: httpx.AsyncClient, named: str
) -> None:
    """Ids there are names of folders, with underscores. What was imported is found by the name of its folder."""
    avatars = portal.log.parent / "avatars"
    if not (avatars / "wav2lip256-avatar1").exists():
        AvatarLibrary(avatars).rename(write_avatar(avatars / "wav2lip256-avatar1", 60).name, "Its Folder")
    assert "sessionid" in await caller.start(avatar=named)
    await caller.peer.shown()


async def test_an_answer_is_spoken_sentence_by_sentence_and_can_be_stopped(caller: Caller) -> None:
    """Chat: the model's sentences are told one by one; is_speaking is true until interrupt_talk."""
    await caller.start()
    await caller.peer.shown()
    events = await caller.follow(3)
    await caller.ask("/human", text="One sentence here. " * 12, type="chat")
    async with asyncio.timeout(WITHIN_S):
        told = await events
    assert [event["status"] for event in told] == ["start", "end", "start"]
    assert await caller.ask("/is_speaking") == {"code": 0, "msg": "ok", "data": True}
    assert await caller.ask("/interrupt_talk") == {"code": 0, "msg": "ok"}
    assert await caller.ask("/is_speaking") == {"code": 0, "msg": "ok", "data": False}


async def test_a_question_without_interrupt_waits_for_what_is_said(caller: Caller) -> None:
    """As in LiveTalking, where only `interrupt` cuts in."""
    await caller.start()
    await caller.peer.shown()
    events = await caller.follow(3)
    await caller.ask("/human", text="First text.", type="echo")
    await caller.ask("/human", text="Second.", type="chat")
    async with asyncio.timeout(WITHIN_S):
        first, end, second = await events
    assert (first["text"], end["status"], end["text"]) == ("First text.", "end", "First text.")
    assert second["status"] == "start" and "Second" in second["text"]


async def test_actions_are_the_gestures_of_the_avatar(caller: Caller) -> None:
    """Counted from 2 in the order of their names; 0 and 1 are idle and speaking. Others are refused."""
    await caller.start(avatar="beta")
    for audiotype in (2, 0, 2, 1):
        assert await caller.ask("/set_audiotype", audiotype=audiotype) == {"code": 0, "msg": "ok"}
    for audiotype in (3, -1):
        refused = await caller.ask("/set_audiotype", audiotype=audiotype)
        assert refused["code"] == -1 and "1 action clips" in refused["msg"]


async def test_a_recording_is_spoken(caller: Caller, portal: PortalProcess) -> None:
    """Its events have no text, and nothing of its file stays."""
    await caller.start()
    await caller.peer.shown()
    events = await caller.follow(2)
    answer = await caller.post(
        "/humanaudio", data={"sessionid": caller.session}, files={"file": ("a.wav", wav(), "audio/wav")}
    )
    assert answer == {"code": 0, "msg": "ok"}
    async with asyncio.timeout(WITHIN_S):
        assert await events == [{"status": "start"}, {"status": "end"}]
    assert not list((portal.log.parent / "uploads").iterdir())


async def test_what_is_no_recording_is_refused(caller: Caller, portal: PortalProcess) -> None:
    """A WAV that is none, no file at all, and no session: each in LiveTalking's form, with nothing left behind."""
    await caller.start()
    for data, files in (
        ({"sessionid": caller.session}, {"file": ("a.wav", b"RIFF no wav at all", "audio/wav")}),
        ({"sessionid": caller.session}, {"other": ("a.wav", wav(), "audio/wav")}),
        ({"sessionid": "nobody"}, {"file": ("a.wav", wav(), "audio/wav")}),
    ):
        answer = await caller.post("/humanaudio", data=data, files=files)
        assert answer["code"] == -1 and answer["msg"]
    assert not list((portal.log.parent / "uploads").iterdir())


async def test_a_session_is_recorded(caller: Caller) -> None:
    """start_record, end_record, and the file at /record/{sessionid}; before that it is a 404 with a text."""
    await caller.start()
    await caller.peer.shown()
    assert (await caller.http.get(f"/record/{caller.session}")).status_code == 404
    assert await caller.ask("/record", type="start_record") == {"code": 0, "msg": "ok"}
    await caller.ask("/human", text="Hello there.", type="echo")
    await caller.peer.loud()
    assert await caller.ask("/record", type="end_record") == {"code": 0, "msg": "ok"}
    file = await caller.http.get(f"/record/{caller.session}")
    assert file.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(file.content), "r") as clip:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in clip.decode(audio=0)])
    assert np.abs(sound).max() > 0.1
    assert (await caller.ask("/record", type="end_record"))["code"] == -1


async def test_one_more_session_is_refused_in_its_words(http: httpx.AsyncClient) -> None:
    """And a place is free again as soon as a client's connection has ended."""
    callers = [Caller(http) for _ in range(4)]
    try:
        assert "sessionid" in await callers[0].start()
        assert "sessionid" in await callers[1].start()
        assert (await callers[2].start()) == {"code": -1, "msg": "Maximum session limit reached (2/2)"}
        await callers[0].peer.shown()
        await callers[0].aclose()
        async with asyncio.timeout(WITHIN_S):
            while (await callers[0].ask("/is_speaking"))["code"] == 0:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.05)
        assert "sessionid" in await callers[3].start()
    finally:
        for one in callers:
            if one.session:
                await one.ask("/close")
            await one.aclose()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/human", {"sessionid": "nobody", "text": "a", "type": "echo"}),
        ("/interrupt_talk", {"sessionid": "nobody"}),
        ("/is_speaking", {"sessionid": 0}),
        ("/set_audiotype", {"sessionid": "nobody", "audiotype": 2}),
    ],
)
async def test_an_unknown_session_is_told_in_its_words(http: httpx.AsyncClient, path: str, body: object) -> None:
    """HTTP 200, code -1, `session not found`; a number for an id is taken, too."""
    response = await http.post(path, json=body)
    assert (response.status_code, response.json()) == (200, {"code": -1, "msg": "session not found"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/offer", b"{"),
        ("/offer", b'{"sdp": "no sdp", "type": "offer"}'),
        ("/offer", b'{"sdp": "v=0", "type": "offer", "avatar": "nobody"}'),
        ("/offer", b'{"sdp": "v=0", "type": "offer", "refaudio": "/etc/passwd"}'),
        ("/offer", b'{"sdp": "v=0", "type": "offer", "custom_config": "[{\\"imgpath\\": \\"/etc\\"}]"}'),
        ("/human", b'{"sessionid": "x"}'),
        ("/human", b'{"sessionid": "x", "text": 3, "type": "sing"}'),
        ("/set_audiotype", b'{"sessionid": "x", "audiotype": "wave"}'),
        ("/offer", b'{"type": "offer", "sdp": "%s"}' % (b"v" * 66_000)),
        ("/human", b'{"sessionid": "x", "type": "echo", "text": "%s"}' % (b"a" * 100_001)),
        ("/interrupt_talk", b'{"sessionid": "%s"}' % (b"1" * 101)),
        ("/record", b'{"sessionid": ["x"], "type": "%s"}' % (b"start_record" * 99)),
    ],
)
async def test_malformed_calls_are_refused_in_its_form(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    """Missing fields, wrong types, what is no SDP, files on the server, and texts without an end, which are not
    repeated.
    """
    response = await http.post(path, content=body)
    assert response.status_code == 200 and len(response.content) < 300
    assert response.json()["code"] == -1 and response.json()["msg"]


async def test_offers_that_are_none_take_no_place(http: httpx.AsyncClient) -> None:
    """However many come, a client that can connect still gets in."""
    for noise in ("garbage", "v=0", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "v=0\r\n" * 100):
        answer = await http.post("/offer", json={"sdp": noise, "type": "offer"})
        assert (answer.status_code, answer.json()["code"]) == (200, -1)
    caller = Caller(http)
    try:
        assert "sessionid" in await caller.start()
    finally:
        await caller.ask("/close")
        await caller.aclose()


@pytest.mark.parametrize("path", ["/offer", "/human", "/interrupt_talk", "/record", "/set_audiotype"])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_100_mb_is_refused_in_its_form(portal: PortalProcess, path: str, declared: bool) -> None:
    """Before it has come: the caller says how much it will send, or only begins."""
    length = "Content-Length: 100000000" if declared else "Transfer-Encoding: chunked"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    begun = b"" if declared else 5 * (b"10000\r\n" + b" " * 65_536 + b"\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", portal.port)
    writer.write(head.encode() + begun)
    answer = (await asyncio.wait_for(reader.read(), WITHIN_S)).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200 ")
    told = json.loads(answer.partition("\r\n\r\n")[2])
    assert told["code"] == -1 and told["msg"]


async def test_an_operators_page_sees_the_configuration_and_the_sessions(
    caller: Caller, portal: PortalProcess, http: httpx.AsyncClient
) -> None:
    """In LiveTalking's fields, once the operator has turned that on; nothing secret is among them."""
    config = (await http.get("/api/admin/config")).json()
    await caller.start(refaudio="beep")
    await caller.peer.shown()
    await caller.ask("/record", type="start_record")
    sessions = (await http.get("/api/admin/sessions")).json()
    told = {"transport": "webrtc", "model": "flash", "avatar_id": "alpha", "tts": "beep", "REF_FILE": ""}
    limits = {"max_session": 2, "listenport": portal.port}
    assert config == {"code": 0, "msg": "ok", "data": {"config": {**told, **limits}}}
    state = {"sessionid": caller.session, "speaking": False, "recording": True, "batch_size": 0, "customopt": []}
    facts = {"model": "flash", "avatar_id": "alpha", "REF_FILE": "beep", "transport": "webrtc"}
    assert sessions == {"code": 0, "msg": "ok", "data": {"sessions": [{**state, **facts}]}}


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> httpx.ASGITransport:
    """A portal that was not started, with LiveTalking's API and none of the further routes that an operator may add."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("rest"), worker=False, livetalking=True, stun_urls=(STUN,))
    return httpx.ASGITransport(app=create_app(settings))


async def test_the_admin_routes_are_off_unless_asked_for(resting: httpx.ASGITransport) -> None:
    """They would show every caller the ids by which sessions are spoken for."""
    async with httpx.AsyncClient(transport=resting, base_url="http://127.0.0.1") as client:
        for path in ("/api/admin/sessions", "/api/admin/config"):
            answer = (await client.get(path)).json()
            assert answer["code"] == -1 and "livetalking_admin" in answer["msg"]


async def test_a_client_learns_of_servers_that_help_it_to_connect(resting: httpx.ASGITransport) -> None:
    """Not in LiveTalking, whose pages have a STUN server built in; as RTCPeerConnection takes them."""
    async with httpx.AsyncClient(transport=resting, base_url="http://127.0.0.1") as client:
        answer = await client.get("/ice_servers")
    assert answer.json() == {"code": 0, "msg": "ok", "data": {"iceServers": [{"urls": [STUN]}]}}


async def test_a_stream_of_events_ends_with_its_session(caller: Caller) -> None:
    """So that its reader does not wait for ever."""
    await caller.start()
    stream = await caller.follow(1)
    await caller.peer.shown()
    await caller.ask("/close")
    caller.session = ""
    async with asyncio.timeout(WITHIN_S):
        assert await stream == []
    with pytest.raises(MediaStreamError):
        track = caller.peer.track("audio")
        async with asyncio.timeout(WITHIN_S):
            while True:
                await track.recv()


async def test_it_is_not_there_unless_it_is_switched_on() -> None:
    """A portal that was not asked to has none of these addresses."""
    app = create_app(Settings(worker=False))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/offer", json={})).status_code in (404, 405)

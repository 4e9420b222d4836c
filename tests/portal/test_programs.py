"""Sessions of programs: opened, driven and ended by requests, with sessions that record what they are asked to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pipeline.errors import BadRequest
from pipeline.types import TextEvent, TurnEvent, TurnState
from portal.api.allowances import PUSHES_EACH
from portal.api.event_streams import EVENTS_BOUND, FOLLOWERS, EventStream, Followers
from portal.api.programs import UNATTENDED_S, Programs
from portal.api.sessions import sessions_router, watch_router
from portal.api.watchers import (
    MAX_OF_ADDRESS,
    MAX_WATCHERS,
    MAX_WATCHERS_FOR_GUESTS,
    WatcherPlaces,
    Watchers,
)
from portal.errors import PeerNotFound
from portal.http.limits import TooMany
from tests.portal.session_house import FakeSession, FakeTransports, House, open_house


class Desk:
    """The requests of one program, to a house that has sessions for programs."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.programs = Programs(house.socket.seating, house.clock)
        house.app.include_router(sessions_router(self.programs, house.socket.browser_ice_servers))
        house.app.include_router(watch_router(self.programs))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=house.app), base_url="http://test")
        self.opened: dict[str, Any] = {}

    async def open(self, **wishes: Any) -> dict[str, Any]:
        answer = await self.http.post("/api/sessions", json=wishes)
        assert answer.status_code == 201, answer.text
        self.opened = answer.json()
        assert answer.headers["location"] == self.opened["addresses"]["session"]
        self.http.headers["Authorization"] = f"Bearer {self.opened['token']}"
        return self.opened

    def is_open(self) -> bool:
        return not self.house.session.closed

    def watching(self) -> list[Any]:
        """Those who get the session's frames."""
        return list(self.house.session.outputs.added)

    async def post(self, address: str, /, **fields: Any) -> httpx.Response:
        return await self.http.post(self.opened["addresses"][address], json=fields)

    async def offer(self, sdp: str = "v=0") -> httpx.Response:
        headers = {"Content-Type": "application/sdp"}
        return await self.http.post(self.opened["addresses"]["whep"], content=sdp, headers=headers)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_house() as house:
        one = Desk(house)
        yield one
        await one.programs.aclose()
        await one.programs.aclose()
        await one.http.aclose()


def code_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert error["message"]
    return str(error["code"])


async def test_a_session_is_opened_as_a_hello_opens_one(desk: Desk) -> None:
    """With an avatar, a persona, who it is, and what was said before; the answer has its size and addresses."""
    opened = await desk.open(
        avatar="mira",
        prompt="You sell fruit.",
        greeting="Good day.",
        speed=1.5,
        identity={"user": "bot"},
        history=[{"role": "user", "content": "Hello."}],
    )
    session = desk.house.session
    assert (session.bundle.id, session.speed, session.identity) == ("mira", 1.5, {"user": "bot"})
    assert (session.persona.prompt, session.persona.greeting) == ("You sell fruit.", "Good day.")
    assert [remark.content for remark in session.recalled] == ["Hello."]
    assert (opened["width"], opened["height"], opened["fps"], opened["sample_rate"]) == (512, 640, 25, 48_000)
    assert opened["avatar"] == {"id": "mira", "name": "Mira"} and opened["ice_servers"][0]["urls"] == ["turn:turn.test"]


async def test_it_shows_gestures(desk: Desk) -> None:
    """By name; without one it goes back to the loop, and one that is not there is refused."""
    await desk.open()
    address = desk.opened["addresses"]["gesture"]
    answers = [await desk.http.post(address, json=wish) for wish in ({"name": "wave"}, {})]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert desk.house.session.gestures == ["wave", None]
    assert code_of(await desk.http.post(address, json={"name": "dance"})) == "gesture_not_found"


async def test_it_speaks_answers_and_falls_silent(desk: Desk) -> None:
    """Texts are spoken as they are, questions answered; each has the number of its turn."""
    await desk.open()
    said, asked = await desk.post("say", text="Hello."), await desk.post("ask", text="How are you?")
    assert (said.status_code, said.json()["turn"]) == (202, 1) and asked.json() == {"turn": 2, "state": "queued"}
    assert desk.house.session.said == [("Hello.", "echo"), ("How are you?", "chat")]
    assert (await desk.post("interrupt")).status_code == 204
    assert desk.house.session.interrupts == 1
    state = (await desk.http.get(desk.opened["addresses"]["session"])).json()
    assert (state["turn"], state["media_s"], state["watchers"]) == (2, 2.0, 0)


async def test_only_who_has_the_token_may_use_it(desk: Desk) -> None:
    """Without it, with another one, or with another session's: 401; the id alone opens nothing."""
    other = await desk.open()
    await desk.open()
    for token in ("", "Bearer wrong", f"Bearer {other['token']}", "Basic eDp5"):
        desk.http.headers["Authorization"] = token
        for answer in (
            await desk.post("say", text="Hello."),
            await desk.post("interrupt"),
            await desk.offer(),
            await desk.http.get(desk.opened["addresses"]["session"]),
            await desk.http.get(desk.opened["addresses"]["events"]),
            await desk.http.delete(desk.opened["addresses"]["session"]),
        ):
            assert answer.status_code == 401 and code_of(answer) == "unknown_token"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert not desk.house.session.said and desk.is_open()


async def test_what_cannot_be_done_is_explained(desk: Desk) -> None:
    """An avatar or a session that is not there, an empty text, a wish that is out of bounds, and what is no SDP."""
    for wishes, status, code in (
        ({"avatar": "nobody"}, 404, "avatar_not_found"),
        ({"lipsync": "wav2lip256"}, 409, "avatar_not_prepared"),
        ({"speed": 9}, 400, "bad_request"),
    ):
        answer = await desk.http.post("/api/sessions", json=wishes)
        assert (answer.status_code, code_of(answer)) == (status, code)
    await desk.open()
    for answer in (await desk.post("say", text=""), await desk.post("ask"), await desk.offer("no sdp")):
        assert (answer.status_code, code_of(answer)) == (400, "bad_request")
    gone = await desk.http.post("/api/sessions/s77/say", json={"text": "Hello."})
    assert (gone.status_code, code_of(gone)) == (404, "session_not_found")


async def test_one_more_than_there_are_places_is_refused(desk: Desk) -> None:
    """Programs have the places that viewers have; one that ends its session gives its place back."""
    for _ in range(desk.house.sessions.admission.capacity):
        await desk.open()
    refused = await desk.http.post("/api/sessions", json={})
    assert (refused.status_code, code_of(refused)) == (503, "at_capacity")
    assert (await desk.http.delete(desk.opened["addresses"]["session"])).status_code == 204
    assert not desk.is_open()
    assert (await desk.post("say", text="Hello.")).status_code == 404
    await desk.open()


async def test_it_is_watched_by_whep(desk: Desk) -> None:
    """Frames go to the connection, whose first picture is greeted; its address ends it, and the session goes on."""
    await desk.open()
    answer = await desk.offer()
    assert (answer.status_code, answer.text) == (201, "v=0 answer")
    assert answer.headers["content-type"] == "application/sdp"
    peer = desk.house.transports.made[-1]
    assert desk.watching() == [peer] and desk.house.session.greetings == 0
    peer.connected.set()
    await desk.house.settle()
    assert desk.house.session.greetings == 1
    address = answer.headers["location"]
    assert address.startswith(desk.opened["addresses"]["whep"] + "/")
    assert (await desk.http.patch(address, content="a=candidate")).status_code == 405
    assert (await desk.http.delete(address)).status_code == 204
    assert desk.watching() == [] and desk.is_open()
    again = await desk.http.delete(address)
    assert (again.status_code, code_of(again)) == (404, "session_not_found")


async def test_many_may_watch_but_only_the_program_may_speak(desk: Desk) -> None:
    """Others need the link alone, which is no token; each leaves by itself, and all are cut off with the session."""
    await desk.open()
    await desk.offer()
    mine = desk.http.headers.pop("Authorization")
    link = desk.opened["addresses"]["watch"]
    answers = [await desk.http.post(link, content="v=0") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201] and len(desk.watching()) == 3
    desk.http.headers["Authorization"] = f"Bearer {link.split('/')[-2]}"
    assert (await desk.post("say", text="Hello.")).status_code == 401
    assert (await desk.http.delete(answers[0].headers["location"])).status_code == 204
    desk.house.transports.made[2].closed.set()
    await desk.house.settle()
    assert desk.watching() == desk.house.transports.made[:1]
    assert (await desk.http.delete(answers[1].headers["location"])).status_code == 404
    desk.http.headers["Authorization"] = mine
    await desk.http.delete(desk.opened["addresses"]["session"])
    assert desk.house.transports.made[0].closed.is_set()
    gone = await desk.http.post(link, content="v=0")
    assert (gone.status_code, code_of(gone)) == (404, "session_not_found")


async def settle() -> None:
    """Whatever can go on has done so."""
    for _ in range(50):
        await asyncio.sleep(0)


def everybody_connects(desk: Desk) -> None:
    for peer in desk.house.transports.made:
        peer.connected.set()


async def test_a_session_has_so_many_watchers_and_no_more(desk: Desk) -> None:
    """One who leaves makes room; an offer that cannot be answered takes none."""
    await desk.open()
    watchers = desk.programs.find(desk.opened["id"], desk.opened["token"]).seat.watchers
    with pytest.raises(BadRequest):
        await watchers.join("no sdp", local=True)
    ids = [(await watchers.join("v=0", local=True))[0] for _ in range(MAX_WATCHERS)]
    everybody_connects(desk)
    with pytest.raises(TooMany):
        await watchers.join("v=0", local=True)
    watchers.leave(ids[3])
    with pytest.raises(TooMany):
        await watchers.join("v=0", local=True, is_guest=True)
    await watchers.join("v=0", local=True)


async def test_guests_leave_places_for_whoever_opened_the_session(desk: Desk) -> None:
    """They have the link only, and anybody may have that."""
    await desk.open()
    watchers = desk.programs.find(desk.opened["id"], desk.opened["token"]).seat.watchers
    for _ in range(MAX_WATCHERS_FOR_GUESTS):
        await watchers.join("v=0", local=True, is_guest=True)
    everybody_connects(desk)
    with pytest.raises(TooMany, match="12 watch"):
        await watchers.join("v=0", local=True, is_guest=True)
    await watchers.join("v=0", local=True)


async def test_guests_who_never_connect_make_room_for_others(desk: Desk) -> None:
    """The oldest of the address that has most of them goes. Who is connected stays, and so does who is about to be."""
    await desk.open()
    watchers = desk.programs.find(desk.opened["id"], desk.opened["token"]).seat.watchers
    await watchers.join("v=0", local=True, is_guest=True, address="connected")
    everybody_connects(desk)
    await watchers.join("v=0", local=True, is_guest=True, address="about to")
    held = [
        (await watchers.join("v=0", local=True, is_guest=True, address="flood"))[0]
        for _ in range(MAX_WATCHERS_FOR_GUESTS - 2)
    ]
    assert len(watchers) == MAX_WATCHERS_FOR_GUESTS
    await watchers.join("v=0", local=True, is_guest=True, address="newcomer")
    assert len(watchers) == MAX_WATCHERS_FOR_GUESTS
    with pytest.raises(PeerNotFound):
        watchers.leave(held[0])
    made = desk.house.transports.made
    assert desk.watching() == [*made[:2], *made[3:]]


async def test_guests_of_one_address_make_room_for_those_of_others(desk: Desk) -> None:
    """Its newest goes, until it has no more places than others. A watcher of whoever opened the session stays."""
    await desk.open()
    watchers = desk.programs.find(desk.opened["id"], desk.opened["token"]).seat.watchers
    await watchers.join("v=0", local=True, address="many")
    held = [
        (await watchers.join("v=0", local=True, is_guest=True, address="many"))[0]
        for _ in range(MAX_WATCHERS_FOR_GUESTS - 1)
    ]
    for number in range((MAX_WATCHERS_FOR_GUESTS - 1) // 2):
        everybody_connects(desk)
        await watchers.join("v=0", local=True, is_guest=True, address="another" if number % 2 else "newcomer")
        assert len(watchers) == MAX_WATCHERS_FOR_GUESTS
        with pytest.raises(PeerNotFound):
            watchers.leave(held.pop())
    everybody_connects(desk)
    with pytest.raises(TooMany):
        await watchers.join("v=0", local=True, is_guest=True, address="many")
    assert desk.watching()[0] is desk.house.transports.made[0]


def _fakes() -> tuple[Any, Any]:
    """Return a session and transports for Watchers."""
    return FakeSession("s", "mira"), FakeTransports()


class Rooms:
    """The watchers of several sessions of one portal."""

    def __init__(self, cores: int, sessions: int) -> None:
        session, self.transports = _fakes()
        self.places = WatcherPlaces(cores)
        self.sessions = [Watchers(session, self.transports, self.places) for _ in range(sessions)]

    async def connect(self, session: int, address: str, *, is_guest: bool = True) -> str:
        peer_id, _answer = await self.sessions[session].join("v=0", local=True, is_guest=is_guest, address=address)
        self.transports.made[-1].connected.set()
        await settle()
        return peer_id

    @property
    def counts(self) -> list[int]:
        return [len(watchers) for watchers in self.sessions]

    async def aclose(self) -> None:
        for watchers in self.sessions:
            await watchers.aclose()


async def test_an_address_has_so_many_watchers_in_all_sessions() -> None:
    """More would take the machine from those who talk."""
    rooms = Rooms(cores=4, sessions=4)
    ids = [await rooms.connect(number % 4, "greedy") for number in range(MAX_OF_ADDRESS)]
    with pytest.raises(TooMany, match="your network"):
        await rooms.connect(0, "greedy")
    await rooms.connect(0, "modest")
    rooms.sessions[0].leave(ids[0])
    await rooms.connect(3, "greedy")
    await rooms.aclose()
    rooms.places.check("greedy")


async def test_all_sessions_together_have_so_many_watchers() -> None:
    """When all places are taken, the address with most gives one up for another; in the end all have as many."""
    rooms = Rooms(cores=1, sessions=4)
    for number in range(MAX_WATCHERS):
        await rooms.connect(number % 2, "many" if number < 10 else "some")
    for _ in range(4):
        await rooms.connect(2, "newcomer")
        assert sum(rooms.counts) == MAX_WATCHERS
    assert rooms.counts[2] == 4
    await rooms.connect(3, "newcomer")
    with pytest.raises(TooMany, match="16 people"):
        await rooms.connect(3, "newcomer")
    await rooms.aclose()


async def test_a_session_that_closes_gives_its_watchers_places_at_once() -> None:
    """While its connections close, others join; neither stumbles over the other."""
    rooms = Rooms(cores=1, sessions=3)
    for number in range(MAX_WATCHERS):
        await rooms.connect(0 if number < 10 else 1, "many" if number < 10 else "some")
    joining: list[asyncio.Task[str]] = []

    async def closes_slowly() -> None:
        joining.append(asyncio.create_task(rooms.connect(2, "newcomer")))
        await settle()

    for peer in rooms.transports.made[:10]:
        peer.aclose = closes_slowly
    await rooms.sessions[0].aclose()
    await asyncio.gather(*joining)
    assert rooms.counts == [0, 6, 10]
    await rooms.aclose()
    rooms.places.check("many")


async def test_the_addresses_of_one_network_count_as_one_when_places_are_short() -> None:
    """Whoever has a /48 network of IPv6 has 65,536 addresses, and must not keep others from watching."""
    rooms = Rooms(cores=1, sessions=3)
    for number in range(MAX_WATCHERS):
        await rooms.connect(number % 2, f"2001:db8:1:{number:x}::")
    await rooms.connect(2, "203.0.113.9")
    assert rooms.counts[2] == 1 and sum(rooms.counts) == MAX_WATCHERS
    await rooms.aclose()


async def test_whoever_opened_a_session_sees_it_however_many_watch_others() -> None:
    """A class behind one address, or a program that passes its users' offers on: one watcher of each needs no place."""
    rooms = Rooms(cores=1, sessions=30)
    for session in range(30):
        await rooms.connect(session, "class", is_guest=False)
    assert rooms.counts == [1] * 30
    for session in range(MAX_OF_ADDRESS):
        await rooms.connect(session, "class", is_guest=False)
    with pytest.raises(TooMany):
        await rooms.connect(20, "class", is_guest=False)
    await rooms.aclose()


async def test_watchers_who_connect_too_late_are_turned_away() -> None:
    """They were let in while places were free, and hold none until they are connected."""
    rooms = Rooms(cores=1, sessions=2)
    for watchers in rooms.sessions:
        for _ in range(MAX_WATCHERS_FOR_GUESTS):
            await watchers.join("v=0", local=True, is_guest=True, address="many")
    for peer in rooms.transports.made:
        peer.connected.set()
    await settle()
    assert rooms.counts == [MAX_WATCHERS_FOR_GUESTS, MAX_OF_ADDRESS - MAX_WATCHERS_FOR_GUESTS]
    await rooms.aclose()


async def test_a_session_of_the_page_is_watched_where_the_operator_allows_it() -> None:
    """By the token of its welcome. That opens nothing else, and is worth nothing after the session."""
    async with open_house(watch_links=True) as house:
        desk = Desk(house)
        viewer = await house.viewer()
        token = (await viewer.hello())["watch"]
        address = f"/api/watch/{token}/whep"
        answer = await desk.http.post(address, content="v=0")
        assert answer.status_code == 201 and answer.headers["location"].startswith(f"{address}/")
        assert desk.watching() == [house.transports.made[-1]]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await desk.http.post("/api/sessions/s1/say", json={"text": "Hi."}, headers=headers)).status_code == 404
        for unknown in ("x", "é", "x" * 5000):
            assert (await desk.http.post(f"/api/watch/{unknown}/whep", content="v=0")).status_code == 404
        viewer.tell("bye")
        await house.settle()
        assert house.transports.made[-1].closed.is_set()
        assert (await desk.http.post(address, content="v=0")).status_code == 404
        await desk.http.aclose()


async def test_offers_come_at_the_pace_of_all_others(desk: Desk) -> None:
    """Three at once for a session from one address, as over the session socket."""
    await desk.open()
    answers = [await desk.offer() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert code_of(answers[-1]) == "too_often"


async def test_an_unattended_session_ends(desk: Desk) -> None:
    """Nobody watches it, follows it or asks for anything: its program is gone."""
    await desk.open()
    await desk.house.clock.advance(UNATTENDED_S - 10)
    await desk.post("interrupt")
    await desk.house.clock.advance(UNATTENDED_S - 10)
    assert desk.is_open()
    await desk.house.clock.advance(20)
    assert not desk.is_open()
    assert (await desk.post("interrupt")).status_code == 404


async def test_one_that_is_watched_or_followed_goes_on(desk: Desk) -> None:
    """Without any request; two minutes after the watcher has gone it ends."""
    await desk.open()
    await desk.offer()
    peer = desk.house.transports.made[-1]
    peer.connected.set()
    await desk.house.clock.advance(3 * UNATTENDED_S)
    assert desk.is_open()
    program = desk.programs.find(desk.opened["id"], desk.opened["token"])
    stream = program.followers.join()
    peer.closed.set()
    await desk.house.clock.advance(3 * UNATTENDED_S)
    assert desk.is_open()
    program.followers.leave(stream)
    await desk.house.clock.advance(UNATTENDED_S + 10)
    assert not desk.is_open()


async def test_it_is_sent_to_a_streaming_server(desk: Desk) -> None:
    """Where the operator allows it; the key is never shown, another one takes its place, and the session goes on."""
    await desk.open()
    at = desk.opened["addresses"]["push"]
    assert (await desk.http.get(at)).json()["host"] == ""
    answer = await desk.http.put(at, json={"to": "rtmp://a.example/live/secret"})
    assert (answer.status_code, answer.json()["host"], answer.json()["state"]) == (202, "a.example", "live")
    assert "secret" not in (await desk.http.get(at)).text
    first = desk.house.session.outputs.added[0]
    await desk.http.put(at, json={"to": "rtmp://a.example/live/other"})
    assert len(desk.house.session.outputs.added) == 1 and first not in desk.house.session.outputs.added
    again = [await desk.http.put(at, json={"to": "rtmp://a.example/live/other"}) for _ in range(2)]
    assert [answer.status_code for answer in again] == [202, 429]  # each starts a process
    await desk.house.clock.advance(3 * UNATTENDED_S)
    assert (await desk.http.delete(at)).status_code == (await desk.http.delete(at)).status_code == 204
    assert desk.house.session.outputs.added == [] and desk.is_open()


async def test_new_sessions_bring_no_new_streams(desk: Desk) -> None:
    """Each stream starts a process: one address begins so many, then one in ten seconds."""
    answers = []
    desk.house.sessions.admission.capacity = 30
    for _ in range(int(PUSHES_EACH) + 1):
        await desk.open()
        answers.append(await desk.http.put(desk.opened["addresses"]["push"], json={"to": "rtmp://a.example/live/key"}))
    assert [answer.status_code for answer in answers] == [202] * int(PUSHES_EACH) + [429]
    await desk.house.clock.advance(10)
    assert (await desk.http.put(desk.opened["addresses"]["push"], json={"to": "rtmp://a.example/live/key"})).is_success


async def test_other_servers_are_not_written_to(desk: Desk) -> None:
    """Those that the operator has not named, and what is no streaming server at all."""
    await desk.open()
    for to in ("rtmp://evil.example/live/key", "rtmp://a.example/admin", "file:///etc/passwd", "http://127.0.0.1/"):
        answer = await desk.http.put(desk.opened["addresses"]["push"], json={"to": to})
        assert (answer.status_code, code_of(answer)) == (400, "bad_request")
    assert desk.house.session.outputs.added == []


async def test_its_events_are_those_of_the_session_socket(desk: Desk) -> None:
    """Each is one line of JSON; the stream ends with the session."""
    await desk.open()
    reading = asyncio.create_task(desk.http.get(desk.opened["addresses"]["events"]))
    await desk.house.settle()
    await desk.post("say", text="Hello.")
    desk.house.session.events.offer(TextEvent(1, "Hi\nthere"))
    await desk.house.settle()
    await desk.house.sessions.close(desk.house.session)
    async with asyncio.timeout(30):
        answer = await reading
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in answer.text.strip().split("\n\n")]
    assert told[:2] == [
        {"type": "turn", "turn": 1, "state": "queued"},
        {"type": "text", "turn": 1, "delta": "Hi\nthere"},
    ]
    assert told[-1]["code"] == "session_closed"


async def test_the_api_describes_them(desk: Desk) -> None:
    """What is sent, what comes back, and that a bearer token is needed by all but the first."""
    paths = desk.house.app.openapi()["paths"]
    whep = paths["/api/sessions/{session_id}/whep"]["post"]
    assert (
        "application/sdp" in whep["requestBody"]["content"] and "application/sdp" in whep["responses"]["201"]["content"]
    )
    assert "text/event-stream" in paths["/api/sessions/{session_id}/events"]["get"]["responses"]["200"]["content"]
    wish = desk.house.app.openapi()["components"]["schemas"]["SessionWish"]["properties"]
    assert {"avatar", "prompt", "greeting", "history"} <= wish.keys()
    needs_token = {path for path, methods in paths.items() if all("security" in one for one in methods.values())}
    assert paths.keys() - needs_token == {"/api/sessions", *(path for path in paths if "/watch/" in path)}


async def test_a_reader_who_leaves_makes_room_for_another() -> None:
    """Even one who leaves before the first line, so that nobody has asked for it."""
    followers = Followers()
    streams = [EventStream(followers) for _ in range(FOLLOWERS)]
    with pytest.raises(TooMany):
        EventStream(followers)

    async def gone(_message: Any = None) -> Any:
        raise OSError("the reader has left")

    with pytest.raises(Exception):  # noqa: B017 - Starlette's own, by its version
        await streams[0]({"type": "http", "asgi": {"spec_version": "2.4"}}, gone, gone)
    assert len(followers) == FOLLOWERS - 1
    EventStream(followers)


async def test_a_reader_who_hangs_up_is_noticed_before_the_next_event() -> None:
    """Nothing happens in the session meanwhile, and the stream ends all the same."""
    followers, sent = Followers(), list[Any]()

    async def hung_up() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(30):
        await EventStream(followers)({"type": "http", "asgi": {"spec_version": "2.3"}}, hung_up, send)
    assert len(followers) == 0


def test_a_slow_reader_misses_the_oldest_events() -> None:
    """The session never waits for one."""
    followers = Followers()
    stream = followers.join()
    for number in range(EVENTS_BOUND + 5):
        followers.tell({"number": number})
    assert len(stream) == EVENTS_BOUND and stream.receive_nowait() == {"number": 5}


async def test_it_changes_what_it_talks_with(desk: Desk) -> None:
    """One PATCH for voice and avatar; the state says what is in force, and followers are told."""
    opened = await desk.open(tts="beep")
    session, stream = opened["addresses"]["session"], desk.programs.find(opened["id"], opened["token"]).followers.join()
    answer = await desk.http.patch(session, json={"voice": "low", "speed": 1.5, "avatar": "cat"})
    assert answer.status_code == 200, answer.text
    in_force = {**opened["choice"], "voice": "low", "speed": 1.5}
    assert (answer.json()["avatar"]["id"], answer.json()["choice"]) == ("cat", in_force)
    assert (await desk.http.get(session)).json()["choice"] == in_force
    told = [await stream.receive(), await stream.receive()]
    assert [event["type"] for event in told] == ["avatar", "choice"] and told[1]["choice"] == in_force


async def test_what_cannot_be_changed_is_refused(desk: Desk) -> None:
    """Each in a form that says why; the session stays as it was. Who does it all the time has to wait."""
    opened = await desk.open()
    session = opened["addresses"]["session"]
    assert code_of(await desk.http.patch(session, json={"voice": "nobody's"})) == "bad_request"
    assert code_of(await desk.http.patch(session, json={"avatar": "nobody"})) == "avatar_not_found"
    assert (await desk.http.patch(session, json={"speed": 9})).status_code == 400
    assert (await desk.http.get(session)).json()["choice"] == opened["choice"]
    answers = [await desk.http.patch(session, json={"speed": 1.0}) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200, 429} and code_of(answers[-1]) == "too_often"


async def test_its_own_event_comes_back_with_its_text(desk: Desk) -> None:
    """Over the stream of events, at the beginning and at the end."""
    opened = await desk.open()
    stream = desk.programs.find(opened["id"], opened["token"]).followers.join()
    assert (await desk.post("say", text="Hello.", event={"slide": 3})).status_code == 202
    for state in (TurnState.SPEAKING, TurnState.INTERRUPTED):
        desk.house.session.events.offer(TurnEvent(1, state))
    told = [await stream.receive() for _ in range(5)]
    speech = [event for event in told if event["type"] == "speech"]
    assert [(event["event"], event["begins"], event["outcome"]) for event in speech] == [
        ({"slide": 3}, True, ""),
        ({"slide": 3}, False, "interrupted"),
    ]
    assert (await desk.post("ask", text="Hello?", event="x" * 3000)).status_code == 400

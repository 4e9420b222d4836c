"""Sessions for programs over HTTP: open one, speak, interrupt, follow its events, watch it by WHEP, end it.

docs/clients.md explains how to use it. Every request but the one that opens a session needs the session's token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from pipeline.push import Push
from pipeline.types import FPS, PLAYOUT_RATE_HZ
from portal.api.event_streams import EventStream
from portal.api.messages import ChoiceWish, OwnEvent, SessionWish, explicit_fields
from portal.api.programs import Program, Programs
from portal.api.schemas import MAX_FIELD_CHARACTERS, MAX_SPOKEN_CHARACTERS
from portal.api.seats import Seat
from portal.http.error_route import ErrorRoute
from portal.http.people import person_of
from portal.http.proxies import address_of, is_local

__all__ = ["sessions_router", "watch_router"]

SDP: Final = "application/sdp"
EVENTS: Final = "text/event-stream"
WHEP: Final[dict[str, Any]] = {
    "status_code": 201,
    "response_class": Response,
    "responses": {201: {"content": {SDP: {"schema": {"type": "string"}}}, "description": "the SDP answer"}},
    "openapi_extra": {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}},
}
"Description of a WHEP endpoint for OpenAPI."
_bearer = HTTPBearer(auto_error=False, description="the token that came when the session was opened")


async def _token_of(bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
    return "" if bearer is None else bearer.credentials


Token = Annotated[str, Depends(_token_of)]


class ShownAvatar(BaseModel):
    id: str
    name: str


class Addresses(BaseModel):
    """Paths on this server."""

    session: str = Field(description="GET: its state; PATCH: change it; DELETE: end it")
    say: str
    ask: str
    interrupt: str
    gesture: str
    events: str = Field(description="server-sent events")
    whep: str = Field(description="POST a WebRTC offer to watch it")
    watch: str = Field(description="the same without the token, to be given to those who may only watch")
    push: str = Field(description="PUT: send it to a streaming server; GET: how that goes; DELETE: no longer")


class OpenedSession(BaseModel):
    id: str
    token: str = Field(description="secret: whoever has it may drive the session. Sent as a bearer token")
    avatar: ShownAvatar
    width: int = Field(description="px")
    height: int = Field(description="px")
    gestures: list[str] = Field(description="names of what the avatar can show beside its loop")
    choice: InForce
    fps: int = Field(description="pictures per second")
    sample_rate: int = Field(description="of the sound, Hz")
    ice_servers: list[dict[str, object]] = Field(description="as RTCPeerConnection takes them")
    addresses: Addresses


class InForce(BaseModel):
    """What the session talks with."""

    tts: str
    voice: str | None = Field(description="null: the default of tts")
    speed: float = Field(description="of the voice, in times as fast as by itself")
    lipsync: str
    persona: Literal["session", "avatar", "none"] = Field(description="whose instructions the language model has")


class SessionView(BaseModel):
    id: str
    avatar: ShownAvatar
    choice: InForce
    turn: int = Field(description="number of the last turn; 0 before the first")
    state: str = Field(
        description="of that turn: queued, thinking, speaking, done or interrupted; idle before the first"
    )
    media_s: float = Field(description="where the media clock is, in seconds")
    watchers: int = Field(description="how many watch it by WebRTC")


class ChangeRequest(ChoiceWish):
    avatar: str | None = Field(None, min_length=1, max_length=200, description="interrupts what is being said")


class SayRequest(BaseModel):
    text: str = Field(
        max_length=MAX_SPOKEN_CHARACTERS,
        description="is spoken as it is, after what is being said; at most 10,000 characters",
    )
    event: OwnEvent = Field(None, description="any JSON of your own; comes back with `speech` among the events")


class GestureRequest(BaseModel):
    name: str | None = Field(
        None, max_length=200, description="one of the avatar's gestures; null: go back to its loop"
    )


class AskRequest(BaseModel):
    text: str = Field(
        max_length=MAX_SPOKEN_CHARACTERS, description="is answered by the language model; at most 10,000 characters"
    )
    interrupts: bool = Field(True, description="false: the answer comes after what is being said")
    event: OwnEvent = Field(None, description="as for say")


class AskedTurn(BaseModel):
    turn: int = Field(description="number of the turn, as events name it")
    state: Literal["queued"] = "queued"


class PushRequest(BaseModel):
    to: str = Field(
        max_length=MAX_FIELD_CHARACTERS * 4,
        description="address of the streaming server with the key, e.g. rtmp://server/app/key or "
        "whip+https://token@server/path",
    )


class PushView(BaseModel):
    state: str = Field(description="connecting; live; waiting: for the next try; closed")
    host: str = Field(description="the streaming server; empty: the session is not sent to one")
    connections: int = Field(description="how often the server has taken the connection")
    frames_dropped: int = Field(description="because the server took them too slowly")
    trouble: str = Field(description="why the last connection ended; empty if none has")
    code: str = Field(description="the same for programs, see `push` in docs/protocol.md; empty if none has")


def sessions_router(programs: Programs, ice_servers: Callable[[], list[dict[str, object]]]) -> APIRouter:
    """Return the routes under /api/sessions.

    ice_servers: returns the ICE servers in the form that RTCPeerConnection expects.
    """
    router = APIRouter(prefix="/api/sessions", tags=["sessions"], route_class=ErrorRoute)
    _add_life(router, programs, ice_servers)
    _add_speech(router, programs)
    _add_watching(router, programs)
    _add_pushing(router, programs)
    return router


def _add_life(router: APIRouter, programs: Programs, ice_servers: Callable[[], list[dict[str, object]]]) -> None:
    """Add the routes that open, show, change and end a session."""

    @router.post("", status_code=201)
    async def open_session(wish: SessionWish, request: Request, response: Response) -> OpenedSession:
        """Open a session. It ends by DELETE, after a long silence, or if it is unattended for two minutes."""
        program = await programs.open(wish, address_of(request.scope), person_of(request.scope))
        addresses = _addresses(request, program)
        response.headers["Location"] = addresses.session
        bundle = program.session.bundle
        return OpenedSession(
            id=program.id,
            token=program.token,
            avatar=ShownAvatar(id=bundle.id, name=bundle.name),
            width=bundle.width,
            height=bundle.height,
            gestures=bundle.gesture_names,
            choice=InForce.model_validate(program.session.in_force),
            fps=FPS,
            sample_rate=PLAYOUT_RATE_HZ,
            ice_servers=ice_servers(),
            addresses=addresses,
        )

    @router.get("/{session_id}")
    async def show_session(session_id: str, token: Token) -> SessionView:
        return _session_view(programs.find(session_id, token))

    @router.patch("/{session_id}")
    async def change_session(session_id: str, wish: ChangeRequest, token: Token, request: Request) -> SessionView:
        """Change the avatar, voice, lip-sync or persona. Fields that are left out stay. null: as if the field had not
        been given when the session was opened.

        A new voice or speed is used from the next sentence on, a new lip-sync or prompt from the next turn on. If one
        of the changes is not possible, nothing changes.
        """
        program = programs.find(session_id, token)
        await programs.change(program, explicit_fields(wish), address_of(request.scope))
        return _session_view(program)

    @router.delete("/{session_id}", status_code=204)
    async def end_session(session_id: str, token: Token) -> None:
        await programs.close(programs.find(session_id, token))


def _add_speech(router: APIRouter, programs: Programs) -> None:
    """Add the routes for what the avatar says and does."""

    @router.post("/{session_id}/say", status_code=202)
    async def say(session_id: str, wish: SayRequest, token: Token) -> AskedTurn:
        """Speak a text as it is, after what is being said. Returns before it is spoken; events report the rest."""
        return AskedTurn(turn=programs.find(session_id, token).seat.say(wish.text, "echo", wish.event))

    @router.post("/{session_id}/ask", status_code=202)
    async def ask(session_id: str, wish: AskRequest, token: Token) -> AskedTurn:
        """Let the language model answer a text, and speak its answer."""
        seat = programs.find(session_id, token).seat
        return AskedTurn(turn=seat.say(wish.text, "chat", wish.event, interrupts=wish.interrupts))

    @router.post("/{session_id}/interrupt", status_code=204)
    async def interrupt(session_id: str, token: Token) -> None:
        """Stop speaking, and drop everything that waits to be spoken."""
        programs.find(session_id, token).session.interrupt()

    @router.post("/{session_id}/gesture", status_code=204)
    async def show_gesture(session_id: str, wish: GestureRequest, token: Token) -> None:
        """Show a gesture of the avatar. Without a name, go back to the idle loop."""
        session = programs.find(session_id, token).session
        if wish.name is None:
            session.end_gesture()
        else:
            session.begin_gesture(wish.name)


def _add_watching(router: APIRouter, programs: Programs) -> None:
    """Add the routes for following a session's events, and for watching it."""

    @router.get("/{session_id}/events", response_class=StreamingResponse, responses={200: {"content": {EVENTS: {}}}})
    async def follow(session_id: str, token: Token) -> Response:
        """Stream what happens in the session from now on. Each event is a message as the session socket sends it."""
        return EventStream(programs.find(session_id, token).followers)

    @router.post("/{session_id}/whep", **WHEP)
    async def watch(session_id: str, request: Request, token: Token) -> Response:
        """WHEP: send a WebRTC offer to receive video and audio, with all its candidates.

        A DELETE to the answer's `Location` ends the connection. Up to 16 may watch a session.
        """
        program = programs.find(session_id, token)
        return await _answer(programs, program.seat, request, _addresses(request, program).whep, is_guest=False)

    @router.delete("/{session_id}/whep/{peer_id}", status_code=204)
    async def stop_watching(session_id: str, peer_id: str, token: Token) -> None:
        """End a watcher's connection. The session continues."""
        programs.find(session_id, token).seat.watchers.leave(peer_id)


def _add_pushing(router: APIRouter, programs: Programs) -> None:
    """Add the routes for sending a session to a streaming server."""

    @router.put("/{session_id}/push", status_code=202)
    async def push(session_id: str, wish: PushRequest, request: Request, token: Token) -> PushView:
        """Send the session to a streaming server (RTMP, WHIP) that the operator has allowed.

        It replaces the one before. If the connection breaks, it is made again until it works. This does not disturb
        those who watch the session.
        """
        return _push_view(programs.push(programs.find(session_id, token), wish.to, address_of(request.scope)))

    @router.get("/{session_id}/push")
    async def show_push(session_id: str, token: Token) -> PushView:
        return _push_view(programs.find(session_id, token).seat.push)

    @router.delete("/{session_id}/push", status_code=204)
    async def end_push(session_id: str, token: Token) -> None:
        programs.find(session_id, token).seat.end_push()


def _session_view(program: Program) -> SessionView:
    bundle, facts = program.session.bundle, program.session.stats()
    return SessionView(
        id=program.id,
        avatar=ShownAvatar(id=bundle.id, name=bundle.name),
        choice=InForce.model_validate(program.session.in_force),
        turn=facts["turn"],
        state=facts["state"],
        media_s=facts["pts"] / FPS,
        watchers=len(program.seat.watchers),
    )


def _push_view(push: Push | None) -> PushView:
    if push is None:
        return PushView(state="closed", host="", connections=0, frames_dropped=0, trouble="", code="")
    return PushView(
        state=push.state,
        host=push.host,
        connections=push.connections,
        frames_dropped=push.frames_dropped,
        trouble=push.trouble,
        code=push.trouble_code,
    )


def watch_router(programs: Programs) -> APIRouter:
    """Return the routes for watchers who were given a link and do not have the session's token."""
    router = APIRouter(prefix="/api/watch", tags=["sessions"], route_class=ErrorRoute)

    @router.post("/{watch_token}/whep", **WHEP)
    async def watch(watch_token: str, request: Request) -> Response:
        """WHEP: watch a session by its link. It works like `/api/sessions/{session_id}/whep`, without the token."""
        seat = programs.find_watched(watch_token)
        return await _answer(programs, seat, request, _watch_address(request, seat), is_guest=True)

    @router.delete("/{watch_token}/whep/{peer_id}", status_code=204)
    async def stop_watching(watch_token: str, peer_id: str) -> None:
        programs.find_watched(watch_token).watchers.leave(peer_id)

    return router


async def _answer(programs: Programs, seat: Seat, request: Request, address: str, *, is_guest: bool) -> Response:
    """Answer a WHEP offer. `address` is the path that the offer was sent to."""
    offer = (await request.body()).decode("utf-8", "replace")
    scope = request.scope
    peer_id, answer = await programs.watch(seat, offer, address_of(scope), local=is_local(scope), is_guest=is_guest)
    return Response(answer, 201, {"Location": f"{address}/{peer_id}"}, SDP)


def _watch_address(request: Request, seat: Seat) -> str:
    return f"{_api(request)}/watch/{seat.watchers.token}/whep"


def _api(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/api"


def _addresses(request: Request, program: Program) -> Addresses:
    session = f"{_api(request)}/sessions/{program.id}"
    parts = ("say", "ask", "interrupt", "gesture", "events", "whep", "push")
    below = {name: f"{session}/{name}" for name in parts}
    return Addresses(session=session, watch=_watch_address(request, program.seat), **below)

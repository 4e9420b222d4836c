"""LiveTalking's HTTP routes, served by our sessions. Every answer has status 200, and its `code` shows success."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BeforeValidator, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from avatars.library import AvatarLibrary
from models.errors import VivavoceError
from pipeline.errors import BadRequest
from portal.api.event_streams import EventStream
from portal.api.messages import SessionWish, small_json
from portal.api.schemas import MAX_SPOKEN_CHARACTERS
from portal.http.people import person_of
from portal.http.proxies import address_of, is_local
from portal.intake.uploads import Uploads, check_speech
from portal.livetalking.answers import NO_SERVER_FILES, Body, LiveTalkingRoute, failed, ok, parse
from portal.livetalking.avatar_names import find_avatar
from portal.livetalking.clients import Client, Clients
from portal.livetalking.openings import Openings
from portal.recordings import Recordings

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["livetalking_router"]

ADMIN_IS_OFF = "The admin routes are off: they would show every caller the ids of all sessions."
FIRST_ACTION = 2
"""Number of the first action clip in LiveTalking."""
MAX_SDP_CHARACTERS = 65_536
"Most characters of an SDP offer. A browser's offer has 5,000 to 20,000."

SessionId = Annotated[str, BeforeValidator(str), Field(max_length=100)]


class Offer(Body):
    sdp: Annotated[str, Field(min_length=1, max_length=MAX_SDP_CHARACTERS)]
    type: Literal["offer"]
    avatar: Annotated[str, Field(max_length=200)] | None = None
    refaudio: Annotated[str, Field(max_length=200)] | None = None
    "Name of the voice. In LiveTalking it may also be a file on the server, which is refused here."
    custom_config: Annotated[str, Field(max_length=MAX_SPOKEN_CHARACTERS)] | None = None
    "Action clips as files on the server, which are refused here."


class Human(Body):
    sessionid: SessionId
    text: Annotated[str, Field(max_length=MAX_SPOKEN_CHARACTERS)]
    type: Literal["echo", "chat"]
    interrupt: bool = False
    tts: Annotated[dict[str, object], AfterValidator(small_json)] | None = None
    "Sent back with the speech events of the text."


class OfSession(Body):
    sessionid: SessionId


class AudioType(OfSession):
    audiotype: int


class RecordWish(OfSession):
    type: Literal["start_record", "end_record"]


IceServers = Callable[[], list[dict[str, object]]]
"""Returns the ICE servers in the form that RTCPeerConnection expects."""


def livetalking_router(
    clients: Clients,
    recordings: Recordings,
    uploads: Uploads,
    library: AvatarLibrary,
    ice_servers: IceServers,
    settings: Settings,
) -> APIRouter:
    """Return LiveTalking's routes, apart from avatar tasks and speech recognition."""
    router = APIRouter(tags=["livetalking"], route_class=LiveTalkingRoute)
    _add_life(router, clients, library, ice_servers)
    _add_speech(router, clients)
    _add_recorded_speech(router, clients, uploads, settings.max_upload_bytes)
    _add_recording(router, clients, recordings)
    _add_admin(router, clients, recordings, settings)
    return router


def _add_life(router: APIRouter, clients: Clients, library: AvatarLibrary, ice_servers: IceServers) -> None:
    """Add the routes that open a session, follow its events, and end it."""

    @router.post("/offer")
    async def offer(request: Request) -> Response:
        """Open a session: {sdp, type, avatar?, refaudio?} -> {sdp, type, sessionid}.

        The offer must contain all its ICE candidates.
        """
        asked = parse(Offer, await request.body())
        if asked.custom_config and asked.custom_config not in ("[]", "{}"):
            raise BadRequest(NO_SERVER_FILES, "Leave custom_config out, and add gestures to the avatar.")
        person = person_of(request.scope)
        avatar = await asyncio.to_thread(find_avatar, library, person, asked.avatar) if asked.avatar else None
        client, answer = await clients.open(
            asked.sdp,
            SessionWish(avatar=avatar, voice=_voice(asked.refaudio)),
            address=address_of(request.scope),
            person=person,
            local=is_local(request.scope),
        )
        return JSONResponse({"sdp": answer, "type": "answer", "sessionid": client.id})

    @router.get("/ice_servers")
    async def show_ice_servers(request: Request) -> Response:
        """Show the ICE servers for the peer connection. LiveTalking has no such route. Credentials may expire."""
        clients.charge(address_of(request.scope))
        return ok({"iceServers": ice_servers()})

    @router.post("/close")
    async def close(request: Request) -> Response:
        """End the session now instead of with its connection. LiveTalking has no such route."""
        await clients.close(clients.find(parse(OfSession, await request.body()).sessionid))
        return ok()

    @router.get("/sse")
    async def events(sessionid: str = "") -> Response:
        """Stream the speech events of a session as server-sent events."""
        return EventStream(clients.find(sessionid).followers)


def _add_speech(router: APIRouter, clients: Clients) -> None:
    """Add the routes for what the avatar says and does."""

    @router.post("/human")
    async def human(request: Request) -> Response:
        """Speak or answer a text: {sessionid, text, type: echo or chat, interrupt?, tts?}.

        Returns before anything is spoken.
        """
        asked = parse(Human, await request.body())
        client = clients.find(asked.sessionid)
        if asked.interrupt:
            client.interrupt()
        client.say(asked.text, asked.type, {"tts": asked.tts} if asked.tts else {})
        return ok()

    @router.post("/interrupt_talk")
    async def interrupt_talk(request: Request) -> Response:
        clients.find(parse(OfSession, await request.body()).sessionid).interrupt()
        return ok()

    @router.post("/is_speaking")
    async def is_speaking(request: Request) -> Response:
        return ok(clients.find(parse(OfSession, await request.body()).sessionid).is_speaking)

    @router.post("/set_audiotype")
    async def set_audiotype(request: Request) -> Response:
        """Show a gesture. 2 and above: the avatar's gestures in the order of their names. 0 and 1 (idle and speaking,
        which alternate by themselves here): end the gesture.
        """
        asked = parse(AudioType, await request.body())
        session = clients.find(asked.sessionid).session
        gestures = session.bundle.gesture_names
        if asked.audiotype in (0, 1):
            session.end_gesture()
        elif 0 <= asked.audiotype - FIRST_ACTION < len(gestures):
            session.begin_gesture(gestures[asked.audiotype - FIRST_ACTION])
        else:
            return failed(f"This avatar has {len(gestures)} action clips. They are counted from {FIRST_ACTION}.")
        return ok()


def _add_recorded_speech(router: APIRouter, clients: Clients, uploads: Uploads, max_upload_bytes: int) -> None:
    """Add the route by which the avatar speaks a recording."""
    openings = Openings()

    @router.post("/humanaudio")
    async def human_audio(request: Request) -> Response:
        """Speak a recording: a form with `sessionid` and `file`.

        If `sessionid` comes first and there is no such session, the recording is not read.
        """

        def look(name: str, text: str) -> None:
            if name == "sessionid":
                clients.find(text)

        async with uploads.form(request, max_upload_bytes, look) as form:
            client, file = clients.find(str(form.get("sessionid", ""))), form.get("file")
            if not isinstance(file, UploadFile):
                raise BadRequest("There is no recording.", "Send it in the field `file`.")
            address = address_of(request.scope)
            path = await uploads.store(file, address)
        declared_s = await uploads.submit(partial(check_speech, path), path, address)
        try:
            client.speak(await openings.open(path, declared_s, address, request.is_disconnected))
        except BaseException:  # cancellation too, when the client hangs up: nothing else removes the upload
            path.unlink(missing_ok=True)
            raise
        return ok()


def _add_recording(router: APIRouter, clients: Clients, recordings: Recordings) -> None:
    """Add the routes that record a session and fetch the recording."""

    @router.post("/record")
    async def record(request: Request) -> Response:
        """Start or end a recording: {sessionid, type: start_record or end_record}.

        After it has ended, its file is at /record/{sessionid}.
        """
        asked = parse(RecordWish, await request.body())
        client = clients.find(asked.sessionid)
        if asked.type == "start_record":
            owner, address = person_of(request.scope).name, address_of(request.scope)
            client.recording = recordings.begin(client.session, owner=owner, address=address).id
        else:
            ended = await recordings.end(client.session)
            if ended.trouble is not None:
                raise ended.trouble
        return ok()

    @router.get("/record/{sessionid}")
    async def recorded(sessionid: str) -> Response:
        """Fetch the latest recording of an open session as MP4. If there is none: 404, as in LiveTalking."""
        try:
            path = await run_in_threadpool(recordings.path, clients.find(sessionid).recording, "mp4")
        except VivavoceError as error:
            return PlainTextResponse(error.message, status_code=404)
        return FileResponse(path, media_type="video/mp4", filename=f"{sessionid}.mp4")


def _add_admin(router: APIRouter, clients: Clients, recordings: Recordings, settings: Settings) -> None:
    """Add the routes for the operator's own pages."""

    @router.get("/api/admin/config")
    async def admin_config() -> Response:
        _require_admin(settings)
        return ok({"config": _config_of(settings)})

    @router.get("/api/admin/sessions")
    async def admin_sessions() -> Response:
        _require_admin(settings)
        return ok(
            {"sessions": [_session_view(client, recordings.of(client.session) is not None) for client in clients.all()]}
        )


def _voice(named: str | None) -> str | None:
    """Return the voice that `refaudio` names. Raises BadRequest if it names a file on the server."""
    if named and ("/" in named or "\\" in named or Path(named).suffix.lower() in (".wav", ".mp3", ".flac", ".ogg")):
        raise BadRequest(f"refaudio: {NO_SERVER_FILES}", "Name a voice; GET /api/backends lists them.")
    return named or None


def _require_admin(settings: Settings) -> None:
    if not settings.livetalking_admin:
        raise BadRequest(ADMIN_IS_OFF, "The operator can turn them on with livetalking_admin.")


def _config_of(settings: Settings) -> Mapping[str, object]:
    """Return those options of LiveTalking that have a meaning here. None of them is secret."""
    return {
        "transport": "webrtc",
        "model": settings.lipsync,
        "avatar_id": settings.avatar,
        "tts": settings.tts,
        "REF_FILE": settings.voice,
        "max_session": settings.max_sessions,
        "listenport": settings.port,
    }


def _session_view(client: Client, recording: bool) -> Mapping[str, object]:
    in_force = client.session.in_force
    return {
        "sessionid": client.id,
        "speaking": client.is_speaking,
        "recording": recording,
        "model": in_force["lipsync"],
        "avatar_id": client.facts()["avatar"],
        "REF_FILE": in_force["voice"] or "",
        "transport": "webrtc",
        "batch_size": 0,
        "customopt": [],
    }

"""SessionManager: opens, finds, changes and ends sessions, and knows which avatars they show."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from types import MappingProxyType

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarNotPrepared
from avatars.library import AvatarLibrary
from avatars.persona import Persona
from pipeline.engine import Engine
from pipeline.errors import SessionClosed, SpeechError
from pipeline.session import Session
from pipeline.turn_context import Change, Choice
from portal.admission import Admission, Wish
from portal.errors import AvatarBeingPrepared
from portal.http.people import ANYBODY, LoginState, Person, require_stay
from portal.jobs.records import Job
from portal.jobs.shares import person_key
from portal.owners import no_such_avatar, require_seen
from portal.webhooks import Tell, tell_nobody

__all__ = ["DEPARTED_LOOK_S", "SessionManager"]

logger = logging.getLogger(__name__)

DEPARTED_LOOK_S = 5.0
"How often sessions are checked for logins that were revoked."


async def _taken_on_trust(_tts: str, _voice: str, _session: str) -> None:
    """Accept every voice without trying it."""


@dataclass(frozen=True, slots=True)
class _OpenSession:
    session: Session
    identity: Mapping[str, str]
    ending: AsyncExitStack
    "closing it closes the session, then gives its place back"
    person: Person
    address: str
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    "held while the session is changed: of two changes at once, the second would undo the first"


@dataclass(eq=False)
class SessionManager:
    """Opens, finds, changes and ends sessions. Admission decides who gets in."""

    engine: Engine
    library: AvatarLibrary
    admission: Admission
    _: KW_ONLY
    default_avatar: str
    choice: Choice
    idle_timeout_s: float
    "a session is closed after this long without anything said (a forgotten tab); 0: never"
    prepare_for: Callable[[str, str, str], Job]
    """queues a job that prepares an avatar (its id) for a lip-sync backend, for a viewer of an address ("" if it is not
    known), or returns the one under way; blocks for milliseconds"""
    try_voice: Callable[[str, str, str], Awaitable[object]] = _taken_on_trust
    """has a service's voice say something before a session changes to it; arguments: synthesizer, voice or "" for its
    default, session id; raises SpeechError"""
    tell: Tell = tell_nobody
    "tells webhooks that a session was opened or closed"
    _open: dict[str, _OpenSession] = field(default_factory=dict, init=False)
    _reapers: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def start(self) -> None:
        """Begin to close idle sessions and those whose login was revoked. Idempotent."""
        if not self._reapers:
            self._reapers.append(asyncio.create_task(self._reap_departed(), name="reaper-of-departed"))
            if self.idle_timeout_s:
                self._reapers.append(asyncio.create_task(self._reap_idle(), name="session-reaper"))

    async def open(
        self,
        *,
        avatar: str | None = None,
        voice: str | None = None,
        lipsync: str | None = None,
        tts: str | None = None,
        speed: float | None = None,
        persona: Persona = Persona(),  # noqa: B008 - frozen
        address: str = "",
        person: Person = ANYBODY,
        identity: Mapping[str, str] = MappingProxyType({}),
        report: Callable[[int], Awaitable[None]] | None = None,
    ) -> Session:
        """Open and start a session. None means the portal's default.

        persona: the viewer's wishes for the persona; its voice is taken from `voice`.
        address: the client's address, for limits; "" if it is not known, and then no limit of addresses applies.
        person: who has logged in; avatars that they may not see are not found. Sessions of one person (of one
            address, where nobody logs in) take turns at the recogniser and the voices, and share a limit on requests.
        identity: who the client says it is. It is kept for identity_of() and proves nothing.
        report: if given, wait in line while all places are taken, and call this with each new position in the line.

        Raises LoginNeeded, AtCapacity, AddressFull, AvatarNotFound, AvatarBeingPrepared, NetworkMissing, BundleError,
        BackendUnavailable, UnknownBackend, and QueueFull, DiskFull and FaceNotFound for an avatar that cannot be
        prepared now; QueueFull also if too many avatars wait to be made ready for sessions.
        """
        choice = self.choose(voice, lipsync, tts, speed)
        choice = replace(choice, persona=replace(persona, voice=voice))
        wish = Wish(choice.lipsync, frozenset(self.engine.devices_for(choice)), address, person.name)
        async with AsyncExitStack() as ending:
            place = self.admission.place(
                wish, lambda: self._opened(avatar or self.default_avatar, choice, address, person), report
            )
            session = await ending.enter_async_context(place)
            require_stay(person)  # their login may have been revoked while they waited in line
            self._open[session.id] = _OpenSession(session, dict(identity), ending.pop_all(), person, address)
        # If the viewer leaves during this look, nobody gets the session to close it, so it is closed here.
        async with AsyncExitStack() as unless_given:
            unless_given.push_async_callback(self.close, session)
            await self._end_if_erased(session)
            unless_given.pop_all()
        self.tell("session.opened", _facts(session, identity))
        return session

    def get(self, session_id: str) -> Session | None:
        """Return the open session with this id, or None if it has ended or never existed.

        An id is no secret: it is written to the log and to the page. So whatever lets somebody act on a session by its
        id has to check who they are.
        """
        found = self._open.get(session_id)
        return found.session if found else None

    def identity_of(self, session: Session) -> Mapping[str, str]:
        """Return what the viewer's hello said about who they are; empty for a session that has ended."""
        found = self._open.get(session.id)
        return found.identity if found else {}

    async def change(self, session: Session, given: Change, person: Person = ANYBODY) -> None:
        """Change the avatar, voice, lip-sync or persona of a running session. A failure leaves it as it was.

        given: what to change: avatar, tts, voice, speed, lipsync, prompt. None resets one to what a new session gets
            by default. A new tts without a voice speaks with its default voice.
        person: as in open().

        Changing the avatar interrupts what is being said; for the rest see Session.change().

        Raises BadRequest, SpeechError (the voice's service is down), SessionClosed, AtCapacity, UnknownBackend,
        BackendUnavailable, AvatarNotFound, AvatarBeingPrepared, NetworkMissing, BundleError, QueueFull, DiskFull.
        """
        found = self._open.get(session.id)
        if found is None:
            raise SessionClosed("The session has ended.", "Start a new one.")
        async with found.changing:
            before, choice = session.choice, self._changed(session.choice, given)
            avatar = given.get("avatar")
            bundle = await asyncio.to_thread(self._open_for, person, avatar) if avatar else None
            if (choice.tts, choice.persona.voice) != (before.tts, before.persona.voice):
                await self._check_speaks(session, choice)
            async with self._loading(bundle or session.bundle, found.address):
                await self.engine.change(session, choice, bundle)
            if choice.lipsync != before.lipsync:
                self.admission.room_made(frozenset(self.engine.devices_for(before)))

    def shown(self) -> set[str]:
        """Return the ids of the avatars that sessions show now. Safe from any thread."""
        return {found.session.bundle.id for found in tuple(self._open.values())}

    async def close_all_of(self, avatar_id: str) -> int:
        """End the sessions that show an avatar. Return how many there were."""
        showing = [found.session for found in self._open.values() if found.session.bundle.id == avatar_id]
        for session in showing:
            await self.close(session)
        return len(showing)

    async def _end_if_erased(self, session: Session) -> None:
        """Close a session whose avatar was erased while the session was being opened.

        Erasing ends only the sessions that show the avatar at that moment, so one that was still loading it has to
        look for itself. Raises AvatarNotFound.
        """
        avatar_id = session.bundle.id
        if not await asyncio.to_thread(session.bundle.path.exists):
            await self.close(session)
            raise no_such_avatar(avatar_id)

    async def close(self, session: Session) -> None:
        """End a session, then give its place back. Idempotent."""
        found = self._open.pop(session.id, None)
        if found is not None:
            await found.ending.aclose()
            self.tell("session.closed", _facts(session, found.identity))

    async def aclose(self) -> None:
        """Close every session. Idempotent."""
        for reaper in self._reapers:
            reaper.cancel()
        await asyncio.gather(*self._reapers, return_exceptions=True)
        self._reapers.clear()
        for found in tuple(self._open.values()):
            await self.close(found.session)

    def choose(self, voice: str | None, lipsync: str | None, tts: str | None, speed: float | None = None) -> Choice:
        """Return the portal's choice of backends, changed by a viewer's wishes."""
        is_usual = tts in (None, self.choice.tts)  # another synthesizer does not have the portal's default voice
        return replace(
            self.choice,
            voice=voice or (self.choice.voice if is_usual else None),
            lipsync=lipsync or self.choice.lipsync,
            tts=tts or self.choice.tts,
            speed=speed or self.choice.speed,
        )

    def _changed(self, choice: Choice, given: Change) -> Choice:
        voice, prompt = choice.persona.voice, choice.persona.prompt
        if "voice" in given or "tts" in given:
            voice = given.get("voice")
        if "prompt" in given:
            prompt = given["prompt"]
        tts = (given["tts"] or self.choice.tts) if "tts" in given else choice.tts
        lipsync = (given["lipsync"] or self.choice.lipsync) if "lipsync" in given else choice.lipsync
        speed = (given["speed"] or self.choice.speed) if "speed" in given else choice.speed
        wished = self.choose(voice, lipsync, tts, speed)
        return replace(wished, persona=replace(choice.persona, voice=voice, prompt=prompt))

    async def _check_speaks(self, session: Session, choice: Choice) -> None:
        """Have a service's voice say something before a session depends on it; other voices are not tried.

        Raises SpeechError, BackendUnavailable.
        """
        tts = await self.engine.backends.get("tts", choice.tts)
        voice = choice.persona.voice
        speaks = voice or next(iter(tts.voices), "")
        if speaks not in tts.online_voices:
            return
        try:
            await self.try_voice(choice.tts, voice or "", session.id)
        except SpeechError as error:
            raise SpeechError(
                f"The voice cannot be had now: {error.message}",
                f"The session keeps its voice. {error.hint}",
                cause="kept",
            ) from error

    @asynccontextmanager
    async def _opened(self, avatar: str, choice: Choice, address: str, person: Person) -> AsyncIterator[Session]:
        bundle = await asyncio.to_thread(self._open_for, person, avatar)
        async with self._loading(bundle, address):
            asker = person_key(person.name) if person.name else address
            session = await self.engine.open_session(secrets.token_hex(8), bundle, choice, asker)
        try:
            yield session
        finally:
            await self.engine.close_session(session)
            # Leaving its place tells admission about the devices it began on; it may since have moved to others.
            if session.choice.lipsync != choice.lipsync:
                self.admission.room_made(frozenset(self.engine.devices_for(session.choice)))

    def _open_for(self, person: Person, avatar: str) -> AvatarBundle:
        require_seen(self.library, person, avatar)
        return self.library.open(avatar)

    @asynccontextmanager
    async def _loading(self, bundle: AvatarBundle, address: str) -> AsyncIterator[None]:
        """Run a block that loads an avatar, and queue the preparation if parts of the avatar are missing.

        address: the viewer's, by which such jobs are limited.
        Raises AvatarBeingPrepared (it was queued), AvatarNotFound (the avatar was deleted while it was read), and what
        prepare_for() raises.
        """
        try:
            yield
        except FileNotFoundError as error:
            if await asyncio.to_thread(bundle.path.exists):
                raise
            raise no_such_avatar(bundle.id) from error
        except AvatarNotPrepared as error:
            job = await asyncio.to_thread(self.prepare_for, error.avatar, error.backend, address)
            raise AvatarBeingPrepared(error.avatar, error.backend, job.id) from error

    async def _reap_departed(self) -> None:
        """Close sessions whose viewer's login was revoked.

        The login gate checks requests only, and an open session goes on without making any.
        """
        clock = self.engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + DEPARTED_LOOK_S)
            for found in tuple(self._open.values()):
                if found.person.login_state() is LoginState.REVOKED:
                    logger.info("session %s is closed: its viewer's login was revoked", found.session.id)
                    await self.close(found.session)

    async def _reap_idle(self) -> None:
        clock = self.engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + self.idle_timeout_s / 4)
            for session in [found.session for found in self._open.values()]:
                if clock.now_s() - session.touched_s > self.idle_timeout_s:
                    logger.info("session %s was idle for %.0f s and is closed", session.id, self.idle_timeout_s)
                    await self.close(session)


def _facts(session: Session, identity: Mapping[str, str]) -> Mapping[str, object]:
    """Return what webhooks are told about a session. identity: who the viewer says they are."""
    return {"session": session.id, "avatar": session.bundle.id, "identity": dict(identity)}

"""SessionManager: who gets in, which avatar they see, when a forgotten session ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from avatars.errors import AvatarNotPrepared
from avatars.library import AvatarLibrary
from pipeline.engine import Engine
from pipeline.errors import AtCapacity
from pipeline.session import Session
from pipeline.stages import Choice
from portal.errors import AddressFull, AvatarBeingPrepared
from portal.http.limits import Shares
from portal.jobs.records import Job

__all__ = ["SessionManager"]

logger = logging.getLogger(__name__)


class SessionManager:
    """Admission, lookup and end of sessions.

    places_each: of the `capacity` places, how many viewers from one address may have.
    idle_timeout_s: a session in which nobody said anything for so long is closed (a forgotten tab); 0: none ever.
    prepare_for: queues the preparation of an avatar (id) for a lip-sync backend, unless it is under way; blocks for
        milliseconds
    """

    def __init__(
        self,
        engine: Engine,
        library: AvatarLibrary,
        *,
        default_avatar: str,
        choice: Choice,
        capacity: int,
        places_each: int,
        idle_timeout_s: float,
        prepare_for: Callable[[str, str], Job],
    ) -> None:
        self.engine = engine
        self.library = library
        self.default_avatar = default_avatar
        self.choice = choice
        self.capacity = capacity
        self._shares = Shares(places_each)
        self._address_of: dict[str, str] = {}  # session -> who has it, for who takes part in the shares
        self._idle_timeout_s = idle_timeout_s
        self._prepare_for = prepare_for
        self._on_freed: list[Callable[[], object]] = []
        self._opening = 0
        self._refused_for_an_opening = False  # somebody, who would have had the place of one that is being opened
        self._reaper: asyncio.Task[None] | None = None

    @property
    def live(self) -> int:
        """Sessions open now, those being opened included."""
        return self._opening + len(self.engine.sessions)

    async def start(self) -> None:
        if self._reaper is None and self._idle_timeout_s:
            self._reaper = asyncio.create_task(self._reap_idle(), name="session-reaper")

    def on_freed(self, listener: Callable[[], object]) -> None:
        """Have `listener` called each time a place becomes free."""
        self._on_freed.append(listener)

    async def open(
        self,
        *,
        avatar: str | None = None,
        voice: str | None = None,
        lipsync: str | None = None,
        tts: str | None = None,
        address: str = "",
    ) -> Session:
        """A started session; None means the portal's default.

        address: who asks, as limits count; "" if that is not known, and then it is not limited.

        Raises AtCapacity, AddressFull, AvatarNotFound, AvatarBeingPrepared, NetworkMissing, BundleError,
        BackendUnavailable, UnknownBackend, and QueueFull, DiskFull and FaceNotFound for an avatar that cannot be
        prepared now.
        """
        if self.live >= self.capacity:
            self._refused_for_an_opening |= self._opening > 0
            raise AtCapacity(
                f"All {self.capacity} places are taken.",
                "Try again in a minute; the operator can raise --max-sessions.",
            )
        with self._share_taken(address) as session_id, self._place_taken():
            bundle = await asyncio.to_thread(self.library.open, avatar or self.default_avatar)
            async with self._preparing_what_lacks():
                return await self.engine.open_session(session_id, bundle, self.choose(voice, lipsync, tts))

    async def swap_avatar(self, session: Session, avatar: str) -> None:
        """Go on as another avatar. Raises AvatarNotFound, AvatarBeingPrepared, BundleError, QueueFull, DiskFull."""
        bundle = await asyncio.to_thread(self.library.open, avatar)
        async with self._preparing_what_lacks():
            await self.engine.swap_avatar(session, bundle)

    async def close(self, session: Session) -> None:
        """End a session. Idempotent."""
        await self.engine.close_session(session)
        self._give_share(session.id)
        self._tell_freed()

    async def aclose(self) -> None:
        """Close every session. Idempotent."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
            self._reaper = None
        for session in list(self.engine.sessions.values()):
            await self.close(session)

    def lipsync_of(self, wish: str | None) -> str:
        """What a viewer gets who wishes for it; None: for nothing in particular."""
        return wish or self.choice.lipsync

    def choose(self, voice: str | None, lipsync: str | None, tts: str | None) -> Choice:
        """The portal's choice of backends with a viewer's wishes."""
        return replace(
            self.choice,
            voice=voice or self.choice.voice,
            lipsync=self.lipsync_of(lipsync),
            tts=tts or self.choice.tts,
        )

    @contextmanager
    def _share_taken(self, address: str) -> Iterator[str]:
        """The id of a session that is being opened, and counts for the address until it is closed or not opened."""
        session_id = secrets.token_hex(8)
        if address:
            if not self._shares.take(address):
                raise AddressFull(
                    "Viewers from this address have as many places as one address may have.",
                    "Close another page; the operator can raise --sessions-per-address.",
                )
            self._address_of[session_id] = address
        try:
            yield session_id
        except BaseException:
            self._give_share(session_id)
            raise

    def _give_share(self, session_id: str) -> None:
        address = self._address_of.pop(session_id, None)
        if address is not None:
            self._shares.give(address)

    @contextmanager
    def _place_taken(self) -> Iterator[None]:
        """While a session is being opened. One that a full device refuses frees its place for who was refused because
        of it; for nobody else, or those who wait for that device would try for ever."""
        self._opening += 1
        try:
            yield
        except BaseException as error:
            self._opening -= 1
            if not isinstance(error, AtCapacity) or self._refused_for_an_opening:
                self._refused_for_an_opening = False
                self._tell_freed()
            raise
        self._opening -= 1
        self._refused_for_an_opening &= self._opening > 0  # that place is taken now

    def _tell_freed(self) -> None:
        for listener in self._on_freed:
            listener()

    @asynccontextmanager
    async def _preparing_what_lacks(self) -> AsyncIterator[None]:
        try:
            yield
        except AvatarNotPrepared as error:
            job = await asyncio.to_thread(self._prepare_for, error.avatar, error.backend)
            raise AvatarBeingPrepared(error.avatar, error.backend, job.id) from error

    async def _reap_idle(self) -> None:
        clock = self.engine.clock
        while True:
            await clock.sleep_until(clock.now_s() + self._idle_timeout_s / 4)
            for session in list(self.engine.sessions.values()):
                if clock.now_s() - session.touched_s > self._idle_timeout_s:
                    logger.info("session %s was idle for %.0f s and is closed", session.id, self._idle_timeout_s)
                    await self.close(session)

"""SessionManager: who gets in, which avatar they see, when a forgotten session ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace

from avatars.library import AvatarLibrary

from pipeline.clock import Clock
from pipeline.engine import Engine
from pipeline.errors import AtCapacity
from pipeline.session import Session
from pipeline.turn import Choice

__all__ = ["SessionManager"]

logger = logging.getLogger(__name__)


class SessionManager:
    """Admission, lookup and end of sessions.

    idle_timeout_s: a session in which nobody said anything for so long is closed (a forgotten tab).
    """

    def __init__(
        self,
        engine: Engine,
        library: AvatarLibrary,
        *,
        default_avatar: str,
        choice: Choice,
        capacity: int,
        idle_timeout_s: float,
    ) -> None:
        self.engine = engine
        self.library = library
        self.default_avatar = default_avatar
        self.choice = choice
        self.capacity = capacity
        self._idle_timeout_s = idle_timeout_s
        self._admitted = 0
        self._touched_s: dict[str, float] = {}
        self._reaper: asyncio.Task[None] | None = None

    @property
    def live(self) -> int:
        """Sessions open now, those being opened included."""
        return self._admitted

    @property
    def clock(self) -> Clock:
        return self.engine.clock

    async def start(self) -> None:
        if self._reaper is None:
            self._reaper = asyncio.create_task(self._reap_idle(), name="session-reaper")

    async def open(
        self,
        *,
        avatar: str | None = None,
        voice: str | None = None,
        lipsync: str | None = None,
        tts: str | None = None,
    ) -> Session:
        """A started session; None means the portal's default.

        Raises AtCapacity, AvatarNotFound, BundleError, BackendUnavailable, UnknownBackend.
        """
        if self._admitted >= self.capacity:
            raise AtCapacity(
                f"All {self.capacity} places are taken.",
                "Try again in a minute; the operator can raise --max-sessions.",
            )
        self._admitted += 1
        try:
            bundle = await asyncio.to_thread(self.library.open, avatar or self.default_avatar)
            session = await self.engine.open_session(secrets.token_hex(8), bundle, self.choose(voice, lipsync, tts))
        except BaseException:
            self._admitted -= 1
            raise
        self.touch(session)
        return session

    async def swap_avatar(self, session: Session, avatar: str) -> None:
        """Go on as another avatar. Raises AvatarNotFound, BundleError."""
        bundle = await asyncio.to_thread(self.library.open, avatar)
        await session.swap_avatar(await self.engine.stages_for(bundle, session.choice, session.playout))
        self.touch(session)

    def touch(self, session: Session) -> None:
        """Somebody is there: count the idle time anew."""
        if not session.closed:
            self._touched_s[session.id] = self.clock.now_s()

    async def close(self, session: Session) -> None:
        """End a session. Idempotent."""
        if self._touched_s.pop(session.id, None) is not None:
            self._admitted -= 1
        await self.engine.close_session(session)

    async def aclose(self) -> None:
        """Close every session. Idempotent."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
            self._reaper = None
        for session in list(self.engine.sessions.values()):
            await self.close(session)

    def choose(self, voice: str | None, lipsync: str | None, tts: str | None) -> Choice:
        """The portal's choice of backends with a viewer's wishes."""
        return replace(
            self.choice,
            voice=voice or self.choice.voice,
            lipsync=lipsync or self.choice.lipsync,
            tts=tts or self.choice.tts,
        )

    async def _reap_idle(self) -> None:
        while True:
            await self.clock.sleep_until(self.clock.now_s() + self._idle_timeout_s / 4)
            limit_s = self.clock.now_s() - self._idle_timeout_s
            for session_id, touched_s in list(self._touched_s.items()):
                session = self.engine.sessions.get(session_id)
                if session is not None and touched_s < limit_s:
                    logger.info("session %s was idle for %.0f s and is closed", session_id, self._idle_timeout_s)
                    await self.close(session)

"""Engine: sessions over shared models.

Owns the backends (built once, loaded in a thread at first use), the device thread and the compositing pool, and what
LipSync backends prepared of each avatar. Sessions own everything else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import cv2

from avatars.bundle import AvatarBundle
from pipeline import registry
from pipeline.clock import Clock, SystemClock
from pipeline.device import DeviceWorker
from pipeline.errors import SessionClosed
from pipeline.interfaces import FeatureExtractor, LanguageModel, LipSync, SpeechSynthesizer
from pipeline.metrics import EngineMetrics
from pipeline.playout import Playout
from pipeline.session import Session
from pipeline.turn import Choice, Stages

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

KEPT_STATES = 8
"""Prepared avatars kept for sessions to come; sessions hold their own besides."""
POOL_THREADS = max(2, min(8, os.cpu_count() or 2))


@dataclass(slots=True)
class _Slot:
    """One backend, built and loaded at most once."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    backend: Any = None


class Engine:
    """start() before use, aclose() after; sessions still open are closed with it.

    options: constructor arguments of backends, by (kind, name), e.g. {("llm", "openai"): {"base_url": ...}}.
    """

    def __init__(
        self, options: Mapping[tuple[str, str], Mapping[str, Any]] | None = None, clock: Clock | None = None
    ) -> None:
        self.metrics = EngineMetrics()
        self.clock: Clock = clock or SystemClock()
        self.device = DeviceWorker()
        self.executor = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="media")
        self._options = dict(options or {})
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._states: OrderedDict[tuple[str, AvatarBundle], Any] = OrderedDict()
        self._preparing = asyncio.Lock()
        self._sessions: dict[str, Session] = {}
        self._closed = False

    @property
    def sessions(self) -> Mapping[str, Session]:
        """Live sessions by id."""
        return self._sessions

    async def start(self) -> None:
        # One thread a call: the pool is what spreads sessions over cores; OpenCV's own threads would only contend.
        cv2.setNumThreads(1)
        self.device.start()

    async def warm_up(self, choice: Choice, bundle: AvatarBundle | None = None) -> None:
        """Load what `choice` needs, so that the first session does not wait.

        Raises BackendUnavailable, UnknownBackend.
        """
        await self.backend("llm", choice.llm)
        tts: SpeechSynthesizer = await self.backend("tts", choice.tts)
        lipsync: LipSync = await self.backend("lipsync", choice.lipsync)
        self._new_extractor(lipsync.features)
        logger.debug("warm: %s, %s, %s", choice.llm, tts.name, lipsync.name)
        if bundle is not None:
            await self._lipsync_state(lipsync, bundle)

    async def backend(self, kind: str, name: str) -> Any:
        """The one backend of that name, loaded.

        Raises BackendUnavailable, UnknownBackend, SessionClosed (after aclose()).
        """
        slot = self._slots.setdefault((kind, name), _Slot())
        async with slot.lock:
            self._check_open()
            if slot.backend is None:
                backend = await asyncio.to_thread(registry.create, kind, name, **self._options.get((kind, name), {}))
                if kind == "lipsync":
                    await self.device.call(backend.load)
                else:
                    await asyncio.to_thread(backend.load)
                slot.backend = backend
        return slot.backend

    async def open_session(self, session_id: str, bundle: AvatarBundle, choice: Choice) -> Session:
        """A started session of that avatar.

        Raises BackendUnavailable, UnknownBackend, SessionClosed (after aclose()).
        """
        stages = await self.stages_for(bundle, choice)
        self._check_open()
        session = Session(session_id, stages, choice, self.metrics)
        self._sessions[session_id] = session
        self.metrics.sessions.set(len(self._sessions))
        session.start()
        return session

    async def stages_for(self, bundle: AvatarBundle, choice: Choice, playout: Playout | None = None) -> Stages:
        """What a session of `choice` runs on; with `playout`, for a session that already has one."""
        llm: LanguageModel = await self.backend("llm", choice.llm)
        tts: SpeechSynthesizer = await self.backend("tts", choice.tts)
        lipsync: LipSync = await self.backend("lipsync", choice.lipsync)
        return Stages(
            llm=llm,
            tts=tts,
            voice=choice.voice,
            new_extractor=lambda: self._new_extractor(lipsync.features),
            lipsync=lipsync,
            lipsync_state=await self._lipsync_state(lipsync, bundle),
            bundle=bundle,
            device=self.device,
            executor=self.executor,
            playout=playout or Playout(bundle, self.clock),
            clock=self.clock,
        )

    async def close_session(self, session: Session) -> None:
        """End a session. Idempotent."""
        self._sessions.pop(session.id, None)
        self.metrics.sessions.set(len(self._sessions))
        await session.aclose()

    async def aclose(self) -> None:
        """Close sessions, backends and threads, in reverse order of their start. Idempotent."""
        self._closed = True
        async with AsyncExitStack() as stack:  # each is closed, whatever closing another raises
            stack.push_async_callback(asyncio.to_thread, self.executor.shutdown)
            stack.push_async_callback(self.device.aclose)
            for (kind, _name), slot in self._slots.items():
                stack.push_async_callback(self._unload, kind, slot)
            for session in self._sessions.values():
                stack.push_async_callback(self.close_session, session)

    async def _unload(self, kind: str, slot: _Slot) -> None:
        async with slot.lock:  # waits for one that is just being loaded
            backend, slot.backend = slot.backend, None
        if backend is None:
            return
        if kind == "lipsync":
            await self.device.call(backend.close)
        else:
            await backend.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed("The engine has stopped.", "Try again when it is back.")

    def _new_extractor(self, name: str) -> FeatureExtractor:
        extractor: FeatureExtractor = registry.create("features", name, **self._options.get(("features", name), {}))
        return extractor

    async def _lipsync_state(self, lipsync: LipSync, bundle: AvatarBundle) -> Any:
        key = (lipsync.name, bundle)
        async with self._preparing:
            if key not in self._states:
                self._states[key] = await self.device.call(lambda: lipsync.prepare(bundle))
            self._states.move_to_end(key)
            while len(self._states) > KEPT_STATES:
                self._states.popitem(last=False)
            return self._states[key]

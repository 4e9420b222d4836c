"""Engine: runs sessions on shared models.

It owns the backends, the device threads and the pool for compositing. It also keeps what sessions of an avatar share,
and what share of each device its sessions need. Sessions own everything else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from avatars.bundle import AvatarBundle, BundleFiles
from avatars.errors import AvatarNotFound
from avatars.gestures import gestures_stamp, open_with_gestures
from avatars.persona import Persona, read_persona
from avatars.voice_sample import read_voice_sample
from pipeline import registry
from pipeline.backends import BackendOptions, Backends
from pipeline.capacity import USABLE_SHARE, DrawingCost
from pipeline.clock import Clock, SystemClock
from pipeline.device import DeviceWorker
from pipeline.ears.hearing import Hearing, HearingChoice
from pipeline.errors import AtCapacity, BackendUnavailable, BadRequest, SessionClosed
from pipeline.finishing import Finish
from pipeline.gestures import Gestures
from pipeline.interfaces import LipSync, SpeechSynthesizer
from pipeline.measuring import Sample
from pipeline.metrics import EngineMetrics
from pipeline.moving_face import MovingFace, moving_face_of
from pipeline.playout import QUEUED_PICTURES, Playout
from pipeline.prepared_states import KEPT_STATES, Place, PreparedStates, any_place
from pipeline.question_pace import QuestionPaces
from pipeline.quiet_loop import loop_of
from pipeline.session import Session
from pipeline.threads import compute_in_calling_thread
from pipeline.tts.copied_voice import CopiedVoice, CopyingVoice
from pipeline.turn_context import Choice, Limits, TurnContext
from pipeline.types import FPS, LoopPictures

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

MEASURED_AGAIN_S = 60.0
"How long a backend that drew too slowly is refused. Then it is measured again, because the machine may have been busy."
POOL_THREADS = max(2, min(8, os.cpu_count() or 2))


@dataclass(frozen=True, slots=True)
class _Appearance:
    """The looks of an avatar, shared by its sessions."""

    bundle: AvatarBundle
    "the avatar, its gestures included"
    loop: LoopPictures
    gestures: Gestures | None
    "None if the avatar has none"
    face: MovingFace | None
    "moves the head with the voice; None if acting is off or the avatar cannot"


def _appearance_of(bundle: AvatarBundle, acting: bool) -> _Appearance:
    """Open an avatar with its gestures. Reads files and resamples the sound of gestures, so call it in a thread."""
    whole = open_with_gestures(bundle)
    loop = loop_of(whole)
    gestures = Gestures(whole, loop) if whole.gestures else None
    return _Appearance(whole, loop, gestures, moving_face_of(whole) if acting else None)


class Engine:
    """Call start() before use and aclose() after. aclose() also closes sessions that are still open.

    options  constructor arguments of backends, by (kind, name)
    devices  torch's names; each has one worker for networks, and a new session goes to the one with most room
    finish   what is done to a network's pictures before they are composed
    measure  whether to measure what drawing costs, and to admit sessions by it
    limits   how long turns wait, and how many questions a session may ask
    hearing  what listens to viewers who speak
    acting   whether heads nod and brows rise with the voice
    place    limits how many avatars may wait to be prepared for one asker
    """

    def __init__(
        self,
        options: BackendOptions | None = None,
        clock: Clock | None = None,
        devices: Sequence[str] = ("cpu",),
        finish: Finish | None = None,
        measure: bool = True,
        limits: Limits | None = None,
        hearing: HearingChoice | None = None,
        acting: bool = False,
        place: Place = any_place,
    ) -> None:
        self.metrics = EngineMetrics()
        self.clock: Clock = clock or SystemClock()
        self.devices = tuple(DeviceWorker(name, self.clock.now_s) for name in devices)
        self._own_device = DeviceWorker("cpu", self.clock.now_s)  # for lip-sync that is not a network
        # Preparing an avatar with many gestures takes seconds. The thread above has to draw for everybody meanwhile.
        self._preparing = DeviceWorker("cpu", self.clock.now_s)
        self.executor = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="media")
        self.backends = Backends(options or {})
        self.hearing = Hearing(self.backends, options or {}, hearing or HearingChoice())
        self._finish = finish or Finish()
        self._measure = measure
        self._acting = acting
        self._limits = limits or Limits()
        self._questions = QuestionPaces(self.clock, self._limits.questions_a_minute)
        self._states = PreparedStates(place)
        self._appearances: OrderedDict[tuple[BundleFiles, Hashable], _Appearance] = OrderedDict()
        self._costs: dict[LipSync, asyncio.Task[DrawingCost]] = {}
        self._too_slow_s: dict[LipSync, float] = {}  # until when it is refused without another measurement
        self._shares: dict[str, tuple[DeviceWorker, float]] = {}
        self._sessions: dict[str, Session] = {}
        self._seeds = itertools.count()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """Live sessions by id."""
        return self._sessions

    async def start(self) -> None:
        """Start the device threads. Call it on the event loop that serves the sessions."""
        compute_in_calling_thread()
        for device in self._all_devices:
            device.start()

    async def warm_up(self, choice: Choice, bundle: AvatarBundle | None = None) -> None:
        """Load and measure what `choice` needs, on every device its sessions may use, so that the first does not wait.

        Raises BackendUnavailable, UnknownBackend, AvatarNotPrepared, NetworkMissing, BundleError.
        """
        for device in self.devices_for(choice):
            await self.backends.get("llm", choice.llm)
            await self.backends.get("tts", choice.tts)
            lipsync = await self.backends.get("lipsync", choice.lipsync, device)
            await self.backends.get("features", lipsync.features, device)
            if bundle is not None:
                await self._cost(await self.context_for(bundle, choice, device=device))
            logger.debug("warm: %s, %s, %s on %s", choice.llm, choice.tts, choice.lipsync, device.name)

    async def open_session(self, session_id: str, bundle: AvatarBundle, choice: Choice, asker: str = "") -> Session:
        """Open and start a session of that avatar. asker: see Session.

        Raises AtCapacity, BackendUnavailable, UnknownBackend, AvatarNotPrepared, NetworkMissing, BundleError,
        SessionClosed (after aclose()), and what `place` raises.
        """
        context = await self._context_with_room(session_id, bundle, choice, asker=asker)
        questions = self._questions.take(asker)
        session = Session(session_id, context, choice, self.metrics, self.hearing, asker, questions)
        self._sessions[session_id] = session
        self.metrics.sessions.set(len(self._sessions))
        session.start()
        return session

    async def change(self, session: Session, choice: Choice | None = None, bundle: AvatarBundle | None = None) -> None:
        """Switch a session to another choice, another avatar, or both. If it raises, the session is unchanged.

        Another avatar interrupts what is being said; another choice interrupts nothing (see Session.change). The
        language model does not change. Calls for one session must not overlap.

        Raises BadRequest (no such voice), AtCapacity (no room for that lip-sync), SessionClosed (it ended meanwhile),
        AvatarNotFound (it was deleted meanwhile), BackendUnavailable, UnknownBackend, AvatarNotPrepared,
        NetworkMissing, BundleError, and what `place` raises.
        """
        if session.id not in self._shares:
            raise SessionClosed("The session has ended.", "Start a new one.")
        held = self._shares[session.id]
        choice, before = choice or session.choice, session.choice
        if (choice.tts, choice.persona.voice) != (before.tts, before.persona.voice):
            await self._check_voice(choice)
        context = await self._changed(session, held[0], choice, bundle)
        if session.id not in self._sessions:
            self._shares.pop(session.id, None)
            raise SessionClosed("The session has ended.", "Start a new one.")
        if bundle is not None:
            # Nothing from this check to the end of the swap yields to the event loop. So whoever deletes the avatar
            # later sees that this session shows it.
            if not bundle.path.exists():
                self._shares[session.id] = held
                raise AvatarNotFound(f"There is no avatar {bundle.id!r}.", "Choose one of the gallery.")
            await session.swap_avatar(context)
        session.change(context, choice)

    async def _changed(
        self, session: Session, device: DeviceWorker, choice: Choice, bundle: AvatarBundle | None
    ) -> TurnContext:
        """Return the context after a change. device: where the session is drawn now."""
        before = session.context
        if choice.lipsync != session.choice.lipsync:
            # The avatar stays: show what is loaded already, so that it does not matter if its files were deleted since.
            shown = _Appearance(before.bundle, before.loop, before.gestures, before.face) if bundle is None else None
            opened = bundle or before.bundle.without_gestures
            return await self._context_with_room(session.id, opened, choice, session.playout, shown, session.asker)
        if bundle is not None:
            return await self.context_for(bundle, choice, session.playout, device, asker=session.asker)
        own = await asyncio.to_thread(read_persona, before.bundle.path)
        tts, voice = await self._voice(choice, own, before.bundle)
        return replace(before, tts=tts, voice=voice, speed=choice.speed, persona=choice.persona.over(own))

    async def _voice(self, choice: Choice, own: Persona, bundle: AvatarBundle) -> tuple[SpeechSynthesizer, str | None]:
        """Return the synthesizer and the voice; None as voice: its default. own: the avatar's persona."""
        tts = await self.backends.get("tts", choice.tts)
        named = choice.persona.voice or (own.voice if own.voice in tts.voices else None)
        if not named and isinstance(tts, CopyingVoice):
            sample = await asyncio.to_thread(read_voice_sample, bundle.path)
            if sample is not None:
                return CopiedVoice(tts, bundle.path, otherwise=choice.voice), None
        return tts, named or choice.voice

    async def _check_voice(self, choice: Choice) -> None:
        """Raise BadRequest if the synthesizer has no such voice. Raises what Backends.get() raises, too."""
        wanted = choice.persona.voice
        tts = await self.backends.get("tts", choice.tts)
        if wanted and wanted not in tts.voices:
            raise BadRequest(
                f"{choice.tts} has no voice '{wanted[:80]}'.", "GET /api/backends lists them.", cause="no_voice"
            )

    async def context_for(
        self,
        bundle: AvatarBundle,
        choice: Choice,
        playout: Playout | None = None,
        device: DeviceWorker | None = None,
        shown: _Appearance | None = None,
        asker: str = "",
    ) -> TurnContext:
        """Return what a session of `choice` runs on.

        playout, device, shown: those of a session that already exists; None: they are made or chosen here. asker: see
        Session.

        Raises BackendUnavailable, UnknownBackend, AvatarNotPrepared, NetworkMissing, BundleError, SessionClosed (after
        aclose()), and what `place` raises.
        """
        device = device or self.devices_for(choice)[0]
        built = await self.backends.built("lipsync", choice.lipsync, device)
        made_from = await asyncio.to_thread(built.prepared_from, bundle)  # fails early, before a minute of loading
        own = await asyncio.to_thread(read_persona, bundle.path)
        llm = await self.backends.get("llm", choice.llm)
        tts, voice = await self._voice(choice, own, bundle)
        lipsync = await self.backends.get("lipsync", choice.lipsync, device)
        extractor = await self.backends.get("features", lipsync.features, device)
        shown = shown or await self._appearance(bundle)
        # Networks are prepared for the frames of the loop only, not for those of gestures.
        drawn_on, worker = (bundle, device) if lipsync.on_device else (shown.bundle, self._preparing)
        return TurnContext(
            llm=llm,
            tts=tts,
            voice=voice,
            speed=choice.speed,
            extractor=extractor,
            lipsync=lipsync,
            lipsync_state=await self._states.of(lipsync, drawn_on, made_from, worker, asker),
            bundle=shown.bundle,
            loop=shown.loop,
            gestures=shown.gestures,
            face=shown.face,
            device=device,
            executor=self.executor,
            playout=playout or Playout(shown.loop, self.clock, shown.gestures, next(self._seeds)),
            clock=self.clock,
            finish=self._finish,
            limits=self._limits,
            persona=choice.persona.over(own),
        )

    def exposition(self) -> bytes:
        """Return the current metrics in Prometheus' text format. Call it on the event loop, which owns the sessions."""
        for session in self._sessions.values():
            session.outputs.count_losses()
        self.metrics.tasks.set(len(asyncio.all_tasks()))
        return self.metrics.exposition()

    @property
    def avatars(self) -> set[Path]:
        """Folders of the avatars that are kept ready for later sessions; some may have been deleted since."""
        return {files.path for files, _stamp in self._appearances} | self._states.avatars

    def forget(self, avatar: Path) -> None:
        """Drop what is kept of a deleted avatar. Sessions that show it continue. avatar: the folder it was in."""
        for shown in [key for key in self._appearances if key[0].path == avatar]:
            del self._appearances[shown]
        self._states.forget(avatar)

    async def close_session(self, session: Session) -> None:
        """End a session. Idempotent."""
        if self._sessions.pop(session.id, None) is not None:
            self._questions.give(session.asker, session.questions)
        self._shares.pop(session.id, None)
        self.metrics.sessions.set(len(self._sessions))
        await session.aclose()

    async def aclose(self) -> None:
        """Close sessions, backends and threads, in reverse order of their start. Idempotent."""
        async with AsyncExitStack() as stack:  # closes the others even if closing one of them raises
            stack.push_async_callback(asyncio.to_thread, self.executor.shutdown)
            for device in self._all_devices:
                stack.push_async_callback(device.aclose)
            stack.push_async_callback(self.hearing.aclose)
            stack.push_async_callback(self.backends.aclose)
            for session in self._sessions.values():
                stack.push_async_callback(self.close_session, session)

    def load(self, device: DeviceWorker, besides: str = "") -> float:
        """Return the share of the device's time, 0..1, that its sessions need if all speak at once.

        besides: id of a session that is left out.
        """
        return sum(share for one, (taken, share) in self._shares.items() if taken is device and one != besides)

    def devices_for(self, choice: Choice) -> tuple[DeviceWorker, ...]:
        """Return the devices that the choice's lip-sync may run on. Raises UnknownBackend."""
        on_device = registry.backend_class("lipsync", choice.lipsync).on_device
        return self.devices if on_device else (self._own_device,)

    @property
    def _all_devices(self) -> tuple[DeviceWorker, ...]:
        return (self._own_device, self._preparing, *self.devices)

    async def _context_with_room(
        self,
        session_id: str,
        bundle: AvatarBundle,
        choice: Choice,
        playout: Playout | None = None,
        shown: _Appearance | None = None,
        asker: str = "",
    ) -> TurnContext:
        """Return the session's context, on the device with most room.

        Takes the session's share of that device, in place of any share it had. Raises AtCapacity.
        """
        while True:
            device = min(self.devices_for(choice), key=self.load)
            context = await self.context_for(bundle, choice, playout, device, shown, asker)
            cost = await self._cost(context)
            self.backends.check_open()
            try:
                self._take_share(session_id, context, cost)
            except AtCapacity:
                # Sessions that opened at the same time may have filled this device while another has room.
                if min(self.devices_for(choice), key=self.load) is device:
                    raise
            else:
                return context

    def _take_share(self, session_id: str, context: TurnContext, cost: DrawingCost) -> None:
        batch = min(QUEUED_PICTURES, context.device.largest_batch(context.lipsync))
        share, load = cost.share(batch), self.load(context.device, besides=session_id)
        if share > 1:
            self._too_slow_s.setdefault(context.lipsync, self.clock.now_s() + MEASURED_AGAIN_S)
            raise BackendUnavailable(
                context.lipsync.name,
                f"it draws {cost.pictures_a_second(batch):.1f} pictures a second on {context.device.name}, and "
                f"{FPS} are needed",
                "Choose a smaller one, run it on a GPU (--device), or make clips in the Studio, which may take longer.",
            )
        if load and load + share > USABLE_SHARE:
            raise AtCapacity(
                f"{context.device.name} draws for no more viewers at one time with {context.lipsync.name}.",
                "Try again in a minute; the operator can add a device.",
                cause="device",
            )
        self._shares[session_id] = (context.device, share)

    async def _cost(self, context: TurnContext) -> DrawingCost:
        """Return what drawing costs with this context's backend. Measured once, before its first session,
        and after a while once more if it drew too slowly.

        Without `measure` drawing counts as free.
        """
        lipsync, device = context.lipsync, context.device
        if not self._measure:
            return DrawingCost()
        if self._too_slow_s.get(lipsync, math.inf) <= self.clock.now_s():
            del self._too_slow_s[lipsync]
            self._costs.pop(lipsync, None)
        if lipsync not in self._costs:
            sample = Sample(device, context.extractor, lipsync, context.lipsync_state, context.bundle, self.clock.now_s)
            self._costs[lipsync] = asyncio.create_task(sample.cost())
        try:
            cost = await asyncio.shield(self._costs[lipsync])
        except Exception:  # whatever the reason, the next session measures again
            self._costs.pop(lipsync, None)
            raise
        device.expect(lipsync, cost)
        return cost

    async def _appearance(self, bundle: AvatarBundle) -> _Appearance:
        """Return what sessions of an avatar share. Made once, and again when its files or its gestures change."""
        stamp = await asyncio.to_thread(gestures_stamp, bundle.path)
        key = bundle.files, stamp
        if key not in self._appearances:
            made = await asyncio.to_thread(_appearance_of, bundle, self._acting)
            self._appearances.setdefault(key, made)  # another session may have been faster
        kept = self._appearances.pop(key)
        self._appearances[key] = shown = replace(kept, bundle=kept.bundle.called_as(bundle))
        while len(self._appearances) > KEPT_STATES:
            self._appearances.popitem(last=False)
        return shown

"""Recordings of sessions. Viewers begin and end them; each is kept for a while, under an id only its viewer knows."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from avatars.bundle import AvatarBundle
from avatars.disk import require_room
from avatars.library import Ownership
from models.errors import VivavoceError
from pipeline.clip_label import ClipLabel, label_language
from pipeline.clip_writer import RECORDED, ClipWriter
from pipeline.clock import Clock
from pipeline.coded_frames import even_size
from pipeline.errors import BadRequest, NotMarked, NotSigned, SessionClosed
from pipeline.fair_line import FairLine
from pipeline.outputs import TakesOutputs
from pipeline.recorder import Recorder
from pipeline.threads import background_thread
from portal.clip_finish import ClipFinish
from portal.http.limits import Allowance, SessionAllowance, TooOften
from portal.http.login_key import fingerprint
from portal.http.proxies import network_of
from portal.kept_recordings import FILES, UNWRITTEN, KeptRecording, KeptRecordings
from portal.webhooks import Tell, tell_nobody

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["RecordableSession", "Recording", "Recordings"]

logger = logging.getLogger(__name__)

SWEEP_S = 60.0
"How often old recordings are looked for."
MAX_KEPT = 1000
"Most recordings kept, whatever their size: each sweep looks at all of them."
BEGUN, BEGUN_PER_S = 3.0, 0.05
"How many recordings one session may begin: three at once, then one every 20 s."
BEGUN_EACH, BEGUN_EACH_PER_S = 20.0, 0.1
"""How many recordings one address, and one person, may begin in all their sessions: 20 at once, then one every 10 s. A
new session does not reset this."""
MAX_WAITING_EACH = 4
"""How many recordings of one person or address may wait until their files are completed. Where their sound is marked,
that takes minutes, and what waits is not yet among the recordings that the limits count."""
UNNAMEABLE = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')
"Characters that file names cannot contain on every system."


class RecordableSession(Protocol):
    """The part of pipeline.session.Session that is used here."""

    id: str
    avatars_shown: set[str]

    @property
    def bundle(self) -> AvatarBundle: ...
    @property
    def closed(self) -> bool: ...
    @property
    def outputs(self) -> TakesOutputs: ...


@dataclass(eq=False)
class Recording:
    """A recording that is being made, or has ended."""

    id: str
    name: str
    "what its files are called, for people: the avatar's name, and when the recording began"
    session: RecordableSession
    recorder: Recorder
    on_end: Callable[[Recording], None]
    whose: str = ""
    "for whom its files are completed: askers take turns"
    kept: asyncio.Event = field(default_factory=asyncio.Event)
    "set once its files are complete, or it is clear that they will not be"
    unsigned: NotMarked | NotSigned | None = None
    "why its file lacks a signature or a mark in its sound; None if it lacks nothing"

    @property
    def trouble(self) -> VivavoceError | None:
        """Why it ended by itself or was not kept; None if neither happened."""
        return self.recorder.trouble


class Recordings:
    """The recordings that this process makes, each in a folder of its own below `<data_dir>/recordings`.

    A session has one recording at a time. Files are removed `recordings_keep_s` seconds after the recording's end. They
    are removed sooner if all recordings together exceed `recordings_most_bytes` or MAX_KEPT: then the oldest of the
    owner with most goes first. Where nobody logs in, the address that began a recording counts as its owner.
    """

    def __init__(
        self, settings: Settings, clock: Clock, tell: Tell = tell_nobody, kept: KeptRecordings | None = None
    ) -> None:
        """tell: tells webhooks about recordings that are complete or have failed.
        kept: where the files are; by default in the data folder.
        """
        self._tell = tell
        self._settings = settings
        self._clock = clock
        self._kept = kept or KeptRecordings(settings.data_dir / "recordings")
        self._folder = self._kept.root
        self._finish = ClipFinish(settings)
        self._finishing = background_thread("recordings")  # marking the sound of an hour takes minutes
        self._line = FairLine(lambda: 1)
        self._begun = SessionAllowance(
            clock,
            "You begin recordings too often.",
            Allowance(clock, burst=BEGUN, per_s=BEGUN_PER_S),
            burst=BEGUN_EACH,
            per_s=BEGUN_EACH_PER_S,
        )
        self._running: dict[str, Recording] = {}  # keyed by the session's id
        self._keeping: dict[Recording, asyncio.Task[None]] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to remove old recordings. Idempotent."""
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="recordings-sweep")

    def begin(
        self,
        session: RecordableSession,
        on_end: Callable[[Recording], None] = lambda _recording: None,
        *,
        owner: str = "",
        address: str = "",
    ) -> Recording:
        """Record a session from the next frame on.

        on_end: called once the files are complete, or it is clear that they will not be (see `trouble`), whatever
            ended the recording.
        owner: name of the person it belongs to; empty if it belongs to everybody.
        address: the client's address, for limits; "" if it is not known.

        Raises BadRequest (the session is being recorded already, or recording is switched off), TooOften,
        SessionClosed, DiskFull, RenderError.
        """
        if session.closed:  # checked first, so that nothing is charged or created for it
            raise SessionClosed("The session has ended.", "Start a new one.")
        if not self._settings.recording:
            raise BadRequest("Recording is switched off here.", "Ask the operator: the setting is `recording`.")
        if session.id in self._running:
            raise BadRequest("This session is being recorded already.", "End that recording first.")
        whose = owner or network_of(address) or address
        if self._line.waiting_of(whose) >= MAX_WAITING_EACH:
            raise TooOften("Your earlier recordings are still being completed.", "Wait a minute, then try again.", 60)
        self._begun.charge(session.id, address, owner)
        room = partial(require_room, self._folder, self._settings.keep_free_bytes, UNWRITTEN)
        room()
        bundle, recording_id = session.bundle, secrets.token_urlsafe(18)
        if owner:  # noted before there are files, or others could see them for a moment
            self._kept.note_owner(recording_id, owner)
        elif address:
            place = network_of(address) or address
            self._kept.note_place(recording_id, fingerprint(self._settings.data_dir, place.encode()))
        self._kept.note_avatar(recording_id, bundle.id)
        name = UNNAMEABLE.sub(" ", f"{bundle.name} - {datetime.now().astimezone():%Y-%m-%d %H.%M}").strip()
        writer = ClipWriter(
            self._folder / recording_id / "recording.mp4",
            *even_size(bundle.width, bundle.height),
            label=self._label(bundle),
            title=name,
            coding=RECORDED,
            clip_id=sha256(recording_id.encode()).hexdigest()[:16],  # a hash: whoever knows the id can open the file
            frame_mark=self._settings.frame_mark,
        )
        recorder = Recorder(writer, longest_s=self._settings.recording_longest_s, check_room=room)
        recording = Recording(recording_id, name, session, recorder, on_end, whose)
        session.outputs.add(recorder, recorder.hear)
        self._running[session.id] = recording
        self._keeping[recording] = asyncio.create_task(self._keep(recording), name=f"recording-{session.id}")
        return recording

    def of(self, session: RecordableSession) -> Recording | None:
        """Return the recording that is being made of a session, if any."""
        return self._running.get(session.id)

    def stop(self, session: RecordableSession) -> Recording:
        """End a session's recording, and return while its files are completed. Raises BadRequest: there is none.

        If it has ended by itself and its files are not complete yet, nothing happens. The session may be recorded anew
        at once.
        """
        recording = self._running.pop(session.id, None) or self._being_completed(session)
        if recording is None:
            raise BadRequest("This session is not being recorded.", "Begin a recording first.")
        session.outputs.remove(recording.recorder)
        return recording

    async def end(self, session: RecordableSession) -> Recording:
        """The same as stop(), but it returns when the files are complete."""
        recording = self.stop(session)
        await recording.kept.wait()
        return recording

    def path(self, recording_id: str, kind: str) -> Path:
        """Return the path of a recording's file. kind: mp4, vtt or json. Raises RecordingNotFound."""
        return self._kept.path(recording_id, kind)

    async def erase_all_of(self, avatar_id: str) -> int:
        """End and remove the recordings of sessions that have shown an avatar. Return how many there were."""
        ending = [recording for recording in self._keeping if avatar_id in recording.session.avatars_shown]
        for recording in ending:
            recording.session.outputs.remove(recording.recorder)
        await asyncio.gather(*(recording.kept.wait() for recording in ending))
        return await asyncio.to_thread(self._kept.erase_all_of, avatar_id)

    def ownership(self, recording_id: str) -> Ownership | None:
        """Return who owns a recording; None if there is none with this id. Raises OSError."""
        return self._kept.ownership(recording_id)

    def file_name(self, recording_id: str, kind: str) -> str:
        """Return the name a file gets when it is downloaded. Raises RecordingNotFound."""
        told = json.loads(self.path(recording_id, "json").read_text(encoding="utf-8"))
        return f"{told['name']}.{kind}"

    async def aclose(self) -> None:
        """End all recordings and complete their files. Idempotent."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
            self._sweeping = None
        for recording in tuple(self._keeping):
            await recording.recorder.aclose()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        self._finishing.shutdown(wait=False)

    async def _keep(self, recording: Recording) -> None:
        """Wait for a recording to end, whatever ends it, then sign it and write its transcript."""
        try:
            await recording.recorder.over.wait()
            recording.session.outputs.remove(recording.recorder)
            self._forget_running(recording)
            await self._complete_in_turn(recording)
        finally:
            self._forget_running(recording)
            self._keeping.pop(recording, None)
            recording.kept.set()
            self._tell(*_news_of(recording))
            recording.on_end(recording)

    def _being_completed(self, session: RecordableSession) -> Recording | None:
        """Return the last recording of a session whose files are not complete yet."""
        return next((one for one in reversed(self._keeping) if one.session is session), None)

    def _forget_running(self, recording: Recording) -> None:
        if self._running.get(recording.session.id) is recording:
            del self._running[recording.session.id]

    async def _complete_in_turn(self, recording: Recording) -> None:
        """Complete a recording's files. Those of one person or address do not hold up all those of others."""
        await self._line.enter(recording.whose)
        try:
            await asyncio.get_running_loop().run_in_executor(self._finishing, self._complete, recording)
        finally:
            self._line.leave(recording.whose)

    def _complete(self, recording: Recording) -> None:
        folder = self._folder / recording.id
        if not (folder / "recording.mp4").is_file():  # no frame came, or the disk was full
            shutil.rmtree(folder, ignore_errors=True)
            return
        try:
            for lack in self._finish.finish(folder / "recording.mp4"):
                logger.warning("a recording lacks something: %s", lack)
                recording.unsigned = lack
        finally:
            self._write_transcript(folder, recording)  # last, because its presence says that the recording is complete
        self._kept.keep(recording.id)

    def _write_transcript(self, folder: Path, recording: Recording) -> None:
        transcript = recording.recorder.transcript
        told = {
            "name": recording.name,
            "avatars": sorted(recording.session.avatars_shown),
            "duration_s": recording.recorder.duration_s,
            "entries": transcript.entries,
        }
        try:
            (folder / "recording.vtt").write_text(transcript.vtt(), encoding="utf-8")
            text = json.dumps(told, default=lambda entry: entry.fields(), ensure_ascii=False, indent=1)
            (folder / "recording.json").write_text(text, encoding="utf-8")
        except OSError as error:
            logger.warning("The transcript of a recording cannot be written: %s", error)

    def _label(self, bundle: AvatarBundle) -> ClipLabel | None:
        if self._settings.clip_label == "off":
            return None
        return ClipLabel(bundle, label_language(bundle.name), always=self._settings.clip_label == "always")

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._sweep)
            except (VivavoceError, OSError) as error:
                logger.warning("old recordings are looked for again in %.0f s: %s", SWEEP_S, error)
            await self._clock.sleep_until(self._clock.now_s() + SWEEP_S)

    def _sweep(self) -> None:
        """Remove recordings past their time, remains of crashes, and whatever exceeds the limits on all recordings.

        The newest stays, whatever its size: somebody has just been told its address.
        """
        running = {recording.id for recording in tuple(self._keeping)}
        oldest = time.time() - self._settings.recordings_keep_s
        kept: list[KeptRecording] = []
        for recording in self._kept.ended(running):
            if recording.ended_at < oldest:
                recording.remove()
            else:
                kept.append(recording)
        kept.sort(key=lambda recording: recording.ended_at)
        self._make_room(kept)

    def _make_room(self, kept: list[KeptRecording]) -> None:
        """Remove recordings until all together are within the limits. kept: oldest first.

        The oldest of the owner with most go first, so that nobody can push out other people's recordings.
        """
        owners = {recording.id: recording.owner or recording.begun_from for recording in kept}
        numbers = Counter(owners.values())
        sizes_bytes: Counter[str] = Counter()
        for recording in kept:
            sizes_bytes[owners[recording.id]] += recording.size_bytes
        for most, taken in ((MAX_KEPT, numbers), (self._settings.recordings_most_bytes, sizes_bytes)):
            while len(kept) > 1 and taken.total() > most:
                owner = taken.most_common(1)[0][0]
                leaving = next((recording for recording in kept[:-1] if owners[recording.id] == owner), kept[0])
                leaving.remove()
                kept.remove(leaving)
                numbers[owners[leaving.id]] -= 1
                sizes_bytes[owners[leaving.id]] -= leaving.size_bytes


def _news_of(recording: Recording) -> tuple[str, Mapping[str, object]]:
    facts = {"session": recording.session.id, "recording": recording.id, "name": recording.name}
    trouble = recording.trouble
    if trouble is not None:
        return "recording.failed", {**facts, "code": trouble.code, "message": trouble.message}
    files = {kind: f"/api/recordings/{recording.id}.{kind}" for kind in FILES}
    unsigned = "" if recording.unsigned is None else recording.unsigned.message
    duration_s = recording.recorder.duration_s
    return "recording.ready", {**facts, "duration_s": duration_s, "files": files, "unsigned": unsigned}

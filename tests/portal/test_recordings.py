"""Recordings of real sessions: begun, ended, kept, fetched, swept."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import av
import httpx
import pytest
from fastapi import FastAPI

from avatars.library import Ownership
from avatars.store import Store
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.errors import BadRequest, RenderError, SessionClosed
from portal.api.connection import _recording_facts
from portal.api.recordings import recordings_router
from portal.errors import RecordingNotFound
from portal.http.limits import TooOften
from portal.kept_recordings import KeptRecording, KeptRecordings, SharedRecordings
from portal.recordings import SWEEP_S, Recording, Recordings
from portal.settings import Settings
from tests.certificates import verdict_of
from tests.pipeline.conftest import make_small_bundle
from tests.session_room import MEASURED, Room, done
from tests.unreadable import unreadable

WITHIN_S = 60.0


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    clock = ManualClock()
    engine = Engine(clock=clock)
    await engine.start()
    session = await engine.open_session("s1", make_small_bundle(tmp_path / "small"), MEASURED)
    yield Room(engine, session, clock)
    await engine.aclose()


@pytest.fixture
async def recordings(room: Room, tmp_path: Path) -> AsyncIterator[Recordings]:
    """On a clock of their own: the room waits for threads only while nothing but the playout sleeps on its clock."""
    kept = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0, recording_longest_s=60), ManualClock())
    await kept.start()
    yield kept
    await kept.aclose()
    await kept.aclose()


async def ended(recording: Recording) -> Recording:
    async with asyncio.timeout(WITHIN_S):
        await recording.kept.wait()
    return recording


def seconds_of_sound(path: Path) -> float:
    """Of pictures some are left out here: the manual clock is faster than any encoder."""
    with av.open(str(path)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


async def test_a_recording_has_what_was_played_and_who_said_what(room: Room, recordings: Recordings) -> None:
    """MP4, WebVTT and JSON, under the avatar's name; the session goes on. A text to be read is no question."""
    recording = recordings.begin(room.session)
    await room.pass_time(1)
    await room.until(done(room, room.session.say("How are you?")))
    turn = room.session.say("Fine, thank you.", "echo")
    await room.until(done(room, turn))
    assert await recordings.end(room.session) is recording
    assert recording.trouble is None and recordings.of(room.session) is None
    assert seconds_of_sound(recordings.path(recording.id, "mp4")) == pytest.approx(
        recording.recorder.duration_s, abs=0.1
    )
    assert recording.recorder.duration_s > 1.5
    told = json.loads(recordings.path(recording.id, "json").read_text(encoding="utf-8"))
    assert [(entry["role"], entry["text"]) for entry in told["entries"]] == [
        ("user", "How are you?"),
        ("assistant", "How are you?"),
        ("assistant", "Fine, thank you."),
    ]
    assert "<v Avatar>Fine, thank you." in recordings.path(recording.id, "vtt").read_text(encoding="utf-8")
    assert recordings.file_name(recording.id, "mp4").startswith("small - ")
    await room.pass_time(0.2)
    assert not room.session.closed and room.session.playout.outputs == ()


async def test_it_belongs_to_who_had_it_made(room: Room, recordings: Recordings) -> None:
    """From its beginning; one without an owner is everybody's; of what is not there nothing is known."""
    recording = recordings.begin(room.session, owner="anna")
    assert recordings.ownership(recording.id) == Ownership("anna")
    await room.pass_time(1)
    await recordings.end(room.session)
    assert recordings.path(recording.id, "mp4").is_file()
    assert recordings.ownership(recording.id) == Ownership("anna")
    everybodys = recordings.begin(room.session)
    await room.pass_time(1)
    await recordings.end(room.session)
    assert recordings.ownership(everybodys.id) == Ownership()
    assert recordings.ownership("nothing-of-that-id") is recordings.ownership("../avatars") is None


async def test_files_are_completed_for_one_after_another_while_the_session_goes_on(
    room: Room, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends several recordings holds up neither their own session nor all recordings of others."""
    go_on, completed = threading.Event(), list[Recording]()

    def complete(recording: Recording) -> None:
        go_on.wait(WITHIN_S)
        completed.append(recording)

    monkeypatch.setattr(recordings, "_complete", complete)
    stopped = []
    for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
        recordings.begin(room.session, address=address)
        await room.pass_time(0.2)
        stopped.append(recordings.stop(room.session))  # returns at once, and another may begin
        await stopped[-1].recorder.over.wait()
    assert not any(recording.kept.is_set() for recording in stopped)
    go_on.set()
    for recording in stopped:
        await ended(recording)
    first, second, others = stopped
    assert completed == [first, others, second]


async def test_whoever_has_recordings_to_complete_begins_no_more(
    room: Room, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the disk would fill with what nobody counts yet. Stopping one that waits is no fault."""
    go_on = threading.Event()
    monkeypatch.setattr(recordings, "_complete", lambda _recording: go_on.wait(WITHIN_S))
    monkeypatch.setattr("portal.recordings.MAX_WAITING_EACH", 1)
    stopped = []
    for _ in range(2):  # the first one is being completed, and the second one waits
        recordings.begin(room.session, owner="anna")
        await room.pass_time(0.2)
        stopped.append(recordings.stop(room.session))
        await stopped[-1].recorder.over.wait()
        await asyncio.sleep(0)
    with pytest.raises(TooOften, match="still being completed"):
        recordings.begin(room.session, owner="anna")
    assert recordings.stop(room.session) is stopped[-1]
    others = recordings.begin(room.session, owner="ben")
    assert recordings.stop(room.session) is others
    go_on.set()
    for recording in (*stopped, others):
        await ended(recording)
    with pytest.raises(BadRequest):
        recordings.stop(room.session)


async def test_it_is_kept_when_the_session_ends(room: Room, recordings: Recordings) -> None:
    """Whoever closes the page in the middle of a recording has it all the same."""
    told: list[Recording] = []
    recording = recordings.begin(room.session, told.append)
    await room.pass_time(1)
    await room.engine.close_session(room.session)
    await ended(recording)
    assert told == [recording] and seconds_of_sound(recordings.path(recording.id, "mp4")) > 0.9


async def test_a_session_that_has_ended_leaves_nothing_behind(
    room: Room, recordings: Recordings, tmp_path: Path
) -> None:
    """However often somebody asks for a recording of it: no task, no folder, no encoder."""
    await room.engine.close_session(room.session)
    tasks = asyncio.all_tasks()
    for _ in range(5):
        with pytest.raises(SessionClosed):
            recordings.begin(room.session)
    assert asyncio.all_tasks() <= tasks
    assert not list((tmp_path / "data" / "recordings").glob("*"))


async def test_one_at_a_time(room: Room, recordings: Recordings) -> None:
    """A second one is refused while the first runs, and ending none is, too; afterwards another may begin."""
    with pytest.raises(BadRequest):
        await recordings.end(room.session)
    recordings.begin(room.session)
    with pytest.raises(BadRequest):
        recordings.begin(room.session)
    await room.pass_time(0.2)
    await recordings.end(room.session)
    recordings.begin(room.session)


async def test_an_operator_can_switch_it_off(room: Room, tmp_path: Path) -> None:
    """Then no session can be recorded."""
    with pytest.raises(BadRequest, match="switched off"):
        Recordings(Settings(data_dir=tmp_path, recording=False), room.clock).begin(room.session)


async def test_a_full_disk_is_told_and_the_session_goes_on(
    room: Room, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording ends with its reason; nothing of it is left."""
    told: list[Recording] = []
    recording = recordings.begin(room.session, told.append)
    await room.pass_time(0.2)
    monkeypatch.setattr("avatars.disk.shutil.disk_usage", lambda _path: SimpleNamespace(free=-1))
    await room.pass_time(1.2)
    await ended(recording)
    assert told == [recording] and recording.trouble is not None and recording.trouble.code == "disk_full"
    await room.pass_time(0.2)
    assert not room.session.closed
    with pytest.raises(RecordingNotFound):
        recordings.path(recording.id, "mp4")


async def test_it_is_signed(room: Room, tmp_path: Path) -> None:
    """Whatever ends it; C2PA's reader finds the signature in the file that is fetched."""
    pytest.importorskip("c2pa")
    recordings = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0, c2pa=True), ManualClock())
    recording = recordings.begin(room.session)
    await room.pass_time(1)
    await room.engine.close_session(room.session)
    await ended(recording)
    assert recording.trouble is None and recording.unsigned is None
    assert verdict_of(recordings.path(recording.id, "mp4")).state == "Valid"
    assert seconds_of_sound(recordings.path(recording.id, "mp4")) > 0.9


async def test_without_a_certificate_that_counts_it_is_kept_unsigned(room: Room, tmp_path: Path) -> None:
    """The viewer is told why, and has the file."""
    settings = Settings(data_dir=tmp_path / "data", keep_free_bytes=0, c2pa_certificate=tmp_path / "gone.pem")
    recordings = Recordings(settings, ManualClock())
    recording = recordings.begin(room.session)
    await room.pass_time(1)
    assert await recordings.end(room.session) is recording
    assert seconds_of_sound(recordings.path(recording.id, "mp4")) > 0.9
    facts = _recording_facts(recording)
    assert facts["state"] == "done" and facts["code"] == "not_signed" and "certificate" in str(facts["message"])


async def test_its_metadata_tell_it_from_others_and_do_not_open_it(room: Room, tmp_path: Path) -> None:
    """Whoever has the file of one recording could otherwise fetch its transcript, too."""
    recordings = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0), ManualClock())
    told = []
    for _ in range(2):
        recording = recordings.begin(room.session)
        await room.pass_time(0.5)
        await recordings.end(room.session)
        with av.open(str(recordings.path(recording.id, "mp4"))) as file:
            assert recording.id not in str(dict(file.metadata))
            told.append(json.loads(file.metadata["AIGC"])["ProduceID"])
    assert len(set(told)) == 2 and all(len(one) == 16 for one in told)


async def test_webhooks_are_told_when_its_files_are_there(room: Room, tmp_path: Path) -> None:
    """With their addresses; or that there are none, and why."""
    told: list[tuple[str, Mapping[str, object]]] = []
    settings = Settings(data_dir=tmp_path / "data", keep_free_bytes=0)
    recordings = Recordings(settings, ManualClock(), lambda event, facts: told.append((event, facts)))
    recording = recordings.begin(room.session)
    await room.pass_time(1)
    await recordings.end(room.session)
    ((event, facts),) = told
    assert event == "recording.ready" and facts["session"] == "s1" and facts["unsigned"] == ""
    assert facts["files"] == {kind: f"/api/recordings/{recording.id}.{kind}" for kind in ("mp4", "vtt", "json")}
    assert facts["duration_s"] == recording.recorder.duration_s
    told.clear()
    broken = recordings.begin(room.session)
    broken.recorder.trouble = RenderError("The disk is gone.")
    await recordings.end(room.session)
    assert [(event, facts["message"]) for event, facts in told] == [("recording.failed", "The disk is gone.")]


async def test_files_are_fetched_by_their_id_alone(room: Room, recordings: Recordings) -> None:
    """With a telling name; other ids, other kinds and paths lead nowhere."""
    recording = recordings.begin(room.session)
    await room.pass_time(0.4)
    await recordings.end(room.session)
    app = FastAPI()
    app.include_router(recordings_router(recordings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        fetched = await client.get(f"/api/recordings/{recording.id}.mp4")
        assert fetched.status_code == 200 and fetched.headers["content-type"] == "video/mp4"
        assert "small - " in unquote(fetched.headers["content-disposition"])
        for address in (f"{recording.id}.exe", "nobody.mp4", "..%2F..%2Fx.mp4", f"{recording.id[:-1]}.mp4"):
            assert (await client.get(f"/api/recordings/{address}")).status_code == 404


async def test_they_are_removed_after_their_time(room: Room, recordings: Recordings, tmp_path: Path) -> None:
    """What is old goes; what runs stays, however old it is."""
    recording = recordings.begin(room.session)
    await room.pass_time(0.4)
    folder = tmp_path / "data" / "recordings"
    (folder / "left-by-a-crash").mkdir()
    for path in (folder / recording.id, folder / "left-by-a-crash"):
        os.utime(path, (0, 0))
    recordings._sweep()
    assert {path.name for path in folder.iterdir()} == {recording.id}
    await recordings.end(room.session)
    os.utime(folder / recording.id, (0, 0))
    recordings._sweep()
    assert not list(folder.iterdir())


def test_what_another_portal_is_just_recording_stays(tmp_path: Path) -> None:
    """However old its folder is, and however many there are; what a crash has left goes."""
    settings = Settings(data_dir=tmp_path, recordings_keep_s=60)
    for name, age_s in (("grows", 1), ("crashed", 3600)):
        folder = tmp_path / "recordings" / name
        folder.mkdir(parents=True)
        unfinished = folder / ".recording.mp4"
        unfinished.write_bytes(b"so far")
        os.utime(unfinished, (time.time() - age_s,) * 2)
        os.utime(folder, (0, 0))
    Recordings(settings, ManualClock())._sweep()
    assert [folder.name for folder in (tmp_path / "recordings").iterdir()] == ["grows"]


async def test_what_a_crash_left_of_an_avatar_is_erased_with_it(
    room: Room, recordings: Recordings, tmp_path: Path
) -> None:
    """It has no transcript yet, which would name the avatar. What another portal is just recording stays there."""
    recording = recordings.begin(room.session)
    folder = tmp_path / "data" / "recordings"
    noted = (folder / recording.id / "avatars.txt").read_text()
    await room.pass_time(0.4)
    await recordings.end(room.session)
    for name, age_s in (("crashed", 3600), ("grows", 1)):
        kept = KeptRecordings(folder)
        kept.note_owner(name, "max")
        kept.note_avatar(name, noted)
        unfinished = folder / name / ".recording.mp4"
        unfinished.write_bytes(b"so far")
        os.utime(unfinished, (time.time() - age_s,) * 2)
    (folder / "a file.txt").touch()
    assert await recordings.erase_all_of("somebody else") == 0
    assert await recordings.erase_all_of(room.session.bundle.id) == 2
    assert {path.name for path in folder.iterdir()} == {"grows", "a file.txt"}


def test_an_erasure_is_not_done_while_a_recording_cannot_be_read(tmp_path: Path) -> None:
    """Nobody knows whom it shows. All others are erased."""
    kept = KeptRecordings(tmp_path)
    for name in ("a", "b", "c"):
        kept.note_owner(name, "")
        (tmp_path / name / "recording.json").write_text('{"avatars": ["ada"]}')
    with unreadable(tmp_path / "b" / "recording.json"), pytest.raises(OSError, match="output error"):
        kept.erase_all_of("ada")
    assert [folder.name for folder in tmp_path.iterdir()] == ["b"]
    assert kept.erase_all_of("ada") == 1 and not list(tmp_path.iterdir())


def test_a_recording_whose_owner_cannot_be_read_stays_and_keeps_no_other_one(tmp_path: Path) -> None:
    """Else none would be removed any more. It is removed once it can be read."""
    recordings = Recordings(Settings(data_dir=tmp_path, recordings_keep_s=60), ManualClock())
    folder = tmp_path / "recordings"
    for name in ("recording-1", "recording-2", "recording-3"):
        KeptRecordings(folder).note_owner(name, "anna")
        os.utime(folder / name, (0, 0))
    with unreadable(folder / "recording-2" / "owner.txt"):
        recordings._sweep()
        assert [path.name for path in folder.iterdir()] == ["recording-2"]
    recordings._sweep()
    assert not list(folder.iterdir())


async def test_old_recordings_are_looked_for_again_after_a_look_that_failed(tmp_path: Path) -> None:
    looks: list[str] = []

    class Failing(KeptRecordings):
        def ended(self, running: Collection[str]) -> Iterator[KeptRecording]:
            looks.append("look")
            raise OSError(errno.EIO, "Input/output error")

    clock = ManualClock()
    recordings = Recordings(Settings(data_dir=tmp_path), clock, kept=Failing(tmp_path))
    await recordings.start()
    async with asyncio.timeout(WITHIN_S):
        while len(looks) < 3:
            await clock.advance(SWEEP_S)
            await asyncio.sleep(0.001)  # a thread looks in its own time
    await recordings.aclose()


def test_all_together_have_a_bound_and_the_oldest_go(tmp_path: Path) -> None:
    """The newest stays even if it alone has more than that."""
    settings = Settings(data_dir=tmp_path, recordings_most_bytes=2_500)
    for age_s, name in enumerate(("newest", "older", "oldest")):
        folder = tmp_path / "recordings" / name
        folder.mkdir(parents=True)
        (folder / "recording.mp4").write_bytes(bytes(1_000))
        os.utime(folder, (time.time() - age_s,) * 2)
    recordings = Recordings(settings, ManualClock())
    recordings._sweep()
    assert {folder.name for folder in (tmp_path / "recordings").iterdir()} == {"newest", "older"}
    (tmp_path / "recordings" / "newest" / "recording.json").write_bytes(bytes(3_000))
    os.utime(tmp_path / "recordings" / "newest")
    recordings._sweep()
    assert [folder.name for folder in (tmp_path / "recordings").iterdir()] == ["newest"]


def test_only_so_many_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, too: whoever makes thousands would make each look at them long."""
    monkeypatch.setattr("portal.recordings.MAX_KEPT", 3)
    for age_s in range(6):
        folder = tmp_path / "recordings" / f"age-{age_s}"
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age_s,) * 2)
    recordings = Recordings(Settings(data_dir=tmp_path), ManualClock())
    recordings._sweep()
    assert {folder.name for folder in (tmp_path / "recordings").iterdir()} == {"age-0", "age-1", "age-2"}


def test_two_sweeps_at_the_same_moment_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them has removed, the other does not miss."""
    (tmp_path / "recordings" / "here").mkdir(parents=True)
    real = Path.glob

    def with_one_that_is_gone(self: Path, pattern: str) -> list[Path]:
        return [*real(self, pattern), *([self / "gone"] if self.name == "recordings" else [])]

    monkeypatch.setattr(Path, "glob", with_one_that_is_gone)
    Recordings(Settings(data_dir=tmp_path), ManualClock())._sweep()
    assert (tmp_path / "recordings" / "here").is_dir()


async def test_a_session_begins_recordings_at_the_pace_of_people(room: Room, recordings: Recordings) -> None:
    """Three at once; the next one is refused with the time to wait."""
    for _ in range(3):
        recordings.begin(room.session)
        await recordings.end(room.session)
    with pytest.raises(TooOften, match="too often"):
        recordings.begin(room.session)


async def test_new_sessions_bring_no_new_recordings(room: Room, tmp_path: Path) -> None:
    """One person, and one address, begin as many as a family would; others are not held up."""
    recordings = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0), ManualClock())

    async def begun(number: int, owner: str, address: str) -> None:
        room.session.id = f"session-{owner}-{address}-{number}"
        recordings.begin(room.session, owner=owner, address=address)
        await recordings.end(room.session)

    for number in range(20):
        await begun(number, "anna", f"192.0.2.{number}")
    with pytest.raises(TooOften):
        await begun(20, "anna", "192.0.2.20")
    for number in range(20):
        await begun(number, "", "192.0.2.99")
    with pytest.raises(TooOften):
        await begun(20, "", "192.0.2.99")
    await begun(0, "bob", "192.0.2.100")
    await recordings.aclose()


async def test_where_nobody_logs_in_an_address_drives_nobody_elses_recordings_out(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a network of IPv6, which has many addresses; also where another portal has the folder, or a restarted
    one. No file tells the address.
    """
    monkeypatch.setattr("portal.recordings.MAX_KEPT", 3)
    recordings = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0), ManualClock())

    async def begun(address: str) -> Path:
        room.session.id = f"session-{address}"
        recording = recordings.begin(room.session, address=address)
        await room.pass_time(0.2)
        await recordings.end(room.session)
        return tmp_path / "data" / "recordings" / recording.id

    first = await begun("192.0.2.1")
    os.utime(first, (time.time() - 100,) * 2)
    many = [await begun(f"2001:db8:7:{number}::/64") for number in range(4)]
    assert not any(b"192.0.2" in file.read_bytes() for file in first.iterdir())
    another_portal = Recordings(Settings(data_dir=tmp_path / "data", keep_free_bytes=0), ManualClock())
    another_portal._sweep()
    assert first.is_dir() and sum(folder.is_dir() for folder in many) == 2
    await recordings.aclose()
    await another_portal.aclose()


def test_an_address_has_its_share_of_the_recordings_of_all_portals(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them looks, and wherever the recordings were begun."""
    monkeypatch.setattr("portal.recordings.MAX_KEPT", 3)
    clock = itertools.count(0, 10).__next__  # what the store said before counts no more
    homes = [tmp_path / name for name in ("here", "there")]
    here, there = (
        SharedRecordings(home / "recordings", Store(store_url, home / "store.json"), clock) for home in homes
    )

    def recorded(kept: SharedRecordings, recording_id: str, begun_from: str) -> None:
        kept.note_place(recording_id, begun_from)
        (kept.root / recording_id / "recording.mp4").write_bytes(b"she speaks")
        (kept.root / recording_id / "recording.json").write_text('{"avatars": []}')
        kept.keep(recording_id)

    recorded(there, "the-first-one", "one")
    for number in range(4):
        recorded(here, f"recording-{number}", "another")
    Recordings(Settings(data_dir=homes[1]), ManualClock(), kept=there)._sweep()
    assert {one.id for one in here.ended(())} == {"the-first-one", "recording-2", "recording-3"}


def test_whoever_has_most_loses_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by size; so nobody drives others' recordings out."""
    monkeypatch.setattr("portal.recordings.MAX_KEPT", 4)

    def recorded(owner: str, age_s: int, size_bytes: int) -> None:
        folder = tmp_path / "recordings" / f"recording-of-{owner}-{age_s}"
        folder.mkdir(parents=True)
        (folder / "owner.txt").write_text(owner, encoding="utf-8")
        (folder / "recording.mp4").write_bytes(bytes(size_bytes))
        os.utime(folder, (time.time() - age_s,) * 2)

    def left() -> set[str]:
        return {folder.name.removeprefix("recording-of-") for folder in (tmp_path / "recordings").iterdir()}

    recorded("alice", 1000, 100)
    for age_s in range(10):
        recorded("vic", age_s, 10)
    Recordings(Settings(data_dir=tmp_path), ManualClock())._sweep()
    assert left() == {"alice-1000", "vic-0", "vic-1", "vic-2"}
    recorded("vic", 5, 5_000)
    recorded("vic", 6, 10)
    Recordings(Settings(data_dir=tmp_path, recordings_most_bytes=500), ManualClock())._sweep()
    assert "alice-1000" in left() and "vic-5" not in left()

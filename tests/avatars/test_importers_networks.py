"""The network that LiveTalking trains for an ultralight avatar comes along with it, and a hostile one does not."""

from __future__ import annotations

import os
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from clips import ScriptedAnalyzer, face_at
from foreign_folders import livetalking_ultralight, livetalking_wav2lip, zipped

pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")

from neural_avatars import write_weights
from session_room import Room, done
from tiny_ultralight import write_ultralight_network

from avatars.backend_parts import prepare_parts
from avatars.bundle import AvatarBundle
from avatars.errors import BadImport
from avatars.face_formats import crop_parameters
from avatars.importers import networks
from avatars.importers.account import import_words
from avatars.library import AvatarLibrary
from avatars.parts import network_path
from avatars.prepare import Upload, find_faces, make_loop, read_source, write
from pipeline.clock import ManualClock
from pipeline.engine import Engine
from pipeline.turn_context import Choice

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("read_here")]

FRAMES = 26


class Hostile:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._mark),)


def ignore(_part: float) -> None:
    """Progress that nobody looks at."""


def imported(path: Path, work: Path, library: AvatarLibrary) -> AvatarBundle:
    faces = [[face_at(x=round(4 * np.sin(index / 4)))] for index in range(FRAMES)]
    read_source(Upload(path, "foreign-1", "Foreign"), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(faces))
    make_loop(work, ignore)
    return library.open(write(work, library, ignore))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    weights = {"weights": write_weights(tmp_path / "weights", "ultralight")}
    engine = Engine({("lipsync", "ultralight"): weights, ("features", "hubert"): weights}, clock=ManualClock())
    await engine.start()
    yield engine
    await engine.aclose()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_the_network_of_an_ultralight_avatar_comes_along(packed: bool, tmp_path: Path, library: AvatarLibrary) -> None:
    """Byte by byte, to where the backend looks for it; and the words say so."""
    network = write_ultralight_network(tmp_path / "network.pth")
    path = livetalking_ultralight(tmp_path / "avator_1", FRAMES, network)
    bundle = imported(zipped(path) if packed else path, tmp_path / "work", library)
    assert network_path(bundle.path, "ultralight").read_bytes() == network.read_bytes()
    account = bundle.manifest["source"]["imported"]
    assert account["networks"] == ["ultralight"]
    assert "network for ultralight was taken over" in " ".join(import_words(account))


def test_other_avatars_have_no_network(tmp_path: Path, library: AvatarLibrary) -> None:
    """Of wav2lip's there is none, and nothing is said of one."""
    bundle = imported(livetalking_wav2lip(tmp_path / "avator_1", FRAMES), tmp_path / "work", library)
    assert not network_path(bundle.path, "ultralight").exists()
    assert bundle.manifest["source"]["imported"]["networks"] == []


async def test_an_imported_avatar_speaks_with_its_network(
    engine: Engine, tmp_path: Path, library: AvatarLibrary
) -> None:
    """Prepared for ultralight, the project's avatar draws its mouth by the project's network."""
    path = livetalking_ultralight(tmp_path / "avator_1", FRAMES, write_ultralight_network(tmp_path / "network.pth"))
    bundle = imported(path, tmp_path / "work", library)
    parameters = crop_parameters("ultralight")
    prepare_parts(bundle, "ultralight", tmp_path / "weights", parameters, tmp_path / "parts", ignore)
    session = await engine.open_session("test", bundle, Choice(llm="echo", tts="beep", lipsync="ultralight"))
    assert isinstance(engine.clock, ManualClock)
    room = Room(engine, session, engine.clock)
    await session.attach(room.transport)
    await room.until(done(room, session.say("Hello there.", mode="echo")))
    spoken = [frame for frame in room.transport.frames if frame.speaking]
    own = [bundle.frame(bundle.frame_index(frame.loop_index)) for frame in spoken]
    assert any((np.asarray(frame.picture) != picture).any() for frame, picture in zip(spoken, own, strict=True))


def refuse(network: Path, tmp_path: Path, match: str) -> None:
    """The import is refused with that message, and nothing is left behind."""
    path, work = livetalking_ultralight(tmp_path / "avator_1", 2, network), tmp_path / "work"
    with pytest.raises(BadImport, match=match) as caught:
        read_source(Upload(path, "foreign-1", "Foreign"), work, ignore)
    assert caught.value.hint
    assert list(work.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_network_that_wants_to_run_code_is_refused_by_name(protocol: int, tmp_path: Path) -> None:
    """The file and what it wants to call are named, and it is not called."""
    network, mark = tmp_path / "network.pth", tmp_path / "mark"
    network.write_bytes(pickle.dumps({"weights": Hostile(mark)}, protocol))
    refuse(network, tmp_path, r"^ultralight\.pth is refused: .* wants to call (posix|nt)\.mkdir")
    assert not mark.exists()
    pickle.loads(network.read_bytes())
    assert mark.exists(), "the ordinary reader does run it"


@pytest.mark.parametrize("content", [b"", b"no weights at all"], ids=["empty", "text"])
def test_a_file_that_is_no_network_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    """An avatar that could never speak is told at once."""
    network = tmp_path / "network.pth"
    network.write_bytes(content)
    refuse(network, tmp_path, r"^ultralight\.pth is")


def test_a_network_over_the_limit_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size that the folder tells, before a byte is written."""
    monkeypatch.setattr(networks, "MAX_NETWORK_BYTES", 1000)
    refuse(write_ultralight_network(tmp_path / "network.pth"), tmp_path, r"ultralight\.pth has .* MB; at most")

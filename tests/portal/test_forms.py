"""Forms with a file: where it lies while it comes in, and what ends the reading."""

from __future__ import annotations

from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from avatars.errors import DiskFull
from pipeline.clock import ManualClock
from pipeline.errors import BadRequest
from portal.http.bodies import Bodies, UploadPlaces
from portal.intake import forms
from portal.intake.forms import ROOM_EVERY_BYTES, Spool, limited_form

PIECE = bytes(256 * 1024)
FIELD = b'--x\r\nContent-Disposition: form-data; name="sessionid"\r\n\r\n0\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


class Sender:
    """A form with a file of `pieces`, in the order of its parts. read: the pieces that were taken."""

    def __init__(self, pieces: int, *, field_first: bool = True, piece: bytes = PIECE, begun: bytes = b"") -> None:
        self._piece = piece
        parts = [FILE + begun, *[piece] * pieces, b"\r\n"]
        self._parts = [FIELD, *parts] if field_first else [*parts, FIELD]
        self._parts.append(b"--x--\r\n")
        self.read = 0

    async def receive(self) -> Message:
        part = self._parts.pop(0)
        self.read += part is self._piece
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}


def names_below(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def handed_in(sender: Sender, folder: Path, look: Any = None, keep_free_bytes: int = 0) -> tuple[int, list[str]]:
    """The size of the file, and the names below the folder while the form is open."""
    seen: tuple[int, list[str]] = (0, [])

    async def app(scope: Any, receive: Any, _send: Any) -> None:
        nonlocal seen
        places, spool = UploadPlaces(ManualClock()), Spool(folder, keep_free_bytes)
        async with limited_form(Request(scope, receive), 10**9, places, spool, look) as form:
            file = form["file"]
            assert not isinstance(file, str)
            seen = len(await file.read()), names_below(folder)

    async def send(_message: Message) -> None: ...

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    await Bodies(app)(scope, sender.receive, send)
    return seen


async def test_a_file_comes_in_on_the_disk_of_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the system's folder, which may be memory; and nothing has a name that could be left behind."""
    folders: list[object] = []

    def noted(**given: Any) -> Any:
        folders.append(given["dir"])
        return SpooledTemporaryFile(**given)

    monkeypatch.setattr("portal.intake.forms.SpooledTemporaryFile", noted)
    size, names = await handed_in(Sender(8), tmp_path / "uploads")
    assert size == 8 * len(PIECE) and folders == [str(tmp_path / "uploads")]
    assert names == [] and names_below(tmp_path) == ["uploads"]


async def test_a_file_ends_when_the_disk_has_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where there is none, and in the middle where it was taken meanwhile."""
    sender = Sender(100)
    with pytest.raises(DiskFull):
        await handed_in(sender, tmp_path, keep_free_bytes=10**18)
    assert sender.read == 1
    looks = iter([None, DiskFull("The disk is full.", "Free some.")])

    def require_room(*_given: object) -> None:
        if (trouble := next(looks)) is not None:
            raise trouble

    monkeypatch.setattr(forms, "require_room", require_room)
    sender = Sender(100)
    with pytest.raises(DiskFull):
        await handed_in(sender, tmp_path)
    assert sender.read == 1 + ROOM_EVERY_BYTES // len(PIECE)


async def test_a_field_that_is_refused_ends_the_reading(tmp_path: Path) -> None:
    """Where it comes before the file; after it there is nothing left to read."""

    def refuse(name: str, text: str) -> None:
        assert (name, text) == ("sessionid", "0")
        raise BadRequest("No such session.", "Open one.")

    for field_first, read in ((True, 0), (False, 100)):
        sender = Sender(100, field_first=field_first)
        with pytest.raises(BadRequest, match="No such session"):
            await handed_in(sender, tmp_path, refuse)
        assert sender.read == read
    assert names_below(tmp_path) == []


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"", b"\r\n--xa" * 10_000),
        (b"", b"a" * 500 + b"\r\n--xa" * 30),
        (b"data\r\n--x", b" " * 60_000),
    ],
    ids=["boundaries", "few at a time", "padding"],
)
async def test_a_form_that_is_gone_through_byte_by_byte_ends_soon(tmp_path: Path, begun: bytes, piece: bytes) -> None:
    """An honest one is searched for its boundary at once: in its data there is none, and little between its parts."""
    sender = Sender(100, piece=piece, begun=begun)
    with pytest.raises(BadRequest, match="form cannot be read"):
        await handed_in(sender, tmp_path)
    assert sender.read <= 3
    assert names_below(tmp_path) == []


async def test_data_may_begin_like_a_boundary(tmp_path: Path) -> None:
    """Each line of it, also where a piece ends in the middle."""
    piece = b"\r\n--" * 10_000 + b"\r\n-"
    assert (await handed_in(Sender(20, piece=piece), tmp_path))[0] == 20 * len(piece)

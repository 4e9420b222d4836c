"""vivavoce_client against a portal as a user starts it, and the examples of docs/clients.md."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from vivavoce_client import AsyncSession, PortalError, Session
from websockets.asyncio.server import ServerConnection, serve

from portal.commands.portal_process import PortalProcess
from tests.clients.endings import ENDINGS

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WITHIN_S = 60.0


@pytest.fixture
def portal(talking_portal: PortalProcess) -> PortalProcess:
    return talking_portal


@pytest.fixture
async def session(portal: PortalProcess) -> AsyncIterator[AsyncSession]:
    async with asyncio.timeout(3 * WITHIN_S), AsyncSession(portal.url, avatar="mira") as session:
        yield session


async def test_what_is_said_is_seen_and_heard(session: AsyncSession) -> None:
    """Frames are RGB pictures and their sound, without a gap; the turn tells when it is done."""
    assert session.welcome["avatar"]["id"] == "mira"
    turn = await session.say("Hello there.")
    heard, times_s = False, []
    async for frame in session.frames():
        times_s.append(frame.time_s)
        heard = heard or float(np.abs(frame.sound).max()) > 0.03
        if turn.over and heard:
            break
    assert turn.state == "done"
    assert frame.image.shape == (session.welcome["height"], session.welcome["width"], 3)
    assert frame.image.dtype == np.uint8 and frame.sound.shape == (1920,) and frame.sound.dtype == np.float32
    assert np.allclose(np.diff(times_s), 0.04)


async def test_an_answer_is_read_and_interrupted(session: AsyncSession) -> None:
    """Its text grows as the language model gives it; after an interrupt the turn has ended, and so do those behind."""
    turn = await session.ask("One sentence here. " * 12)
    async for event in session.events():
        if event["type"] == "turn" and event["state"] == "speaking":
            break
    assert "One sentence here." in turn.text
    behind = await session.say("And this.")
    await session.interrupt()
    assert (await session.finished(turn)).state == "interrupted"
    assert (await session.finished(behind)).state == "interrupted"


async def test_a_stream_of_words_is_spoken_sentence_by_sentence(session: AsyncSession) -> None:
    """However it is cut into pieces, and with more sentences than the portal lets wait."""

    async def words() -> AsyncIterator[str]:
        for piece in (
            "It is 3.",
            "5 kilo",
            "metres. Two. Thr",
            "ee. 四。五！",
            "Six. Seven. Eight. Ni",
            "ne. And no end",
        ):
            yield piece

    speaking = asyncio.create_task(session.speak(words()))
    said: list[str] = []
    async for event in session.events():
        if event["type"] == "subtitle":
            said.append(event["text"])
        if said and said[-1] == "And no end" and event["type"] == "turn" and event["state"] == "done":
            break
    await speaking
    spoken = "It is 3.5 kilometres.|Two.|Three.|四。|五！|Six.|Seven.|Eight.|Nine.|And no end"
    assert said == spoken.split("|")


async def test_refusals_name_cause_and_remedy(portal: PortalProcess, session: AsyncSession) -> None:
    """An empty text, an avatar that is not there, and no place; the session of before goes on."""
    with pytest.raises(PortalError) as empty:
        await session.say(" ")
    assert empty.value.code == "bad_request" and empty.value.hint
    with pytest.raises(PortalError) as nobody:
        async with AsyncSession(portal.url, avatar="nobody"):
            pass
    assert nobody.value.code == "avatar_not_found"
    async with AsyncSession(portal.url):
        with pytest.raises(PortalError) as full:
            async with AsyncSession(portal.url):
                pass
    assert full.value.code in ("at_capacity", "too_many")
    assert (await session.finished(await session.say("Hello."))).state == "done"


async def test_sound_of_a_program_is_spoken_as_it_comes(session: AsyncSession) -> None:
    """It is heard while more of it is still to come, as loud as it was sent, and the turn is done after its end."""
    tone = (np.sin(np.arange(24_000) * 440 * 2 * np.pi / 24_000) / 2).astype(np.float32)
    sound = await session.open_sound(24_000)
    await sound.write(tone)
    heard: list[NDArray[np.float32]] = []
    async for frame in session.frames():
        if frame.speaking:
            heard.append(frame.sound)
        if len(heard) == 12:  # half a second, of a sound whose end is not known
            assert sound.turn.state == "speaking"
            await sound.write(tone)
            await sound.end()
        if sound.turn.over:
            break
    assert sound.turn.state == "done"
    assert 1.9 <= len(heard) / 25 <= 2.1
    assert np.sqrt(np.mean(heard[6] ** 2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.02)


async def test_sound_of_a_program_is_interrupted(session: AsyncSession) -> None:
    """What it still sends then is dropped without a fault, however much it is, and the next sound is spoken."""
    sound = await session.open_sound(16_000)
    writing = asyncio.create_task(sound.write(np.full(16_000 * 60, 8000, np.int16)))
    async for frame in session.frames():
        if frame.speaking:
            break
    assert not writing.done(), "no more than 10 s are sent ahead"
    await session.interrupt()
    await writing
    await sound.end()
    assert (await session.finished(sound.turn)).state == "interrupted"
    turn = await session.play(np.full(8000, 8000, np.int16), 16_000)
    assert (await session.finished(turn)).state == "done"


async def test_what_waits_ends_with_the_session(portal: PortalProcess) -> None:
    """Frames and events stop, and who waits for a turn is told."""
    async with AsyncSession(portal.url) as session:
        turn = await session.say("A long text. " * 30)
        waiting = asyncio.create_task(session.finished(turn))
        assert (await anext(session.frames())).image.any()
    with pytest.raises(PortalError):
        await waiting
    with pytest.raises(PortalError):
        await session.say("Too late.")
    async with asyncio.timeout(WITHIN_S):
        assert [event async for event in session.events()]
    await session.aclose()


async def test_who_reads_learns_that_the_connection_broke() -> None:
    """Also who comes later; and what came before is read first. A session that was closed just ends, as above."""

    async def portal(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type": "welcome"}')
        await socket.send('{"type": "turn", "turn": 1, "state": "queued"}')
        socket.transport.abort()

    async with asyncio.timeout(WITHIN_S), serve(portal, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncSession(f"http://127.0.0.1:{port}", media=False) as session:
            with pytest.raises(PortalError) as broken:
                await anext(session.frames())
            events = session.events()
            assert (await anext(events))["type"] == "turn"
            with pytest.raises(PortalError):
                await anext(events)
        with pytest.raises(PortalError):
            await anext(session.events())
    assert broken.value.code == "connection_lost" and broken.value.hint


@pytest.mark.parametrize(("code", "reason", "is_orderly"), ENDINGS)
async def test_a_session_that_the_portal_ends_in_order_just_ends(code: int, reason: str, *, is_orderly: bool) -> None:
    """After the last event, as one that was closed here; with other codes the reader learns that something is wrong."""

    async def portal(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type": "welcome"}')
        await socket.send('{"type": "turn", "turn": 1, "state": "queued"}')
        await socket.close(code, reason)

    async with asyncio.timeout(WITHIN_S), serve(portal, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncSession(f"http://127.0.0.1:{port}", media=False) as session:
            events = session.events()
            assert (await anext(events))["type"] == "turn"
            for reader in (events, session.frames()):
                with pytest.raises(StopAsyncIteration if is_orderly else PortalError):
                    await anext(reader)


def test_without_asyncio_it_is_the_same(portal: PortalProcess) -> None:
    """Say, ask, speak, frames and events; closed twice."""
    with Session(portal.url, avatar="alpha", greeting="") as session:
        turn = session.say("Hello there.")
        frame = next(frame for frame in session.frames() if frame.speaking)
        assert frame.image.any()
        assert session.finished(turn).state == "done"
        assert session.finished(session.ask("How are you?")).text
        session.speak(iter(["One", ". Tw", "o."]))
        said = (event["text"] for event in session.events() if event["type"] == "subtitle")
        assert next(said) == "Hello there."
        session.interrupt()
        assert session.finished(session.play(np.zeros(4800, np.float32) + 0.2, 48_000)).state == "done"
        with pytest.raises(PortalError):
            session.say("")
    session.close()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_page_run(portal: PortalProcess, tmp_path: Path, number: int) -> None:
    """As they stand there, but for the portal's address."""
    code = EXAMPLES[number].replace("http://127.0.0.1:7860", portal.url)
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr


def test_the_first_picture_takes_few_lines() -> None:
    """The first example of the page ends with a picture on the disk, in at most 15 lines."""
    assert ".save(" in EXAMPLES[0] and len(EXAMPLES[0].strip().splitlines()) <= 15


@pytest.mark.parametrize("url", ["127.0.0.1:7860", "ftp://portal", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match="http://"):
        Session(url)


async def test_what_answers_in_the_place_of_a_portal_is_told() -> None:
    """A login that is needed in the portal's words; anything else as what it is."""
    told = b'{"error": {"code": "login_needed", "message": "Log in.", "hint": "Send a token.", "cause": ""}}'
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        seen.append(asked)
        body = told if b"/portal/session" in asked else b"<html>"
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for path, code in (("/portal/", "login_needed"), ("", "connection_lost")):
        with pytest.raises(PortalError) as refused:
            async with AsyncSession(f"http://127.0.0.1:{port}{path}", headers={"Authorization": "Bearer abc"}):
                pass
        assert refused.value.code == code and refused.value.hint
    assert all(b"Authorization: Bearer abc" in asked for asked in seen)
    server.close()

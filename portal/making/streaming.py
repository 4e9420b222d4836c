"""Sends a speaking avatar to a streaming server, without a page: for `launch.py stream`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from avatars.bundle import AvatarBundle
from pipeline.camera import CAMERA, require_camera
from pipeline.channel import Channel
from pipeline.push import Push
from pipeline.session import Session
from pipeline.stream_address import parse_stream_address
from pipeline.types import ErrorEvent, NoticeEvent, TurnEvent, TurnState
from portal.backends import default_choice, new_engine
from portal.making.avatar_parts import check_preparable
from portal.pushes import new_push

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["stream_avatar"]

LOOKED_EVERY_S: Final = 0.5
LINES_BOUND: Final = 2
"""Most lines that may wait to be spoken. More are not read until one of them has been taken."""
ENDED: Final = (TurnState.DONE, TurnState.INTERRUPTED)


def stream_avatar(
    settings: Settings, bundle: AvatarBundle, address: str, lines: Iterable[str] | None, say: Callable[[str], None]
) -> None:
    """Push the avatar to a streaming server or to CAMERA, and let it speak one line after another.

    Blocks, and runs an event loop.

    lines: the function returns when the last of them was spoken; None: the avatar stays silent until Ctrl-C. They are
    read in another thread, which may wait for them for any time. say: called with messages for a person.

    Raises BadRequest (not the address of a streaming server), VivavoceError (a backend cannot run).
    """
    if address == CAMERA:
        require_camera()
    else:
        parse_stream_address(address)
    check_preparable(settings, bundle, settings.lipsync)
    asyncio.run(_stream(settings, bundle, address, lines, say))


async def _stream(
    settings: Settings, bundle: AvatarBundle, address: str, lines: Iterable[str] | None, say: Callable[[str], None]
) -> None:
    engine = new_engine(settings)
    async with AsyncExitStack() as stack:
        await engine.start()
        stack.push_async_callback(engine.aclose)
        session = await engine.open_session("stream", bundle, default_choice(settings))
        push = new_push(settings, engine.clock, address, bundle)
        session.outputs.add(push)
        reporting = asyncio.create_task(_report(push, say))
        stack.callback(reporting.cancel)
        if lines is None:
            await asyncio.Event().wait()
        else:
            await push.connected.wait()  # nobody would hear what is said before that
            await _speak(session, lines, say)


async def _speak(session: Session, lines: Iterable[str], say: Callable[[str], None]) -> None:
    """Speak each line as it is. One turn is always queued ahead, so that there are no pauses between lines."""
    open_turns: list[int] = []
    async for line in _read(lines):
        if line.strip():
            open_turns.append(session.say(line, "echo"))
        while len(open_turns) > 1:
            await _one_ends(session, open_turns, say)
    while open_turns:
        await _one_ends(session, open_turns, say)


async def _one_ends(session: Session, open_turns: list[int], say: Callable[[str], None]) -> None:
    match await session.events.receive():
        case TurnEvent(turn, state) if state in ENDED and turn in open_turns:
            open_turns.remove(turn)
        case NoticeEvent() | ErrorEvent() as told:
            say(f"{told.message} {told.hint}".strip())


async def _read(lines: Iterable[str]) -> AsyncIterator[str]:
    """Yield lines, which a daemon thread reads. Reading may block for ever in a terminal.

    The end of the program does not wait for a daemon thread.
    """
    loop, waiting = asyncio.get_running_loop(), Channel[str](LINES_BOUND)

    def read() -> None:
        for line in lines:
            asyncio.run_coroutine_threadsafe(waiting.send(line), loop).result()
        loop.call_soon_threadsafe(waiting.close)

    threading.Thread(target=read, name="lines to speak", daemon=True).start()
    async for line in waiting:
        yield line


async def _report(push: Push, say: Callable[[str], None]) -> None:
    """Report each new state of the connection."""
    told = ""
    while True:
        words = f"{push.host}: {push.state}" + (f" ({push.trouble})" if push.state == "waiting" else "")
        if words != told and push.state != "connecting":
            told = words
            say(words)
        await asyncio.sleep(LOOKED_EVERY_S)

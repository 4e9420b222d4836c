"""Events of a session as server-sent events, for programs without a session socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pipeline.channel import Channel
from portal.http.limits import TooMany

__all__ = ["EVENTS_BOUND", "FOLLOWERS", "Event", "EventStream", "Followers"]

FOLLOWERS = 4
"""Most event streams that one session may have open."""
EVENTS_BOUND = 100
"""Most events that may wait for one stream. When it is full, the oldest is dropped."""
KEEP_ALIVE_S = 15.0
"""Time without events after which a comment line is sent. It shows proxies that the stream is alive, and it fails, so
that we notice, when the reader is gone."""

Event = dict[str, object]


class Followers:
    """The readers of one session's events."""

    def __init__(self) -> None:
        self._streams: list[Channel[Event]] = []

    def __len__(self) -> int:
        return len(self._streams)

    def join(self) -> Channel[Event]:
        """Return a channel with the events from now on. It is closed with the session. Raises TooMany."""
        if len(self._streams) >= FOLLOWERS:
            raise TooMany(f"This session has {FOLLOWERS} streams of events already.", "Close one of them.")
        stream: Channel[Event] = Channel(EVENTS_BOUND)
        self._streams.append(stream)
        return stream

    def leave(self, stream: Channel[Event]) -> None:
        """Remove a channel whose reader has gone. Idempotent."""
        with suppress(ValueError):
            self._streams.remove(stream)

    def tell(self, event: Event) -> None:
        for stream in self._streams:
            stream.push(event)

    def close(self) -> None:
        """Close all channels, because no more events will come. Idempotent."""
        for stream in self._streams:
            stream.close()


class EventStream(StreamingResponse):
    """A response that streams one `data:` line per event, until the session ends or the reader leaves.

    The constructor raises TooMany if the session has FOLLOWERS streams already.
    """

    def __init__(self, followers: Followers) -> None:
        self._followers = followers
        self._stream = followers.join()
        super().__init__(
            self._lines(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # here, not in _lines(): a generator that was never started runs no `finally` of its own
            self._followers.leave(self._stream)

    async def _lines(self) -> AsyncIterator[str]:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._stream.ready()
            except TimeoutError:
                yield ": still here\n\n"
                continue
            event = self._stream.receive_nowait()
            if event is None:  # the session has ended
                return
            yield f"data: {json.dumps(event)}\n\n"

"""Session: AsyncSession for programs without asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from vivavoce_client._session import AsyncSession
from vivavoce_client._types import Frame, Turn, Wish

T = TypeVar("T")


class Session:
    """AsyncSession for programs without asyncio. Its event loop runs in a thread of its own."""

    def __init__(
        self, url: str, *, media: bool = True, headers: Mapping[str, str] | None = None, **wish: Unpack[Wish]
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vivavoce session", daemon=True)
        self._session = AsyncSession(url, media=media, headers=headers, **wish)

    @property
    def welcome(self) -> dict[str, Any]:
        return self._session.welcome

    def __enter__(self) -> Self:
        """Open the session. Raises PortalError (no place, no such avatar, ...), OSError (there is no server)."""
        self._thread.start()
        try:
            self._do(self._session.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session. Idempotent."""
        if self._thread.is_alive():
            self._do(self._session.aclose())
            self._stop()

    def say(self, text: str, event: object = None) -> Turn:
        """See AsyncSession.say()."""
        return self._do(self._session.say(text, event))

    def ask(self, text: str, event: object = None) -> Turn:
        """See AsyncSession.ask()."""
        return self._do(self._session.ask(text, event))

    def speak(self, pieces: Iterable[str]) -> None:
        """See AsyncSession.speak(). The pieces are read in another thread."""
        self._do(self._session.speak(pieces))

    def play(self, samples: NDArray[np.int16] | NDArray[np.float32], rate_hz: int, event: object = None) -> Turn:
        """See AsyncSession.play()."""
        return self._do(self._session.play(samples, rate_hz, event))

    def finished(self, turn: Turn) -> Turn:
        """See AsyncSession.finished()."""
        return self._do(self._session.finished(turn))

    def interrupt(self) -> None:
        """See AsyncSession.interrupt()."""
        self._do(self._session.interrupt())

    def gesture(self, name: str | None = None) -> None:
        """See AsyncSession.gesture()."""
        self._do(self._session.gesture(name))

    def swap_avatar(self, avatar: str) -> None:
        """See AsyncSession.swap_avatar()."""
        self._do(self._session.swap_avatar(avatar))

    def change(self, **wishes: Any) -> None:
        """See AsyncSession.change()."""
        self._do(self._session.change(**wishes))

    def frames(self) -> Iterator[Frame]:
        """See AsyncSession.frames()."""
        return self._each(self._session.frames())

    def events(self) -> Iterator[dict[str, Any]]:
        """See AsyncSession.events()."""
        return self._each(self._session.events())

    def _each(self, source: AsyncIterator[T]) -> Iterator[T]:
        while True:
            try:
                yield self._do(_next(source))
            except StopAsyncIteration:
                return

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(source: AsyncIterator[T]) -> T:
    """Await anext() in a coroutine, since run_coroutine_threadsafe() does not accept its awaitable."""
    return await anext(source)

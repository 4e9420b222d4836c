"""Outputs: where the frames of one session go. The session owns them, and here is where they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pipeline.errors import SessionClosed
from pipeline.interfaces import Output, Transport
from pipeline.metrics import Losses
from pipeline.playout import Playout
from pipeline.types import FloatArray

__all__ = ["Outputs", "TakesOutputs"]


class TakesOutputs(Protocol):
    """What is needed of Outputs by those who only bring and take outputs."""

    def add(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None:
        """See Outputs.add()."""
        ...

    def remove(self, output: Output) -> None:
        """See Outputs.remove()."""
        ...

    def detach(self) -> None:
        """See Outputs.detach()."""
        ...


class Outputs:
    """Made by the Session, which closes it. At most one of the outputs leads to the viewer: the transport.

    playout: hands the frames to the outputs. losses: counts what was lost on the way.
    """

    def __init__(self, session_id: str, playout: Playout, losses: Losses) -> None:
        self._session_id = session_id
        self._playout = playout
        self._losses = losses
        self._transport: Transport | None = None
        self._hearers: dict[Output, Callable[[FloatArray], None]] = {}  # outputs that take the viewer's sound too
        self._closing: set[asyncio.Task[None]] = set()
        self._ending = False

    @property
    def transport_name(self) -> str:
        """What carries the frames to the viewer; "none" while nothing does."""
        return self._transport.name if self._transport else "none"

    async def attach(self, transport: Transport) -> None:
        """See Session.attach()."""
        if self._ending:
            await transport.aclose()
            raise SessionClosed("The session has ended.", "Start a new one.")
        self.count_losses()
        previous, self._transport = self._transport, transport
        if previous is not transport:
            self._playout.outputs = (*self._without(previous), transport)
            if previous is not None:
                await previous.aclose()

    def detach(self) -> None:
        """Send frames to the viewer no more; the media clock runs on. The transport is closed."""
        if self._transport is not None:
            self.give_up(self._transport)

    def add(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None:
        """Send frames there as well, from the next one on. It is closed at the session's end, or when it fails.

        hear: called with the sound of the viewer's microphone while that is on, as Session.hear() gets it, and as long
            as the output is one of the session's.

        Raises SessionClosed.
        """
        if self._ending:
            raise SessionClosed("The session has ended.", "Start a new one.")
        self._playout.outputs = (*self._playout.outputs, output)
        if hear is not None:
            self._hearers[output] = hear

    def remove(self, output: Output) -> None:
        """Send no more frames there, and close it. No effect if it is none of the session's outputs."""
        if output in self._playout.outputs:
            self.give_up(output)

    def give_up(self, output: Output) -> None:
        """Close an output apart from the clock, which does not wait for it; aclose() does."""
        if output is self._transport:
            self.count_losses()
            self._transport = None
        self._playout.outputs = self._without(output)
        self._hearers.pop(output, None)
        closing = asyncio.create_task(output.aclose(), name=f"close-{output.name}-{self._session_id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def hear(self, samples: FloatArray) -> None:
        """Hand the sound of the viewer's microphone to the outputs that take it."""
        for hear in self._hearers.values():
            hear(samples)

    def count_losses(self) -> None:
        """Bring the metrics up to date with what this session lost and sent."""
        self._losses.count(self._playout, self._transport)

    def refuse_more(self) -> None:
        """Take no further outputs: the session is ending. What is there gets frames until aclose()."""
        self._ending = True

    async def aclose(self) -> None:
        """Close all of them. Idempotent."""
        self.count_losses()
        outputs, self._playout.outputs, self._transport = self._playout.outputs, (), None
        await asyncio.gather(*(output.aclose() for output in outputs), *self._closing, return_exceptions=True)

    def _without(self, output: Output | None) -> tuple[Output, ...]:
        return tuple(other for other in self._playout.outputs if other is not output)

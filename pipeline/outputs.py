"""Outputs: where a session's frames go. The session owns them; this module closes them."""

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
    """The part of Outputs for code that only adds and removes outputs."""

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
    """Made by the Session, which closes it. At most one output, the transport, leads to the viewer.

    playout: hands the frames to the outputs. losses: counts frames and sound that were lost on the way.
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
        """Name of the transport to the viewer; "none" if there is none."""
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
        """Stop sending frames to the viewer, and close the transport. The media clock runs on."""
        if self._transport is not None:
            self.give_up(self._transport)

    def add(self, output: Output, hear: Callable[[FloatArray], None] | None = None) -> None:
        """Send frames to another output as well, from the next one on. It is closed when it fails or the session ends.

        hear: takes the sound of the viewer's microphone while that is on and the output belongs to the session, in the
            format of Session.hear().

        Raises SessionClosed.
        """
        if self._ending:
            raise SessionClosed("The session has ended.", "Start a new one.")
        self._playout.outputs = (*self._playout.outputs, output)
        if hear is not None:
            self._hearers[output] = hear

    def remove(self, output: Output) -> None:
        """Stop sending frames to an output, and close it. No effect if it does not belong to the session."""
        if output in self._playout.outputs:
            self.give_up(output)

    def give_up(self, output: Output) -> None:
        """Remove an output, and close it in a task of its own: the clock must not wait for it. aclose() does wait."""
        if output is self._transport:
            self.count_losses()
            self._transport = None
        self._playout.outputs = self._without(output)
        self._hearers.pop(output, None)
        closing = asyncio.create_task(output.aclose(), name=f"close-{output.name}-{self._session_id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def hear(self, samples: FloatArray) -> None:
        """Pass the sound of the viewer's microphone to the outputs that take it."""
        for hear in self._hearers.values():
            hear(samples)

    def count_losses(self) -> None:
        """Add what this session has sent and lost since the last call to the metrics."""
        self._losses.count(self._playout, self._transport)

    def refuse_more(self) -> None:
        """Accept no further outputs, because the session is ending. Those that exist get frames until aclose()."""
        self._ending = True

    async def aclose(self) -> None:
        """Close all outputs. Idempotent."""
        self.count_losses()
        outputs, self._playout.outputs, self._transport = self._playout.outputs, (), None
        await asyncio.gather(*(output.aclose() for output in outputs), *self._closing, return_exceptions=True)

    def _without(self, output: Output | None) -> tuple[Output, ...]:
        return tuple(other for other in self._playout.outputs if other is not output)

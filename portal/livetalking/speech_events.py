"""Speech events in LiveTalking's form: the `start` and the `end` of each piece of speech, with its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from portal.api.event_messages import ServerMessage

__all__ = ["SpeechEvent", "SpeechEvents"]

SpeechEvent = dict[str, object]
"""The content of one `data:` line of the stream: status, text, and the fields that the caller sent along."""
Whole = Literal["whole", "sentences"]


@dataclass(slots=True)
class _Spoken:
    """A turn whose speech events are to be sent."""

    unit: Whole
    text: str | None
    "The text, if it is spoken as it is; None for a recording, and for an answer of the language model."
    extra: Mapping[str, object]
    open: SpeechEvent | None = None
    "The event that has started and not ended yet."


class SpeechEvents:
    """Turns a session's messages into speech events.

    LiveTalking gives a text or a recording to its voice as a whole, and an answer of the language model sentence by
    sentence. So a text or a recording has one start and one end, and an answer has them for each sentence.
    """

    def __init__(self) -> None:
        self._turns: dict[int, _Spoken] = {}  # those that have not ended

    def expect(
        self, turn: int, *, unit: Whole, text: str | None = None, extra: Mapping[str, object] | None = None
    ) -> None:
        """Expect the speech of a turn that was queued. unit: what has a start and an end.

        extra: fields that are sent with each of its events.
        """
        self._turns[turn] = _Spoken(unit, text, extra or {})

    def of(self, message: ServerMessage) -> Iterator[SpeechEvent]:
        """Yield the speech events that follow from a message of the session. For most messages there are none."""
        turn = message.get("turn")
        spoken = self._turns.get(turn) if isinstance(turn, int) else None
        if spoken is None:
            return
        match message:
            case {"type": "turn", "state": "speaking"} if spoken.unit == "whole":
                yield self._start(spoken, spoken.text)
            case {"type": "subtitle", "text": str(text)} if spoken.unit == "sentences":
                yield from self._end(spoken)
                yield self._start(spoken, text)
            case {"type": "turn", "turn": int(ended), "state": "done" | "interrupted"}:
                yield from self._end(spoken)
                del self._turns[ended]

    def _start(self, spoken: _Spoken, text: str | None) -> SpeechEvent:
        words: SpeechEvent = {} if text is None else {"text": text}
        spoken.open = {**words, **spoken.extra}
        return {"status": "start", **spoken.open}

    def _end(self, spoken: _Spoken) -> Iterator[SpeechEvent]:
        ended, spoken.open = spoken.open, None
        if ended is not None:
            yield {"status": "end", **ended}

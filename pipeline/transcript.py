"""Transcript: who said what when."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Entry", "Transcript"]

ENTRIES_BOUND = 5000
"""Most entries. An hour of talk has about 1,200; beyond the bound nothing more is noted."""
SHOWN_S = 2.0
"""How long WebVTT shows an entry that has no length of its own."""
SPEAKERS = {"assistant": "Avatar", "user": "Viewer"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence of the avatar, or one question of the viewer."""

    role: str
    "assistant or user"
    text: str
    start_s: float
    "seconds from the beginning of the recording"
    end_s: float

    def fields(self) -> dict[str, str | float]:
        """Return the fields for JSON."""
        return asdict(self)


class Transcript:
    """Entries in the order they were added."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, role: str, text: str, start_s: float, end_s: float) -> None:
        """Add an entry, unless the text is blank or the bound is reached.

        Times in seconds from the recording's start.
        """
        if len(self.entries) < ENTRIES_BOUND and text.strip():
            self.entries.append(Entry(role, text.strip(), max(0.0, start_s), max(0.0, end_s)))

    def vtt(self) -> str:
        """Return the transcript as WebVTT (W3C), with a voice tag per cue."""
        cues = []
        for entry in sorted(self.entries, key=lambda one: one.start_s):
            end_s = entry.end_s if entry.end_s > entry.start_s else entry.start_s + SHOWN_S
            times = f"{_time(entry.start_s)} --> {_time(end_s)}"
            cues.append(f"{times}\n<v {SPEAKERS[entry.role]}>{_escaped(entry.text)}\n")
        return "WEBVTT\n\n" + "\n".join(cues)


def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _escaped(text: str) -> str:
    """Escape a cue's text: an empty line would end the cue, and < > & have a meaning in it."""
    one_line = " ".join(text.split())
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

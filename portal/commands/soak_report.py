"""What a soak has shown: figures against their targets as a table, and a picture of how they went over time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from portal.commands.soak_crowd import Heard

__all__ = ["Figure", "Line", "Reading", "figures_of", "picture_of", "picture_of_lines", "table_of"]

PARTS = 5
"The last of so many parts of the run is compared with the first."
MOST_DRIFT_MS, MOST_GROWTH_MB, MOST_GAP_MS = 20.0, 20.0, 60.0
FLAT_PER_VIEWER = 2.0
"A count that differs by no more between the parts has not grown: viewers come, speak and go."
Line: TypeAlias = tuple[str, list[float], float | None]
"Name, a value for each moment, and what it should not pass."
WIDTH_PX, HEIGHT_PX, LEFT_PX, TOP_PX, STEP_PX, LEGEND_PX = 760, 70, 12, 26, 108, 16
STYLE = """
  text { fill: #1f2328; font: 12px system-ui, sans-serif } .back { fill: #ffffff }
  polyline { fill: none; stroke: #4f46e5; stroke-width: 1.5 } line { stroke: #8c959f } .most { stroke: #d1242f }
  .mark { stroke-dasharray: 2 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .back { fill: #0d1117 } polyline { stroke: #8b8cf8 }
  }
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the portal, and what its viewers got since the one before."""

    at_s: float
    "since the first look"
    resident_mb: float
    descriptors: int
    threads: int
    tasks: int
    "of asyncio"
    late: int
    "pictures shown while speech was waited for, since the portal began"
    slipped_s: float
    "by which clocks of sessions gave up catching up, since the portal began"
    heard: Sequence[Heard]
    "by viewer"

    @property
    def longest_gap_ms(self) -> float:
        return max(heard.longest_gap_ms for heard in self.heard)


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    target: str = "-"
    met: bool = True


def figures_of(readings: Sequence[Reading]) -> list[Figure]:
    """Raises ValueError: fewer readings than parts."""
    size = len(readings) // PARTS
    if not size:
        raise ValueError(f"{len(readings)} readings are too few: let it run for longer")
    viewers = len(readings[0].heard)
    everything = [heard for reading in readings for heard in reading.heard]
    drift_ms = max((abs(ms) for run in _runs(readings) for ms in run), default=0.0)
    gap_ms = max(reading.longest_gap_ms for reading in readings)
    late = readings[-1].late - readings[0].late
    slipped_ms = 1000 * (readings[-1].slipped_s - readings[0].slipped_s)
    errors = [error for heard in everything for error in heard.errors]

    def grown(name: str, unit: str, most: float, of: Callable[[Reading], float]) -> Figure:
        before, after = (statistics.median(map(of, part)) for part in (readings[:size], readings[-size:]))
        words = f"{after - before:+.3g}{unit} ({before:.0f} to {after:.0f})"
        return Figure(name, words, f"+-{most:.0f}{unit}", abs(after - before) <= most)

    def at_most(name: str, ms: float, most_ms: float) -> Figure:
        return Figure(name, f"{ms:.1f} ms", f"<= {most_ms:.0f} ms", ms <= most_ms)

    return [
        Figure("minutes, viewers", f"{readings[-1].at_s / 60:.1f}, {viewers}"),
        Figure("sessions begun", f"{_sum(everything, 'sessions')}"),
        Figure("turns heard to their end", f"{_sum(everything, 'done')}"),
        Figure("turns interrupted", f"{_sum(everything, 'interrupted')}"),
        grown("memory of the portal, last fifth against first", " MB", MOST_GROWTH_MB, lambda one: one.resident_mb),
        grown("open descriptors, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.descriptors),
        grown("threads, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.threads),
        grown("tasks, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.tasks),
        at_most("drift of a session's clock", drift_ms, MOST_DRIFT_MS),
        at_most("longest gap between two frames", gap_ms, MOST_GAP_MS),
        Figure("late pictures", f"{late}", "0", late == 0),
        at_most("time by which clocks gave up catching up", slipped_ms, 0.0),
        Figure("errors", f"{len(errors)}{f', first: {errors[0]}' if errors else ''}", "0", not errors),
    ]


def _sum(heard: Iterable[Heard], name: str) -> int:
    return sum(getattr(one, name) for one in heard)


def _runs(readings: Sequence[Reading]) -> Iterator[list[float]]:
    """For each session of each viewer: by how much its frames come later than in its first whole interval, in ms."""
    for number in range(len(readings[0].heard)):
        run: list[float] = []
        for heard in (reading.heard[number] for reading in readings):
            if heard.sessions or heard.lag_s is None:  # an interval with two sessions says nothing of either
                yield [1000 * (lag_s - run[0]) for lag_s in run]
                run = []
            else:
                run.append(heard.lag_s)
        yield [1000 * (lag_s - run[0]) for lag_s in run]


def table_of(figures: Iterable[Figure]) -> str:
    """As Markdown; a missed target is bold."""
    lines = ["| figure | measured | target |", "|---|---|---|"]
    for figure in figures:
        value = figure.value if figure.met else f"**{figure.value}**"
        lines.append(f"| {figure.name} | {value} | {figure.target} |")
    return "\n".join(lines)


def picture_of(readings: Sequence[Reading]) -> str:
    """How it went, as SVG: a line for each figure, over the minutes of the run."""
    minutes = [reading.at_s / 60 for reading in readings]
    rows: list[Line] = [
        ("memory, MB", [reading.resident_mb for reading in readings], None),
        ("open descriptors", [reading.descriptors for reading in readings], None),
        ("threads", [reading.threads for reading in readings], None),
        ("tasks", [reading.tasks for reading in readings], None),
        ("longest gap, ms", [reading.longest_gap_ms for reading in readings], MOST_GAP_MS),
        ("late pictures so far", [reading.late - readings[0].late for reading in readings], None),
    ]
    return picture_of_lines(rows, minutes)


def picture_of_lines(
    lines: Sequence[Line],
    minutes: Sequence[float],
    marks: Sequence[tuple[float, str]] = (),
    legend: Sequence[str] = (),
) -> str:
    """Lines below each other as SVG. marks: minutes at which something happened, and its sign; legend: lines below."""
    bottom = TOP_PX + STEP_PX * len(lines)
    height = bottom + LEGEND_PX * len(legend)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" width="{WIDTH_PX}">',
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH_PX}" height="{height}"/>',
        *(_row(*row, minutes, TOP_PX + STEP_PX * number) for number, row in enumerate(lines)),
        *(_mark(minute / max(minutes[-1], 1e-9), sign, bottom) for minute, sign in marks),
        *(_words(words, bottom + LEGEND_PX * number) for number, words in enumerate(legend)),
    ]
    return "\n".join([*parts, "</svg>"])


def _mark(share: float, sign: str, bottom: int) -> str:
    x = LEFT_PX + (WIDTH_PX - 2 * LEFT_PX) * min(share, 1.0)
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX}" y2="{bottom - LEGEND_PX}"/>'
    return f'{line}<text x="{x:.1f}" y="{bottom - 2}">{escape(sign)}</text>'


def _words(words: str, top: int) -> str:
    return f'<text x="{LEFT_PX}" y="{top + LEGEND_PX - 4}">{escape(words)}</text>'


def _row(name: str, values: Sequence[float], most: float | None, minutes: Sequence[float], top: int) -> str:
    """One line with its name, and with a red one for what it should not pass."""
    marks = [*values, *([] if most is None else [most])]
    low, high = min(marks), max(marks)
    low = min(low, 0.9 * high)
    width, bottom = WIDTH_PX - 2 * LEFT_PX, top + HEIGHT_PX

    def y_of(value: float) -> float:
        return bottom - HEIGHT_PX * (value - low) / max(high - low, 1e-9)

    xs = [LEFT_PX + width * minute / max(minutes[-1], 1e-9) for minute in minutes]
    points = " ".join(f"{x:.1f},{y_of(value):.1f}" for x, value in zip(xs, values, strict=True))
    title = f"{name}: {min(values):.0f} to {max(values):.0f}, over {minutes[-1]:.1f} minutes"
    lines = [f'<text x="{LEFT_PX}" y="{top - 8}">{escape(title)}</text>']
    for level, kind in ((bottom, ""), *(((y_of(most), ' class="most"'),) if most is not None else ())):
        lines.append(f'<line{kind} x1="{LEFT_PX}" x2="{LEFT_PX + width}" y1="{level:.1f}" y2="{level:.1f}"/>')
    return "\n".join([*lines, f'<polyline points="{points}"/>'])

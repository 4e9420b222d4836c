"""The results of a soak: a table of figures with their targets, and a picture of their course over time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from portal.commands.soak_crowd import Heard

__all__ = ["Figure", "Line", "Reading", "figures_of", "picture_of", "picture_of_lines", "table_of"]

PARTS = 5
"Number of equal parts of a run. The last part is compared with the first."
MAX_DRIFT_MS, MAX_GROWTH_MB, MAX_GAP_MS = 20.0, 20.0, 60.0
FLAT_PER_VIEWER = 2.0
"How far a count may differ between the parts, for each viewer, since viewers come, speak and go all the time."
Line: TypeAlias = tuple[str, list[float], float | None]
"A line of the picture: its name, a value for each moment, and the limit that it should not pass, if any."
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
    """Figures of the portal at one moment, and what its viewers received since the reading before."""

    at_s: float
    "Seconds since the first reading."
    resident_mb: float
    descriptors: int
    threads: int
    tasks: int
    "Number of asyncio tasks."
    late: int
    "Idle pictures that were shown because speech was late, since the portal started."
    slipped_s: float
    "Seconds of delay that the clocks of sessions did not make up for, since the portal started."
    heard: Sequence[Heard]
    "What each viewer received."

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
    """Return the figures of a soak with their targets. Raises ValueError if there are fewer readings than parts."""
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

    def at_most(name: str, ms: float, max_ms: float) -> Figure:
        return Figure(name, f"{ms:.1f} ms", f"<= {max_ms:.0f} ms", ms <= max_ms)

    return [
        Figure("minutes, viewers", f"{readings[-1].at_s / 60:.1f}, {viewers}"),
        Figure("sessions begun", f"{_sum(everything, 'sessions')}"),
        Figure("turns heard to their end", f"{_sum(everything, 'done')}"),
        Figure("turns interrupted", f"{_sum(everything, 'interrupted')}"),
        grown("memory of the portal, last fifth against first", " MB", MAX_GROWTH_MB, lambda one: one.resident_mb),
        grown("open descriptors, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.descriptors),
        grown("threads, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.threads),
        grown("tasks, likewise", "", FLAT_PER_VIEWER * viewers, lambda one: one.tasks),
        at_most("drift of a session's clock", drift_ms, MAX_DRIFT_MS),
        at_most("longest gap between two frames", gap_ms, MAX_GAP_MS),
        Figure("late pictures", f"{late}", "0", late == 0),
        at_most("time by which clocks gave up catching up", slipped_ms, 0.0),
        Figure("errors", f"{len(errors)}{f', first: {errors[0]}' if errors else ''}", "0", not errors),
    ]


def _sum(heard: Iterable[Heard], name: str) -> int:
    return sum(getattr(one, name) for one in heard)


def _runs(readings: Sequence[Reading]) -> Iterator[list[float]]:
    """Yield for each session of each viewer how much later its frames came than in its first full interval, in ms."""
    for number in range(len(readings[0].heard)):
        run: list[float] = []
        for heard in (reading.heard[number] for reading in readings):
            if heard.sessions or heard.lag_s is None:  # a new session began, so the interval has frames of two sessions
                yield [1000 * (lag_s - run[0]) for lag_s in run]
                run = []
            else:
                run.append(heard.lag_s)
        yield [1000 * (lag_s - run[0]) for lag_s in run]


def table_of(figures: Iterable[Figure]) -> str:
    """Return the figures as a Markdown table. Missed targets are bold."""
    lines = ["| figure | measured | target |", "|---|---|---|"]
    for figure in figures:
        value = figure.value if figure.met else f"**{figure.value}**"
        lines.append(f"| {figure.name} | {value} | {figure.target} |")
    return "\n".join(lines)


def picture_of(readings: Sequence[Reading]) -> str:
    """Return the course of the run as SVG: a line for each figure over the minutes."""
    minutes = [reading.at_s / 60 for reading in readings]
    rows: list[Line] = [
        ("memory, MB", [reading.resident_mb for reading in readings], None),
        ("open descriptors", [reading.descriptors for reading in readings], None),
        ("threads", [reading.threads for reading in readings], None),
        ("tasks", [reading.tasks for reading in readings], None),
        ("longest gap, ms", [reading.longest_gap_ms for reading in readings], MAX_GAP_MS),
        ("late pictures so far", [reading.late - readings[0].late for reading in readings], None),
    ]
    return picture_of_lines(rows, minutes)


def picture_of_lines(
    lines: Sequence[Line],
    minutes: Sequence[float],
    marks: Sequence[tuple[float, str]] = (),
    legend: Sequence[str] = (),
) -> str:
    """Return line charts, one below the other, as SVG.

    marks: minutes at which something happened, each with a short label. legend: lines of text below the charts.
    """
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
    """Return one chart with its name, and with a red line at the limit `most` if there is one."""
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

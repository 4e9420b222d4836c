"""The results of a chaos: a table with a row for each trial, and a picture of what bystanders received."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portal.commands.chaos_arena import Look
from portal.commands.soak_report import picture_of_lines

__all__ = ["Outcome", "picture_of_chaos", "table_of_outcomes"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one run of a trial.

    held: None if this machine cannot run the trial; `words` then says why. began_s, ended_s: on time.monotonic().
    """

    name: str
    promise: str
    words: str
    held: bool | None
    began_s: float
    ended_s: float


def table_of_outcomes(outcomes: Iterable[Outcome]) -> str:
    """Return a Markdown table, in the order in which trials were first run. What did not hold is bold."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.name, []).append(outcome)
    lines = ["| what happens | what must hold | held | what was seen |", "|---|---|---|---|"]
    for name, times in rows.items():
        seen = "<br>".join(outcome.words if outcome.held is not False else f"**{outcome.words}**" for outcome in times)
        lines.append(f"| {name} | {times[0].promise} | {_held(times)} | {seen} |")
    return "\n".join(lines)


def _held(times: Sequence[Outcome]) -> str:
    held = [outcome.held for outcome in times if outcome.held is not None]
    if not held:
        return "not here"
    words = f"{sum(held)} of {len(held)}"
    return words if all(held) else f"**{words}**"


def picture_of_chaos(looks: Sequence[Look], outcomes: Sequence[Outcome], max_gap_ms: float) -> str:
    """Return an SVG with lines over the minutes of the run, and a number where each trial began."""
    first_s = looks[0].at_s
    lines = [
        ("longest gap of bystanders, ms", [min(look.longest_gap_ms, 1000.0) for look in looks], max_gap_ms),
        (
            "frames of all bystanders in a second",
            [float(sum(one.frames for one in look.heard)) for look in looks],
            None,
        ),
        ("memory of the portal, MB", [look.resident_mb for look in looks], None),
        ("open descriptors", [float(look.descriptors) for look in looks], None),
    ]
    names = list(dict.fromkeys(outcome.name for outcome in outcomes))
    marks = [((one.began_s - first_s) / 60, str(1 + names.index(one.name))) for one in outcomes]
    legend = [f"{1 + number}: {name}" for number, name in enumerate(names)]
    return picture_of_lines(lines, [(look.at_s - first_s) / 60 for look in looks], marks, legend)

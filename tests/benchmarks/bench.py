"""What measurements share: what each is given, readings of several values, and viewers of a portal who watch."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from portal.commands.portal_process import PortalProcess
from tests.benchmarks.figures import FIGURES, Reading

__all__ = ["Bench", "both", "cost", "median", "resident_while", "viewers_told", "viewing"]


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement is given."""

    data_dir: Path
    quick: bool
    minutes: float = 10
    "of a spoken conversation"
    talking: Path | None = None
    "a clip of a person who talks"

    @property
    def seconds(self) -> float:
        return 6 if self.quick else 20

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 9


def both(name: str, measure: Callable[[str], Any]) -> Iterator[Reading]:
    """One reading over both transports: the slower median counts, both are told."""
    medians = {
        transport: statistics.median(asyncio.run(measure(query)))
        for transport, query in (("WebRTC", ""), ("WebSocket", "?transport=websocket"))
    }
    note = ", ".join(f"{transport} {value:.0f}" for transport, value in medians.items())
    yield Reading(FIGURES[name], max(medians.values()), note)


def median(name: str, values: Sequence[float]) -> Reading:
    return Reading(FIGURES[name], statistics.median(values), f"{min(values):.0f} to {max(values):.0f}")


def cost(
    portal: PortalProcess, transport: str, viewers: int, seconds: float, *more: str
) -> tuple[float, dict[str, Any]]:
    """CPU of the portal in percent of a core while viewers watch, and what they saw.

    `starved` of what they saw: the idle pictures that all of them together were shown in gaps of the voice.
    """
    options = ("--viewers", str(viewers), "--seconds", str(seconds), *more)
    with viewing(portal, "watch", transport, *options) as process:
        assert process.stdout is not None
        _line(process, "counting")
        starved = _starved_pictures(portal)
        began = (portal.cpu_s(), time.monotonic())
        _line(process, "counted")
        ended = (portal.cpu_s(), time.monotonic())
        starved = _starved_pictures(portal) - starved
        seen = _result(process)
    return 100 * (ended[0] - began[0]) / (ended[1] - began[1]), {**seen, "starved": starved}


def resident_while(portal: PortalProcess, viewers: int, seconds: float, *more: str) -> float:
    options = ("--viewers", str(viewers), "--seconds", str(seconds), "--speak", *more)
    with viewing(portal, "watch", "webrtc", *options) as process:
        _line(process, "counting")
        _line(process, "counted")
        resident_mb = portal.resident_mb()
        _result(process)
    return resident_mb


def viewers_told(portal: PortalProcess, what: str, transport: str, *options: str) -> dict[str, Any]:
    with viewing(portal, what, transport, *options) as process:
        return _result(process)


def viewing(portal: PortalProcess, what: str, transport: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.viewers", what, "--url", portal.socket_url]
    return subprocess.Popen(
        [*command, "--transport", transport, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _starved_pictures(portal: PortalProcess) -> float:
    """Idle pictures shown so far in gaps of the voice, because speech was late."""
    lines = httpx.get(f"{portal.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vivavoce_starved_pictures_total"))


def _line(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != expected:
        raise RuntimeError(f"the viewers did not get to '{expected}'")


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate("\n", timeout=300)
    return dict(json.loads(output.splitlines()[-1]))

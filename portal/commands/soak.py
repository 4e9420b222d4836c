"""`launch.py soak`: lets viewers talk to a portal for minutes or hours, and measures both meanwhile.

The portal and its viewers (`soak_crowd`) run in processes of their own. Every few seconds one line shows the latest
figures of both. At the end there is a table, and `soak.json` and `soak.svg` have all figures. It works only on Linux,
because it reads /proc.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from models.errors import VivavoceError
from portal.commands.portal_process import PortalProcess, running_portal
from portal.commands.setting_options import arguments_of
from portal.commands.soak_crowd import Heard, running_crowd
from portal.commands.soak_report import PARTS, Reading, figures_of, picture_of, table_of

__all__ = ["Soak", "soak"]

SETTLING_S = 30.0
"""Time before the first reading. In it, loops are encoded and the first turns take their memory, which would look like
a leak."""
EVERY_S = 5.0
OF_ITS_OWN = frozenset({"host", "port", "data_dir", "store_url", "open_browser"})
"Settings that the soak chooses itself."


@dataclass(frozen=True, slots=True)
class Soak:
    """The parameters of a soak."""

    minutes: float
    viewers: int
    seed: int
    out: Path
    "Folder for the results."


def soak(run: Soak, given: Mapping[str, object], say: Callable[[str], None]) -> int:
    """Run a soak and return the exit status, which is 1 if a target is missed.

    given: settings for the portal, apart from those in OF_ITS_OWN, which are ignored. say: called with lines for a
    person. Raises VivavoceError.
    """
    if sys.platform != "linux":
        raise VivavoceError("A soak reads /proc, which only Linux has.", "Run it on Linux.")
    if 60 * run.minutes < PARTS * EVERY_S or run.viewers < 1:
        raise VivavoceError(
            f"{run.minutes:g} minutes with {run.viewers} viewers are too short or too few.",
            f"Give at least --minutes {PARTS * EVERY_S / 60:.2g} and --viewers 1.",
        )
    options = ["--no-worker", f"--max-sessions={run.viewers + 1}", f"--sessions-per-address={run.viewers + 1}"]
    options += arguments_of({name: value for name, value in given.items() if name not in OF_ITS_OWN})
    with tempfile.TemporaryDirectory(prefix="vivavoce-soak-") as folder:
        data = Path(folder)
        prepare_preset(presets()[0], AvatarLibrary(data / "avatars"))
        with running_portal(data, *options) as portal:
            readings = _watch(portal, run, say)
    figures = figures_of(readings)
    found = {"seed": run.seed, "options": options, "readings": [asdict(reading) for reading in readings]}
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / "soak.json").write_text(json.dumps(found), encoding="utf-8")
    (run.out / "soak.svg").write_text(picture_of(readings), encoding="utf-8")
    say(f"\n{table_of(figures)}\n\nAll of it is in {run.out / 'soak.json'}, drawn in {run.out / 'soak.svg'}.")
    return 0 if all(figure.met for figure in figures) else 1


def _watch(portal: PortalProcess, run: Soak, say: Callable[[str], None]) -> list[Reading]:
    """Return one reading for each report of the crowd, after the portal has settled."""
    readings: list[Reading] = []
    say(f"{run.viewers} viewers for {run.minutes:g} minutes, after {SETTLING_S:.0f} s in which they settle.")
    with running_crowd(portal.socket_url, run.viewers, run.seed, EVERY_S) as lines:
        began_s: float | None = None
        settled_s = time.monotonic() + SETTLING_S
        for line in lines:
            now_s = time.monotonic()
            if now_s < settled_s:
                continue
            began_s = now_s if began_s is None else began_s
            heard = [Heard(**one) for one in json.loads(line)]
            readings.append(_reading(portal, now_s - began_s, heard))
            say(_in_words(readings[-1]))
            if now_s - began_s >= 60 * run.minutes:
                return readings
    raise VivavoceError("The viewers ended too early.", "What they said is above.")


def _reading(portal: PortalProcess, at_s: float, heard: Sequence[Heard]) -> Reading:
    of_process = Path(f"/proc/{portal.pid}")
    samples = _metrics(portal)
    return Reading(
        at_s=round(at_s, 1),
        resident_mb=round(portal.resident_mb(), 1),
        descriptors=sum(1 for _ in (of_process / "fd").iterdir()),
        threads=sum(1 for _ in (of_process / "task").iterdir()),
        tasks=round(samples["vivavoce_tasks"]),
        late=round(samples["vivavoce_starved_pictures_total"] + samples["vivavoce_repeated_pictures_total"]),
        slipped_s=samples["vivavoce_slipped_seconds_total"],
        heard=heard,
    )


def _metrics(portal: PortalProcess) -> dict[str, float]:
    with urlopen(f"{portal.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own portal
        families = text_string_to_metric_families(answer.read().decode())
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def _in_words(reading: Reading) -> str:
    frames = sum(one.frames for one in reading.heard)
    return (
        f"{reading.at_s / 60:6.1f} min: {reading.resident_mb:.0f} MB, {reading.descriptors} descriptors, "
        f"{reading.threads} threads, {reading.tasks} tasks, {frames} frames, longest gap "
        f"{reading.longest_gap_ms:.0f} ms, {reading.late} late"
    )

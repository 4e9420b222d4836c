"""`launch.py chaos`: people talk to a portal while it is killed, starved, lied to and flooded; reports what held.

Trials run in rounds. Their order, like everything else that is random, is drawn from the seed. At the end there is a
table, and `chaos.json` and `chaos.svg` have all results. It works only on Linux, because it reads /proc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from models.errors import VivavoceError
from portal.commands.chaos_arena import Arena
from portal.commands.chaos_disk import NotHere, small_disk
from portal.commands.chaos_people import trials_of_people
from portal.commands.chaos_report import Outcome, picture_of_chaos, table_of_outcomes
from portal.commands.chaos_services import Services
from portal.commands.chaos_trials import MAX_GAP_MS, SERVICE_TIMEOUT_S, Seen, Trial, trials_of_machines
from portal.commands.setting_options import arguments_of

__all__ = ["Chaos", "chaos"]

PLACES = 220
OF_ITS_OWN = frozenset(
    {"host", "port", "data_dir", "store_url", "open_browser"}
    | {"max_sessions", "sessions_per_address", "llm_base_url", "tts_base_url"}
)
"Settings that the chaos chooses itself."
KEEP_FREE_BYTES = 30_000_000
"The portal's setting of this name. It is lower than usual, because the disk is small (SMALL_DISK_MB)."
SETTLES_S = 5.0
MAX_ERROR_CHARACTERS = 300
"Characters of an error that are kept, from its end: if it quotes a log, the cause is there."


@dataclass(frozen=True, slots=True)
class Chaos:
    """The parameters of a chaos."""

    minutes: float
    seed: int
    out: Path
    "Folder for the results."
    viewers: int = 2
    "Number of bystanders, who talk to the portal all the time."
    only: str = ""
    "Only trials with this text in their name are run; empty: all."


def chaos(run: Chaos, given: Mapping[str, object], say: Callable[[str], None]) -> int:
    """Run trials and return the exit status, which is 1 if a promise did not hold.

    given: settings for the portal, apart from those in OF_ITS_OWN, which are ignored. say: called with lines for a
    person. Raises VivavoceError.
    """
    if sys.platform != "linux":
        raise VivavoceError("A chaos reads /proc, which only Linux has.", "Run it on Linux.")
    if run.viewers < 1:
        raise VivavoceError("Somebody has to talk meanwhile.", "Give at least --viewers 1.")
    trials = [trial for trial in [*trials_of_machines(), *trials_of_people()] if run.only in trial.name]
    if not trials:
        raise VivavoceError(f"No trial is called '{run.only}'.", "Leave --only out for all of them.")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # otherwise it logs each of thousands of requests
    with tempfile.TemporaryDirectory(prefix="vivavoce-chaos-") as folder, small_disk(Path(folder)) as has_small_disk:
        prepare_preset(presets()[0], AvatarLibrary(Path(folder) / "avatars"))
        return asyncio.run(_hold(run, given, say, trials, Path(folder), has_small_disk=has_small_disk))


async def _hold(
    run: Chaos,
    given: Mapping[str, object],
    say: Callable[[str], None],
    trials: list[Trial],
    data: Path,
    *,
    has_small_disk: bool,
) -> int:
    draw, outcomes = random.Random(run.seed), []  # noqa: S311 - no secret
    async with Services().serving() as services:
        options = _options(given, services)
        arena = Arena(data, options, services, draw, has_small_disk=has_small_disk)
        async with arena.open(run.viewers, run.seed):
            await asyncio.sleep(SETTLES_S)
            began_s = time.monotonic()
            while True:
                for trial in draw.sample(trials, len(trials)):
                    outcomes.append(await _outcome(arena, trial))
                    say(_in_words(outcomes[-1], began_s))
                    if time.monotonic() - began_s >= 60 * run.minutes:
                        break
                else:
                    continue
                break
            looks = list(arena.bystanders.looks)
    table = table_of_outcomes(outcomes)
    run.out.mkdir(parents=True, exist_ok=True)
    found = {"seed": run.seed, "options": options, "outcomes": list(map(asdict, outcomes))}
    found["looks"] = list(map(asdict, looks))
    (run.out / "chaos.json").write_text(json.dumps(found), encoding="utf-8")
    (run.out / "chaos.svg").write_text(picture_of_chaos(looks, outcomes, MAX_GAP_MS), encoding="utf-8")
    say(f"\n{table}\n\nAll of it is in {run.out / 'chaos.json'}, drawn in {run.out / 'chaos.svg'}.")
    return 1 if any(outcome.held is False for outcome in outcomes) else 0


def _options(given: Mapping[str, object], services: Services) -> list[str]:
    """Return the portal's options: places for everybody in the trials, and services that can be stalled."""
    own = {
        "tts": "beep",
        "llm": "openai",
        "llm_model": "chaos",
        "llm_timeout_s": SERVICE_TIMEOUT_S,
        "tts_timeout_s": SERVICE_TIMEOUT_S,
        "keep_free_bytes": KEEP_FREE_BYTES,
        "livetalking": True,
        **{name: value for name, value in given.items() if name not in OF_ITS_OWN},
        "max_sessions": PLACES,
        "sessions_per_address": PLACES,
        "llm_base_url": services.url,
        "tts_base_url": services.url,
    }
    return arguments_of(own)


async def _outcome(arena: Arena, trial: Trial) -> Outcome:
    began_s = time.monotonic()
    try:
        seen = await trial.run(arena)
    except NotHere as reason:
        return Outcome(trial.name, trial.promise, str(reason), None, began_s, time.monotonic())
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what was found; the other trials go on
        seen = Seen(f"{type(error).__name__}: {error}"[-MAX_ERROR_CHARACTERS:], held=False)
    ended_s = time.monotonic()
    if not trial.breaks_others:
        seen = await _with_others(arena, seen, began_s)
    return Outcome(trial.name, trial.promise, seen.words, seen.held, began_s, ended_s)


async def _with_others(arena: Arena, seen: Seen, began_s: float) -> Seen:
    """Add what bystanders received meanwhile. A long gap or an error of theirs means that the trial did not hold."""
    looks = await arena.bystanders.since(began_s)
    gap_ms = max((look.longest_gap_ms for look in looks), default=0.0)
    errors = [error for look in looks for one in look.heard for error in one.errors]
    words = f"others: gap {gap_ms:.0f} ms{f', {errors[0]}' if errors else ''}"
    return Seen(f"{seen.words}; {words}" if seen.words else words, seen.held and gap_ms <= MAX_GAP_MS and not errors)


def _in_words(outcome: Outcome, began_s: float) -> str:
    kept = {True: "held", False: "DID NOT HOLD", None: "not here"}[outcome.held]
    return f"{(outcome.began_s - began_s) / 60:6.1f} min, {outcome.name}: {kept}. {outcome.words}"

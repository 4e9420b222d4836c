"""Trials of `launch.py chaos` against the machine: kills, a full or read-only disk, clock jumps, silent services."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from avatars.library import AvatarLibrary, presets
from avatars.prepare import prepare_preset
from portal.commands.chaos_arena import LOOKS_EVERY_S, Arena, Bystanders
from portal.commands.chaos_disk import NotHere, filled, half_written, read_only
from portal.commands.chaos_viewer import ChaosViewer, Message, chaos_viewer
from portal.commands.portal_process import running_portal

__all__ = ["MAX_GAP_MS", "SERVICE_TIMEOUT_S", "Seen", "Trial", "trials_of_machines"]

MAX_GAP_MS = 200.0
"Longest gap that bystanders may have between two frames."
STARTS_WITHIN_S = 60.0
SERVICE_TIMEOUT_S = 4.0
"The portal's timeout for the language model and the voice."
TELLS_WITHIN_S = 3 * SERVICE_TIMEOUT_S
"Time within which a viewer must be told that a service is silent. It allows for a pause and a second try."
LONGEST_MOMENT_S = 3.0
"Longest time from the start of a job until something is killed. The real time is random."
STEPS_S = (3600, -7200, 86_400, 0)
"Errors that the wall clock is given, one after another."
STEP_LASTS_S = 5.0
ACCEPTED = 202
FAKETIME = "libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Seen:
    words: str
    held: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that is done to the portal, and the promise that must hold.

    run: carries it out; raises NotHere if this machine cannot. breaks_others: True if the trial disturbs bystanders by
    design. What they receive is then judged by the trial itself, and not by the general limits.
    """

    name: str
    promise: str
    run: Callable[[Arena], Awaitable[Seen]]
    breaks_others: bool = False


def trials_of_machines() -> list[Trial]:
    return [
        Trial("nothing happens", "what the machine itself does", _undisturbed),
        Trial("kill -9 of the portal", "viewers talk again, the job is done once it has started", _kill_portal, True),
        Trial("kill -9 of the worker", "its job is done all the same, once; nothing is half-written", _kill_worker),
        Trial("disk full", "jobs are refused or fail with a reason; nothing is half-written; then they work", _fill),
        Trial("data folder read-only", "the same", _forbid),
        Trial("wall clock jumps by hours", "media goes on", _step_clock),
        Trial("language model says nothing", "the session says so; the next question is answered", _stall_model),
        Trial("voice says nothing", "the session says so; the next text is spoken", _stall_voice),
    ]


async def _undisturbed(_arena: Arena) -> Seen:
    await asyncio.sleep(10)
    return Seen("", held=True)


# -- killed


async def _kill_portal(arena: Arena) -> Seen:
    job_id = str((await arena.order_clip(words=40)).json()["id"])
    await arena.job_when(job_id, lambda job: job["state"] != "queued")
    await asyncio.sleep(arena.draw.uniform(0, LONGEST_MOMENT_S))
    killed_s = time.monotonic()
    arena.portal.kill()
    await arena.begin_portal()
    began_s = time.monotonic()
    again_s = await arena.bystanders.talk_again(began_s - LOOKS_EVERY_S)
    job = await arena.job_ended(job_id)
    faults = await _not_whole(arena, job)
    held = job["state"] == "done" and not faults and began_s - killed_s <= STARTS_WITHIN_S
    words = f"up again after {began_s - killed_s:.0f} s, all talk {max(0.0, again_s - began_s):.0f} s later; "
    return Seen(words + _of_job(job, faults), held)


async def _kill_worker(arena: Arena) -> Seen:
    job_id = str((await arena.order_clip(words=40)).json()["id"])
    await arena.job_when(job_id, lambda job: job["state"] != "queued")
    await asyncio.sleep(arena.draw.uniform(0, LONGEST_MOMENT_S))
    pid = arena.worker_pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    job = await arena.job_ended(job_id)
    faults = await _not_whole(arena, job)
    words = f"job ended {time.monotonic() - killed_s:.0f} s later" if pid else "there was no worker any more"
    return Seen(f"{words}; {_of_job(job, faults)}", job["state"] == "done" and not faults)


async def _not_whole(arena: Arena, job: Message) -> list[str]:
    """Wait until no job's work is in progress, and return what is not whole in the data folder."""
    with suppress(TimeoutError):  # work that is left over is reported below
        await arena.rest()
    jobs = await arena.jobs()
    faults = half_written(arena.data, [job["id"]] if job["state"] == "done" else [], [one["id"] for one in jobs])
    twice = sum(one["id"] == job["id"] for one in jobs) > 1
    return [*faults, "the job is listed twice"] if twice else faults


def _of_job(job: Message, faults: list[str]) -> str:
    error = f" ({job['error']['code']})" if job.get("error") else ""
    return f"job {job['state']}{error}, {'; '.join(faults) if faults else 'nothing half-written'}"


# -- the disk


async def _fill(arena: Arena) -> Seen:
    if not arena.has_small_disk:
        raise NotHere("only root can make a small disk to be filled")
    return await _without_room(arena, lambda: filled(arena.data))


async def _forbid(arena: Arena) -> Seen:
    return await _without_room(arena, lambda: read_only(arena.data))


async def _without_room(arena: Arena, trouble: Callable[[], AbstractContextManager[None]]) -> Seen:
    """Start the trouble in the middle of a job, order a second job during it, and a third one afterwards."""
    caught_id = str((await arena.order_clip(words=40)).json()["id"])
    await arena.job_when(caught_id, lambda job: job["state"] != "queued")
    await asyncio.sleep(arena.draw.uniform(0, LONGEST_MOMENT_S))
    with trouble():
        refused = await arena.order_clip()
        told = [problem for problem in await arena.problems() if "disk" in problem or "folder" in problem]
        async with chaos_viewer(arena.portal.socket_url):
            comes_in = True
        await asyncio.sleep(3)
    caught = await arena.job_ended(caught_id)
    is_plain, reason = await _asked_meanwhile(arena, refused)
    later = await _job_afterwards(arena)
    faults = await _not_whole(arena, later)
    held = is_plain and bool(told) and comes_in and later["state"] == "done" and not faults
    held = held and (caught["state"] == "done" or bool(caught["error"] and caught["error"]["message"]))
    words = f"order: {reason}; /healthz: {told[0] if told else 'nothing'}; caught {_of_job(caught, [])}; "
    return Seen(f"{words}afterwards {_of_job(later, faults)}", held)


async def _asked_meanwhile(arena: Arena, answer: httpx.Response) -> tuple[bool, str]:
    """Wait for the outcome of an order. Return whether it is acceptable, and the outcome in words.

    A refusal with a reason, a finished job, and a job that failed with a reason are acceptable.
    """
    if answer.status_code != ACCEPTED:
        return _names_reason(answer)
    job = await arena.job_ended(str(answer.json()["id"]))
    return job["state"] == "done" or bool(job["error"] and job["error"]["message"]), f"taken, {_of_job(job, [])}"


async def _job_afterwards(arena: Arena) -> Message:
    answer = await arena.order_clip()
    if answer.status_code != ACCEPTED:
        return {"id": "", "state": f"refused: {_names_reason(answer)[1]}", "error": None}
    return await arena.job_ended(str(answer.json()["id"]))


def _names_reason(answer: httpx.Response) -> tuple[bool, str]:
    """Return whether a refusal names its reason, and its status and code in words."""
    try:
        said = answer.json()
        error = said.get("error", said)
        is_refusal = 400 <= answer.status_code < 600 and answer.status_code != 500
        return is_refusal and bool(error.get("message")), f"{answer.status_code} {error.get('code', 'none')}"
    except ValueError:
        return False, f"{answer.status_code} without words"


# -- the clock


async def _step_clock(arena: Arena) -> Seen:
    """Make the wall clock jump. A second portal is used, in all of whose threads libfaketime forges the time of day."""
    library = _faketime()
    if library is None:
        raise NotHere("libfaketime is not installed (apt install faketime)")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="vivavoce-chaos-clock-")))
        offset = folder / "offset"
        offset.write_text("+0\n")
        await asyncio.to_thread(prepare_preset, presets()[0], AvatarLibrary(folder / "avatars"))
        forged = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        started = running_portal(folder, "--no-worker", *arena.options, surroundings=forged)
        portal = await asyncio.to_thread(stack.enter_context, started)
        bystanders = stack.enter_context(Bystanders(lambda: portal, 1, arena.seed).talking())
        await bystanders.talk_again(time.monotonic())
        await asyncio.sleep(STEP_LASTS_S)
        began_s = time.monotonic()
        await asyncio.sleep(STEP_LASTS_S * len(STEPS_S))
        before = await bystanders.since(began_s)
        began_s = time.monotonic()
        for step_s in STEPS_S:
            offset.write_text(f"{step_s:+d}\n")
            await asyncio.sleep(STEP_LASTS_S)
        looks = await bystanders.since(began_s)
    gap_ms, usual_ms = (max(look.longest_gap_ms for look in some) for some in (looks, before))
    errors = [error for look in looks for one in look.heard for error in one.errors]
    words = f"longest gap {usual_ms:.0f} ms before the jumps, {gap_ms:.0f} ms over {len(STEPS_S)} of them"
    # Forging the time slows everything down. So gaps as long as those before the jumps are not caused by the jumps.
    held = gap_ms <= max(MAX_GAP_MS, usual_ms) and not errors
    return Seen(f"{words}{f', {errors[0]}' if errors else ''}", held)


def _faketime() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob(f"*/faketime/{FAKETIME}"))), None)


# -- services


async def _stall_model(arena: Arena) -> Seen:
    async with chaos_viewer(arena.portal.socket_url, greeting="") as viewer:
        return await _stalled(arena, viewer, lambda: viewer.tell("say", text="When does it leave?", mode="chat"))


async def _stall_voice(arena: Arena) -> Seen:
    async with chaos_viewer(arena.portal.socket_url, greeting="", tts="openai-speech") as viewer:
        return await _stalled(arena, viewer, lambda: viewer.tell("say", text="It leaves at seven.", mode="echo"))


async def _stalled(arena: Arena, viewer: ChaosViewer, ask: Callable[[], Awaitable[None]]) -> Seen:
    """Ask while the service is silent, and again after it has recovered."""

    def is_told(said: Message) -> bool:
        return said["type"] in ("error", "notice") and bool(said["message"] and said["hint"])

    arena.services.stall()
    try:
        await viewer.tell("media", use="websocket", reason="chaos")
        began_s = time.monotonic()
        await ask()
        try:
            told = await viewer.until(is_told, TELLS_WITHIN_S)
        except TimeoutError:
            return Seen(f"nothing was said for {TELLS_WITHIN_S:.0f} s", held=False)
        told_s = time.monotonic() - began_s
    finally:
        arena.services.recover()
    await ask()
    try:
        await viewer.until(lambda said: said["type"] == "turn" and said["state"] == "speaking", TELLS_WITHIN_S)
    except TimeoutError:
        return Seen(f"told after {told_s:.1f} s ({told['code']}); the next one was not spoken", held=False)
    return Seen(f"told after {told_s:.1f} s ({told['code']}); the next one was spoken", held=True)

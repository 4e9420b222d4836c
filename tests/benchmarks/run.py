"""`python launch.py bench [--json FILE] [--only NAME ...] [--quick]`: measure the figures of docs/benchmarks.md.

CPU figures are CPU time of the process that does the work, so that other load on the machine counts little; times at a
viewer are wall time, and are honest on a quiet machine only. The table says which machine it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from avatars.bundle import AvatarBundle
from pipeline.types import FPS
from portal.commands.environment import find_chromium
from portal.commands.portal_process import free_port, running_portal
from tests.benchmarks import in_browser
from tests.benchmarks.bench import Bench, both, cost, median, resident_while, viewers_told
from tests.benchmarks.drawn import lips, mouths, preparation, renderer, stills
from tests.benchmarks.figures import FIGURES, Reading, as_dict, table
from tests.benchmarks.material import moving_clip, preset_library

__all__ = ["main"]

MEASURING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--max-sessions", "32")
SPEAKING = ("--tts", "hibari", "--lipsync", "viseme", "--llm", "echo", "--no-worker", "--max-sessions", "32")


def idle(bench: Bench) -> Iterator[Reading]:
    for transport in ("webrtc", "websocket"):
        with running_portal(bench.data_dir, *SPEAKING) as portal:
            percent, seen = cost(portal, transport, 1, bench.seconds)
            yield Reading(FIGURES[f"idle_{transport}"], percent, f"{min(seen['fps']):.1f} fps")


def speaking(bench: Bench) -> Iterator[Reading]:
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        percent, seen = cost(portal, "webrtc", 1, bench.seconds, "--speak")
        yield Reading(FIGURES["speaking_webrtc"], percent, f"{min(seen['fps']):.1f} fps")


def capacity(bench: Bench) -> Iterator[Reading]:
    """The most viewers who all speak at once and all get 24 pictures a second.

    The program that watches runs on the same cores, and the note says what it takes of them.
    """
    held, notes = 0, []
    for viewers in (4, 6, 8, 10, 12):
        with running_portal(bench.data_dir, *SPEAKING) as portal:
            percent, seen = cost(portal, "webrtc", viewers, bench.seconds, "--speak")
        # An idle picture in a gap of the voice is no picture of speech.
        fps = min(seen["fps"]) - seen["starved"] / viewers / seen["took_s"]
        watching = f"{seen['own_core_percent']:.0f} % for watching"
        notes.append(f"{viewers}: {fps:.1f} fps, {percent:.0f} % core in all, {watching}")
        if fps < 24:
            break
        held = viewers
    yield Reading(FIGURES["speaking_viewers"], held, "; ".join(notes))


def joining(bench: Bench) -> Iterator[Reading]:
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        seen = viewers_told(portal, "visits", "websocket", "--seconds", str(2 * bench.seconds))
        note = f"{seen['visits']} visits; chunks are 40 ms apart"
        yield Reading(FIGURES["join_gap_ms"], seen["longest_gap_ms"], note)


def abuse(bench: Bench) -> Iterator[Reading]:
    """What one bad client does to others, and what is kept of clients that are gone."""
    from tests.benchmarks import abuse

    with running_portal(bench.data_dir, *SPEAKING) as portal:
        gaps = {kind: asyncio.run(abuse.gap_under_flood_ms(portal, kind, bench.seconds)) for kind in abuse.FLOODS}
        worst = max(gaps, key=gaps.__getitem__)
        quiet_ms = asyncio.run(abuse.gap_under_flood_ms(portal, None, bench.seconds))
        note = f"the worst of {len(gaps)} kinds: {worst}; {quiet_ms:.0f} ms without a flood"
        yield Reading(FIGURES["flood_gap_ms"], gaps[worst], note)
    with running_portal(bench.data_dir, *MEASURING, "--max-sessions", "1") as portal:
        yield Reading(FIGURES["stalled_place_s"], asyncio.run(abuse.place_free_after_s(portal)))
        yield Reading(FIGURES["sockets_mb"], asyncio.run(abuse.many_sockets_mb(portal)))
    with running_portal(bench.data_dir, *MEASURING) as portal:
        yield Reading(FIGURES["closed_sessions_mb"], asyncio.run(abuse.closed_sessions_mb(portal)))


def large(bench: Bench) -> Iterator[Reading]:
    """What large and endless things cost others."""
    from tests.benchmarks import large
    from tests.benchmarks.abuse import gap_beside_ms

    with running_portal(bench.data_dir, *SPEAKING) as portal:
        yield Reading(FIGURES["bodies_mb"], asyncio.run(large.bodies_mb(portal)))
        quiet_ms = asyncio.run(gap_beside_ms(portal, None, bench.seconds))
        gap_ms = asyncio.run(large.gap_beside_bodies_ms(portal))
        yield Reading(FIGURES["bodies_gap_ms"], gap_ms, f"{quiet_ms:.0f} ms without them")
        yield Reading(FIGURES["playlists_s"], asyncio.run(large.slowest_call_s(portal)))
    port = free_port()
    model = ("--llm", "openai", "--llm-model", "endless", "--llm-base-url", f"http://127.0.0.1:{port}/v1")
    with running_portal(bench.data_dir, *MEASURING, *model) as portal:
        yield Reading(FIGURES["line_mb"], asyncio.run(large.line_mb(portal, port, bench.seconds)))


def live(bench: Bench) -> Iterator[Reading]:
    """Recordings, gestures, another avatar, and clients of LiveTalking's API."""
    from tests.benchmarks import production
    from tests.browser.conftest import write_avatar
    from tests.gesture_clips import give_gesture

    yield from _recording_costs(bench)
    for name, level in (("alpha", 90), ("beta", 60)):
        give_gesture(AvatarBundle.open(write_avatar(bench.data_dir / "avatars" / name, level)), "wave", 12)
    grey = ("--avatar", "alpha", "--keep-free-bytes", "0")
    with running_portal(bench.data_dir, *MEASURING, *grey) as portal:
        skews_ms = asyncio.run(production.recorded_skews_ms(portal, 30 if bench.quick else 60 * bench.minutes))
        last_minute = skews_ms[-300:]
        note = f"{len(skews_ms)} beeps; first minute {statistics.median(skews_ms[:300]):+.1f} ms"
        yield Reading(FIGURES["recorded_skew_ms"], abs(statistics.median(last_minute)), note)
    with running_portal(bench.data_dir, *MEASURING, *grey, "--tts", "hibari") as portal:
        for name, speaks in (("gesture_ms", False), ("gesture_speaking_ms", True)):
            waits_ms = asyncio.run(production.gesture_ms(portal, 2 * bench.rounds, speaking=speaks))
            note = f"{len(waits_ms)} times, median {statistics.median(waits_ms):.0f}"
            yield Reading(FIGURES[name], max(waits_ms), note)
        rounds = min(2 * bench.rounds, production.MAX_SWAPS)
        swaps = asyncio.run(production.swaps_ms(portal, ("alpha", "beta"), rounds))
        note = f"{len(swaps.waits_ms)} times, median {statistics.median(swaps.waits_ms):.0f}"
        yield Reading(FIGURES["swap_ms"], max(swaps.waits_ms), note)
        added_ms = max(0.0, swaps.silence_ms - swaps.usual_silence_ms)
        note = f"longest silence {swaps.silence_ms:.0f} ms, {swaps.usual_silence_ms:.0f} ms without a change"
        yield Reading(FIGURES["swap_gap_ms"], added_ms, note)
    yield from _gesture_ends(bench)
    left, sessions = asyncio.run(production.kept_of_clients(bench.data_dir / "clients"))
    note = f"of {sessions}: {', '.join(f'{name} {count}' for name, count in left.items())}"
    yield Reading(FIGURES["clients_kept"], max(left.values()), note)


def reach(bench: Bench) -> Iterator[Reading]:
    """Watchers, a stream, a transparent stage, a script, and the page on a slow phone."""
    from tests.benchmarks import reach as ways

    with running_portal(bench.data_dir, *SPEAKING) as portal:
        each, one, many = asyncio.run(ways.watcher_percent(portal, bench.seconds))
        yield Reading(FIGURES["watcher_core"], each, f"one: {one:.1f}, ten: {many:.1f}")
        mattes, places_s, media_s = asyncio.run(ways.cutout_bytes(portal, bench.seconds))
        note = f"{mattes / 1000:.0f} kB once, then {100 * places_s / media_s:.2f} % of {media_s / 1000:.0f} kB/s"
        yield Reading(FIGURES["cutout_bytes"], 100 * (mattes + 60 * places_s) / (60 * media_s), note)
    port = free_port()
    with running_portal(bench.data_dir, *SPEAKING, "--push-to", f"rtmp://127.0.0.1:{port}/live") as portal:
        spent = asyncio.run(ways.stream_cost(portal, port, bench.data_dir / "stream.flv", bench.seconds))
        note = f"process {spent.process:.1f}, portal {spent.portal:.1f}"
        yield Reading(FIGURES["stream_core"], spent.process + spent.portal, note)
    page = Path(__file__).parents[2] / "docs" / "clients.md"
    yield Reading(FIGURES["picture_lines"], ways.lines_to_a_picture(page.read_text(encoding="utf-8")))
    chromium = find_chromium()
    if chromium is None:
        return
    with running_portal(bench.data_dir, *MEASURING) as portal:
        loads = [asyncio.run(ways.page_load(portal, chromium)) for _ in range(3)]
        yield Reading(FIGURES["page_kb"], loads[0].own_kb, f"everything: {loads[0].all_kb:.0f} kB")
        yield median("page_s", [load.interactive_s for load in loads])


def _recording_costs(bench: Bench) -> Iterator[Reading]:
    from tests.benchmarks.production import late_pictures

    costs, late = [], []
    for more in ((), ("--record",)):
        with running_portal(bench.data_dir, *SPEAKING) as portal:
            percent, seen = cost(portal, "webrtc", 1, bench.seconds, "--speak", *more)
            costs.append(percent)
            late.append(late_pictures(portal))
    note = f"{costs[0]:.1f} without, {costs[1]:.1f} with; {min(seen['fps']):.1f} fps"
    yield Reading(FIGURES["recording_core"], costs[1] - costs[0], note)
    yield Reading(FIGURES["recording_late"], max(0.0, late[1] - late[0]), f"{late[0]:g} without, {late[1]:g} with")


def _gesture_ends(bench: Bench) -> Iterator[Reading]:
    from tests.benchmarks.gesture_ends import jumps_px

    if bench.talking is None:
        for name in ("gesture_begin", "gesture_end"):
            yield Reading(FIGURES[name], None, "needs --talking CLIP, of a person who talks")
        return
    jumps = jumps_px(bench.talking, bench.data_dir / "lively")
    note = f"px: {{:.1f}}, loop {jumps.loop:.1f}"
    yield Reading(FIGURES["gesture_begin"], jumps.begins / jumps.loop, note.format(jumps.begins))
    yield Reading(FIGURES["gesture_end"], jumps.ends / jumps.loop, note.format(jumps.ends))


def memory(bench: Bench) -> Iterator[Reading]:
    clip = moving_clip(bench.data_dir, 1280, 720)
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.preparing", str(clip), str(bench.data_dir / "avatars"), "clip720"],
        check=True,
        capture_output=True,
    )
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        resident = [resident_while(portal, viewers, bench.seconds / 2) for viewers in (1, 5)]
        yield Reading(FIGURES["session_mb"], (resident[1] - resident[0]) / 4, "speaking, WebRTC, mean of 4")
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        before = resident_while(portal, 1, bench.seconds / 2)
        after = resident_while(portal, 1, bench.seconds / 2, "--avatar", "clip720")
        yield Reading(FIGURES["avatar_mb"], max(0.0, after - before))


def browser(bench: Bench) -> Iterator[Reading]:
    chromium = find_chromium()
    if chromium is None:
        for name in ("first_picture_ms", "fallback_ms", "sound_beep_ms", "silence_ms", "sound_hibari_ms"):
            yield Reading(FIGURES[name], None, "no Chromium here")
        return
    with running_portal(bench.data_dir, *MEASURING) as portal:
        yield median("first_picture_ms", asyncio.run(in_browser.first_picture_ms(portal, chromium, bench.rounds)))
        yield median("fallback_ms", asyncio.run(in_browser.fallback_ms(portal, chromium, 3)))
        yield from both("sound_beep_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))
        yield from both("silence_ms", lambda query: in_browser.interrupt_ms(portal, chromium, query, bench.rounds))
        seconds = 15 if bench.quick else 60
        for name, query in (("skew_webrtc_ms", ""), ("skew_websocket_ms", "?transport=websocket")):
            skew, pairs = asyncio.run(in_browser.skew_ms(portal, chromium, query, seconds))
            yield Reading(FIGURES[name], abs(skew), f"{skew:+.0f} ms, {pairs} beeps")
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        yield from both("sound_hibari_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))


def listening(bench: Bench) -> Iterator[Reading]:
    """A session that listens, with a recogniser of a declared delay; needs the extra `ears`."""
    options = [str(bench.seconds), str(bench.rounds), str(bench.data_dir)]
    command = [sys.executable, "-m", "tests.benchmarks.listening", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    yield Reading(FIGURES["ears_core"], found["core_share"])
    median_ms = statistics.median(found["answers_ms"])
    waits_ms = found["waits_ms"]
    wait = f"the wait: {min(waits_ms):.0f} to {max(waits_ms):.0f} ms"
    yield Reading(FIGURES["heard_ms"], median_ms, f"{wait}, {found['endpoint_ms']:.0f} ms of it CPU of its network")


def interrupting(bench: Bench) -> Iterator[Reading]:
    """What makes the avatar stop, in a simulated room; needs the extra `ears`."""
    command = [sys.executable, "-m", "tests.benchmarks.barge_in", "--minutes", "1" if bench.quick else "10"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    yield Reading(FIGURES["own_echo_stops"], found["echo_holds"], f"{found['minutes']:.1f} minutes")
    note = f"{found['noises_held']} held it for a moment"
    yield Reading(FIGURES["noise_stops"], found["noises_stopped"], note)
    waits_ms = found["waits_ms"]
    note = f"{len(waits_ms)} of {found['interruptions']}; at most {max(waits_ms):.0f}"
    yield Reading(FIGURES["held_ms"], statistics.median(waits_ms), note)


def conversation(bench: Bench) -> Iterator[Reading]:
    """Questions by a microphone in Chromium, and answers, for as long as --minutes says; needs the extra `ears`."""
    from tests.benchmarks.conversation import CONVERSING, converse

    chromium = find_chromium()
    if chromium is None:
        for name in ("skew_drift_ms", "conversation_mb", "frozen_s"):
            yield Reading(FIGURES[name], None, "no Chromium here")
        return
    with running_portal(bench.data_dir, *CONVERSING) as portal:
        found = asyncio.run(converse(portal, chromium, bench.data_dir, bench.minutes))
    note = f"{found.first_skew_ms:+.0f} to {found.last_skew_ms:+.0f} ms"
    yield Reading(FIGURES["skew_drift_ms"], abs(found.last_skew_ms - found.first_skew_ms), note)
    yield Reading(FIGURES["conversation_mb"], abs(found.grown_mb), f"{found.grown_mb:+.1f} MB")
    note = f"of {found.minutes:g} minutes; {found.questions} questions heard, {found.answers} answered"
    yield Reading(FIGURES["frozen_s"], found.frozen_s, note)


def neural(bench: Bench) -> Iterator[Reading]:
    """Everything around the networks; networks themselves are random and tiny, or replaced by their time."""
    from tests.benchmarks.neural import null_device, paste_ms, tiny_musetalk_avatar, whisper_ms_a_picture

    bundle = preset_library(bench.data_dir).open("mira")
    yield Reading(FIGURES["paste_ms"], paste_ms())
    whisper_ms = whisper_ms_a_picture(bench.data_dir)
    yield Reading(FIGURES["whisper_ms"], whisper_ms)
    yield _whisper_cosine(bench.data_dir)
    run = null_device(bundle, 8, 5, 3)
    note = f"of {run.pictures}; first picture of the slowest session after {run.first_picture_ms:.0f} ms"
    yield Reading(FIGURES["late_pictures"], run.late, note)
    weights = tiny_musetalk_avatar(bundle, bench.data_dir)
    network = ("--lipsync", "musetalk15", "--weights", str(weights), "--no-measure-speed")
    with running_portal(bench.data_dir, *SPEAKING, *network) as portal:
        percent, seen = cost(portal, "webrtc", 1, bench.seconds)
        yield Reading(FIGURES["idle_neural"], percent, f"{min(seen['fps']):.1f} fps")
    with running_portal(bench.data_dir, *SPEAKING, *_null(0, 0)) as portal:
        percent, seen = cost(portal, "webrtc", 1, bench.seconds, "--speak")
        around_ms = 10 * percent / FPS
        note = f"portal {around_ms:.1f} + whisper {whisper_ms:.1f}; {min(seen['fps']):.1f} fps"
        yield Reading(FIGURES["musetalk_path_ms"], around_ms + whisper_ms, note)
    chromium = find_chromium()
    if chromium is None:
        yield Reading(FIGURES["sound_null_ms"], None, "no Chromium here")
        return
    with running_portal(bench.data_dir, *MEASURING, *_null(0, 20)) as portal:
        yield from both("sound_null_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))


def _whisper_cosine(folder: Path) -> Reading:
    from tests.benchmarks.whisper_fidelity import mean_cosines

    cosines = mean_cosines(folder)
    if cosines is None:
        return Reading(FIGURES["whisper_cosine"], None, "no trained Whisper here, and none could be downloaded")
    note = f"shallow to deep: {', '.join(f'{cosine:.3f}' for cosine in cosines)}"
    return Reading(FIGURES["whisper_cosine"], statistics.mean(cosines), note)


def _null(batch_ms: float, picture_ms: float) -> tuple[str, ...]:
    """A lip-sync backend that takes so long and costs nothing; the last --lipsync on a command line counts."""
    times = ("--null-batch-ms", str(batch_ms), "--null-picture-ms", str(picture_ms))
    return ("--lipsync", "null", *times)


MEASUREMENTS: tuple[Callable[[Bench], Iterator[Reading]], ...] = (
    renderer,
    mouths,
    stills,
    neural,
    lips,
    listening,
    interrupting,
    conversation,
    preparation,
    idle,
    speaking,
    capacity,
    joining,
    abuse,
    large,
    live,
    reach,
    memory,
    browser,
)


def machine() -> str:
    """The machine, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor())
    return f"{os.cpu_count()} cores {model}, {platform.system()}, Python {platform.python_version()}, no GPU used"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launch.py bench", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the readings here too")
    parser.add_argument("--only", nargs="+", choices=[one.__name__ for one in MEASUREMENTS], help="not everything")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a figure to publish")
    parser.add_argument("--minutes", type=float, default=10, help="of the spoken conversation")
    parser.add_argument("--talking", type=Path, metavar="CLIP", help="of a person who talks")
    given = parser.parse_args(argv)
    readings: list[Reading] = []
    with tempfile.TemporaryDirectory(prefix="vivavoce-bench-") as folder:
        bench = Bench(Path(folder), given.quick, given.minutes, given.talking)
        preset_library(bench.data_dir)
        for measure in MEASUREMENTS:
            if given.only and measure.__name__ not in given.only:
                continue
            print(f"measuring: {measure.__name__}", file=sys.stderr, flush=True)
            for reading in measure(bench):
                print(f"  {reading.figure.name}: {reading.value} {reading.figure.unit} {reading.note}", file=sys.stderr)
                readings.append(reading)
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the end\n\n{table(readings)}")
    if given.json:
        found = {"machine": machine(), "readings": [as_dict(one) for one in readings]}
        given.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

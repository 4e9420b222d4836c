"""`python launch.py bench [--json FILE] [--only NAME ...] [--quick]`: measure the figures of the README.

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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.types import FPS
from portal.commands.environment import find_chromium
from tests.benchmarks import in_browser
from tests.benchmarks.figures import FIGURES, TALKING, Reading, as_dict, table
from tests.benchmarks.material import moving_clip, photograph, preset_library
from tests.benchmarks.portal_process import PortalProcess, free_port, running_portal

__all__ = ["main"]

MEASURING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--no-worker", "--max-sessions", "32")
SPEAKING = ("--tts", "hibari", "--lipsync", "viseme", "--llm", "echo", "--no-worker", "--max-sessions", "32")


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


def renderer(bench: Bench) -> Iterator[Reading]:
    """Decode a frame of the loop, draw the mouth of a spoken sentence, blend it in: CPU of one thread."""
    from tests.benchmarks.rendering import cpu_ms_a_picture

    yield Reading(FIGURES["render_ms"], cpu_ms_a_picture(bench.data_dir))


def mouths(bench: Bench) -> Iterator[Reading]:
    """Speech drawn with real mouths of a person, against that person; needs --talking."""
    from avatars.detect import MediaPipeFaceAnalyzer
    from tests.benchmarks.talking_sheets import avatar_of, measure, spoken_windows

    if bench.talking is None:
        for name in TALKING:
            yield Reading(FIGURES[name], None, "needs --talking CLIP, of a person who talks")
        return
    bundle = avatar_of(bench.talking, bench.data_dir / "talking")
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        found, _pictures = measure(bundle, spoken_windows(), analyzer)
    painted = {
        "personal_mouth_jerk": found.painted_mouth_jerk,
        "personal_skin_jerk": found.painted_skin_jerk,
        "personal_sharpness": found.painted_sharpness,
    }
    for name, field in TALKING.items():
        note = f"painted: {painted[name]:.2f}" if name in painted else ""
        yield Reading(FIGURES[name], getattr(found, field), note)


def stills(bench: Bench) -> Iterator[Reading]:
    """Photos and drawings: how they idle, and the mouths that are painted into them."""
    from avatars.detect import MediaPipeFaceAnalyzer
    from pipeline.lipsync.speaking_face import SpeakingFace
    from tests.benchmarks.idle_stills import measure_idle
    from tests.benchmarks.still_sheets import kinds_of_portraits, measure_mouth, still_avatar

    portraits = kinds_of_portraits()
    idle = {name: measure_idle(*portraits[name]) for name in ("drawn", "drawn_man", "open_smile")}
    yield Reading(FIGURES["still_repeat_s"], min(found.repeat_s for found in idle.values()))
    yield Reading(FIGURES["still_background"], max(found.background for found in idle.values()))
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        sharpness = {
            name: measure_mouth(SpeakingFace(still_avatar(bench.data_dir / name, *portrait)), analyzer).sharpness
            for name, portrait in portraits.items()
        }
    worst = max(sharpness, key=sharpness.__getitem__)
    note = f"{worst}; the least is {min(sharpness.values()):.2f}"
    yield Reading(FIGURES["still_sharpness"], sharpness[worst], note)


def preparation(bench: Bench) -> Iterator[Reading]:
    """CPU time of a process that prepares an avatar, from upload to bundle."""
    for name, upload in (("photo_s", photograph(bench.data_dir)), ("clip_s", moving_clip(bench.data_dir, 704, 1216))):
        command = [sys.executable, "-m", "tests.benchmarks.preparing", str(upload), str(bench.data_dir / "prepared")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield Reading(FIGURES[name], float(done.stdout.split()[-1]))


def idle(bench: Bench) -> Iterator[Reading]:
    for transport in ("webrtc", "websocket"):
        with running_portal(bench.data_dir, *SPEAKING) as portal:
            percent, seen = _cost(portal, transport, 1, bench.seconds)
            yield Reading(FIGURES[f"idle_{transport}"], percent, f"{min(seen['fps']):.1f} fps")


def speaking(bench: Bench) -> Iterator[Reading]:
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        percent, seen = _cost(portal, "webrtc", 1, bench.seconds, "--speak")
        yield Reading(FIGURES["speaking_webrtc"], percent, f"{min(seen['fps']):.1f} fps")


def capacity(bench: Bench) -> Iterator[Reading]:
    """The most viewers who all speak at once and all get 24 pictures a second."""
    held, notes = 0, []
    for viewers in (4, 6, 8, 10, 12):
        with running_portal(bench.data_dir, *SPEAKING) as portal:
            percent, seen = _cost(portal, "webrtc", viewers, bench.seconds, "--speak")
        notes.append(f"{viewers}: {min(seen['fps']):.1f} fps, {percent:.0f} % core in all")
        if min(seen["fps"]) < 24:
            break
        held = viewers
    yield Reading(FIGURES["speaking_viewers"], held, "; ".join(notes))


def joining(bench: Bench) -> Iterator[Reading]:
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        seen = _viewers(portal, "visits", "websocket", "--seconds", str(2 * bench.seconds))
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


def memory(bench: Bench) -> Iterator[Reading]:
    clip = moving_clip(bench.data_dir, 1280, 720)
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.preparing", str(clip), str(bench.data_dir / "avatars"), "clip720"],
        check=True,
        capture_output=True,
    )
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        resident = [_resident_while(portal, viewers, bench.seconds / 2) for viewers in (1, 5)]
        yield Reading(FIGURES["session_mb"], (resident[1] - resident[0]) / 4, "speaking, WebRTC, mean of 4")
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        before = _resident_while(portal, 1, bench.seconds / 2)
        after = _resident_while(portal, 1, bench.seconds / 2, "--avatar", "clip720")
        yield Reading(FIGURES["avatar_mb"], max(0.0, after - before))


def browser(bench: Bench) -> Iterator[Reading]:
    chromium = find_chromium()
    if chromium is None:
        for name in ("first_picture_ms", "fallback_ms", "sound_beep_ms", "silence_ms", "sound_hibari_ms"):
            yield Reading(FIGURES[name], None, "no Chromium here")
        return
    with running_portal(bench.data_dir, *MEASURING) as portal:
        yield _median("first_picture_ms", asyncio.run(in_browser.first_picture_ms(portal, chromium, bench.rounds)))
        yield _median("fallback_ms", asyncio.run(in_browser.fallback_ms(portal, chromium, 3)))
        yield from _both("sound_beep_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))
        yield from _both("silence_ms", lambda query: in_browser.interrupt_ms(portal, chromium, query, bench.rounds))
        seconds = 15 if bench.quick else 60
        for name, query in (("skew_webrtc_ms", ""), ("skew_websocket_ms", "?transport=websocket")):
            skew, pairs = asyncio.run(in_browser.skew_ms(portal, chromium, query, seconds))
            yield Reading(FIGURES[name], abs(skew), f"{skew:+.0f} ms, {pairs} beeps")
    with running_portal(bench.data_dir, *SPEAKING) as portal:
        yield from _both("sound_hibari_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))


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


def lips(_bench: Bench) -> Iterator[Reading]:
    """An independent detector looks at rendered pictures."""
    from tests.benchmarks.lip_sync_accuracy import measure

    for accuracy in measure():
        kind = "phonemes" if accuracy.driver == "phonemes" else "audio"
        yield Reading(
            FIGURES[f"closure_{kind}"], accuracy.closure_recall, f"{accuracy.closures_seen} of {accuracy.closures}"
        )
        if kind == "audio":
            yield Reading(FIGURES["lip_lag"], abs(accuracy.best_lag_pictures))
            yield Reading(FIGURES["lip_correlation"], accuracy.correlation)


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
        percent, seen = _cost(portal, "webrtc", 1, bench.seconds)
        yield Reading(FIGURES["idle_neural"], percent, f"{min(seen['fps']):.1f} fps")
    with running_portal(bench.data_dir, *SPEAKING, *_null(0, 0)) as portal:
        percent, seen = _cost(portal, "webrtc", 1, bench.seconds, "--speak")
        around_ms = 10 * percent / FPS
        note = f"portal {around_ms:.1f} + whisper {whisper_ms:.1f}; {min(seen['fps']):.1f} fps"
        yield Reading(FIGURES["musetalk_path_ms"], around_ms + whisper_ms, note)
    chromium = find_chromium()
    if chromium is None:
        yield Reading(FIGURES["sound_null_ms"], None, "no Chromium here")
        return
    with running_portal(bench.data_dir, *MEASURING, *_null(0, 20)) as portal:
        yield from _both("sound_null_ms", lambda query: in_browser.sound_ms(portal, chromium, query, bench.rounds))


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
    memory,
    browser,
)


def _both(name: str, measure: Callable[[str], Any]) -> Iterator[Reading]:
    """One reading over both transports: the slower median counts, both are told."""
    medians = {
        transport: statistics.median(asyncio.run(measure(query)))
        for transport, query in (("WebRTC", ""), ("WebSocket", "?transport=websocket"))
    }
    note = ", ".join(f"{transport} {value:.0f}" for transport, value in medians.items())
    yield Reading(FIGURES[name], max(medians.values()), note)


def _median(name: str, values: Sequence[float]) -> Reading:
    return Reading(FIGURES[name], statistics.median(values), f"{min(values):.0f} to {max(values):.0f}")


def _cost(
    portal: PortalProcess, transport: str, viewers: int, seconds: float, *more: str
) -> tuple[float, dict[str, Any]]:
    """CPU of the portal in percent of a core while viewers watch, and what they saw."""
    options = ("--viewers", str(viewers), "--seconds", str(seconds), *more)
    with _viewing(portal, "watch", transport, *options) as process:
        assert process.stdout is not None
        _line(process, "counting")
        began = (portal.cpu_s(), time.monotonic())
        _line(process, "counted")
        ended = (portal.cpu_s(), time.monotonic())
        seen = _result(process)
    return 100 * (ended[0] - began[0]) / (ended[1] - began[1]), seen


def _resident_while(portal: PortalProcess, viewers: int, seconds: float, *more: str) -> float:
    options = ("--viewers", str(viewers), "--seconds", str(seconds), "--speak", *more)
    with _viewing(portal, "watch", "webrtc", *options) as process:
        _line(process, "counting")
        _line(process, "counted")
        resident_mb = portal.resident_mb()
        _result(process)
    return resident_mb


def _viewers(portal: PortalProcess, what: str, transport: str, *options: str) -> dict[str, Any]:
    with _viewing(portal, what, transport, *options) as process:
        return _result(process)


def _viewing(portal: PortalProcess, what: str, transport: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.viewers", what, "--url", portal.socket_url]
    return subprocess.Popen(
        [*command, "--transport", transport, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _line(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != expected:
        raise RuntimeError(f"the viewers did not get to '{expected}'")


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate("\n", timeout=300)
    return dict(json.loads(output.splitlines()[-1]))


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

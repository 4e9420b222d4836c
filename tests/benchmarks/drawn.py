"""Measurements of avatars without a portal: how they are prepared, what drawing costs, and how it looks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import FIGURES, TALKING, Reading
from tests.benchmarks.material import moving_clip, photograph

__all__ = ["lips", "mouths", "preparation", "renderer", "stills"]


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
    notes = {
        "personal_jaw": f"the person's own: {found.real_jaw_correlation:.2f}",
        "personal_mouth_jerk": f"painted: {found.painted_mouth_jerk:.2f}",
        "personal_skin_jerk": f"painted: {found.painted_skin_jerk:.2f}",
        "personal_sharpness": f"painted: {found.painted_sharpness:.2f}",
        "personal_opening": f"shut in {found.shut_share:.2f} of the pictures, the person {found.real_shut_share:.2f}",
    }
    for name, field in TALKING.items():
        yield Reading(FIGURES[name], getattr(found, field), notes.get(name, ""))


def stills(bench: Bench) -> Iterator[Reading]:
    """Photos and drawings: how they idle, and the mouths that are painted into them."""
    from avatars.detect import MediaPipeFaceAnalyzer
    from pipeline.lipsync.speaking_face import SpeakingFace
    from tests.benchmarks.acting_stills import measure_acting, said
    from tests.benchmarks.idle_stills import measure_idle
    from tests.benchmarks.still_sheets import kinds_of_portraits, measure_mouth, still_avatar

    portraits = kinds_of_portraits()
    idle = {name: measure_idle(*portraits[name]) for name in ("drawn", "drawn_man", "open_smile")}
    yield Reading(FIGURES["still_repeat_s"], min(found.repeat_s for found in idle.values()))
    yield Reading(FIGURES["still_background"], max(found.background for found in idle.values()))
    slices = said()
    acts = {name: measure_acting(bench.data_dir / f"{name}-acts", *portraits[name], slices) for name in idle}
    yield Reading(FIGURES["acting_background"], max(found.background for found in acts.values()))
    yield Reading(FIGURES["acting_ms"], max(found.ms for found in acts.values()))
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


def lips(_bench: Bench) -> Iterator[Reading]:
    """An independent detector looks at rendered pictures."""
    from tests.benchmarks.lip_sync_accuracy import measure

    for accuracy in measure():
        kind = "phonemes" if accuracy.driver == "phonemes" else "audio"
        yield Reading(
            FIGURES[f"closure_{kind}"], accuracy.closure_recall, f"{accuracy.closures_seen} of {accuracy.closures}"
        )
        yield Reading(FIGURES[f"tuck_{kind}"], accuracy.tucks_seen / accuracy.tucks, f"of {accuracy.tucks}")
        if kind == "audio":
            yield Reading(FIGURES["lip_lag"], abs(accuracy.best_lag_pictures))
            yield Reading(FIGURES["lip_correlation"], accuracy.correlation)

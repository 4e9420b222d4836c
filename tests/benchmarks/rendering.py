"""CPU time of the embedded renderer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from pipeline import registry
from pipeline.compositing import compose
from pipeline.threads import compute_in_calling_thread
from pipeline.timeline import SentenceTimeline, SpeechSlice
from pipeline.types import LipSyncRequest
from tests.benchmarks.material import preset_library

__all__ = ["cpu_ms_a_picture"]

SENTENCE = "The quick brown fox jumps over the lazy dog, and everybody applauds for a very long time."
ROUNDS = 5


def cpu_ms_a_picture(data_dir: Path) -> float:
    """Decode the loop's frame, draw the mouth, blend it in; one thread, the best of some rounds of a sentence."""
    compute_in_calling_thread()
    bundle = preset_library(data_dir).open("mira")
    lipsync = registry.create("lipsync", "viseme")
    lipsync.load("cpu")
    state = lipsync.prepare(bundle)
    pictures = asyncio.run(_spoken(SENTENCE))
    best_ms = float("inf")
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for place, picture in enumerate(pictures):
            index = bundle.frame_index(place)
            (patch,) = lipsync.infer([LipSyncRequest(state, index, picture.window, 0.0)])
            compose(bundle.frame(index), patch)
        best_ms = min(best_ms, 1000 * (time.process_time() - began_s) / len(pictures))
    lipsync.close()
    return best_ms


async def _spoken(sentence: str) -> list[SpeechSlice]:
    tts = registry.create("tts", "hibari")
    tts.load()
    extractor = registry.create("features", "visemes_around")
    extractor.load("cpu")
    timeline = SentenceTimeline(0, sentence, extractor.stream())
    pictures = [picture async for chunk in tts.synthesize(sentence) for picture in timeline.push(replace(chunk))]
    await tts.aclose()
    return pictures

"""Sheets and figures of how stills act while they speak: nods, turns and brows with the stresses of a voice.

    python -m tests.benchmarks.acting_stills OUT [--portrait NAME=FILE ...]

A sheet has two rows for each portrait, five pictures a second: as it would be without acting, and as it is. Hibari
speaks.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.geometry import CHIN_TIP, FACE_TOP
from avatars.matte import person_matte
from avatars.mattes import MattesMaker
from pipeline import registry
from pipeline.acting import Acting, Expression
from pipeline.compositing import compose
from pipeline.lipsync.viseme import VisemeLipSync
from pipeline.moving_face import MovingFace
from pipeline.polish import VoicePolish
from pipeline.timeline import SentenceTimeline, SpeechSlice
from pipeline.types import LipSyncRequest
from tests.benchmarks.idle_stills import outside_person
from tests.benchmarks.still_sheets import asked_portraits, still_avatar, tile

__all__ = ["ActingFigures", "measure_acting", "said"]

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

SENTENCES = (
    "Hello! I can answer questions, and I would really like to know what you think about it.",
    "My mother bought a big brown map of the empty beach.",
    "We all go home now, you may do so too.",
)
TILE_PX, EVERY, TILES = 200, 5, 12


@dataclass(frozen=True, slots=True)
class ActingFigures:
    """What is measured of one still that speaks."""

    background: float
    "largest change of any pixel outside the person, in levels; nan where the picture has no background"
    ms: float
    "CPU of one thread, the mean over all pictures of speech"
    moving: float
    "share of the pictures of speech in which something moves"


def said(sentences: Sequence[str] = SENTENCES) -> list[SpeechSlice]:
    return asyncio.run(_said(sentences))


async def _said(sentences: Sequence[str]) -> list[SpeechSlice]:
    voice, extractor = registry.create("tts", "hibari"), registry.create("features", "visemes_around")
    voice.load()
    extractor.load("cpu")
    slices: list[SpeechSlice] = []
    for index, sentence in enumerate(sentences):
        polish, timeline = VoicePolish(), SentenceTimeline(index, sentence, extractor.stream())
        slices += [one async for chunk in voice.synthesize(sentence) for one in timeline.push(polish.push(chunk))]
    await voice.aclose()
    return slices


def acting_avatar(path: Path, picture: Image, landmarks: Points) -> AvatarBundle:
    """An avatar of one picture that does not move by itself, with its matte."""
    bundle = still_avatar(path, picture, landmarks)
    matte = person_matte(picture, landmarks)
    if matte is not None:
        maker = MattesMaker()
        maker.add(np.asarray(np.round(255 * matte), np.uint8))
        bundle.mattes_path.write_bytes(maker.made(picture).to_bytes(bundle.loop))
    return bundle


def measure_acting(path: Path, picture: Image, landmarks: Points, slices: Sequence[SpeechSlice]) -> ActingFigures:
    bundle = acting_avatar(path, picture, landmarks)
    face, frame, outside = MovingFace(bundle), bundle.frame(0), outside_person(picture, landmarks)
    expressions, change = _expressions(slices), 0
    began_s = time.process_time()
    for expression in expressions:
        face.show(frame.copy(), 0, expression)
    ms = 1000 * (time.process_time() - began_s) / len(expressions)
    if outside is not None:
        shown = (face.show(frame.copy(), 0, expression) for expression in expressions)
        change = max(int(cv2.absdiff(one, frame)[outside].max()) for one in shown)
    moving = np.mean([not expression.is_still for expression in expressions])
    return ActingFigures(float("nan") if outside is None else float(change), ms, float(moving))


def _expressions(slices: Sequence[SpeechSlice]) -> list[Expression]:
    acting = Acting(1)
    return [acting.next(one.stress, one.left) for one in slices]


def acting_rows(bundle: AvatarBundle, slices: Sequence[SpeechSlice]) -> Image:
    """The head without acting, and below it with it."""
    lipsync, face, landmarks = VisemeLipSync(), MovingFace(bundle), bundle.landmarks[0]
    state = lipsync.prepare(bundle)
    top, chin = landmarks[FACE_TOP, :2], landmarks[CHIN_TIP, :2]
    half = 0.95 * float(np.linalg.norm(chin - top))
    rows: tuple[list[Image], list[Image]] = ([], [])
    chosen = list(zip(slices, _expressions(slices), strict=True))[::EVERY][:TILES]
    for one, expression in chosen:
        (patch,) = lipsync.infer([LipSyncRequest(state, 0, one.window, 0.0)])
        spoken = compose(bundle.frame(0), patch)
        rows[0].append(tile(spoken, (top + chin) / 2, half, TILE_PX, cv2.INTER_AREA))
        rows[1].append(tile(face.show(spoken, 0, expression), (top + chin) / 2, half, TILE_PX, cv2.INTER_AREA))
    return np.vstack([np.hstack(row) for row in rows])


def main(arguments: list[str] | None = None) -> None:
    out, portraits = asked_portraits("acting_stills", arguments)
    slices = said()
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as work:
        for name, (picture, landmarks) in portraits.items():
            found = measure_acting(Path(work) / f"{name}-measured", picture, landmarks, slices)
            rows = acting_rows(acting_avatar(Path(work) / name, picture, landmarks), slices)
            cv2.imwrite(str(out / f"{name}-acting.png"), rows[..., ::-1])
            print(
                f"{name}: background {found.background:.0f} levels, {found.ms:.2f} ms a picture, "
                f"{found.moving:.0%} of the pictures move",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Sheets and figures of how a filmed person talks: the person, real mouths, painted ones.

A sheet has pictures in a row as they follow each other, so a fault is seen at a glance: a seam, a tooth that stretches,
a mouth that flutters. Who looks at it should not be able to find the drawn row.

    python -m tests.benchmarks.talking_sheets CLIP OUT [--first N]

CLIP shows a person who talks, with or without sound. What is said is a sentence of hibari's. The first run makes an
avatar of the clip in OUT, which takes a while.

Jerk is the mean second difference of brightness from picture to picture, held still in the chart of the face. It and
sharpness are given as parts of those of the person in the same pictures. Closures and openings are what an independent
face detector sees in each drawn picture by itself: one that follows a face smooths what it sees.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle
from avatars.detect import FaceAnalyzer, MediaPipeFaceAnalyzer
from avatars.geometry import LIPS
from avatars.library import AvatarLibrary
from avatars.mouth_chart import POINTS, MouthChart, affine, opening_of, places, width_of
from avatars.prepare import Upload, prepare_avatar
from avatars.real_mouths import find_real_mouths, has_real_mouths, mouth_of
from models.visemes import MOUTH_PARAMETERS
from pipeline import registry
from pipeline.compositing import compose
from pipeline.features.visemes_around import PICTURES_BEFORE
from pipeline.lipsync.mouth_steering import talking
from pipeline.lipsync.personal_face import PersonalFace
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.quiet_loop import QuietLoop
from pipeline.threads import compute_in_calling_thread
from pipeline.timeline import SentenceTimeline

__all__ = ["TalkingFigures", "avatar_of", "measure", "spoken_windows"]

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
Windows = Sequence[npt.NDArray[np.float32]]

SENTENCES = (
    "Bob bought a pepper plant and put it by the open window. My mother made a map of the empty apartment. Please "
    "remember to bring your umbrella, it may be raining in Boston."
)
"rich in p, b and m"
LOOK_PX, LOOK_IOD = 80, (-0.58, -0.36, 0.58, 0.84)
"pixels to the distance of the eyes, and the part of the chart that is measured"
SHUT_IOD = 0.025
APART = 5
"pictures between two of which the chins are compared"
TILE_PX, PICTURES_IN_A_ROW, ROWS = 150, 8, 3
PRESS, ACTIVITY = MOUTH_PARAMETERS.index("press"), len(MOUTH_PARAMETERS)
FULLY_DRAWN = 0.3
"activity from which nothing of the filmed mouth shows"


@dataclass(frozen=True, slots=True)
class TalkingFigures:
    """What is measured of a filmed person who talks with real mouths; nan where there is nothing to measure."""

    build_s: float
    "CPU to choose the mouths and make ready to draw, after the faces are found"
    draw_ms: float
    "CPU of one thread to draw a picture's mouth and paste it"
    memory_mb: float
    closures_seen: float
    "part of the p, b and m whose lips are seen shut"
    opening_correlation: float
    "of the openings seen with those that were wanted"
    jaw_correlation: float
    "of how much the chin drops in a while with how much the mouth opens meanwhile, both as seen"
    real_jaw_correlation: float
    jaw_drop: float
    "how much the chin drops, as a part of that"
    real_jaw_drop: float
    mouth_jerk: float
    skin_jerk: float
    sharpness: float
    painted_mouth_jerk: float
    painted_skin_jerk: float
    painted_sharpness: float
    idle_mouth_jerk: float
    "while nothing is said"
    opening_spread: float
    "how much it varies while somebody speaks (standard deviation), as part of how much that of the person does"
    width_spread: float
    roundness_spread: float
    "likewise; of the height of the lips by their width"
    opening_speed: float
    width_speed: float
    "how fast they change (90th percentile), as part of how fast they do in the person's face"
    shut_share: float
    "of the pictures in which somebody speaks"
    real_shut_share: float


def avatar_of(clip: Path, folder: Path) -> AvatarBundle:
    """The avatar of a clip, made once in that folder, which need not be there yet."""
    folder.mkdir(parents=True, exist_ok=True)  # a library makes its own folder, and none above it
    library = AvatarLibrary(folder / "avatars")
    if "talker" not in library:
        prepare_avatar(Upload(clip, "talker", "Talker"), library, lambda _stage, _part: None)
    return library.open("talker")


def spoken_windows(text: str = SENTENCES) -> list[npt.NDArray[np.float32]]:
    """A window for each picture of a text in hibari's voice, with the timing of its phonemes."""

    async def speak() -> list[npt.NDArray[np.float32]]:
        tts = registry.create("tts", "hibari")
        tts.load()
        extractor = registry.create("features", "visemes_around")
        extractor.load("cpu")
        timeline = SentenceTimeline(0, text, extractor.stream())
        slices = [one async for chunk in tts.synthesize(text) for one in timeline.push(replace(chunk))]
        await tts.aclose()
        return [one.window.data for one in slices]

    return asyncio.run(speak())


class _Look:
    """Pictures of one avatar's loop, as the chart of its face shows them."""

    def __init__(self, bundle: AvatarBundle, frames: Sequence[int]) -> None:
        self._chart = MouthChart.of(bundle.landmarks)
        self._frames = frames
        left, top, right, bottom = LOOK_IOD
        self._size = (round((right - left) * LOOK_PX), round((bottom - top) * LOOK_PX))
        lips = (self._chart.points[:, places(LIPS)].reshape(-1, 2) - [left, top]) * LOOK_PX
        covered = np.zeros(self._size[::-1], np.uint8)
        cv2.fillConvexPoly(covered, cv2.convexHull(lips.astype(np.float32)).round().astype(np.int32), 1)
        self.mouth = covered > 0
        "where lips ever are"
        beside = cv2.dilate(covered, np.ones((LOOK_PX // 4, LOOK_PX // 4), np.uint8)) > 0
        self.skin = beside & ~self.mouth

    def flat(self, pictures: Sequence[Image]) -> Array:
        """Brightness (n, h, w)."""
        chart = np.array([[1 / LOOK_PX, 0, LOOK_IOD[0]], [0, 1 / LOOK_PX, LOOK_IOD[1]], [0, 0, 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = [
            cv2.warpAffine(picture, self._chart.to_px[frame] @ chart, self._size, flags=flags)
            for picture, frame in zip(pictures, self._frames, strict=True)
        ]
        return np.asarray(np.stack(seen).astype(np.float64).mean(axis=3))

    def lips(self, pictures: Sequence[Image], analyzer: FaceAnalyzer) -> Array:
        """(n, 3) of what the detector sees: opening and width, IOD, and roundness; nan where it sees no face."""
        found = []
        for picture, frame in zip(pictures, self._frames, strict=True):
            faces = analyzer.analyse(picture)
            back = cv2.invertAffineTransform(self._chart.to_px[frame])
            if faces:
                points = faces[0].landmarks[list(POINTS), :2].astype(np.float64)
                found.append(_described(affine(back, points)))
            else:
                found.append((float("nan"),) * 3)
        return np.array(found)

    def chin_drops(self, flat: Array) -> Array:
        """(n - APART,) IOD: how much lower the skin of the chin is than in the picture APART before.

        By optical flow: a face detector sees chins where the mouth lets it expect them.
        """
        chins = self._chart.points[:, places((148, 152, 377))].reshape(-1, 2).mean(axis=0)
        x, y = ((chins - LOOK_IOD[:2]) * LOOK_PX).round().astype(int).tolist()
        near = np.s_[y - LOOK_PX // 16 : y + LOOK_PX // 16, x - LOOK_PX // 6 : x + LOOK_PX // 6]
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        levels, still = flat.astype(np.uint8), np.zeros((*flat.shape[1:], 2), np.float32)
        pairs = zip(levels[:-APART], levels[APART:], strict=True)
        flows = [np.asarray(flow.calc(one, other, still.copy()))[near] for one, other in pairs]
        return np.array([float(np.median(one[..., 1])) for one in flows]) / LOOK_PX


def measure(
    bundle: AvatarBundle, windows: Windows, analyzer: FaceAnalyzer
) -> tuple[TalkingFigures, dict[str, list[Image]]]:
    """Figures, and the pictures: `real`, `personal`, `painted`, `idle`.

    Raises ValueError if the avatar has no real mouths.
    """
    if not has_real_mouths(bundle):
        raise ValueError(f"This clip gives no real mouths: {mouth_of(bundle.manifest)[1]}.")
    began_s = time.process_time()
    find_real_mouths(bundle.landmarks, (bundle.frame(index) for index in range(bundle.frame_count)))
    personal = PersonalFace(bundle)
    build_s = time.process_time() - began_s
    painted = SpeakingFace(bundle)

    frames = [bundle.frame_index(place) for place in range(len(windows))]
    real = [bundle.frame(frame) for frame in frames]
    pictures: dict[str, list[Image]] = {"real": real}
    _drawn(personal, frames, windows, real)  # what is worked out once is not of a picture
    began_s = time.process_time()
    pictures["personal"] = _drawn(personal, frames, windows, real)
    draw_ms = 1000 * (time.process_time() - began_s) / len(windows)
    pictures["painted"] = [
        compose(picture.copy(), painted.patch(frame, rows[PICTURES_BEFORE, :8], float(rows[PICTURES_BEFORE, 8])))
        for frame, rows, picture in zip(frames, windows, real, strict=True)
    ]

    idle = QuietLoop(bundle)
    pictures["idle"] = [idle.frame(frame) for frame in frames]

    look = _Look(bundle, frames)
    flat = {name: look.flat(many) for name, many in pictures.items()}
    lips, real_lips = (look.lips(pictures[name], analyzer) for name in ("personal", "real"))
    seen, real_seen = lips[:, 0], real_lips[:, 0]
    jaw, real_jaw = (
        _follows(look.chin_drops(flat[name]), many) for name, many in (("personal", seen), ("real", real_seen))
    )
    wanted = np.array([personal.steering.course(rows[:, :8])[PICTURES_BEFORE, 0] for rows in windows])
    speaks = np.array([rows[PICTURES_BEFORE, ACTIVITY] > FULLY_DRAWN for rows in windows])
    spoken = np.where(speaks[:, None], lips, np.nan)
    real_spoken = np.where(talking(np.nan_to_num(real_seen))[:, None], real_lips, np.nan)
    spread = np.nanstd(spoken, axis=0) / np.nanstd(real_spoken, axis=0)
    speed = _speeds(spoken) / _speeds(real_spoken)
    pressed = [rows[PICTURES_BEFORE, PRESS] > 0.5 for rows in windows]
    figures = TalkingFigures(
        build_s=build_s,
        draw_ms=draw_ms,
        memory_mb=personal.nbytes / 2**20,
        closures_seen=_closures_seen(seen, pressed),
        opening_correlation=_correlation(seen[speaks], wanted[speaks]),
        jaw_correlation=jaw[0],
        real_jaw_correlation=real_jaw[0],
        jaw_drop=jaw[1],
        real_jaw_drop=real_jaw[1],
        mouth_jerk=_jerk(flat["personal"], look.mouth) / _jerk(flat["real"], look.mouth),
        skin_jerk=_jerk(flat["personal"], look.skin) / _jerk(flat["real"], look.skin),
        sharpness=_detail(flat["personal"], look.mouth) / _detail(flat["real"], look.mouth),
        painted_mouth_jerk=_jerk(flat["painted"], look.mouth) / _jerk(flat["real"], look.mouth),
        painted_skin_jerk=_jerk(flat["painted"], look.skin) / _jerk(flat["real"], look.skin),
        painted_sharpness=_detail(flat["painted"], look.mouth) / _detail(flat["real"], look.mouth),
        idle_mouth_jerk=_jerk(flat["idle"], look.mouth) / _jerk(flat["real"], look.mouth),
        opening_spread=float(spread[0]),
        width_spread=float(spread[1]),
        roundness_spread=float(spread[2]),
        opening_speed=float(speed[0]),
        width_speed=float(speed[1]),
        shut_share=_shut_share(spoken),
        real_shut_share=_shut_share(real_spoken),
    )
    return figures, pictures


def _drawn(face: PersonalFace, frames: Sequence[int], windows: Windows, real: Sequence[Image]) -> list[Image]:
    return [
        compose(picture.copy(), face.patch(frame, rows, PICTURES_BEFORE, partial(np.asarray, picture)))
        for frame, rows, picture in zip(frames, windows, real, strict=True)
    ]


def _described(points: Array) -> tuple[float, float, float]:
    """Of lips (m, 2) of POINTS in the chart: opening and width, IOD, and roundness."""
    upper, lower = points[places((0, 17))]
    width = float(width_of(points))
    return float(opening_of(points)), width, float(lower[1] - upper[1]) / width


def _speeds(lips: Array) -> Array:
    """(3,) how fast lips (n, 3) of consecutive pictures change."""
    return np.asarray(np.nanpercentile(np.abs(np.diff(lips, axis=0)), 90, axis=0))


def _jerk(flat: Array, where: npt.NDArray[np.bool_]) -> float:
    return float(np.abs(flat[2:] - 2 * flat[1:-1] + flat[:-2])[:, where].mean())


def _detail(flat: Array, where: npt.NDArray[np.bool_]) -> float:
    return float(np.median([cv2.Laplacian(picture, cv2.CV_64F)[where].var() for picture in flat]))


def _correlation(seen: Array, wanted: Array) -> float:
    known = ~np.isnan(seen)
    return float(np.asarray(np.corrcoef(seen[known], wanted[known]))[0, 1])


def _follows(drops: Array, openings: Array) -> tuple[float, float]:
    """Correlation and slope of how much chins drop (n - APART,) with how much mouths (n,) open."""
    opens = openings[APART:] - openings[:-APART]
    known = ~np.isnan(opens)
    return _correlation(drops, opens), float(np.polyfit(opens[known], drops[known], 1)[0])


def _shut_share(lips: Array) -> float:
    """Part of the pictures in which lips (n, 3) are shut, of those in which somebody speaks."""
    openings = lips[:, 0][~np.isnan(lips[:, 0])]
    return float((openings < SHUT_IOD).mean())


def _closures_seen(seen: Array, pressed: Sequence[bool]) -> float:
    """Part of the stretches of pressed lips in which the detector sees them shut."""
    shut = [
        bool(np.nanmin(seen[[index for index, _ in stretch]]) < SHUT_IOD)
        for is_pressed, stretch in ((key, list(many)) for key, many in groupby(enumerate(pressed), lambda one: one[1]))
        if is_pressed
    ]
    return sum(shut) / len(shut) if shut else float("nan")


def sheet(pictures: dict[str, list[Image]], bundle: AvatarBundle, first: int) -> Image:
    """Rows of consecutive pictures round the mouth, from that picture on: real, personal, painted, and so on."""
    rows = []
    for start in range(first, first + ROWS * PICTURES_IN_A_ROW, PICTURES_IN_A_ROW):
        for many in pictures.values():
            places_shown = range(start, min(start + PICTURES_IN_A_ROW, len(many)))
            tiles = [_tile(many[place], bundle.boxes[bundle.frame_index(place)]) for place in places_shown]
            rows.append(np.hstack(tiles + [np.zeros_like(tiles[0])] * (PICTURES_IN_A_ROW - len(tiles))))
    return np.vstack(rows)


def _tile(picture: Image, box: npt.NDArray[np.int32]) -> Image:
    x0, y0, x1, y1 = box.tolist()
    return np.asarray(cv2.resize(picture[y0:y1, x0:x1], (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.talking_sheets")
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=40, help="picture with which the sheet begins")
    given = parser.parse_args(arguments)
    compute_in_calling_thread()
    bundle = avatar_of(given.clip, given.out)
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        figures, pictures = measure(bundle, spoken_windows(), analyzer)
    shown = {name: round(value, 2) for name, value in asdict(figures).items()}
    (given.out / "figures.json").write_text(json.dumps(shown, indent=1))
    cv2.imwrite(str(given.out / "sheet.png"), sheet(pictures, bundle, given.first)[..., ::-1])
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()

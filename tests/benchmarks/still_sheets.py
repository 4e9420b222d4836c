"""Sheets and figures of how stills talk: what somebody looks at before and after the renderer is changed.

Each portrait is drawn with eleven mouths that show everything the renderer does: shut, p/b/m, f/v, th, l, s and the
vowels. A sheet has one row of mouths per portrait, so a fault is seen at a glance: a seam,
a halo, a glowing tooth, a hard edge. `--beside` puts the rows of an earlier run above those of this one.

    python -m tests.benchmarks.still_sheets OUT [--beside EARLIER] [--portrait NAME=FILE ... | --characters]

Without --portrait it uses the project's own drawn faces, the photo in scikit-image's wheel (public domain), and kinds
of portraits made of them: darker skin, glasses, a face with lines, a painting, black and white. These stand for what
people bring. They are no substitute for photos of many people: give those with --portrait. --characters draws our own
characters, with the mouths that belong to them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.detect import FaceAnalyzer, MediaPipeFaceAnalyzer
from avatars.geometry import LIPS, LOWER_LIP_INNER, UPPER_LIP_INNER, eye_rings, mouth_boxes, mouth_mask
from avatars.library import presets
from avatars.mouth_look import MouthLook
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.compositing import compose
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.threads import compute_in_calling_thread
from pipeline.types import FacePatch
from tests.portraits import portrait

__all__ = [
    "MouthFigures",
    "asked_portraits",
    "brought",
    "kinds_of_portraits",
    "measure_mouth",
    "mouth_row",
    "still_avatar",
    "tile",
]

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

MOUTHS = ("sil", "PP", "FF", "TH", "nn", "SS", "ih", "E", "aa", "oh", "ou")
TILE_PX = 224
SIDE_PX = 512
OPEN = ("E", "ih", "SS", "aa")
"mouths wide enough for sharpness to be measured in them"
ROUNDS = 40


@dataclass(frozen=True, slots=True)
class MouthFigures:
    """What is measured of one talking still."""

    sharpness: float
    "detail between the lips, as part of that of the face around them; the mean over OPEN"
    brightest: float
    "luminance of the brightest 5 % between the lips, as part of that of the eye whites; the largest over MOUTHS"
    draw_ms: float
    "CPU of one thread to draw a mouth and paste it"


def kinds_of_portraits() -> dict[str, tuple[Image, Points]]:
    """Name -> uint8 RGB (SIDE_PX, SIDE_PX, 3) and landmarks (478, 3) px, from what the project has at hand."""
    photo, points = portrait("astronaut", SIDE_PX)
    head = photo, points
    woman, man = portrait("woman", SIDE_PX), portrait("man", SIDE_PX)
    return {
        "drawn": woman,
        "drawn_man": man,
        "open_smile": head,
        "dark_skin": (_darker(man[0], man[1]), man[1]),
        "glasses": (_with_glasses(*head), points),
        "old": (_lined(*woman), woman[1]),
        "painting": (_painted(photo), points),
        "black_and_white": (_grey(photo), points),
    }


def still_avatar(path: Path, picture: Image, landmarks: Points, look: MouthLook | None = None) -> AvatarBundle:
    """An avatar of one picture, without motion; with a drawn mouth if there is a look."""
    height, width = picture.shape[:2]
    boxes = mouth_boxes(landmarks[None], width, height)
    x0, y0, x1, y1 = boxes[0].tolist()
    jpeg = encode_jpeg(picture)
    contents = BundleContents(
        id=path.name,
        name=path.name,
        kind="still",
        frames=[jpeg],
        width=width,
        height=height,
        boxes=boxes,
        masks=mouth_mask(x1 - x0, y1 - y0)[None],
        landmarks=landmarks[None],
        loop=np.arange(1, dtype=np.int32),
        mouth_look=look,
        poster=jpeg,
    )
    return write_bundle(contents, path)


def spoken(face: SpeakingFace, mouth: str) -> Image:
    """The whole picture with that viseme's mouth; "sil" is the closed mouth of somebody who is speaking."""
    bundle = face.bundle
    pixels = face.draw(0, MOUTH_SHAPES[VISEMES.index(mouth)], 1.0)
    x0, y0, x1, y1 = bundle.boxes[0].tolist()
    return np.asarray(compose(bundle.frame(0), FacePatch(pixels, (x0, y0, x1, y1), bundle.mask(0))), np.uint8)


def mouth_row(face: SpeakingFace) -> Image:
    """The photo's own mouth, then every mouth of MOUTHS, side by side, (TILE_PX, n * TILE_PX, 3)."""
    landmarks = face.bundle.landmarks[0]
    centre = landmarks[list(LIPS), :2].mean(axis=0)
    half = 0.62 * float(np.linalg.norm(landmarks[263, :2] - landmarks[33, :2]))
    pictures = [face.bundle.frame(0), *(spoken(face, mouth) for mouth in MOUTHS)]
    return np.hstack([tile(picture, centre, half, TILE_PX) for picture in pictures])


def measure_mouth(face: SpeakingFace, analyzer: FaceAnalyzer) -> MouthFigures:
    """Figures of a still that talks."""
    frame, landmarks = face.bundle.frame(0), face.bundle.landmarks[0]
    scale = float(np.linalg.norm(landmarks[263, :2] - landmarks[33, :2]))
    around = _face_around(frame, landmarks, scale)
    eyes = np.zeros(frame.shape[:2], np.uint8)
    for ring in eye_rings(landmarks):
        cv2.fillPoly(eyes, [ring.round().astype(np.int32)], 1)
    eye_white = float(np.percentile(_luma(frame)[eyes > 0], 90))
    ratios, brightest = [], 0.0
    for mouth in MOUTHS:
        picture = spoken(face, mouth)
        between = _between_lips(picture, analyzer)
        if between.sum() < 30:
            continue
        luma = _luma(picture)
        brightest = max(brightest, float(np.percentile(luma[between], 95)) / eye_white)
        if mouth in OPEN:
            ratios.append(_detail(luma, between) / _detail(_luma(frame), around))
    return MouthFigures(float(np.mean(ratios)) if ratios else 0.0, brightest, _draw_ms(face))


def _draw_ms(face: SpeakingFace) -> float:
    best = float("inf")
    for _ in range(3):
        began_s = time.process_time()
        for number in range(ROUNDS):
            spoken_patch = face.draw(0, MOUTH_SHAPES[number % len(VISEMES)], 1.0)
        best = min(best, 1000 * (time.process_time() - began_s) / ROUNDS)
    assert spoken_patch.size
    return best


def _between_lips(picture: Image, analyzer: FaceAnalyzer) -> npt.NDArray[np.bool_]:
    """What an independent detector sees between the lips, without a rim of a pixel."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    for seen in analyzer.analyse(picture)[:1]:
        upper, lower = seen.landmarks[list(UPPER_LIP_INNER), :2], seen.landmarks[list(LOWER_LIP_INNER), :2]
        cv2.fillPoly(mask, [np.concatenate([upper, lower[::-1]]).round().astype(np.int32)], 1)
    return cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0


def _face_around(frame: Image, landmarks: Points, scale: float) -> npt.NDArray[np.bool_]:
    """Nose, eyes and cheeks: what sharpness is compared with."""
    face = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(landmarks[:468, :2].astype(np.float32)).round().astype(np.int32), 1)
    lips = np.zeros_like(face)
    cv2.fillConvexPoly(lips, cv2.convexHull(landmarks[list(LIPS), :2].astype(np.float32)).round().astype(np.int32), 1)
    margin = int(0.06 * scale) | 1
    return (cv2.erode(face, np.ones((margin, margin))) > 0) & (cv2.dilate(lips, np.ones((margin, margin))) == 0)


def _detail(luma: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> float:
    """The strongest edges: the 90th percentile of the Laplacian's size."""
    return float(np.percentile(np.abs(cv2.Laplacian(luma, cv2.CV_32F))[where], 90)) + 1e-3


def _luma(picture: Image) -> npt.NDArray[np.float32]:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def tile(
    picture: Image, centre: npt.NDArray[np.floating], half: float, side_px: int, interpolation: int = cv2.INTER_CUBIC
) -> Image:
    """The square around a place, `half` px of the picture to each side, at side_px."""
    scale = side_px / (2 * half)
    matrix = np.array([[scale, 0, side_px / 2 - scale * centre[0]], [0, scale, side_px / 2 - scale * centre[1]]])
    return np.asarray(cv2.warpAffine(picture, matrix, (side_px, side_px), flags=interpolation), np.uint8)


def _darker(picture: Image, landmarks: Points) -> Image:
    """Skin as dark as people have it; eyes and teeth keep their light."""
    keep = np.zeros(picture.shape[:2], np.uint8)
    for ring in eye_rings(landmarks):
        cv2.fillPoly(keep, [ring.round().astype(np.int32)], 255)
    weight = cv2.GaussianBlur(keep, (0, 0), 1.2)[..., None] / 255
    dark = 255 * (picture / 255) ** np.array([1.9, 2.2, 2.3]) * 0.86
    return np.asarray(picture * (0.9 * weight) + dark * (1 - weight), np.uint8)


def _with_glasses(picture: Image, landmarks: Points) -> Image:
    out = picture.copy()
    scale = float(np.linalg.norm(landmarks[263, :2] - landmarks[33, :2]))
    thick = max(2, round(0.03 * scale))
    middles = [landmarks[[33, 133], :2].mean(axis=0), landmarks[[263, 362], :2].mean(axis=0)]
    for middle in middles:
        place = (round(float(middle[0])), round(float(middle[1] + 0.04 * scale)))
        cv2.ellipse(out, place, (round(0.24 * scale), round(0.19 * scale)), 0, 0, 360, (30, 26, 24), thick, cv2.LINE_AA)
    return out


def _lined(picture: Image, landmarks: Points) -> Image:
    """Folds from nose to mouth and beside the lips, and coarse skin."""
    out = picture.astype(np.float32)
    shade = np.zeros(picture.shape[:2], np.float32)
    for fold in ((129, 203, 206, 216, 212), (358, 423, 426, 436, 432), (61, 202, 204), (291, 422, 424)):
        line = landmarks[list(fold), :2].round().astype(np.int32)
        cv2.polylines(shade, [line], False, 1.0, 2, cv2.LINE_AA)
    noise = np.random.default_rng(11).normal(0, 5, picture.shape[:2]).astype(np.float32)
    out *= 1 - 0.30 * cv2.GaussianBlur(shade, (0, 0), 1.6)[..., None]
    return np.asarray(np.clip(out + cv2.GaussianBlur(noise, (0, 0), 0.8)[..., None] * 1.4, 0, 255), np.uint8)


def _painted(picture: Image) -> Image:
    return np.asarray(cv2.xphoto.oilPainting(picture, 4, 1, cv2.COLOR_RGB2LAB), np.uint8)


def _grey(picture: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def brought(files: list[str], analyzer: FaceAnalyzer) -> dict[str, tuple[Image, Points]]:
    """NAME=FILE -> the photo around its face, at SIDE_PX, and its landmarks."""
    brought: dict[str, tuple[Image, Points]] = {}
    for name, file in (entry.split("=", 1) for entry in files):
        photo = cv2.cvtColor(np.asarray(cv2.imread(file)), cv2.COLOR_BGR2RGB)
        scale = SIDE_PX / max(photo.shape[:2])
        picture = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        brought[name] = (picture, analyzer.analyse(picture)[0].landmarks)
    return brought


def asked_portraits(name: str, arguments: list[str] | None) -> tuple[Path, dict[str, tuple[Image, Points]]]:
    """The folder for the sheets of a program, and of whom they are, by what was asked for on the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks.{name}")
    parser.add_argument("out", type=Path)
    parser.add_argument("--portrait", action="append", default=[], metavar="NAME=FILE")
    wanted = parser.parse_args(arguments)
    compute_in_calling_thread()
    wanted.out.mkdir(parents=True, exist_ok=True)
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        return wanted.out, brought(wanted.portrait, analyzer) or kinds_of_portraits()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.still_sheets")
    parser.add_argument("out", type=Path)
    parser.add_argument("--beside", type=Path, metavar="EARLIER", help="the folder of an earlier run")
    parser.add_argument("--portrait", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--characters", action="store_true", help="our own characters instead")
    wanted = parser.parse_args(arguments)
    ours = presets() if wanted.characters else []
    files = [*wanted.portrait, *(f"{preset.id}={preset.picture}" for preset in ours)]
    looks = {preset.id: preset.mouth_look for preset in ours}
    compute_in_calling_thread()
    wanted.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Mapping[str, float]] = {}
    rows = []
    with (
        MediaPipeFaceAnalyzer(tracking=False) as analyzer,
        tempfile.TemporaryDirectory(prefix="vivavoce-") as work,
    ):
        for name, (picture, landmarks) in (brought(files, analyzer) or kinds_of_portraits()).items():
            face = SpeakingFace(still_avatar(Path(work) / name, picture, landmarks, looks.get(name)))
            row = mouth_row(face)
            cv2.imwrite(str(wanted.out / f"{name}.png"), row[..., ::-1])
            if wanted.beside is not None:
                earlier = cv2.imread(str(wanted.beside / f"{name}.png"))
                rows += [] if earlier is None else [np.asarray(earlier[..., ::-1], np.uint8)]
            rows.append(row)
            figures[name] = asdict(measure_mouth(face, analyzer))
            print(name, {key: round(value, 2) for key, value in figures[name].items()}, flush=True)
    cv2.imwrite(str(wanted.out / "sheet.png"), np.vstack(rows)[..., ::-1])
    (wanted.out / "figures.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

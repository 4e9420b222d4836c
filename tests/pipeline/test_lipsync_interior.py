"""The inside of a photographed mouth has the light, the colours and the softness of its picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait

from avatars.detect import MediaPipeFaceAnalyzer
from avatars.geometry import LIPS, LOWER_LIP_INNER, UPPER_LIP_INNER, eye_rings
from avatars.mouth_look import MouthLook
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_palette import MouthPalette
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.types import FloatArray, ImageArray
from tests.benchmarks.still_sheets import measure_mouth, spoken, still_avatar

LUMA = np.array([0.299, 0.587, 0.114])
Change = Callable[[ImageArray], ImageArray]


def palette(name: str = "woman", change: Change = lambda picture: picture) -> MouthPalette:
    picture, landmarks = portrait(name, 512)
    return MouthPalette.in_light_of(change(picture), landmarks.astype(np.float64))


def blurred(picture: ImageArray) -> ImageArray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.5), np.uint8)


def grey(picture: ImageArray) -> ImageArray:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


@pytest.mark.parametrize("name", ["woman", "man", "astronaut"])
def test_teeth_are_not_whiter_than_the_whites_of_the_eyes(name: str) -> None:
    """Enamel is darker than the lightest pixels of the eyes, and lighter than gums, tongue and the cavity."""
    picture, landmarks = portrait(name, 512)
    eyes = np.zeros(picture.shape[:2], np.uint8)
    for ring in eye_rings(landmarks):
        cv2.fillPoly(eyes, [ring.round().astype(np.int32)], 1)
    found = palette(name)
    assert found.enamel @ LUMA < np.percentile(picture[eyes > 0] @ LUMA, 97)
    assert found.cavity @ LUMA < found.gum @ LUMA < found.tongue @ LUMA < found.enamel @ LUMA


def test_teeth_get_darker_with_the_picture() -> None:
    """A picture with half of the light gives teeth with about half of it."""
    bright, dark = palette().enamel @ LUMA, palette(change=lambda picture: picture // 2).enamel @ LUMA
    assert dark == pytest.approx(0.5 * bright, rel=0.05)


def test_a_grey_picture_has_a_grey_mouth() -> None:
    """No part of a mouth in a black-and-white picture has any colour, and one in colour has."""
    found, coloured = palette("astronaut", grey), palette("astronaut")
    for part in ("enamel", "gum", "tongue", "cavity", "shadow"):
        assert np.ptp(getattr(found, part)) < 1e-6 * max(1.0, getattr(found, part).max())
        assert np.ptp(getattr(coloured, part)) > 0.05


def lit(colour: tuple[float, float, float]) -> Change:
    return lambda picture: np.asarray(picture * np.array(colour), np.uint8)


@pytest.mark.parametrize("light", [(1.0, 0.80, 0.62), (0.80, 0.90, 1.0)])
def test_teeth_have_the_colour_of_the_light(light: tuple[float, float, float]) -> None:
    """In warm or cool light, enamel turns as far from its colour in white light as the whites of the eyes do."""
    white, coloured = palette(), palette(change=lit(light))
    turned = (coloured.enamel / coloured.enamel[1]) / (white.enamel / white.enamel[1])
    np.testing.assert_allclose(turned, np.array(light) / light[1], atol=0.1)


def test_eyes_that_are_no_eyes_say_little_about_the_light() -> None:
    """Blue glasses before the eyes do not make teeth blue."""
    picture, landmarks = portrait("woman", 512)
    for ring in eye_rings(landmarks):
        cv2.fillPoly(picture, [ring.round().astype(np.int32)], (40, 60, 230))
    red, _green, blue = MouthPalette.in_light_of(picture, landmarks.astype(np.float64)).enamel
    assert red > 0.92 * blue


def test_the_softness_of_a_picture_is_measured() -> None:
    """A picture blurred by 2.5 px reads as about that soft; the picture itself as sharp."""
    assert palette().softness_px < 1.0
    assert palette(change=blurred).softness_px == pytest.approx(2.5, abs=0.6)


def test_teeth_are_as_soft_as_their_picture(tmp_path: Path) -> None:
    """The strongest edges of an open mouth are far weaker in a blurred picture."""
    edges = {}
    changes: dict[str, Change] = {"sharp": lambda picture: picture, "soft": blurred}
    for name, change in changes.items():
        picture, landmarks = portrait("woman", 512)
        face = SpeakingFace(still_avatar(tmp_path / name, change(picture), landmarks))
        patch = face.draw(0, MOUTH_SHAPES[VISEMES.index("E")], 1.0)
        x, y = (landmarks[13, :2] - face.bundle.boxes[0, :2]).astype(int)
        mouth = (patch[y - 10 : y + 30, x - 30 : x + 30] @ LUMA).astype(np.float32)
        edges[name] = np.percentile(np.abs(cv2.Laplacian(mouth, cv2.CV_32F)), 95)
    assert edges["soft"] < 0.6 * edges["sharp"]


def test_only_teeth_are_kept_as_own_teeth(tmp_path: Path) -> None:
    """The teeth of a smile stay when the mouth opens; a tongue in the same place is painted anew."""
    picture, landmarks = portrait("astronaut", 512)
    ring = landmarks[[*UPPER_LIP_INNER, *LOWER_LIP_INNER[::-1]], :2].round().astype(np.int32)
    tongue = cv2.fillPoly(picture.copy(), [ring], (150, 78, 70))
    x, y = ((landmarks[13, :2] + landmarks[14, :2]) / 2).astype(int)
    kept = {}
    for name, source in (("teeth", picture), ("tongue", tongue)):
        face = SpeakingFace(still_avatar(tmp_path / name, source, landmarks))
        x0, y0 = face.bundle.boxes[0, :2]
        patch = face.draw(0, MOUTH_SHAPES[VISEMES.index("aa")], 1.0).astype(int)
        middle = np.s_[y - y0 - 1 : y - y0 + 2, x - x0 - 3 : x - x0 + 4]
        original = source[y - 1 : y + 2, x - 3 : x + 4].astype(int)
        kept[name] = np.abs(patch[middle] - original).mean()
    assert kept["teeth"] < 0.5 * kept["tongue"]


@pytest.mark.parametrize("name", ["woman", "man"])
def test_painted_teeth_are_no_sharper_than_smooth_skin_around_them(tmp_path: Path, name: str) -> None:
    """In drawings, whose faces have little detail, the detail between the lips is 0.7 to 1.2 of that of the face."""
    face = SpeakingFace(still_avatar(tmp_path / name, *portrait(name, 512)))
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        assert 0.7 <= measure_mouth(face, analyzer).sharpness <= 1.2


def test_a_face_full_of_detail_has_sharp_teeth(tmp_path: Path) -> None:
    """Teeth are made softer only where the face is smooth: in the same face with grain they stay sharper."""
    picture, landmarks = portrait("man", 512)
    grain = np.random.default_rng(5).normal(0, 12, (512, 512, 1))
    outside = cv2.fillPoly(np.ones((512, 512, 1)), [mouth_hull(landmarks)], 0)
    grainy = np.clip(picture + grain * outside, 0, 255).astype(np.uint8)
    details = {}
    for name, source in (("smooth", picture), ("grainy", grainy)):
        face = SpeakingFace(still_avatar(tmp_path / name, source, landmarks))
        patch = face.draw(0, MOUTH_SHAPES[VISEMES.index("E")], 1.0)
        x, y = (landmarks[13, :2] - face.bundle.boxes[0, :2]).astype(int)
        mouth = (patch[y + 2 : y + 12, x - 15 : x + 15] @ LUMA).astype(np.float32)
        details[name] = np.percentile(np.abs(cv2.Laplacian(mouth, cv2.CV_32F)), 90)
    assert details["grainy"] > 1.3 * details["smooth"]


def mouth_hull(landmarks: FloatArray) -> npt.NDArray[np.int32]:
    """The lips with some skin around them."""
    lips = landmarks[list(LIPS), :2]
    around = lips.mean(axis=0) + 2 * (lips - lips.mean(axis=0))
    return np.asarray(cv2.convexHull(around.astype(np.float32)).round(), np.int32)


LOOK = MouthLook(enamel=(40, 200, 60), gum=(90, 30, 30), tongue=(60, 60, 220), cavity=(30, 10, 10))


def opened(path: Path, look: MouthLook | None) -> npt.NDArray[np.int_]:
    """The inside of an open mouth, int (20, 30, 3): the right half, from the middle to the corner."""
    picture, landmarks = portrait("woman", 512)
    face = SpeakingFace(still_avatar(path, picture, landmarks, look))
    patch = face.draw(0, MOUTH_SHAPES[VISEMES.index("E")], 1.0)
    x, y = (landmarks[13, :2] - face.bundle.boxes[0, :2]).astype(int)
    return patch[y - 8 : y + 12, x : x + 30].astype(int)


def test_a_drawn_mouth_has_the_colours_of_its_artist(tmp_path: Path) -> None:
    """Green teeth where they are asked for; without a look none are."""
    green = {}
    for name, look in (("own", LOOK), ("none", None)):
        inside = opened(tmp_path / name, look)
        green[name] = ((inside[..., 1] - inside[..., [0, 2]].max(axis=2)) > 40).mean()
    assert green["own"] > 0.2 and green["none"] == 0


def test_a_band_of_teeth_has_no_gaps(tmp_path: Path) -> None:
    """Along the row, a band of teeth is smoother than single teeth are."""
    steps = {}
    for name, look in (("single", LOOK), ("band", replace(LOOK, single_teeth=False))):
        green = opened(tmp_path / name, look)[..., 1]
        row = green[green.mean(axis=1).argmax(), :20]
        steps[name] = np.abs(np.diff(row, 2)).mean()
    assert steps["band"] < 0.6 * steps["single"]


def test_th_shows_the_tip_of_the_tongue_and_n_does_not(tmp_path: Path) -> None:
    """Right above the lower lip, where an n shows teeth and shadow, a th is as red as the tongue, and lighter."""
    picture, landmarks = portrait("woman", 512)
    face = SpeakingFace(still_avatar(tmp_path / "face", picture, landmarks))
    with MediaPipeFaceAnalyzer(tracking=False) as analyzer:
        above_lip = {}
        for viseme in ("TH", "nn"):
            shown = spoken(face, viseme)
            lip = analyzer.analyse(shown)[0].landmarks[14, :2].round().astype(int)
            above_lip[viseme] = shown[lip[1] - 6 : lip[1] - 1, lip[0] - 8 : lip[0] + 9].reshape(-1, 3).mean(axis=0)
    red = {viseme: colour[0] - colour[2] for viseme, colour in above_lip.items()}
    assert red["TH"] > red["nn"] + 12

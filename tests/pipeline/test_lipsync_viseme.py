"""The embedded lip-sync, judged by what a face tracker sees in its pictures."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait, portrait_bundle

from avatars.bundle import AvatarBundle
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.errors import BundleError
from avatars.geometry import LOWER_LIP_INNER, UPPER_LIP_INNER
from models.visemes import MOUTH_PARAMETERS, MOUTH_SHAPES, VISEMES
from pipeline.compositing import compose
from pipeline.lipsync.viseme import VisemeLipSync
from pipeline.types import FacePatch, FeatureWindow, FloatArray, ImageArray, LipSyncRequest
from tests.benchmarks.still_sheets import still_avatar

pytestmark = pytest.mark.thorough

NAMES = ("woman", "man", "astronaut")
SHIFTS = (0, 1, 3, 6)


class Speaker:
    """An avatar and the backend that makes it speak."""

    def __init__(self, bundle: AvatarBundle) -> None:
        self.bundle = bundle
        self.backend = VisemeLipSync()
        self.state = self.backend.prepare(bundle)

    def patch(self, parameters: npt.NDArray[np.floating], activity: float = 1.0, frame: int = 0) -> FacePatch:
        window = FeatureWindow(np.append(parameters, activity).astype(np.float32), 0)
        return self.backend.infer([LipSyncRequest(self.state, frame, window, 0.0)])[0]

    def picture(self, parameters: npt.NDArray[np.floating], activity: float = 1.0, frame: int = 0) -> ImageArray:
        patch = self.patch(parameters, activity, frame)
        return compose(self.bundle.frame(frame), patch)

    def source(self, frame: int = 0) -> ImageArray:
        x0, y0, x1, y1 = self.bundle.boxes[frame]
        return self.bundle.frame(frame)[y0:y1, x0:x1]


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Speaker]:
    root = tmp_path_factory.mktemp("avatars")
    return {name: Speaker(portrait_bundle(root / name, name, 512, SHIFTS)) for name in NAMES}


@pytest.fixture(params=NAMES)
def speaker(request: pytest.FixtureRequest, speakers: dict[str, Speaker]) -> Speaker:
    return speakers[request.param]


@pytest.fixture(scope="module")
def gap_seen() -> Iterator[Callable[[ImageArray], float]]:
    """Opening of the mouth that FaceMesh sees in a picture, in parts of the distance of the outer eye corners."""
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:

        def measure(picture: ImageArray) -> float:
            points = analyzer.analyse(picture)[0].landmarks
            return float(
                np.linalg.norm(points[13, :2] - points[14, :2]) / np.linalg.norm(points[33, :2] - points[263, :2])
            )

        yield measure


def mouth(**parameters: float) -> npt.NDArray[np.float64]:
    return np.array([parameters.get(name, 0.0) for name in MOUTH_PARAMETERS])


def viseme(name: str) -> FloatArray:
    return MOUTH_SHAPES[VISEMES.index(name)]


def test_at_rest_the_photo_is_untouched(speaker: Speaker) -> None:
    """Activity 0 gives the frame's own pixels, bit for bit, whatever the parameters say, and so does the picture."""
    for frame in range(len(SHIFTS)):
        assert (speaker.patch(viseme("aa"), 0.0, frame).pixels == speaker.source(frame)).all()
        assert (speaker.picture(viseme("aa"), 0.0, frame) == speaker.bundle.frame(frame)).all()


@pytest.mark.parametrize("jaw", [0.0, 1.0])
def test_press_closes_the_lips(speaker: Speaker, gap_seen: Callable[[ImageArray], float], jaw: float) -> None:
    """A face tracker sees lips that are shut to 2 % of IOD for press=1, whatever the jaw does, even over a smile."""
    assert gap_seen(speaker.picture(mouth(jaw=jaw, press=1))) < 0.02


def test_the_jaw_opens_the_mouth(speaker: Speaker, gap_seen: Callable[[ImageArray], float]) -> None:
    """jaw=1 is seen as an opening of more than 8 % of IOD, and half of it as less."""
    wide, half = (gap_seen(speaker.picture(mouth(jaw=jaw))) for jaw in (1.0, 0.5))
    assert wide > 0.08
    assert 0.02 < half < wide


def test_an_open_mouth_is_dark_inside_and_shows_teeth(speaker: Speaker) -> None:
    """Between the lips of `aa` there are pixels darker than a fifth and brighter than the cheeks."""
    x0, y0, _, _ = speaker.bundle.boxes[0]
    left, right = (speaker.bundle.landmarks[0, i, :2] - [x0, y0] for i in (61, 291))
    (x, y), half = 0.5 * (left + right), 0.25 * (right - left)[0]
    region = speaker.patch(viseme("aa")).pixels[int(y - half) : int(y + 1.5 * half), int(x - half) : int(x + half)]
    luma = region @ np.array([0.299, 0.587, 0.114])
    assert (luma < 51).sum() > 0.05 * luma.size
    assert (luma > np.median(speaker.source() @ np.array([0.299, 0.587, 0.114]))).sum() > 0.05 * luma.size


def test_teeth_are_not_grey(speakers: dict[str, Speaker]) -> None:
    """The brightest pixels of a drawn `ih` are bright and warm: red over blue, above three quarters of white."""
    for name in ("woman", "man"):
        speaker = speakers[name]
        x0, y0, _, _ = speaker.bundle.boxes[0]
        x, y = (speaker.bundle.landmarks[0, 13, :2] - [x0, y0]).astype(int)
        teeth = speaker.patch(viseme("ih")).pixels[y - 2 : y + 6, x - 12 : x + 12].reshape(-1, 3).astype(float)
        brightest = teeth[np.argsort(teeth.sum(axis=1))[-len(teeth) // 4 :]].mean(axis=0)
        assert brightest.min() > 0.75 * 255 * 0.9
        assert brightest[0] > brightest[2] + 5


def test_the_rim_of_the_box_never_moves(speaker: Speaker) -> None:
    """The outermost pixels of a patch are the frame's own, so a patch joins its frame without a seam."""
    for name in ("aa", "ou", "FF"):
        patch, source = speaker.patch(viseme(name)).pixels, speaker.source()
        for rim in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            assert (patch[rim] == source[rim]).all()


def test_collars_do_not_move(speakers: dict[str, Speaker]) -> None:
    """Below the chin's reach the man's patch is his frame: no ghost of the collar on wide vowels."""
    speaker = speakers["man"]
    bottom = int(speaker.bundle.landmarks[0, 152, 1] - speaker.bundle.boxes[0, 1] + 0.30 * 120)
    patch, source = speaker.patch(viseme("aa")).pixels, speaker.source()
    assert np.abs(patch[bottom:].astype(int) - source[bottom:]).max() <= 2


def test_where_lips_meet_there_are_no_stairs(tmp_path: Path) -> None:
    """The seam of an open smile that was shut is a smooth line: most columns have a pixel that is of both lips."""
    picture, landmarks = portrait("astronaut", 1536)
    upper, lower = (landmarks[list(lip), :2].round().astype(np.int32) for lip in (UPPER_LIP_INNER, LOWER_LIP_INNER))
    flag = np.full_like(picture, (220, 40, 40))
    below = np.array([[1535, lower[-1, 1]], [1535, 1535], [0, 1535], [0, lower[0, 1]]])
    cv2.fillPoly(flag, [np.concatenate([lower, below])], (40, 40, 220))
    cv2.fillPoly(flag, [np.concatenate([upper, lower[::-1]])], (255, 255, 255))
    speaker = Speaker(still_avatar(tmp_path / "flag", flag, landmarks))
    seam = slice(*(landmarks[[82, 312], 0] - speaker.bundle.boxes[0, 0]).astype(int))
    red = speaker.patch(mouth(press=1)).pixels[:, seam, 0].astype(int)
    mixed = (np.abs(np.diff(red, axis=0)).max(axis=0) < 110).mean()
    assert mixed > 0.5


def test_speech_begins_without_a_jump(speaker: Speaker) -> None:
    """From rest to a small activity no pixel's neighbourhood changes by more than a few levels on average."""
    rest, begun = speaker.source().astype(float), speaker.patch(viseme("E"), 0.02).pixels
    assert np.abs(begun - rest).mean() < 1.0


def test_the_mouth_follows_a_moving_head(speaker: Speaker) -> None:
    """In a frame that was moved by whole pixels the mouth is the same mouth, moved along."""
    for frame in range(1, len(SHIFTS)):
        first, moved = speaker.picture(viseme("aa"), 1.0, 0), speaker.picture(viseme("aa"), 1.0, frame)
        x0, y0, x1, y1 = speaker.bundle.boxes[0]
        there = moved[y0:y1, x0 + SHIFTS[frame] : x1 + SHIFTS[frame]]
        assert np.abs(first[y0:y1, x0:x1].astype(float) - there).mean() < 2.0


def test_memory_of_an_avatar_is_bounded(speaker: Speaker) -> None:
    """What the backend keeps of an avatar stays under 30 MB however many frames were drawn."""
    for frame in range(len(SHIFTS)):
        speaker.patch(viseme("aa"), 1.0, frame)
    assert speaker.state.nbytes < 30 << 20


@pytest.mark.parametrize("value", [0.0, np.nan], ids=["all in one place", "not numbers"])
def test_landmarks_that_are_no_face_are_an_error_of_the_avatar(speakers: dict[str, Speaker], value: float) -> None:
    """A bundle that something else has written may hold them."""
    bundle = speakers["woman"].bundle
    with pytest.raises(BundleError, match="are no face"):
        VisemeLipSync().prepare(replace(bundle, landmarks=np.full_like(bundle.landmarks, value)))


def test_a_frame_that_was_handed_over_is_read_and_not_kept(tmp_path: Path) -> None:
    """What composing does to it later is not seen in the next mouth that is drawn in the same frame."""
    bundle = portrait_bundle(tmp_path / "woman", "woman", 512, SHIFTS)
    backend = VisemeLipSync()
    state, frame = backend.prepare(bundle), bundle.frame(1)
    window = FeatureWindow(np.append(viseme("aa"), 1.0).astype(np.float32), 0)
    wanted = Speaker(bundle).patch(viseme("aa"), 1.0, 1).pixels
    for _ in range(2):
        (patch,) = backend.infer([LipSyncRequest(state, 1, window, 0.0, read_frame=lambda: frame)])
        assert (patch.pixels == wanted).all()
        frame[:] = 0

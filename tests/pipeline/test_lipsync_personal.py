"""Speech drawn with real mouths of the avatar's own clip."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from talkers import Talker, babble, said

from avatars.bundle import AvatarBundle
from avatars.detect import MediaPipeFaceAnalyzer
from avatars.library import AvatarLibrary
from avatars.prepare import Upload
from avatars.real_mouths import SKIN, RealMouths
from pipeline.compositing import compose
from pipeline.features.visemes_around import PICTURES_AFTER, PICTURES_BEFORE
from pipeline.lipsync.personal_face import PersonalFace
from pipeline.lipsync.speaking_face import SpeakingFace
from pipeline.lipsync.viseme import VisemeLipSync
from pipeline.quiet_loop import loop_of
from pipeline.types import FacePatch, FeatureWindow, LipSyncRequest
from tests.benchmarks import talking_sheets
from tests.benchmarks.talking_sheets import avatar_of, measure, sheet

pytestmark = pytest.mark.thorough

DARKER = 40
OF_A_DARK_FRAME = 45


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> AvatarBundle:
    """A woman who talks; one part of the clip is darker than the rest."""
    place = tmp_path_factory.mktemp("personal")
    talker = Talker(place, babble(100))
    talker.pictures[40:50] = [
        np.clip(one.astype(int) - DARKER, 0, 255).astype(np.uint8) for one in talker.pictures[40:50]
    ]
    return talker.bundle(place / "talker", talker.real_mouths())


def drawn(bundle: AvatarBundle, frame: int, name: str, activity: float = 1.0, state: object = None) -> FacePatch:
    backend = VisemeLipSync()
    window = FeatureWindow(np.append(said(name), activity).astype(np.float32), 0)
    return backend.infer([LipSyncRequest(state or backend.prepare(bundle), frame, window, 0.0)])[0]


def test_in_silence_the_mouth_is_the_one_of_the_idle_loop(bundle: AvatarBundle) -> None:
    """Activity 0 gives the idle picture of that frame, bit for bit, whatever is being said."""
    idle = loop_of(bundle)
    for frame in (0, 7, OF_A_DARK_FRAME):
        assert (compose(bundle.frame(frame), drawn(bundle, frame, "aa", 0.0)) == idle.frame(frame)).all()


def test_lips_shut_and_open_whatever_the_frame_was_saying(bundle: AvatarBundle) -> None:
    """A face tracker sees p shut over an open mouth and over a closed one, and aa open over both."""

    def gap_seen(picture: np.ndarray) -> float:
        points = analyzer.analyse(picture)[0].landmarks
        return float(np.linalg.norm(points[13, :2] - points[14, :2]) / np.linalg.norm(points[33, :2] - points[263, :2]))

    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        for frame in (0, 5):
            shut, wide = (compose(bundle.frame(frame), drawn(bundle, frame, name)) for name in ("PP", "aa"))
            assert gap_seen(shut) < 0.025
            assert gap_seen(wide) > 0.08


def test_a_picture_does_not_depend_on_those_before_it(bundle: AvatarBundle) -> None:
    """So sessions share an avatar, and what is streamed is what is rendered."""
    state = VisemeLipSync().prepare(bundle)
    first = drawn(bundle, 12, "E", state=state)
    for name in ("aa", "PP", "ou"):
        drawn(bundle, 30, name, state=state)
    again = drawn(bundle, 12, "E", state=state)
    assert (first.pixels == again.pixels).all() and first.box == again.box


def course(openness: np.ndarray, name: str = "aa") -> np.ndarray:
    """Rows of mouth parameters and activity: so much of a vowel in each picture."""
    return np.array([np.append(part * said(name), 1.0) for part in openness], np.float32)


def shown(face: PersonalFace, rows: np.ndarray) -> list[np.ndarray]:
    """Consecutive pictures over one and the same frame, as levels."""
    before, after = np.repeat(rows[:1], PICTURES_BEFORE, 0), np.repeat(rows[-1:], PICTURES_AFTER, 0)
    around = np.concatenate([before, rows, after])
    width = PICTURES_BEFORE + 1 + PICTURES_AFTER
    windows = [around[start : start + width] for start in range(len(rows))]
    return [over(face, face.patch(3, window, PICTURES_BEFORE)) for window in windows]


def over(face: PersonalFace, patch: FacePatch) -> np.ndarray:
    """A patch in its frame 3, as levels."""
    return compose(face.bundle.frame(3), patch).astype(float)


def test_a_mouth_that_flutters_is_held_and_moves_like_a_mouth(bundle: AvatarBundle) -> None:
    """Parameters that go to and fro every picture change the drawing far less than one by one they would."""
    face = PersonalFace(bundle)
    rows = course(np.where(np.arange(20) % 2, 0.45, 0.75))
    alone = [over(face, face.patch(3, row[None], 0)) for row in rows]
    in_sequence = shown(face, rows)
    jumps = [np.mean([np.abs(a - b).mean() for a, b in pairwise(many)]) for many in (alone, in_sequence)]
    assert jumps[1] < 0.4 * jumps[0]


@pytest.mark.parametrize("filmed", [0, 5], ids=["filmed shut", "filmed open"])
def test_the_jaw_hangs_as_the_mouth_needs_it(bundle: AvatarBundle, filmed: int) -> None:
    """The edge of the chin is lower under an open mouth than under a shut one, whatever the frame was saying."""
    points = bundle.landmarks[0]
    x, y = points[152, :2].round().astype(int)
    iod = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    near = np.s_[y - round(0.05 * iod) : y + round(0.3 * iod), x - round(0.1 * iod) : x + round(0.1 * iod)]

    def edge(picture: np.ndarray) -> int:
        """Row of the chin's edge: under it the neck is in its shadow."""
        return int(np.diff(picture[near].astype(float).mean(axis=(1, 2))).argmin())

    shut, wide = (edge(compose(bundle.frame(filmed), drawn(bundle, filmed, name))) for name in ("PP", "aa"))
    assert wide > shut + 0.05 * iod


def test_a_jaw_is_heavier_than_lips(bundle: AvatarBundle) -> None:
    """Under lips that meet for a moment it goes up only part of the way, and it is on its way before them."""
    rows = course(np.ones(9))
    rows[4] = np.append(said("PP"), 1.0)
    steering = PersonalFace(bundle).steering
    steered = steering.course(rows[:, :8])
    lips, jaw = steered[:, 0], np.array([steering.hanging(steered, now).opening_iod for now in range(9)])
    assert lips[4] == 0 and 0.3 * jaw[0] < jaw[4] < 0.9 * jaw[0]
    assert jaw[2] < 0.98 * jaw[0]
    assert np.abs(np.diff(jaw, 2)).max() < 0.6 * np.abs(np.diff(lips, 2)).max()


def test_one_shut_picture_among_open_ones_is_shut(bundle: AvatarBundle) -> None:
    """A p of 40 ms is seen, though the course of the mouth is steady."""
    rows = course(np.ones(9))
    rows[4] = np.append(said("PP"), 1.0)
    steered = PersonalFace(bundle).steering.course(rows[:, :8])
    assert steered[4, 0] == 0 and steered[0, 0] > 0.08
    assert steered[3, 0] < 0.75 * steered[0, 0], "the lips are on their way before"


def test_what_comes_next_is_known_and_no_more(bundle: AvatarBundle) -> None:
    """Speech that goes on in another way after the window leaves a picture as it was."""
    face = PersonalFace(bundle)
    same, other = course(np.ones(12)), course(np.ones(12))
    other[6 + PICTURES_AFTER :] = np.append(said("PP"), 1.0)
    assert (shown(face, same)[5] == shown(face, other)[5]).all()
    assert (shown(face, same)[11] != shown(face, other)[11]).any()


def test_a_mouth_takes_the_light_of_the_frame(bundle: AvatarBundle) -> None:
    """Mouths of bright frames pasted into a dark one are dark there: the skin beside the lips hardly changes."""
    patch = drawn(bundle, OF_A_DARK_FRAME, "E")
    before, after = bundle.frame(OF_A_DARK_FRAME), compose(bundle.frame(OF_A_DARK_FRAME), patch)
    left, right = bundle.landmarks[OF_A_DARK_FRAME, [61, 291], :2].astype(int)
    for x, y in ((left[0] - 8, left[1]), (right[0] + 8, right[1])):
        beside = np.s_[y - 4 : y + 5, x - 3 : x + 4]
        assert np.abs(before[beside].mean(axis=(0, 1)) - after[beside].mean(axis=(0, 1))).max() < 0.3 * DARKER


def test_only_mouth_and_jaw_are_drawn(bundle: AvatarBundle) -> None:
    """The patch lies in the picture, and its rim and the upper face are as they were filmed."""
    patch = drawn(bundle, 20, "aa")
    x0, y0, x1, y1 = patch.box
    assert 0 <= x0 < x1 <= bundle.width and 0 <= y0 < y1 <= bundle.height
    changed = np.abs(patch.pixels.astype(int) - bundle.frame(20)[y0:y1, x0:x1])
    for rim in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert changed[rim].max() <= 1
    assert changed.max() > 40
    lower_lids = bundle.landmarks[20, [145, 374], 1]
    assert y0 > lower_lids.max()


def test_speech_begins_without_a_jump(bundle: AvatarBundle) -> None:
    """At a small activity hardly anything of the drawn mouth shows."""
    before, begun = loop_of(bundle).frame(3), compose(bundle.frame(3), drawn(bundle, 3, "aa", 0.02))
    assert np.abs(before.astype(float) - begun).mean() < 1.0


def test_memory_of_an_avatar_is_bounded(bundle: AvatarBundle) -> None:
    """What is kept of an avatar stays under 10 MB."""
    state = VisemeLipSync().prepare(bundle)
    assert isinstance(state, PersonalFace) and state.nbytes < 10 << 20


def test_sheets_and_figures_compare_the_person_with_what_is_drawn(bundle: AvatarBundle) -> None:
    """The bench measures closures, openings and jerk of drawn pictures, and lays them below the filmed ones."""
    rows = course(np.tile([0, 0.4, 0.8, 1, 0.8, 0.4], 4))
    rows[10:13] = rows[20:23] = np.append(said("PP"), 1.0)
    around = np.concatenate([np.repeat(rows[:1], PICTURES_BEFORE, 0), rows, np.repeat(rows[-1:], PICTURES_AFTER, 0)])
    windows = [around[start : start + PICTURES_BEFORE + 1 + PICTURES_AFTER] for start in range(len(rows))]
    with MediaPipeFaceAnalyzer(tracking=False, max_faces=1) as analyzer:
        figures, pictures = measure(bundle, windows, analyzer)
    assert figures.closures_seen == 1 and figures.opening_correlation > 0.8
    assert figures.draw_ms > 0 and 0 < figures.memory_mb < 10
    assert 0 < figures.mouth_jerk < figures.painted_mouth_jerk * 3
    assert figures.idle_mouth_jerk < 0.5 * figures.mouth_jerk
    assert list(pictures) == ["real", "personal", "painted", "idle"] and {len(many) for many in pictures.values()} == {
        24
    }
    assert sheet(pictures, bundle, 0).shape[:2] == (12 * 150, 8 * 150)


def test_the_bench_makes_an_avatar_where_there_is_no_folder_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each measurement has a folder of its own within the bench's, and only the latter is there."""
    talker = Talker(tmp_path, babble(10))

    def prepared(upload: Upload, library: AvatarLibrary, _progress: object) -> AvatarBundle:
        return talker.bundle(library.path_of(upload.avatar_id), RealMouths.none("few_open"))

    monkeypatch.setattr(talking_sheets, "prepare_avatar", prepared)
    assert avatar_of(tmp_path / "clip.mp4", tmp_path / "bench" / "talking").frame_count == 10


def test_an_avatar_without_real_mouths_speaks_as_before(tmp_path: Path) -> None:
    """Nothing was chosen, so its own lips are moved and the rest is painted."""
    talker = Talker(tmp_path, babble(10))
    plain = talker.bundle(tmp_path / "plain", RealMouths.none("few_open"))
    face = VisemeLipSync().prepare(plain)
    assert isinstance(face, SpeakingFace)
    assert (drawn(plain, 2, "aa").pixels == SpeakingFace(plain).draw(2, said("aa"), 1.0)).all()


def test_mouths_that_do_not_fit_the_avatar_are_not_used(tmp_path: Path) -> None:
    """A folder that was tampered with speaks as before, instead of failing while somebody talks with it."""
    talker = Talker(tmp_path, babble(40))
    found = talker.real_mouths()
    longer = RealMouths("", found.exemplars + np.int32(1000), found.skin)
    shorter = RealMouths("", found.exemplars, found.tensors()[SKIN][:-1])
    for name, mouths in (("longer", longer), ("shorter", shorter)):
        assert isinstance(VisemeLipSync().prepare(talker.bundle(tmp_path / name, mouths)), SpeakingFace)

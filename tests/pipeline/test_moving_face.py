"""A head that nods in the pixels of a picture: what moves, how far, and what never does."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from avatars.bundle import AvatarBundle
from avatars.geometry import face_scale
from avatars.mattes import MattesMaker
from pipeline.acting import Expression
from pipeline.moving_face import MovingFace, moving_face_of
from pipeline.types import FloatArray, ImageArray
from tests.portraits import portrait_bundle

SIZE = 512
ALL = Expression(nod=0.034, turn=0.026, brow=0.03)
NOSE, CHIN, LEFT_BROW, LEFT_EAR, RIGHT_EAR, TOP = 1, 152, 105, 234, 454, 10


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> AvatarBundle:
    return portrait_bundle(tmp_path_factory.mktemp("faces") / "woman", "woman", SIZE)


def shift_at(before: ImageArray, after: ImageArray, point: FloatArray, half: int) -> FloatArray:
    """How far the picture moved around a point, px, by optical flow."""
    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after))
    start = point[:2].astype(np.float32).reshape(1, 1, 2)
    stop, found, _ = cv2.calcOpticalFlowPyrLK(first, second, start, start.copy(), winSize=(2 * half + 1, 2 * half + 1))
    assert found.all()
    return np.asarray(stop - start, np.float32).reshape(2)


def test_a_face_that_is_still_keeps_every_pixel(bundle: AvatarBundle) -> None:
    frame = bundle.frame(0)
    assert np.array_equal(MovingFace(bundle).show(frame.copy(), 0, Expression()), frame)


def test_a_nod_moves_the_nose_most_and_the_edges_of_the_face_not_at_all(bundle: AvatarBundle) -> None:
    """The nose goes down by what was asked for, the chin with it; ears and the top of the head stay."""
    frame, points = bundle.frame(0), bundle.landmarks[0]
    iod_px = face_scale(points)
    nodded = MovingFace(bundle).show(frame.copy(), 0, Expression(nod=0.034))
    assert shift_at(frame, nodded, points[NOSE], 9)[1] == pytest.approx(0.034 * iod_px, rel=0.2)
    assert 0.5 * 0.034 * iod_px < shift_at(frame, nodded, points[13], 9)[1] <= 1.1 * 0.034 * iod_px
    changed = np.abs(nodded.astype(int) - frame).max(axis=2)
    for point in (LEFT_EAR, RIGHT_EAR, TOP):
        x, y = points[point, :2].round().astype(int)
        assert changed[y - 1 : y + 2, x - 1 : x + 2].max() <= 8


def test_a_turn_goes_to_the_side_it_was_asked_for(bundle: AvatarBundle) -> None:
    frame, points = bundle.frame(0), bundle.landmarks[0]
    for turn in (0.026, -0.026):
        turned = MovingFace(bundle).show(frame.copy(), 0, Expression(turn=turn))
        assert shift_at(frame, turned, points[NOSE], 9)[0] == pytest.approx(turn * face_scale(points), rel=0.25)


def test_brows_go_up_and_eyes_stay(bundle: AvatarBundle) -> None:
    frame, points = bundle.frame(0), bundle.landmarks[0]
    raised = MovingFace(bundle).show(frame.copy(), 0, Expression(brow=0.03))
    assert shift_at(frame, raised, points[LEFT_BROW], 7)[1] == pytest.approx(-0.03 * face_scale(points), rel=0.4)
    below = int(points[[468, 473], 1].min())
    assert np.array_equal(raised[below:], frame[below:]), "from the middle of the eyes down"


def test_nothing_but_the_person_moves(tmp_path: Path, bundle: AvatarBundle) -> None:
    """With a matte no pixel beside the person changes, however close to the chin its edge is."""
    hull = cv2.convexHull(bundle.landmarks[0][:468, :2].round().astype(np.int32))
    matte = np.asarray(cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), hull, 255.0), np.uint8)
    alone = portrait_bundle(tmp_path / "alone", "woman", SIZE)
    maker = MattesMaker()
    maker.add(matte)
    alone.mattes_path.write_bytes(maker.made(alone.frame(0)).to_bytes(alone.loop))
    frame = alone.frame(0)
    moved = MovingFace(alone).show(frame.copy(), 0, ALL)
    changed = np.abs(moved.astype(int) - frame).max(axis=2)
    assert changed[matte == 0].max() == 0
    assert changed.max() > 40


def test_a_face_that_moves_is_as_sharp_as_before(bundle: AvatarBundle) -> None:
    """Moved by half pixels too: skin that breathes between sharp and soft is seen."""
    frame, points = bundle.frame(0), bundle.landmarks[0]
    face = MovingFace(bundle)
    x0, y0 = points[[33, 159], :2].min(axis=0).astype(int).tolist()
    x1, y1 = points[[263, 13], :2].max(axis=0).astype(int).tolist()

    def detail(picture: ImageArray) -> float:
        grey = cv2.cvtColor(picture[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY).astype(np.float32)
        return float(np.percentile(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), 90))

    for nod_px in (0.5, 1.5, 2.25):
        nodded = face.show(frame.copy(), 0, Expression(nod=nod_px / face_scale(points)))
        assert 0.9 <= detail(nodded) / detail(frame) <= 1.1


def test_a_face_at_the_border_of_its_picture_moves_too(tmp_path: Path) -> None:
    """Cut by the border, it neither fails nor leaves a line there."""
    shifted = portrait_bundle(tmp_path / "cut", "woman", SIZE, shifts=(0, 170, -170))
    face = MovingFace(shifted)
    for frame_index in (1, 2):
        frame = shifted.frame(frame_index)
        assert face.show(frame.copy(), frame_index, ALL).shape == frame.shape


def test_an_avatar_whose_parts_are_damaged_speaks_without_moving(small_bundle: AvatarBundle, tmp_path: Path) -> None:
    """Landmarks that are no face, and mattes that cannot be read: only lips move, as before."""
    assert moving_face_of(small_bundle) is None
    damaged = portrait_bundle(tmp_path / "damaged", "woman", SIZE)
    damaged.mattes_path.write_bytes(b"\xff" * 40)
    assert moving_face_of(damaged) is None


def test_where_no_pixel_is_surely_the_person_nothing_moves(tmp_path: Path) -> None:
    """A matte that is unsure everywhere says nothing about what may be moved."""
    unsure = portrait_bundle(tmp_path / "unsure", "woman", SIZE)
    maker = MattesMaker()
    maker.add(np.full((SIZE, SIZE), 128, np.uint8))
    unsure.mattes_path.write_bytes(maker.made(unsure.frame(0)).to_bytes(unsure.loop))
    frame = unsure.frame(0)
    assert np.array_equal(MovingFace(unsure).show(frame.copy(), 0, ALL), frame)


def test_what_would_not_be_seen_moves_nothing(bundle: AvatarBundle) -> None:
    """The end of each motion costs nothing, and motion begins from there without a step."""
    frame, iod_px = bundle.frame(0), face_scale(bundle.landmarks[0])
    face = MovingFace(bundle)
    assert np.array_equal(face.show(frame.copy(), 0, Expression(nod=0.19 / iod_px)), frame)
    begun = np.abs(face.show(frame.copy(), 0, Expression(nod=0.25 / iod_px)).astype(int) - frame)
    assert 0 < begun.max() <= 12


@pytest.mark.parametrize("expression", [ALL, Expression(nod=0.004), Expression(turn=0.006), Expression(brow=0.01)])
def test_a_small_motion_is_the_same_as_if_the_whole_box_were_moved(
    bundle: AvatarBundle, monkeypatch: pytest.MonkeyPatch, expression: Expression
) -> None:
    frame = bundle.frame(0)
    moved = MovingFace(bundle).show(frame.copy(), 0, expression)
    assert (moved != frame).any()
    monkeypatch.setattr("pipeline.moving_face._reach", lambda _moving, size: slice(0, size))
    assert np.array_equal(MovingFace(bundle).show(frame.copy(), 0, expression), moved)


def test_each_frame_is_moved_by_its_own_face_however_often_it_is_shown(tmp_path: Path) -> None:
    """What is remembered of a frame serves that frame only, and no more frames than the bound are remembered."""
    swaying = portrait_bundle(tmp_path / "swaying", "woman", SIZE, shifts=(0, 40, -30))
    face = MovingFace(swaying)
    for frame_index in (0, 1, 2, 1, 0, 2):
        frame = swaying.frame(frame_index)
        alone = MovingFace(swaying).show(frame.copy(), frame_index, ALL)
        assert np.array_equal(face.show(frame.copy(), frame_index, ALL), alone)


def test_frames_beyond_those_that_are_remembered_move_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.moving_face._KEPT_SHAPES", 1)
    swaying = portrait_bundle(tmp_path / "long", "woman", SIZE, shifts=(0, 40, -30))
    face = MovingFace(swaying)
    for frame_index in (0, 1, 2, 1):
        frame, points = swaying.frame(frame_index), swaying.landmarks[frame_index]
        nodded = face.show(frame.copy(), frame_index, Expression(nod=0.034))
        assert shift_at(frame, nodded, points[NOSE], 9)[1] == pytest.approx(0.034 * face_scale(points), rel=0.2)

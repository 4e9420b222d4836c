"""Which mouths of a clip speech is drawn with, and when there are none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clips import ScriptedAnalyzer, write_clip
from talkers import Talker, babble, said

from avatars.detect import Face
from avatars.library import AvatarLibrary
from avatars.mouth_chart import MouthChart, opening_of
from avatars.prepare import Upload, find_faces, make_loop, read_source, write
from avatars.real_mouths import (
    EXEMPLARS,
    FEW_CLOSED,
    FEW_OPEN,
    NOT_LOOKED_AT,
    SMALL,
    STILL,
    find_real_mouths,
    has_real_mouths,
    mouth_of,
)
from avatars.stages import MAKE_LOOP

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    return Talker(tmp_path_factory.mktemp("talker"), babble(100))


def ignore(_part: float) -> None:
    """Progress that nobody looks at."""


def nothing_to_see() -> Iterator[np.ndarray]:
    """Pictures that nobody may ask for."""
    raise AssertionError("a picture was asked for")
    yield np.zeros(0, np.uint8)


def test_of_a_person_who_talks_mouths_are_chosen(talker: Talker) -> None:
    """Frames of the clip, each once, from closed lips to wide open ones; the manifest says personal."""
    found = talker.real_mouths()
    assert found.to_json() == {"version": 1, "drawn": "personal", "why_not": ""}
    assert 20 <= len(found.exemplars) <= 50 and (np.diff(found.exemplars) > 0).all()
    opening = opening_of(MouthChart.of(talker.landmarks).points)
    chosen = opening[found.exemplars]
    assert chosen.min() == opening.min() and chosen.max() > 0.9 * opening.max()
    assert found.skin.shape[0] == len(talker.pictures)


def test_rare_mouths_are_among_the_chosen(tmp_path: Path) -> None:
    """Of a clip in which lips are rounded once and spread once, both mouths are there to speak with."""
    usual, rounded, spread = 0.6 * said("aa"), said("ou"), said("ih")
    talker = Talker(tmp_path, [part * usual for part in np.abs(np.sin(np.arange(120) / 3))])
    once = Talker(tmp_path / "once", [rounded, spread])
    for at, picture, landmarks in zip((40, 80), once.pictures, once.landmarks, strict=True):
        talker.pictures[at], talker.landmarks[at] = picture, landmarks
    assert {40, 80} <= set(talker.real_mouths().exemplars.tolist())


def test_the_same_clip_gives_the_same_choice(talker: Talker) -> None:
    """Nothing is left to chance."""
    one, other = talker.real_mouths(), talker.real_mouths()
    assert (one.exemplars == other.exemplars).all() and (one.skin == other.skin).all()


def test_a_person_who_hardly_speaks_has_too_few_open_mouths(tmp_path: Path) -> None:
    """That shows in the landmarks alone: no picture is looked at."""
    silent = Talker(tmp_path, [0.1 * one for one in babble(40)])
    found = find_real_mouths(silent.landmarks, nothing_to_see())
    assert found.why_not == FEW_OPEN and not found.tensors() and found.to_json()["drawn"] == "painted"


def test_a_mouth_that_never_closes_is_no_material(tmp_path: Path) -> None:
    """Nothing could be shown for p, b and m."""
    gaping = Talker(tmp_path, [0.4 * said("aa") + 0.6 * one for one in babble(40)])
    assert find_real_mouths(gaping.landmarks, nothing_to_see()).why_not == FEW_CLOSED


def test_a_small_face_is_no_material(talker: Talker) -> None:
    """A mouth of few pixels is painted."""
    assert find_real_mouths(talker.landmarks / 4, nothing_to_see()).why_not == SMALL


def test_very_few_frames_are_no_material(talker: Talker) -> None:
    """Twenty pictures hold no choice of mouths."""
    assert find_real_mouths(talker.landmarks[:20], nothing_to_see()).why_not == FEW_OPEN


def test_mouths_behind_a_hand_are_left_out(talker: Talker) -> None:
    """Where something else lies before the face, the frame is no exemplar."""
    pictures = [picture.copy() for picture in talker.pictures]
    x, y = talker.landmarks[0, 13, :2].astype(int)
    for picture in pictures[30:45]:
        picture[y - 10 : y + 60, x - 50 : x + 50] = (40, 70, 120)
    chosen = find_real_mouths(talker.landmarks, pictures).exemplars
    assert len(chosen) and not set(range(30, 45)) & set(chosen.tolist())


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ({"kind": "clip"}, ("painted", NOT_LOOKED_AT)),
        ({"kind": "still"}, ("painted", STILL)),
        ({"kind": "clip", "mouth": {"version": 1, "why_not": ""}}, ("personal", "")),
        ({"kind": "clip", "mouth": {"version": 1, "why_not": "few_open"}}, ("painted", FEW_OPEN)),
        ({"kind": "clip", "mouth": {"version": 2, "why_not": ""}}, ("painted", NOT_LOOKED_AT)),
    ],
    ids=["older clip", "older still", "personal", "painted", "of another version"],
)
def test_an_avatar_says_how_its_mouth_is_drawn(manifest: dict[str, object], told: tuple[str, str]) -> None:
    """Also one that was prepared before there were personal mouths, or by a later version."""
    assert mouth_of(manifest) == told


@pytest.fixture(scope="module")
def looped(talker: Talker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preparation of the talker's clip, ready to be written."""
    work = tmp_path_factory.mktemp("work")
    clip = write_clip(work / "clip.mp4", talker.pictures)
    faces = [[Face.from_landmarks(points)] for points in talker.landmarks]
    read_source(Upload(clip, "talker-1", "Talker"), work, ignore)
    find_faces(work, ignore, lambda _tracking: ScriptedAnalyzer(faces))
    make_loop(work, ignore)
    return work


def test_preparing_a_talking_clip_keeps_its_mouths(looped: Path, tmp_path: Path) -> None:
    """The bundle has exemplars that can be drawn with, and its manifest says so."""
    library = AvatarLibrary(tmp_path)
    bundle = library.open(write(looped, library, ignore))
    assert mouth_of(bundle.manifest) == ("personal", "")
    assert has_real_mouths(bundle) and len(bundle.backend_tensors[EXEMPLARS]) > 10


def test_a_preparation_that_an_older_version_has_begun_is_finished_without(looped: Path, tmp_path: Path) -> None:
    """Its loop was made before anybody looked for mouths."""
    work = tmp_path / "work"
    shutil.copytree(looped, work)
    (work / MAKE_LOOP / "mouths.npz").unlink()
    library = AvatarLibrary(tmp_path / "library")
    bundle = library.open(write(work, library, ignore))
    assert mouth_of(bundle.manifest) == ("painted", NOT_LOOKED_AT) and not has_real_mouths(bundle)

"""From mouth parameters to the mouth of one person."""

from __future__ import annotations

import numpy as np
import pytest
from talkers import Talker, babble, said

from avatars.mouth_chart import MouthChart, opening_of, width_of
from pipeline.features.visemes_around import PICTURES_AFTER, PICTURES_BEFORE, VisemesAround
from pipeline.lipsync.mouth_choice import MouthPose
from pipeline.lipsync.mouth_steering import Steering, talking
from pipeline.types import FEATURE_RATE_HZ, AudioChunk, Phoneme

ORDINARY = "aɪ wɛnt aʊt tʊ lʊk æt ðə oʊld haʊs ɒn ðə hɪl ju kʊd si ðə hoʊl taʊn frʌm ðɛr ænd ðə rɪvər tu"
SOUND_S = 0.075


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    return Talker(tmp_path_factory.mktemp("talker"), babble(100))


@pytest.fixture(scope="module")
def ordinary() -> list[np.ndarray]:
    """A window for each picture of an ordinary sentence."""
    letters = [letter for letter in ORDINARY if letter != " "]
    times = [(n * SOUND_S, (n + 1) * SOUND_S) for n in range(len(letters))]
    sounds = tuple(Phoneme(letter, *at) for letter, at in zip(letters, times, strict=True))
    silence = np.zeros(int(len(letters) * SOUND_S * FEATURE_RATE_HZ), np.float32)
    extractor = VisemesAround()
    extractor.load("cpu")
    stream = extractor.stream()
    windows = [*stream.push(AudioChunk(silence, FEATURE_RATE_HZ, phonemes=sounds, final=True)), *stream.flush()]
    return [window.data for window in windows]


def steered(steering: Steering, windows: list[np.ndarray]) -> np.ndarray:
    """(n, 2) opening and width in each picture of a course."""
    return np.array([steering.course(rows[:, :8])[PICTURES_BEFORE, :2] for rows in windows])


def test_mouths_move_as_far_as_those_of_the_person(talker: Talker, ordinary: list[np.ndarray]) -> None:
    """In ordinary speech, lips open, shut, narrow and widen as much as in the clip."""
    chart = MouthChart.of(talker.landmarks)
    course = steered(Steering(chart), ordinary)[PICTURES_BEFORE:-PICTURES_AFTER]
    for drawn, own in zip(course.T, (opening_of(chart.points), width_of(chart.points)), strict=True):
        assert 0.85 < drawn.std() / own[talking(opening_of(chart.points))].std() < 1.3


def test_pauses_do_not_make_a_person_mumble(talker: Talker, ordinary: list[np.ndarray]) -> None:
    """Of a clip in which somebody is silent for half of the time, mouths open as far as without the silence."""
    silent = np.repeat(talker.landmarks[:1], len(talker.landmarks), axis=0)
    both = [MouthChart.of(many) for many in (talker.landmarks, np.concatenate([talker.landmarks, silent]))]
    spreads = [steered(Steering(chart), ordinary)[:, 0].std() for chart in both]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.1)


def test_a_person_who_hardly_moves_the_mouth_is_steered_all_the_same(talker: Talker) -> None:
    """Where nothing says when somebody talks, all pictures count."""
    still = np.repeat(talker.landmarks[5:6], 30, axis=0)
    steering = Steering(MouthChart.of(still))
    assert np.isfinite(steering.course(np.array([said("aa"), said("PP")]))).all()


def test_pauses_are_told_from_speech() -> None:
    """Where a mouth stays as it is, open or shut, nobody talks."""
    opening = np.concatenate([np.zeros(40), 0.1 * np.abs(np.sin(np.arange(40))), np.full(40, 0.06)])
    talks = talking(opening)
    assert talks[45:75].all() and not talks[:30].any() and not talks[90:].any()


def test_the_lower_lip_goes_to_the_teeth_for_f_and_v(talker: Talker) -> None:
    """Between open vowels, lips come close for an f, but do not shut; they are on their way before and after it."""
    rows = np.array([said("aa")] * 4 + [said("FF")] + [said("aa")] * 4, np.float32)
    course = Steering(MouthChart.of(talker.landmarks)).course(rows)
    assert 0 < course[4, 0] < 0.04 and course[4, 2] == 1 and course[0, 2] == 0
    assert course[4, 0] < course[3, 0] < 0.7 * course[0, 0]


def test_lips_meet_where_the_sounds_around_keep_the_mouth_a_little_open(talker: Talker) -> None:
    """A b between vowels, as phoneme timing gives it: the painted mouth is not quite shut."""
    vowel, near = [0.48, 0.52, 0.36, 0.0, 0.0, 0, 0.39, 0.08], [0.35, 0.26, -0.05, 0.13, 0.1, 0, 0.26, 0.07]
    rows = np.array([vowel, near, [0.24, 0.14, -0.04, 0.13, 0.58, 0, 0.1, 0.1], near, vowel], np.float32)
    steering = Steering(MouthChart.of(talker.landmarks))
    assert steering._painted_poses(rows)[2, 0] > 0
    assert steering.course(rows)[2, 0] == 0


def test_mouths_that_are_shaped_together_are_as_each_alone(talker: Talker) -> None:
    steering = Steering(MouthChart.of(talker.landmarks))
    wanted = (MouthPose(0.1, 0.5), MouthPose(0.0, 0.62, 1.0), MouthPose(0.2, 0.4))
    alone = np.concatenate([steering.shapes(one) for one in wanted])
    np.testing.assert_allclose(steering.shapes(*wanted), alone, rtol=0, atol=1e-12)
    assert np.abs(alone[0] - alone[1]).max() > 0.01

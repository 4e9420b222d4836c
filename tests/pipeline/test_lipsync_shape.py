"""How a mouth moves."""

import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait

from avatars.geometry import (
    CHIN_TIP,
    LOWER_LIP_INNER,
    LOWER_LIP_OUTER,
    UPPER_LIP_INNER,
    UPPER_LIP_OUTER,
    canonical_points,
)
from models.visemes import MOUTH_PARAMETERS, MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_shape import MouthShape, positions

Points = npt.NDArray[np.floating]


@pytest.fixture(params=["woman", "man", "astronaut"])
def shape(request: pytest.FixtureRequest) -> MouthShape:
    return MouthShape(canonical_points(portrait(request.param)[1]))


def mouth(**parameters: float) -> Points:
    return np.array([parameters.get(name, 0.0) for name in MOUTH_PARAMETERS])


def gap(points: Points) -> Points:
    """Height of the opening at each of the eleven points of the inner contour, IOD."""
    return points[positions(LOWER_LIP_INNER), 1] - points[positions(UPPER_LIP_INNER), 1]


def width(points: Points) -> float:
    left, right = points[positions((61, 291)), 0]
    return float(right - left)


def test_the_neutral_mouth_is_closed_even_for_a_smile(shape: MouthShape) -> None:
    """Parameters of zero give closed lips, also for a face that smiles with open lips."""
    np.testing.assert_allclose(gap(shape.pose(mouth())), 0, atol=1e-9)


def test_a_smile_speaks_with_a_narrower_mouth() -> None:
    """An open smile is drawn together for speech; closed lips keep their width."""
    for name, narrowed in (("astronaut", True), ("woman", False)):
        rest = canonical_points(portrait(name)[1])
        spoken = width(MouthShape(rest).neutral)
        assert (spoken < 0.9 * (rest[291, 0] - rest[61, 0])) == narrowed


@pytest.mark.parametrize("jaw", [0.0, 0.5, 1.0])
def test_bilabials_seal_whatever_the_jaw_does(shape: MouthShape, jaw: float) -> None:
    """press=1 leaves no opening anywhere, however far the jaw has dropped."""
    assert np.abs(gap(shape.pose(mouth(jaw=jaw, open=0.8, teeth=0.5, press=1)))).max() < 1e-9


def test_every_viseme_keeps_the_lips_in_order(shape: MouthShape) -> None:
    """Lips never cross, and are never turned inside out, at every corner of the parameter space that speech visits."""
    rows = [*MOUTH_SHAPES, *(0.5 * (a + b) for a in MOUTH_SHAPES for b in MOUTH_SHAPES)]
    for parameters in rows:
        points = shape.pose(parameters)
        assert gap(points).min() > -1e-9
        upper = points[positions(UPPER_LIP_INNER), 1] - points[positions(UPPER_LIP_OUTER), 1]
        lower = points[positions(LOWER_LIP_OUTER), 1] - points[positions(LOWER_LIP_INNER), 1]
        assert upper[3:-3].min() > 0
        assert lower[3:-3].min() > 0


def test_the_jaw_opens_the_mouth_and_takes_the_chin_along(shape: MouthShape) -> None:
    """jaw=1 opens by more than a tenth of IOD and lowers the chin by less than the lip."""
    rest, dropped = shape.pose(mouth()), shape.pose(mouth(jaw=1))
    opening = gap(dropped).max()
    chin = (dropped - rest)[positions((CHIN_TIP,))[0], 1]
    assert 0.10 < opening < 0.20
    assert 0.06 < chin < opening


def test_f_tucks_the_lower_lip_under_the_teeth(shape: MouthShape) -> None:
    """fv leaves a narrow strip for the teeth and rolls the lower lip in by half of its thickness or more."""

    def thickness(points: Points) -> float:
        return float(points[positions((17,))[0], 1] - points[positions((14,))[0], 1])

    f = shape.pose(MOUTH_SHAPES[VISEMES.index("FF")])
    assert 0.015 < gap(f).max() < 0.04
    assert thickness(f) < 0.5 * thickness(shape.pose(mouth()))


def test_rounding_and_spreading_move_the_corners(shape: MouthShape) -> None:
    """oo is narrower than rest, ee wider."""
    rest = width(shape.pose(mouth()))
    assert width(shape.pose(MOUTH_SHAPES[VISEMES.index("ou")])) < 0.75 * rest
    assert width(shape.pose(MOUTH_SHAPES[VISEMES.index("ih")])) > 1.04 * rest


@pytest.mark.parametrize("viseme", ["ou", "oh"])
def test_rounded_lips_make_an_o_also_in_a_smile(shape: MouthShape, viseme: str) -> None:
    """The corners lie between the middles of both lips, and next to them the opening is a part of what it is there."""
    points = shape.pose(MOUTH_SHAPES[VISEMES.index(viseme)])
    upper, lower = points[positions(UPPER_LIP_INNER), 1], points[positions(LOWER_LIP_INNER), 1]
    for corner in (0, -1):
        assert upper[5] < upper[corner] < lower[5]
    opening = gap(points)
    assert max(opening[1], opening[-2]) < 0.65 * opening[5]

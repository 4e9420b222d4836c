"""The deformation between two sets of landmarks."""

import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait

from avatars.geometry import CHIN_TIP, SKULL, canonical_points
from models.visemes import MOUTH_SHAPES, VISEMES
from pipeline.lipsync.mouth_shape import MOVING, MouthShape, positions
from pipeline.lipsync.warp import ChartGrid, MouthWarp


@pytest.fixture(scope="module")
def shape() -> MouthShape:
    return MouthShape(canonical_points(portrait("woman")[1]))


@pytest.fixture(scope="module")
def warp(shape: MouthShape) -> MouthWarp:
    rest = canonical_points(portrait("woman")[1])
    chart = shape.neutral[:, :2]
    low, high = chart.min(axis=0) - 0.1, chart.max(axis=0) + 0.35
    return MouthWarp(chart, rest[list(SKULL), :2], ChartGrid.covering(np.stack([low, high])))


def both_layers(warp: MouthWarp, target: npt.NDArray[np.float64], source: npt.NDArray[np.float64]) -> np.ndarray:
    """(rows, columns, 4): x and y of the upper layer, then x and y of the lower one."""
    everywhere = slice(0, warp.grid.rows)
    return np.concatenate(warp.backward(target, source, everywhere, everywhere), axis=2)


def at(grid: ChartGrid, point: npt.NDArray[np.floating]) -> tuple[int, int]:
    """Row and column of the grid node nearest to a point of the chart."""
    matrix = grid.from_chart()
    column, row = np.rint(matrix[:, :2] @ point + matrix[:, 2]).astype(int)
    return int(row), int(column)


def test_equal_landmarks_give_no_displacement(warp: MouthWarp, shape: MouthShape) -> None:
    """From a face to itself nothing moves, by more than a tenth of a cell."""
    face = shape.pose(MOUTH_SHAPES[VISEMES.index("aa")])[:, :2]
    assert np.abs(both_layers(warp, face, face)).max() < 0.1


def test_it_leads_back_to_where_the_landmarks_were(warp: MouthWarp, shape: MouthShape) -> None:
    """At a landmark of the target, the displacement points to that landmark of the source, to within half a cell."""
    source = shape.neutral[:, :2]
    target = shape.pose(MOUTH_SHAPES[VISEMES.index("aa")])[:, :2]
    moves = both_layers(warp, target, source)
    for landmark, layer in ((17, slice(2, 4)), (0, slice(0, 2)), (CHIN_TIP, slice(2, 4)), (200, slice(2, 4))):
        i = positions((landmark,))[0]
        row, column = at(warp.grid, target[i])
        expected = (source[i] - target[i]) / warp.grid.cell
        np.testing.assert_allclose(moves[row, column, layer], expected, atol=0.5)


def test_necks_and_collars_stay(warp: MouthWarp, shape: MouthShape) -> None:
    """A third of IOD below the chin nothing moves at all, however far the jaw drops."""
    target = shape.pose(MOUTH_SHAPES[VISEMES.index("aa")])[:, :2]
    chin = shape.neutral[positions((CHIN_TIP,))[0], :2]
    row, _ = at(warp.grid, chin + np.array([0, 0.33]))
    moves = both_layers(warp, target, shape.neutral[:, :2])
    assert not moves[row].any()
    assert np.abs(moves[at(warp.grid, chin + np.array([0, 0.05]))][2:]).max() > 0.5


def test_nothing_folds(warp: MouthWarp, shape: MouthShape) -> None:
    """The way back never turns round: neighbouring nodes keep their order for every viseme."""
    for parameters in MOUTH_SHAPES:
        moves = both_layers(warp, shape.pose(parameters)[:, :2], shape.neutral[:, :2])
        for layer in (moves[..., :2], moves[..., 2:]):
            assert (1 + np.diff(layer[..., 0], axis=1)).min() > 0
            assert (1 + np.diff(layer[..., 1], axis=0)).min() > -0.05


def test_a_layer_is_worked_out_where_it_is_wanted(warp: MouthWarp, shape: MouthShape) -> None:
    """In the rows that are asked for it is the same as if all were; in the others it is 0."""
    target, source = shape.pose(MOUTH_SHAPES[VISEMES.index("aa")])[:, :2], shape.neutral[:, :2]
    whole, middle = both_layers(warp, target, source), warp.grid.rows // 2
    upper, lower = warp.backward(target, source, slice(0, middle + 2), slice(middle, warp.grid.rows))
    assert (upper[: middle + 2] == whole[: middle + 2, :, :2]).all() and not upper[middle + 2 :].any()
    assert (lower[middle:] == whole[middle:, :, 2:]).all() and not lower[:middle].any()


def test_bases_are_small(warp: MouthWarp) -> None:
    """The bases of an avatar take less than two megabytes, however many frames it has."""
    assert warp.nbytes < 2 << 20
    assert len(MOVING) < 120

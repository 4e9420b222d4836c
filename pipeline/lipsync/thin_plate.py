"""Thin-plate splines (Bookstein 1989): smooth deformations of the plane that take some points to others."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Spline", "basis"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

_BASIS_STIFFNESS, _SPLINE_STIFFNESS = 2e-5, 1e-4
"regularisation, in the kernel's unit (IOD squared)"


def _kernel(a: Array, b: Array) -> Array:
    """Thin-plate kernel r^2 log r between points (n, 2) and (m, 2)."""
    squared = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    squared = np.maximum(squared, 0) + 1e-12
    return np.asarray(0.5 * squared * cv2.log(squared))


def basis(nodes: Array, movable: Array, pinned: Array) -> Field:
    """float32 (nodes, movable): displacement of each node for a unit displacement of each movable point.

    Thin-plate spline with affine part (Bookstein 1989), slightly stiffened; pinned points do not move.
    """
    # A spline's coefficients are linear in how far its points are moved. So the columns of the inverse that belong to
    # the movable points, seen through what each node has of every kernel, are the whole deformation: once per avatar,
    # and a mouth is one product of matrices. The pinned points need no columns, for they are moved by nothing.
    points = np.concatenate([movable, pinned])
    count = len(points)
    affine = np.column_stack([np.ones(count), points])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points) + _BASIS_STIFFNESS * np.eye(count)
    system[:count, count:], system[count:, :count] = affine, affine.T
    inverse = np.linalg.inv(system)[:, : len(movable)]
    design = np.concatenate([_kernel(nodes, points), np.ones((len(nodes), 1)), nodes], axis=1)
    return np.ascontiguousarray(design @ inverse, np.float32)


class Spline:
    """Where each place of a moved face comes from.

    Tied to the target's points, so that one solution serves all sources of a picture.
    """

    def __init__(self, nodes: Array, pins: Array) -> None:
        """nodes (n, 2): the places that are asked for; pins (p, 2) stay where they are."""
        self._nodes = nodes.astype(np.float32)
        self._affine_nodes = np.column_stack([np.ones(len(nodes)), nodes])
        self._pins = pins
        self._pinned = _kernel_f32(self._nodes, pins.astype(np.float32))

    def fields(self, target: Array, sources: list[Array]) -> list[Array]:
        """For each source (m, 2): the places (n, 2) that the nodes come from."""
        points = np.concatenate([target, self._pins])
        count = len(points)
        flat = np.column_stack([np.ones(count), points])
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = _kernel(points, points) + _SPLINE_STIFFNESS * np.eye(count)
        system[:count, count:], system[count:, :count] = flat, flat.T
        moves = np.zeros((count + 3, 2 * len(sources)))
        moves[: len(target)] = np.concatenate([source - target for source in sources], axis=1)
        weights = np.linalg.solve(system, moves)
        # In float32 the many logarithms take a third of the time, and places are right to 1e-5 IOD.
        bending = weights[:count].astype(np.float32)
        bent = _kernel_f32(self._nodes, target.astype(np.float32)) @ bending[: len(target)]
        bent += self._pinned @ bending[len(target) :]
        moved = bent + self._affine_nodes @ weights[count:]
        nodes = self._affine_nodes[:, 1:]
        return [nodes + moved[:, 2 * n : 2 * n + 2] for n in range(len(sources))]


def _kernel_f32(a: Field, b: Field) -> Field:
    """The same in place, by OpenCV's logarithm: half the time, where there are ten thousands."""
    squared = a @ (-2 * b.T)
    squared += (a**2).sum(axis=1)[:, None]
    squared += (b**2).sum(axis=1)
    np.maximum(squared, np.float32(1e-9), out=squared)
    squared *= cv2.log(squared)
    squared *= np.float32(0.5)
    return squared

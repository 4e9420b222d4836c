"""Arrays whose numbers are of a type that only those know who made them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

__all__ = ["AnyArray"]

AnyArray: TypeAlias = npt.NDArray[Any]
"""For what is handed on, stored or resampled as it is. Code that computes names the type of the numbers."""

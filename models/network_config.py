"""Builds diffusers' networks from the JSON files beside their weights, however old those are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from diffusers.models.modeling_utils import ModelMixin

from models.errors import WrongArchitecture

__all__ = ["network_from_config"]

Network = TypeVar("Network", bound=ModelMixin)


def network_from_config(kind: type[Network], settings: Mapping[str, object], source: Path) -> Network:
    """Build a network with fresh weights. Settings that begin with an underscore (versions, classes) are ignored.

    Raises WrongArchitecture if `settings`, read from `source`, do not describe a network of that kind.
    """
    try:
        return kind(**{name: value for name, value in settings.items() if not name.startswith("_")})
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise WrongArchitecture(
            f"{source} describes no {kind.__name__}: {error}",
            "Check that the file is the one that came with the weights.",
        ) from error

"""The JSON files beside weights in diffusers' format, as old as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from diffusers.models.modeling_utils import ModelMixin

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture

__all__ = ["network_from_config", "read_config"]

Network = TypeVar("Network", bound=ModelMixin)


def read_config(path: Path, **expected: Any) -> dict[str, Any]:
    """The settings in a config file; `expected` are those that must have just these values.

    Raises WeightsMissing, WeightsDamaged (no JSON object), WrongArchitecture (another value than expected).
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsMissing(
            f"The network's configuration {path} cannot be read: {error.strerror}.",
            "It belongs beside the weights: get it with `launch.py fetch`.",
        ) from error
    except ValueError as error:
        raise WeightsDamaged(f"{path} is no JSON: {error}.", "Get the file again.") from error
    if not isinstance(settings, dict):
        raise WeightsDamaged(f"{path} is no configuration of a network.", "Get the file again.")
    for name, value in expected.items():
        if settings.get(name) != value:
            raise WrongArchitecture(
                f"{path} describes another network: {name} is {settings.get(name)!r}, not {value!r}.",
                "Check that the file is the one that came with the weights.",
            )
    return settings


def network_from_config(kind: type[Network], settings: Mapping[str, Any], source: Path) -> Network:
    """A network with fresh weights. Names that begin with an underscore (versions, classes) do not count.

    Raises WrongArchitecture: `settings`, read from `source`, describe no network of that kind.
    """
    try:
        return kind(**{name: value for name, value in settings.items() if not name.startswith("_")})
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise WrongArchitecture(
            f"{source} describes no {kind.__name__}: {error}",
            "Check that the file is the one that came with the weights.",
        ) from error

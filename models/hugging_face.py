"""Folders in Hugging Face's layout: a config.json, with the weights beside it in one of two files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.errors import WeightsDamaged, WeightsMissing, WrongArchitecture
from models.weights import is_there

__all__ = ["TRANSFORMERS_WEIGHTS", "read_config", "weights_file"]

TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def read_config(
    path: Path, remedy: str = "Check that the file is the one that came with the weights.", **expected: object
) -> dict[str, Any]:
    """Return the settings in a config file. expected: settings that must have these values, else `remedy` is named.

    Raises WeightsMissing, WeightsDamaged (not a JSON object), WrongArchitecture (another value than expected).
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsMissing(
            f"The network's configuration {path} cannot be read: {error.strerror}.",
            "It belongs beside the weights: get it with `launch.py fetch`.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise WeightsDamaged(f"{path} is no JSON: {error}.", "Get the file again.") from error
    if not isinstance(settings, dict):
        raise WeightsDamaged(f"{path} is no configuration of a network.", "Get the file again.")
    for name, value in expected.items():
        if settings.get(name) != value:
            raise WrongArchitecture(
                f"{path} describes another network: {name} is {settings.get(name)!r}, not {value!r}.", remedy
            )
    return settings


def weights_file(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of these files, or of their half-precision variants, that exists. Raises WeightsMissing."""
    in_half_precision = [f"{Path(name).stem}.fp16{Path(name).suffix}" for name in names]
    for name in (*names, *in_half_precision):
        if is_there(folder / name):
            return folder / name
    raise WeightsMissing(f"There is neither {' nor '.join(names)} in {folder}.", "Get one: `launch.py fetch`.")

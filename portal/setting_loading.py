"""Loads the settings from all sources, and explains in plain words a value that cannot be used."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr, ValidationError

from portal.setting_sources import SettingsError, did_you_mean
from portal.settings import PREFIX, Settings, option_name

__all__ = ["load_settings", "unknown_variables"]

logger = logging.getLogger(__name__)


def load_settings(command_line: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings from all sources. command_line: only the settings that were given there.

    Raises SettingsError naming the setting, where it was set, and what it takes.
    """
    for variable in unknown_variables(os.environ):
        name = _setting_of(variable)
        logger.warning(
            "The environment variable %s is no setting and has no effect. %s",
            variable,
            did_you_mean(name, Settings.model_fields),
        )
    given = dict(command_line or {})
    try:
        return Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        reason = problem["msg"].removeprefix("Value error, ")
        # A refused secret may still be almost the right one, so it must not get into a log.
        refused = (
            "cannot be used"
            if Settings.model_fields[name].annotation is SecretStr
            else f"cannot be {problem['input']!r}"
        )
        raise SettingsError(
            f"{_origin(name, given)} {refused}: {reason[:1].lower()}{reason[1:]}.",
            f"{name}: {Settings.model_fields[name].description}.",
        ) from error


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the environment variables that look like settings but are none."""
    known = {*Settings.model_fields, "data"}
    return sorted(key for key in environ if key.startswith(PREFIX) and _setting_of(key) not in known)


def _setting_of(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def _origin(name: str, command_line: Mapping[str, object]) -> str:
    """Return where a refused value was set, in words that let a person find it."""
    if name in command_line:
        return f"The option --{option_name(name)}"
    variable = PREFIX + name.upper()
    return f"The environment variable {variable}" if os.environ.get(variable) else f"The setting '{name}'"

"""Makes command-line options from the fields of Settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr

from pipeline import registry
from portal.settings import Settings, option_name

__all__ = ["add_settings", "arguments_of", "settings_given"]

REGISTERED = ("llm", "tts", "lipsync")
"Settings that name a backend. The name of the setting is also the kind of backend."


def settings_given(parsed: argparse.Namespace) -> dict[str, object]:
    """Return only the settings that were given on the command line."""
    return {name: value for name, value in vars(parsed).items() if name in Settings.model_fields}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every setting as an option. An option that is not given does not appear in the parsed namespace."""
    group = parser.add_argument_group("settings")
    for name, field in Settings.model_fields.items():
        shown = _shown(field.get_default())
        text = f"{field.description}{f' (default: {shown})' if shown else ''}".replace("%", "%%")
        flag = f"--{option_name(name)}"
        if field.annotation is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(flag, dest=name, action=action, default=argparse.SUPPRESS, help=text)
        elif get_origin(field.annotation) is tuple:
            metavar = _metavar(name)
            group.add_argument(flag, dest=name, nargs="+", metavar=metavar, default=argparse.SUPPRESS, help=text)
        else:
            # The type is not checked here but by Settings, so that a bad value gives the same error wherever it is set.
            group.add_argument(flag, dest=name, metavar=_metavar(name), default=argparse.SUPPRESS, help=text)


def arguments_of(given: Mapping[str, object]) -> list[str]:
    """Turn the result of settings_given() back into options, for another process of ours."""
    arguments: list[str] = []
    for name, value in given.items():
        option = option_name(name)
        if isinstance(value, bool):
            arguments.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, list):
            arguments += [f"--{option}", *map(str, value)]
        else:
            arguments.append(f"--{option}={value}")
    return arguments


def _shown(default: object) -> str:
    """Return a default value as a person would write it; "" if there is none to show.

    Where the absence of a value has a meaning, the setting's description explains it.
    """
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, {}) or isinstance(default, SecretStr) else str(default)


def _metavar(name: str) -> str:
    kind: object = Settings.model_fields[name].annotation
    if name in REGISTERED:
        return "{" + ",".join(registry.names(name)) + "}"
    if get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    while get_args(kind):  # Annotated[Path, ...] | None -> Path
        kind = get_args(kind)[0]
    words: dict[object, str] = {int: "N", float: "N", Path: "PATH"}
    return words.get(kind, "TEXT")

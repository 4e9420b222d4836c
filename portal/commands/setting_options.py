"""The settings as options of the command line, made from the fields of Settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from pipeline import registry
from portal.settings import Settings, option_name

__all__ = ["add_settings", "arguments_of", "settings_given"]

REGISTERED = ("llm", "tts", "lipsync")
"Settings that name a backend of the kind of their own name."


def settings_given(parsed: argparse.Namespace) -> dict[str, object]:
    """Settings that were on the command line, and only those."""
    return {name: value for name, value in vars(parsed).items() if name in Settings.model_fields}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Let a command take every setting. What is not given does not appear in what is parsed."""
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
            # Settings check the value, so that a bad one reads the same wherever it comes from.
            group.add_argument(flag, dest=name, metavar=_metavar(name), default=argparse.SUPPRESS, help=text)


def arguments_of(given: Mapping[str, object]) -> list[str]:
    """What settings_given() found, as options again: for another process of ours."""
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
    """A default as a person would write it; "" for none, which a description names where it matters."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, {}) or isinstance(default, SecretStr) else str(default)


def _metavar(name: str) -> str:
    kind: Any = Settings.model_fields[name].annotation
    if name in REGISTERED:
        return "{" + ",".join(registry.names(name)) + "}"
    if get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    while get_args(kind):  # Annotated[Path, ...] | None -> Path
        kind = get_args(kind)[0]
    return {int: "N", float: "N", Path: "PATH"}.get(kind, "TEXT")

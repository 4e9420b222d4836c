"""Bundles several of the page's scripts into one, because on a slow network each request takes long.

This happens when the portal starts. It knows the few forms of `import` and `export` that our scripts use, and refuses
any other, so that a bundle never behaves differently from its parts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["bundled"]

IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
EXPORT: Final = re.compile(r"^export (?=(?:async function\*?|function\*?|class|const) (\w+))", re.MULTILINE)
LEFT: Final = re.compile(r"^(?:import[ {*\"']|export[ {*]).*", re.MULTILINE)
"Imports and exports of other forms. They are searched at the beginning of a line, where no call of import() stands."
DYNAMIC: Final = re.compile(r"\bawait import\(|\bimport\.meta\b")
"""Forms with addresses relative to their script. In a bundle they become relative to the bundle, which lies in the top
folder, so only scripts of that folder may use them."""
RENAMED: Final = re.compile(r"(\w+) as (\w+)")


def bundled(scripts: Mapping[str, str], entries: Sequence[str]) -> str:
    """Return one module that does the same as loading `entries` one after another. It exports nothing.

    scripts: name, such as "talk/stage.js" -> text. As with modules, each imported script runs once, after the scripts
    that it imports.

    Raises ValueError: a script is missing, is part of a circle of imports, or uses a form that is not supported.
    """
    order: list[str] = []
    for entry in entries:
        _visit(scripts, entry, order, ())
    places = {name: f"module{number}" for number, name in enumerate(order)}
    return "".join(f"const {places[name]} = {_wrapped(name, scripts[name], places)};\n" for name in order)


def _visit(scripts: Mapping[str, str], name: str, order: list[str], path: tuple[str, ...]) -> None:
    if name in path or name not in scripts:
        raise ValueError(f"{name} is missing, or imports itself: {' -> '.join((*path, name))}")
    if name in order:
        return
    for _names, address in IMPORT.findall(scripts[name]):
        _visit(scripts, _resolve(name, address), order, (*path, name))
    order.append(name)


def _resolve(importer: str, address: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), address))


def _wrapped(name: str, text: str, places: Mapping[str, str]) -> str:
    """Return a script as a call of a function that returns what the script exports."""
    if "/" in name and DYNAMIC.search(text):
        raise ValueError(f"{name} asks for something by an address relative to itself.")

    def taken(found: re.Match[str]) -> str:
        names = RENAMED.sub(r"\1: \2", " ".join(found[1].split()))
        return f"const {{ {names} }} = {places[_resolve(name, found[2])]};\n"

    given = ", ".join(found[1] for found in EXPORT.finditer(text))
    body = EXPORT.sub("", IMPORT.sub(taken, text))
    if left := LEFT.search(body):
        raise ValueError(f"{name} has a form that is not known here: {left[0]}")
    return f"(() => {{\n{body}\nreturn {{ {given} }};\n}})()"

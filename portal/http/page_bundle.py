"""Several of the page's scripts as one, so that a browser asks once and not for each: a phone far away waits long for
each answer.

It is made when the portal starts, of the scripts as they are. It knows the few forms of `import` and `export` that our
scripts have, and refuses any other, so nothing is served that means something else than its parts.
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
"Forms that are not known here; at the beginning of a line they are no call of import()."
DYNAMIC: Final = re.compile(r"\bawait import\(|\bimport\.meta\b")
"Addresses are relative to the bundle then, which lies beside the scripts of the uppermost folder."
RENAMED: Final = re.compile(r"(\w+) as (\w+)")


def bundled(scripts: Mapping[str, str], entries: Sequence[str]) -> str:
    """One module that does what loading `entries` one after another does; it exports nothing.

    scripts: name, such as "talk/stage.js" -> text. Each that is imported from the entries runs once, after those that
    it imports, as modules do. Raises ValueError: a script is missing, imports itself by a circle, or has a form that is
    not known here.
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
        _visit(scripts, _named(name, address), order, (*path, name))
    order.append(name)


def _named(importer: str, address: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), address))


def _wrapped(name: str, text: str, places: Mapping[str, str]) -> str:
    """A script as a function that gives what it exports."""
    if "/" in name and DYNAMIC.search(text):
        raise ValueError(f"{name} asks for something by an address relative to itself.")

    def taken(found: re.Match[str]) -> str:
        names = RENAMED.sub(r"\1: \2", " ".join(found[1].split()))
        return f"const {{ {names} }} = {places[_named(name, found[2])]};\n"

    given = ", ".join(found[1] for found in EXPORT.finditer(text))
    body = EXPORT.sub("", IMPORT.sub(taken, text))
    if left := LEFT.search(body):
        raise ValueError(f"{name} has a form that is not known here: {left[0]}")
    return f"(() => {{\n{body}\nreturn {{ {given} }};\n}})()"

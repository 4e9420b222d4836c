"""Finds the files of Gradio's frontend that the page will need, so that its HTML can name all of them at once.

Otherwise Gradio's scripts load what they need step by step: first its page, then the components on it. On a slow
connection each step costs another round trip.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["wanted_files"]

COMPONENTS: Final = ("column", "html", "tabs", "tabitem")
"Names, in Gradio's scripts, of the components that the page consists of."
ENTRY: Final = re.compile(r'<script type="module"[^>]* src="\./assets/([\w.-]+\.js)"')
NEEDED: Final = re.compile(r"m\.f\|\|\(m\.f=(\[[^\]]*\])\)")
LOADED: Final = re.compile(r"import\(`\./([\w.-]+\.js)`\)[^\[]{0,40}__vite__mapDeps\(\[([\d,]*)\]\)")
"A script that is loaded later, and the numbers of the files that it needs, in the list that NEEDED finds."
COMPONENT: Final = re.compile(rf"\b(?:{'|'.join(COMPONENTS)}):{{([^{{}}]*)}}")


def wanted_files(frontend: Path) -> Sequence[str]:
    """Return names of files below `assets/`, without those that Gradio's HTML already names.

    If a version of Gradio is built differently, fewer or no files are found. The page is then the same but loads more
    slowly.
    """
    assets = frontend / "assets"
    entry = ENTRY.search((frontend / "index.html").read_text(encoding="utf-8"))
    found: dict[str, None] = {}
    for page, needed in _loaded(assets, "" if entry is None else entry[1]):
        inside = [*_loaded(assets, page)]
        if any(name.startswith("Blocks-") for name, _ in inside):
            found |= dict.fromkeys(needed)
            found |= dict.fromkeys(name for one, names in inside if one.startswith("Blocks-") for name in names)
    for core in assets.glob("core-*.js"):
        text = core.read_text(encoding="utf-8")
        for files in COMPONENT.findall(text):
            found |= dict.fromkeys(name for _, names in _later(files, text) for name in names)
    named = (frontend / "index.html").read_text(encoding="utf-8")
    return [name for name in found if f"/{name}" not in named]


def _loaded(assets: Path, name: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each file that a script loads later, with all files that this one needs, itself included."""
    path = assets / name
    if path.suffix == ".js" and path.is_file():
        text = path.read_text(encoding="utf-8")
        yield from _later(text, text)


def _later(part: str, script: str) -> Iterator[tuple[str, Sequence[str]]]:
    names = NEEDED.search(script)
    needed: list[str] = [] if names is None else json.loads(names[1])
    for name, numbers in LOADED.findall(part):
        places = [int(number) for number in numbers.split(",") if number]
        yield name, [needed[place].removeprefix("./") for place in places if place < len(needed)]

"""Which files of Gradio's frontend the page will want, so that its HTML can name them all at once.

Gradio's scripts find out one after another what they need: its page, then the components on it. Each time, a phone far
away waits for an answer before it asks again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["wanted_files"]

COMPONENTS: Final = ("column", "html", "tabs", "tabitem")
"That the page is made of, as Gradio's scripts call them."
ENTRY: Final = re.compile(r'<script type="module"[^>]* src="\./assets/([\w.-]+\.js)"')
NEEDED: Final = re.compile(r"m\.f\|\|\(m\.f=(\[[^\]]*\])\)")
LOADED: Final = re.compile(r"import\(`\./([\w.-]+\.js)`\)[^\[]{0,40}__vite__mapDeps\(\[([\d,]*)\]\)")
"What is loaded later, and the numbers of what that needs in the list above."
COMPONENT: Final = re.compile(rf"\b(?:{'|'.join(COMPONENTS)}):{{([^{{}}]*)}}")


def wanted_files(frontend: Path) -> Sequence[str]:
    """Names below `assets/`, but for the two that Gradio's HTML names itself. Of a version of Gradio that is built in
    another way, fewer or none: the page then takes longer, and is the same.
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
    """What a script loads later, each with everything that this needs, itself included."""
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

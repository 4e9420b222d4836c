"""The links and anchors of HTML files."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

__all__ = ["LinkedPage"]

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


class LinkedPage(HTMLParser):
    """The links of a page, and the anchors in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        if target := given.get(LINKS.get(tag, "")):
            self.links.append(target)

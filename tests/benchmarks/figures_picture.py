"""The picture of the figures in the READMEs: ours beside LiveTalking's, out of the table in docs/benchmarks.md.

    python -m tests.benchmarks.figures_picture docs

It writes `figures.svg` and `figures.zh.svg` into `docs/images`. Run it again when the table has changed; a test
compares the pictures with the table.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

__all__ = ["PICTURES", "draw", "rows_of"]

PICTURES = {"en": ("benchmarks.md", "figures.svg"), "zh": ("zh/benchmarks.md", "figures.zh.svg")}
"language -> the document with the table, and the picture made of it in images/"
SHOWN = (
    "one idle viewer, WebRTC",
    "one speaking viewer, WebRTC, everything",
    "speaking viewers at >= 24 fps",
    "longest gap in another viewer's sound at a join or leave",
    "text sent -> first sound at the client, hibari",
    "interrupt -> silence at the client",
    "click -> first picture, warm",
    "whisper features per picture while speaking, CPU",
    "added memory per session",
)
"figures of the English table; the Chinese one has the same rows in the same order"
TITLES = {
    "en": ("Vivavoce", "LiveTalking", "more is better"),
    "zh": ("Vivavoce", "LiveTalking", "越大越好"),
}
NUMBERS = re.compile(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?")
WIDTH_PX, LEFT_PX, BAR_PX, ROW_PX, TOP_PX = 880, 400, 300, 44, 46
STYLE = """
  text { fill: #1f2328; font: 13px system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif }
  .ours { fill: #4f46e5 } .theirs { fill: #b6bcc6 } .small { font-size: 12px } .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .ours { fill: #8b8cf8 } .theirs { fill: #565d68 } .back { fill: #0d1117 }
  }
"""


class Row(NamedTuple):
    """One figure of the table, as its cells are."""

    name: str
    ours: str
    target: str
    theirs: str


def rows_of(document: str) -> list[Row]:
    """The rows of the first table with five columns: figure, machine A, machine B, target, LiveTalking."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in document.splitlines() if "|" in line]
    table = [row for row in cells if len(row) == 5]
    return [Row(row[0], row[1], row[3], row[4]) for row in table[2:]]


def _before_notes(cell: str) -> str:
    """A cell without what stands in brackets or after a comma."""
    return re.split(r"[(（,，]", cell)[0].strip()


def _largest(cell: str) -> float:
    found = NUMBERS.search(cell)
    if found is None:
        raise ValueError(f"there is no number in '{cell}'")
    return float(found[2] or found[1])


def draw(rows: Sequence[Row], language: str) -> str:
    """An SVG with two bars per row, on a scale of its own per row. Of a range the bar shows the upper end."""
    ours, theirs, more = TITLES[language]
    height_px = TOP_PX + ROW_PX * len(rows) + 6
    size = f'width="{WIDTH_PX}" height="{height_px}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH_PX} {height_px}" role="img">',
        f"<title>{escape(f'{ours}, {theirs}')}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" {size} rx="8"/>',
        _legend(LEFT_PX, "ours", ours),
        _legend(LEFT_PX + 120, "theirs", theirs),
    ]
    for number, row in enumerate(rows):
        top_px = TOP_PX + ROW_PX * number
        scale = BAR_PX / max(_largest(row.ours), _largest(row.theirs))
        name = f"{row.name}（{more}）" if language == "zh" else f"{row.name} ({more})"
        label = (name if row.target.startswith(">=") else row.name).replace("->", "→").replace(">=", "≥")
        parts.append(f'<text x="{LEFT_PX - 12}" y="{top_px + 23}" text-anchor="end">{escape(label)}</text>')
        for kind, cell, below_px in (("ours", row.ours, 2), ("theirs", row.theirs, 20)):
            width_px = max(2, scale * _largest(cell))
            place = f'x="{LEFT_PX}" y="{top_px + below_px}"'
            parts += [
                f'<rect class="{kind}" {place} width="{width_px:.1f}" height="14" rx="2"/>',
                f'<text class="small" x="{LEFT_PX + width_px + 6:.1f}" y="{top_px + below_px + 11}">',
                f"{escape(_before_notes(cell))}</text>",
            ]
    return "\n".join([*parts, "</svg>", ""])


def _legend(left_px: int, kind: str, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{left_px}" y="14" width="14" height="14" rx="2"/>'
        f'<text x="{left_px + 20}" y="26">{escape(title)}</text>'
    )


def pictures(docs: Path) -> dict[str, str]:
    """File name in images/ -> picture."""
    tables = {language: rows_of((docs / name).read_text(encoding="utf-8")) for language, (name, _) in PICTURES.items()}
    places = [[row.name for row in tables["en"]].index(name) for name in SHOWN]
    return {
        picture: draw([tables[language][place] for place in places], language)
        for language, (_, picture) in PICTURES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    docs: Path = parser.parse_args().docs
    for name, picture in pictures(docs).items():
        (docs / "images" / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Makes the table of all backends in docs/backends.md. `python -m portal.commands.listing [zh]` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from avatars.face_formats import face_format
from pipeline import registry
from pipeline.registry import BackendRow

__all__ = ["backends_table", "own_rows"]

Language = Literal["en", "zh"]


class _Words(NamedTuple):
    """The words of the table in one language. Some are templates to be filled from a row."""

    head: str
    nothing: str
    packages: str
    weights: str
    prepared: str
    own_network: str
    online: str
    comma: str
    semicolon: str


_WORDS: dict[Language, _Words] = {
    "en": _Words(
        head="| kind | name | called | features | needs |",
        nothing="nothing",
        packages="packages: {}",
        weights="weights: `{}`",
        prepared="avatars prepared with {rows} of {side_px} px",
        own_network="a network per avatar",
        online="a service on the network",
        comma=", ",
        semicolon="; ",
    ),
    "zh": _Words(
        head="| 种类 | 名称 | 显示名称 | 特征 | 需要 |",
        nothing="无",
        packages="软件包：{}",
        weights="权重：`{}`",
        prepared="为数字人准备的 {rows}（{side_px} 像素）",
        own_network="每个数字人自己的网络",
        online="网络上的服务",
        comma="、",
        semicolon="；",
    ),
}


def backends_table(rows: Iterable[BackendRow], language: Language = "en") -> str:
    """Return the rows as a Markdown table."""
    words = _WORDS[language]
    return "\n".join((words.head, "|---|---|---|---|---|", *(_line(row, language) for row in rows)))


def own_rows() -> Iterator[BackendRow]:
    """Return the rows that come with the program. The documents describe only these."""
    return (row for rows in registry.BACKENDS.values() for row in rows.values())


def _line(row: BackendRow, language: Language) -> str:
    words = _WORDS[language]
    features = f"`{row.features}`" if row.features else ""
    needs = words.semicolon.join(_needs(row, words)) or words.nothing
    label = row.label.zh if language == "zh" else row.label.en
    return f"| {row.kind} | `{row.name}` | {label} | {features} | {needs} |"


def _needs(row: BackendRow, words: _Words) -> Iterator[str]:
    if row.packages:
        yield words.packages.format(words.comma.join(row.packages))
    if row.weights:
        yield words.weights.format(row.weights)
    if row.face_format:
        known = face_format(row.name)
        yield words.prepared.format(rows=known.rows, side_px=known.side_px)
        if known.own_network:
            yield words.own_network
    if row.online:
        yield words.online


if __name__ == "__main__":
    sys.stdout.write(backends_table(own_rows(), "zh" if sys.argv[1:] == ["zh"] else "en") + "\n")

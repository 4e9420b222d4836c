"""The documents: links work, each page has its other language, and pictures of tables are up to date."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.benchmarks.figures_picture import pictures

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(DOCS / "zh").glob("*.md")])
IN_CHINESE = sorted(page.name for page in (DOCS / "zh").glob("*.md"))
ENGLISH_ONLY = {"architecture.md"}
"For people who work on the code."
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def text_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def slug(heading: str) -> str:
    """Return the anchor that GitHub and the site give to a heading."""
    kept = (one for one in heading.strip().lower() if one in "-_ " or unicodedata.category(one)[0] in "LN")
    return "".join(kept).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    return frozenset(slug(heading) for heading in HEADING.findall(text_of(page)))


def broken(page: Path) -> Iterator[str]:
    for target in LINK.findall(text_of(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_link_to_no_heading_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One, two\n[x](#one-two) [y](b.md#here) [z](c.md)\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# There\n```\n# here\n```\n", encoding="utf-8")
    assert list(broken(tmp_path / "a.md")) == ["b.md#here", "c.md"]


@pytest.mark.parametrize("name", sorted(page.name for page in DOCS.glob("*.md") if page.name not in ENGLISH_ONLY))
def test_each_document_leads_to_its_other_language(name: str) -> None:
    assert f"](zh/{name})" in text_of(DOCS / name)
    chinese = text_of(DOCS / "zh" / name)
    assert f"[English](../{name})" in chinese
    assert "您" not in chinese


@pytest.mark.parametrize("name", IN_CHINESE)
def test_the_chinese_has_the_parts_of_the_english(name: str) -> None:
    """It has at least as many headings, and the same number of code blocks."""
    english, chinese = DOCS / name, DOCS / "zh" / name
    assert len(HEADING.findall(text_of(chinese))) >= len(HEADING.findall(text_of(english)))
    assert blocks(chinese) == blocks(english)


def blocks(page: Path) -> int:
    return len(FENCE.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", IN_CHINESE)
def test_the_chinese_has_each_row_of_a_table(name: str) -> None:
    """Code in the first column is the same in both languages, row by row."""
    english, chinese = first_cells(DOCS / name), first_cells(DOCS / "zh" / name)
    assert chinese == english


def first_cells(page: Path) -> list[list[str]]:
    """Return, for each row, the first word of each piece of code in the first column; the rest may be examples."""
    rows = re.findall(r"^\|(.*?[^\\])\|", text_of(page), re.MULTILINE)
    return [[code.split()[0] for code in re.findall(r"`([^`]+)`", row)] for row in rows]


def test_no_chinese_document_is_without_its_english_one() -> None:
    assert {page.name for page in (DOCS / "zh").glob("*.md")} <= {page.name for page in DOCS.glob("*.md")}


def numbers_of_rows(page: Path) -> list[tuple[str, list[str]]]:
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [(row, sorted(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3}\b)", "", row)))) for row in rows]


def test_both_languages_have_the_same_figures() -> None:
    english, chinese = numbers_of_rows(DOCS / "benchmarks.md"), numbers_of_rows(DOCS / "zh" / "benchmarks.md")
    assert len(english) == len(chinese) > 60
    for (row, numbers), (other, others) in zip(english, chinese, strict=True):
        assert numbers == others, f"{row}\n{other}"


@pytest.mark.parametrize(("name", "picture"), pictures(DOCS).items(), ids=lambda value: value[:20])
def test_the_picture_of_the_figures_is_that_of_the_table(name: str, picture: str) -> None:
    """If it is not, run: python -m tests.benchmarks.figures_picture docs."""
    assert (DOCS / "images" / name).read_text(encoding="utf-8") == picture


@pytest.mark.parametrize(("readme", "picture"), [("README.md", "figures.svg"), ("README.zh.md", "figures.zh.svg")])
def test_the_readmes_show_it(readme: str, picture: str) -> None:
    assert f"](docs/images/{picture})" in (ROOT / readme).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["", "docs", "deploy", "clients", "notebooks", "portal/static"])
def test_no_merge_is_left_half_done(folder: str) -> None:
    """A merge conflict in Python would be an error; in these files only readers would notice it."""
    files = (ROOT / folder).rglob("*") if folder else ROOT.glob("*")
    kinds = {".md", ".toml", ".yml", ".yaml", ".json", ".css", ".html", ".js", ".ts", ".conf", ".ipynb", ".txt"}
    texts = [file for file in files if file.suffix in kinds and "vendor" not in file.parts]
    marks = re.compile(r"^(<{7} |>{7} )", re.MULTILINE)
    assert texts and [file for file in texts if marks.search(file.read_text(encoding="utf-8"))] == []

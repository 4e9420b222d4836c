"""The site made of the documents: it builds without a warning, and every link in it works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from portal.commands.checks import ROOT
from portal.commands.documentation import build_site

pytestmark = pytest.mark.thorough
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


class Page(HTMLParser):
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build_site(folder, lambda text: None) == 0
    return folder


def broken(site: Path) -> Iterator[str]:
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield f"{path.relative_to(site)}: {link}"


def test_every_link_leads_to_a_file_and_an_anchor(site: Path) -> None:
    assert list(broken(site)) == []


@pytest.mark.parametrize("language", [".", "zh"])
def test_every_document_is_a_page_that_leads_to_its_other_language(site: Path, language: str) -> None:
    for document in (ROOT / "docs" / language).glob("*.md"):
        page = Page(site / language / f"{document.stem}.html")
        other = document.stem if (ROOT / "docs" / "zh" / document.name).exists() else "index"
        assert (f"../{other}.html" if language == "zh" else f"zh/{other}.html") in page.links


def test_a_sentence_of_two_lines_has_no_space_in_its_middle(site: Path) -> None:
    """For example 「...，⏎运行...」 in docs/zh/operating.md."""
    text = (site / "zh" / "operating.html").read_text(encoding="utf-8")
    assert "或者命令行、文件里有不认识的名字时，服务不会启动。不认识的" in text
    assert "环境变量不起作用，日志里会提示。" in text


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with a page in each language."""
    shutil.copytree(ROOT / "docs" / "site", tmp_path / "docs" / "site")
    for needed in ("logo.svg", "icons/favicon.ico"):
        (tmp_path / "portal" / "static" / needed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "portal" / "static" / needed, tmp_path / "portal" / "static" / needed)
    (tmp_path / "docs" / "zh").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Home\n\n[there](../portal/static/logo.svg)\n", encoding="utf-8")
    (tmp_path / "docs" / "zh" / "index.md").write_text("# 首页\n\n[这里](../../portal/static/)\n", encoding="utf-8")
    return tmp_path


def test_a_link_to_nothing_fails_the_build(small: Path) -> None:
    (small / "docs" / "index.md").write_text("# Home\n\n[there](nowhere.md)\n", encoding="utf-8")
    assert build_site(small / "site", pytest.fail, root=small) != 0


def test_with_a_repository_its_files_are_looked_at_there(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/vivavoce")
    assert build_site(small / "site", lambda text: None, root=small) == 0
    at = "https://github.com/somebody/vivavoce"
    assert f"{at}/blob/main/portal/static/logo.svg" in Page(small / "site" / "index.html").links
    assert f"{at}/tree/main/portal/static" in Page(small / "site" / "zh" / "index.html").links

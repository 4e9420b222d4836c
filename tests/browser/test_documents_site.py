"""The site of the documents: it builds without a warning, its links work, its search finds, and it fits a phone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from playwright.async_api import Browser, Page

from portal.commands.checks import ROOT
from portal.commands.documentation import build_site
from tests.browser.conftest import browser_fixture, faultless
from tests.browser.patience import until
from tests.html_links import LinkedPage

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the library gave it
        """Nothing: a test's output is for faults."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Where it lies, and its address."""
    folder = tmp_path_factory.mktemp("site")
    assert build_site(folder, lambda text: None) == 0
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@browser_fixture()
async def page(browser: Browser) -> AsyncIterator[Page]:
    opened = await browser.new_page(viewport=PHONE)  # type: ignore[arg-type] # a TypedDict
    async with faultless(opened):
        yield opened
    await opened.close()


@pytest.mark.parametrize(
    ("address", "question", "found"),
    [
        ("search.html", "echo canceller", "ears.html"),
        ("zh/search.html", "回声消除", "ears.html"),
        ("zh/search.html", "嘴部抖动", "backends.html"),
        ("zh/search.html", "TURN 服务器", "operating.html"),
    ],
)
async def test_its_search_finds(site: tuple[Path, str], page: Page, address: str, question: str, found: str) -> None:
    """Chinese without spaces, too, and words that no dictionary has together."""
    await page.goto(f"{site[1]}/{address}?q={question}")
    await page.wait_for_selector("#search-results li a")
    await until(page, "/[0-9]/.test(document.querySelector('#search-results .search-summary').textContent)")
    links = await page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.getAttribute('href'))")
    assert any(link.startswith(found) for link in links)


async def test_no_page_is_wider_than_a_phone(site: tuple[Path, str], page: Page) -> None:
    """Its tables scroll by themselves."""
    folder, url = site
    for path in sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts):
        await page.goto(f"{url}/{path.relative_to(folder)}")  # with its styles and pictures
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def broken(folder: Path) -> Iterator[str]:
    pages = {path: LinkedPage(path) for path in folder.rglob("*.html") if "_static" not in path.parts}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield f"{path.relative_to(folder)}: {link}"


def test_every_link_leads_to_a_file_and_an_anchor(site: tuple[Path, str]) -> None:
    assert list(broken(site[0])) == []


@pytest.mark.parametrize("language", [".", "zh"])
def test_every_document_is_a_page_that_leads_to_its_other_language(site: tuple[Path, str], language: str) -> None:
    for document in (ROOT / "docs" / language).glob("*.md"):
        page = LinkedPage(site[0] / language / f"{document.stem}.html")
        other = document.stem if (ROOT / "docs" / "zh" / document.name).exists() else "index"
        assert (f"../{other}.html" if language == "zh" else f"zh/{other}.html") in page.links


def test_a_sentence_of_two_lines_has_no_space_in_its_middle(site: tuple[Path, str]) -> None:
    """For example 「...，⏎运行...」 in docs/zh/operating.md."""
    text = (site[0] / "zh" / "operating.html").read_text(encoding="utf-8")
    assert "或者命令行、文件里有不认识的名字时，服务不会启动。不认识的" in text
    assert "环境变量不起作用，日志里会提示。" in text

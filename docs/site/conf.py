"""How Sphinx makes a site of docs/ (English) and docs/zh (Chinese): `python launch.py docs`.

Each language is a site of its own, with its own search and the theme's words in that language; the Chinese one lies in
`zh/` of the other. `link_to_what_is_no_page` writes the addresses that lead from one to the other, or to a file.

In the environment, GITHUB_REPOSITORY (`owner/name`, as GitHub's runners have it) says where the repository can be seen.
Without it, files of the repository are copied into the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.search import SearchLanguage

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EARLY = 400
"before Sphinx looks for files to be copied, at 500"
CHINESE = tags.has("zh")  # noqa: F821 - what `sphinx -t` names; Sphinx gives it to this file
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
HAN = re.compile("[\u3000-\u303f\u3400-\u9fff\uff00-\uffef\u201c\u201d]")

project = "Vivavoce"
language = "zh_CN" if CHINESE else "en"
extensions = ["myst_parser"]
exclude_patterns = [] if CHINESE else ["zh", "site"]
myst_heading_anchors = 4
templates_path = ["templates"]
highlight_language = "none"
html_theme = "pydata_sphinx_theme"
html_title = "Vivavoce"
html_logo = "../../portal/static/logo.svg"
html_favicon = "../../portal/static/icons/favicon.ico"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_sidebars = {"**": ["documents"]}
html_theme_options = {
    "logo": {"text": "Vivavoce"},
    "navbar_center": [],
    "navbar_end": ["other-language", "theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "show_toc_level": 2,
    "search_bar_text": "搜索文档" if CHINESE else "Search the documents",
}


class ChineseSearch(SearchLanguage):
    """Finds Chinese by pairs of characters, so that no dictionary decides what a word is; other scripts by words."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = """
var splitQuery = (query) => (query.match(/[\\u3400-\\u9fff]+|[a-z0-9_]+/gi) || []).flatMap((run) =>
  /[\\u3400-\\u9fff]/.test(run) && run.length > 2
    ? Array.from({ length: run.length - 1 }, (_, place) => run.slice(place, place + 2))
    : [run]);
"""

    def split(self, input: str) -> list[str]:  # noqa: A002 - the name that Sphinx gave it
        return list(self._terms(input))

    def word_filter(self, word: str) -> bool:
        return len(word) > 1

    @staticmethod
    def _terms(text: str) -> Iterator[str]:
        for run in re.findall(r"[\u3400-\u9fff]+|[A-Za-z0-9_]+", text):
            if run[0] < "\u3400":
                yield run
            else:
                yield from (run[place : place + 2] for place in range(len(run) - 1))


def link_to_what_is_no_page(app: Sphinx, doctree: nodes.document) -> None:
    """Links to the other language, and to files and folders of the repository."""
    pages = app.env.found_docs
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = str(link["reftarget"])
        if link.get("refdomain") == "doc" and target not in pages:
            _address(app, link, (Path(app.srcdir) / f"{target}.md").resolve())
        elif not link.get("refdomain") and (folder := (Path(app.srcdir) / target).resolve()).is_dir():
            _address(app, link, folder)
    if REPOSITORY:
        for link in list(doctree.findall(addnodes.download_reference)):
            _address(app, link, (Path(app.srcdir) / link["reftarget"]).resolve())


def _address(app: Sphinx, link: nodes.Element, target: Path) -> None:
    """Put a plain link to the target in the place of Sphinx's own."""
    if not target.exists():
        return  # Sphinx will warn of it
    anchor = f"#{link['reftargetid']}" if link.get("reftargetid") else ""
    if target.suffix == ".md" and target.is_relative_to(DOCS):
        page = f"../{target.stem}.html" if CHINESE else f"zh/{target.stem}.html"
        new: nodes.Element = nodes.reference(refuri=page + anchor, internal=True)
    elif REPOSITORY:
        kind = "tree" if target.is_dir() else "blob"
        place = target.relative_to(ROOT).as_posix()
        new = nodes.reference(refuri=f"https://github.com/{REPOSITORY}/{kind}/main/{place}{anchor}")
    elif target.is_file():
        new = addnodes.download_reference(reftarget=os.path.relpath(target, app.srcdir), refdoc=app.env.docname)
    else:
        new = nodes.inline()
    new.extend(link.children)
    link.replace_self(new)


def join_lines_of_chinese(_app: Sphinx, doctree: nodes.document) -> None:
    """A line that goes on in the next would have a space in the middle of a sentence."""
    for text in list(doctree.findall(nodes.Text)):
        if text == "\n" and HAN.search(_beside(text, -1)[-1:]) and HAN.search(_beside(text, 1)[:1]):
            text.parent.remove(text)


def _beside(node: nodes.Text, step: int) -> str:
    """The text of the node before (-1) or after (1) this one."""
    place = node.parent.index(node) + step
    return node.parent[place].astext() if 0 <= place < len(node.parent) else ""


def name_the_other_language(_app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: object) -> None:
    """The same page in the other language, or its first page where there is none."""
    there = DOCS if CHINESE else DOCS / "zh"
    name = page if page == "search" or (there / f"{page}.md").exists() else "index"
    context["other_language"] = f"../{name}.html" if CHINESE else f"zh/{name}.html"
    context["other_language_name"] = "English" if CHINESE else "中文"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(ChineseSearch)
    app.connect("doctree-read", link_to_what_is_no_page, priority=EARLY)
    if CHINESE:
        app.connect("doctree-read", join_lines_of_chinese, priority=EARLY)
    app.connect("html-page-context", name_the_other_language)

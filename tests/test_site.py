"""How a site is made of documents: what fails the build, and where links to files of the repository lead.

The site of our own documents is looked at in tests/browser/test_documents_site.py, since to make it takes long.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from portal.commands.checks import ROOT
from portal.commands.documentation import build_site
from tests.html_links import LinkedPage

pytestmark = pytest.mark.thorough


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
    assert f"{at}/blob/main/portal/static/logo.svg" in LinkedPage(small / "site" / "index.html").links
    assert f"{at}/tree/main/portal/static" in LinkedPage(small / "site" / "zh" / "index.html").links

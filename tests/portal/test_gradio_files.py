"""The page's HTML names all that the page will want, so that a browser asks for it at once."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from fastapi.testclient import TestClient

from portal.app import create_app
from portal.settings import Settings
from portal.ui.gradio_files import wanted_files

WANTED = re.compile(r'<(?:link rel="(?:preload|modulepreload)"|script type="module")[^>]* (?:href|src)="([^"]+)"')


def test_gradios_files_are_found_in_the_version_that_we_use() -> None:
    """Its page and each component of ours, with styles; every name is that of a file."""
    spec = importlib.util.find_spec("gradio")
    assert spec is not None and spec.origin is not None
    frontend = Path(spec.origin).parent / "templates" / "frontend"
    found = wanted_files(frontend)
    assert len(found) == len(set(found)) > 20
    assert all((frontend / "assets" / name).is_file() for name in found)
    assert {name.partition("-")[0] for name in found} >= {"Blocks", "HTML", "Index", "core"}


def test_another_way_of_building_names_nothing(tmp_path: Path) -> None:
    """The page works without."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script type="module" crossorigin src="./assets/index-1.js"></script>')
    (tmp_path / "assets" / "index-1.js").write_text("import(`./Index-2.js`)")
    assert wanted_files(tmp_path) == []


def test_all_that_the_page_names_is_there(tmp_path: Path) -> None:
    """What is kept for ever, and the two lists that the Talk tab asks for first."""
    with TestClient(create_app(Settings(data_dir=tmp_path, worker=False)), base_url="http://127.0.0.1") as client:
        named = WANTED.findall(client.get("/").text)
        assert len(named) > 30 and any("theme.css?v=" in name for name in named)
        assert {"choices.json", "api/avatars"} <= set(named)
        assert {client.get(f"/{name.removeprefix('./')}").status_code for name in named} == {200}

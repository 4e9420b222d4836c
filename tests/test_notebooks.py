"""The notebooks: they run, are stored with the outputs of their code, and have both languages."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from websockets.sync.client import connect

from notebooks.execute import code_of
from portal.commands.portal_process import free_port

pytestmark = pytest.mark.thorough

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
MAX_BYTES = 1_000_000
MAX_BYTES_OF_ALL = 3_000_000
WITHOUT_NETWORKS = ("01_one_turn", "05_latency_budget", "06_live_session")
PLAYS = re.compile(r'<(?:audio|video)[^>]*>.*?src="data:(?:audio|video)/\w+;base64,', re.DOTALL)

each_notebook = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for all tests, so that a preset is prepared once."""
    return tmp_path_factory.mktemp("data")


@each_notebook
def test_the_notebook_runs_from_top_to_bottom(path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs in a fresh kernel with tiny weights only, and shows what it showed when it was stored."""
    if path.stem not in WITHOUT_NETWORKS:
        pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")
    monkeypatch.setenv("VIVAVOCE_DATA", str(data))
    monkeypatch.delenv("VIVAVOCE_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("TURNS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOKS.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    stored = [_shown(cell) for cell in notebook.cells]
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    assert [_shown(cell) for cell in notebook.cells] == stored


def _shown(cell: NotebookNode) -> list[str]:
    """Return the kinds of output of a cell, in order: picture, player or words."""
    return [_kind(output.data) for output in cell.get("outputs", []) if "data" in output]


def _kind(data: NotebookNode) -> str:
    if PLAYS.search(data.get("text/html", "")):
        return "player"
    return "picture" if any(kind.startswith("image/") for kind in data) else "words"


@each_notebook
def test_the_notebook_is_stored_with_what_it_shows(path: Path) -> None:
    """Each cell was run, in order and without an error; there are pictures and a player, and no path of the author's
    machine. Everything is stored inside, so it plays offline.
    """
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [kind for cell in cells for kind in _shown(cell)]
    assert shown.count("picture") >= 3 and "player" in shown
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}
    assert not re.search(r"/(tmp|home|root|work)/|127\.0\.0\.1:|src=\\?\"http", path.read_text(encoding="utf-8"))


@each_notebook
def test_what_is_stored_came_from_this_code(path: Path) -> None:
    """A cell that was changed must be run again: `python notebooks/execute.py`."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.vivavoce.outputs_of == code_of(notebook)


@each_notebook
def test_the_notebook_reads_in_both_languages_and_ends_with_exercises(path: Path) -> None:
    """Each text is in English and Chinese, with the same number of exercises in both."""
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    for text in texts:
        assert re.search(r"[\u4e00-\u9fff]{2}", text) and re.search(r"[A-Za-z]{3}", text), text
    english, chinese = texts[-1].split("<!-- -->")
    assert english.startswith("## Exercises · 练习")
    assert len(re.findall(r"^\d\.", english, re.MULTILINE)) == len(re.findall(r"^\d\.", chinese, re.MULTILINE)) >= 3


def test_the_notebooks_are_small() -> None:
    """They include pictures and sound, and every clone contains them."""
    assert all(path.stat().st_size < MAX_BYTES for path in ALL)
    assert sum(path.stat().st_size for path in ALL) < MAX_BYTES_OF_ALL


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_says_how_to_open_them(name: str) -> None:
    """It gives their number, and the command that opens them."""
    text = (NOTEBOOKS.parent / name).read_text(encoding="utf-8")
    assert len(ALL) == 6 and re.search("six \\[notebooks\\]|六个 \\[Jupyter", text)
    assert "python launch.py notebooks" in text


TOKEN = {"Authorization": "token of-a-test"}


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the JupyterLab that `notebooks` opens, started without this person's own settings."""
    pytest.importorskip("jupyterlab", reason="pip install -e .[notebooks]")
    port = free_port()
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    options = ("--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=of-a-test")
    command = [sys.executable, "-c", "from portal.commands.cli import run; run()", "notebooks", *options]
    surroundings = {**os.environ, **own, "PYTHONPATH": str(NOTEBOOKS.parent), "HOME": str(tmp_path)}
    log, until_s = tmp_path / "jupyter.log", time.monotonic() + 120
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=tmp_path, env=surroundings, stdout=output, stderr=output) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=TOKEN, timeout=60) as client,
    ):
        while not _answers(client):
            assert process.poll() is None and time.monotonic() < until_s, log.read_text(errors="replace")
            time.sleep(0.2)
        yield client
        client.post("/api/shutdown").raise_for_status()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api").is_success
    except httpx.TransportError:
        return False


def test_the_command_opens_them_where_they_can_run(jupyter: httpx.Client) -> None:
    """JupyterLab lists all six, and its kernel can import the product, its client, and `showing`."""
    there = {one["name"] for one in jupyter.get("/api/contents").json()["content"]}
    assert {path.name for path in ALL} <= there
    kernel = jupyter.post("/api/kernels", json={"name": "python3", "path": ALL[0].name}).json()["id"]
    code = "import sys; sys.path.append('../clients/python'); import showing, portal.app, vivavoce_client; sys.prefix"
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "1", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    address = f"ws://127.0.0.1:{jupyter.base_url.port}/api/kernels/{kernel}/channels"
    with connect(address, max_size=None, additional_headers=TOKEN) as socket:
        socket.send(json.dumps(message))
        said = ""
        while not said:
            answer = json.loads(socket.recv(timeout=120))
            if answer["msg_type"] in ("execute_result", "error"):
                said = str(answer["content"].get("data", answer["content"]))
    assert sys.prefix in said

"""Backends from another package: they are found everywhere without further changes, and broken ones do no harm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from portal.commands.listing import backends_table, own_rows

TESTS = Path(__file__).parent
COLOUR = (10, 20, 30)
"The weights of the toy network: three bytes."


class _Hub(BaseHTTPRequestHandler):
    """Plays Hugging Face, as far as the toy needs it."""

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        there = self.path == "/house/toy/resolve/main/toy.bin"
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", str(len(COLOUR) if there else 0))
        self.end_headers()
        if there:
            self.wfile.write(bytes(COLOUR))


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of a server that offers the toy's weights."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, hub: str) -> dict[str, Any]:
    """What a new portal process finds with the toy package installed."""
    site, data = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("data")
    shutil.copytree(TESTS / "toy_house", site / "toy_house")
    info = site / "toy_house-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-house\nVersion: 1.0\n", encoding="utf-8")
    (site / "toy_house" / "entry_points.txt").rename(info / "entry_points.txt")
    places = os.pathsep.join(map(str, (site, TESTS.parent, TESTS)))
    environ = {**os.environ, "PYTHONPATH": places, "HF_ENDPOINT": hub, "VIVAVOCE_DATA": str(data)}
    answer = data / "found.json"
    command = [sys.executable, str(site / "toy_house" / "look.py"), str(data), str(answer)]
    run = subprocess.run(command, env=environ, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    read: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return read


def test_the_doctor_lists_them_and_what_the_network_lacks(found: dict[str, Any]) -> None:
    """The voice is usable; the network's line names the command that fetches its weights."""
    assert "tts toy-voice" in found["doctor"]
    assert "backends: lipsync toy, tts toy-voice" in found["doctor"]
    assert "without toy.bin" in found["doctor"] and "launch.py fetch toy" in found["doctor"]


def test_the_doctor_names_what_is_refused(found: dict[str, Any]) -> None:
    """An entry that cannot be imported, and a name that is taken, are reported with cause and remedy; ours is kept."""
    assert (
        "broken (toy-house): toy_house.broken:ROWS cannot be imported: RuntimeError: the toy is broken"
        in (found["doctor"])
    )
    assert "taken (toy-house): there is a tts backend 'beep' already" in found["doctor"]
    assert "Update or uninstall that package." in found["doctor"]
    assert found["beep"].startswith("pipeline.tts.beep:")


def test_fetch_brings_its_weights_and_prepare_its_faces(found: dict[str, Any]) -> None:
    """Both commands succeed with the format's own defaults, and the network draws with their results."""
    assert (found["fetched"], found["prepared"]) == (0, 0)
    assert found["parameters"]["toy"]["pads"] == [0, 7, 0, 0]
    assert found["patch"] == [[24, 24, 3], list(COLOUR)]


def test_the_api_lists_them(found: dict[str, Any]) -> None:
    """/api/backends has both, with the network's parameters and the voice's voices."""
    network, voice = found["api"]["lipsync"]["toy"], found["api"]["tts"]["toy-voice"]
    assert network["ready"] and network["parameters"] == {"pads": [0, 7, 0, 0]} and not network["own_network"]
    assert voice["ready"] and voice["voices"] == ["whistle"]


def test_the_page_offers_them_by_name_in_both_languages(found: dict[str, Any]) -> None:
    """The menus have a line for each, and the texts of all tabs have their labels."""
    assert found["page"]["lipsync"]["toy"]["ready"] and found["page"]["lipsync"]["toy"]["fetched"]
    assert found["page"]["tts"]["toy-voice"]["voices"] == ["whistle"]
    assert found["texts"]["en"] == {
        "tts.toy-voice": "Toy voice",
        "told.toy-voice": "It only whistles.",
        "lipsync.toy": "Toy network",
    }
    assert found["texts"]["zh"]["tts.toy-voice"] == "玩具声音"
    assert found["desk"] == "玩具网络"


def test_the_table_of_the_documents_has_them(found: dict[str, Any]) -> None:
    """The table from which docs/backends.md is made says what they need."""
    assert "| lipsync | `toy` | Toy network | `loudness` | weights: `toy`; avatars prepared with faces of 24 px |" in (
        found["table"].splitlines()
    )
    assert "| tts | `toy-voice` | Toy voice |  | nothing |" in found["table"].splitlines()


@pytest.mark.parametrize(("name", "language"), [("backends.md", "en"), ("zh/backends.md", "zh")])
def test_the_table_in_the_documents_is_that_of_the_registry(name: str, language: Literal["en", "zh"]) -> None:
    """docs/backends.md contains the output of `python -m portal.commands.listing`; zh/backends.md the Chinese one."""
    text = (TESTS.parent / "docs" / name).read_text(encoding="utf-8")
    assert backends_table(own_rows(), language) in text

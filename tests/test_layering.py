"""Checks the import rules of docs/architecture.md on the syntax trees, and where print() may be used."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAUNCHERS = ("launch_packages", "launch")
"Files that set up Vivavoce and start it."
LAYERS = ("models", "avatars", "pipeline", "portal", *LAUNCHERS)
"From the lowest. A layer imports itself and lower layers."
FOLDERS_OF_PORTAL = ("http", "making", "jobs", "intake", "worker", "api", "livetalking", "ui", "commands")
"From the lowest. A folder imports itself, lower folders, and the modules beside the folders except APPLICATION."
APPLICATION = ("portal/app.py", "portal/desk.py", "portal/talk.py")
"Modules that put the portal together. They import all folders, and only commands import them."
PURE = tuple(
    f"pipeline/{name}.py"
    for name in (
        *("types", "errors", "clock", "channel", "audio", "idle", "ledger"),
        *("text/scripts", "text/endings", "text/formulas", "text/sentences"),
    )
)
"These import only the standard library, numpy, each other and the module of base errors."
ROOT_OF_ERRORS = "models.errors."
RESAMPLERS = {"soxr", "resampy"}
"Packages that pipeline/audio.py may import as well, inside functions that resample."
CONFINED = {
    "gradio": ("portal/ui/*",),
    "aiortc": ("pipeline/transports/*", "portal/commands/chaos_peer.py"),
    "torch": (
        "models/*",
        "pipeline/device.py",
        "pipeline/ears/openai_whisper.py",
        "pipeline/features/*",
        "pipeline/lipsync/*",
        "avatars/importers/*",
    ),
    "mediapipe": ("avatars/detect.py",),
    "soundfile": ("avatars/plain_sound.py", "models/training/*"),
    "py3langid": ("pipeline/text/languages.py",),
    "markdown_it": ("pipeline/text/speech.py",),
    "espeakng_loader": ("pipeline/tts/espeak_child.py", "models/training/*"),
    "pyvirtualcam": ("pipeline/camera_child.py",),
    "dbos": ("portal/jobs/dbos_*.py",),
    "fsspec": ("avatars/store_objects.py",),
    "ray": ("portal/commands/ray_cluster.py", "portal/commands/ray_post.py"),
}
"Package -> the only places where it may be imported."
LAZY = {"torch", "mediapipe"}
"Packages that are never imported while a module loads, except by networks in models/."
EXTRAS = {"piper", "espeakng", "phonemizer"}
"GPL packages: the core never imports them."
MAY_PRINT = (
    "launch.py",
    "portal/commands/cli.py",
    "portal/commands/doctor.py",
    "models/training/*",
    "tests/benchmarks/*",
)


class Import:
    """One import in a file."""

    def __init__(self, module: str, line: int, lazy: bool) -> None:
        self.module = module
        self.line = line
        self.lazy = lazy

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Give every import in a module, except those for the type checker only."""
    yield from _visit(ast.parse(source), file, lazy=False)


def _visit(node: ast.AST, file: str, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Import(name, node.lineno, lazy) for name in _targets(node, file))
    else:
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for_checker = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        children = node.orelse if isinstance(node, ast.If) and for_checker else ast.iter_child_nodes(node)
        for child in children:
            yield from _visit(child, file, lazy)


def _targets(node: ast.ImportFrom, file: str) -> list[str]:
    module = node.module or ""
    if node.level:
        package = Path(file).parts[: -node.level]
        module = ".".join([*package, module]).rstrip(".")
    # The module may be either: `from pipeline import idle` imports pipeline.idle.
    return [f"{module}.{alias.name}" for alias in node.names]


def violations(source: str, file: str) -> list[str]:
    """Return the breaches of the rules in a module. file: its path."""
    found = []
    for one in imports_of(source, file):
        where = f"{file}:{one.line} imports {one.module}"
        layer = file.removesuffix(".py").partition("/")[0]
        if one.package in LAYERS and LAYERS.index(one.package) > LAYERS.index(layer):
            found.append(f"{where}, a higher layer")
        if _climbs_in_portal(one, file):
            found.append(f"{where}, a higher folder of portal")
        if file in PURE and not _pure(one, file):
            found.append(f"{where}, but may import the standard library, numpy and its peers only")
        if one.package in CONFINED and not _in(file, CONFINED[one.package]):
            found.append(f"{where}, which belongs in {', '.join(CONFINED[one.package])}")
        if one.package in LAZY and not one.lazy and not file.startswith("models/"):
            found.append(f"{where} eagerly")
        if one.package in EXTRAS:
            found.append(f"{where}, which is GPL")
        if one.package == "tests":
            found.append(f"{where}: the product does not need its tests")
        if layer in LAUNCHERS and not one.lazy and one.package not in {*LAUNCHERS, *sys.stdlib_module_names}:
            found.append(f"{where} before there is an environment")
    if not _in(file, MAY_PRINT):
        found += [f"{file}:{line} prints" for line in _prints(source)]
    return found


def _climbs_in_portal(one: Import, file: str) -> bool:
    """Whether a folder of portal/ imports a higher one, or anything except a command imports the application."""
    of_file, of_import = file.split("/"), one.module.split(".")
    if of_file[:1] != ["portal"] or of_import[:1] != ["portal"] or file in APPLICATION:
        return False
    folder, imported = of_file[1], (of_import[1:2] or [""])[0]
    if f"portal/{imported}.py" in APPLICATION:
        return folder != "commands"
    if imported not in FOLDERS_OF_PORTAL:
        return False
    return folder in FOLDERS_OF_PORTAL and FOLDERS_OF_PORTAL.index(imported) > FOLDERS_OF_PORTAL.index(folder)


def _pure(one: Import, file: str) -> bool:
    if one.lazy and one.package in RESAMPLERS:
        return file == "pipeline/audio.py"
    peer = any(one.module.startswith(path.removesuffix(".py").replace("/", ".")) for path in PURE)
    is_root = one.module.startswith(ROOT_OF_ERRORS)
    return peer or is_root or one.package in sys.stdlib_module_names or one.package == "numpy"


def _prints(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def _in(file: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


def product_files() -> list[str]:
    files = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in [*files, *(ROOT / f"{one}.py" for one in LAUNCHERS)])


@pytest.mark.parametrize("file", product_files())
def test_a_module_keeps_to_its_layer(file: str) -> None:
    """Each module imports only what its layer allows."""
    assert violations((ROOT / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("avatars/bundle.py", "from pipeline.types import FPS"),
        ("avatars/importers/a.py", "from ...pipeline import types"),
        ("models/net.py", "import avatars.bundle"),
        ("pipeline/engine.py", "from portal import settings"),
        ("pipeline/engine.py", "def f():\n    from portal.settings import Settings"),
        ("pipeline/idle.py", "import cv2"),
        ("pipeline/idle.py", "def f():\n    import soxr"),
        ("pipeline/audio.py", "import soxr"),
        ("pipeline/types.py", "from avatars.bundle import AvatarBundle"),
        ("pipeline/clock.py", "from pipeline.engine import Engine"),
        ("pipeline/engine.py", "import gradio as gr"),
        ("portal/jobs/queue.py", "def f():\n    from portal.worker.runner import run_worker"),
        ("portal/api/jobs.py", "from portal.app import Portal"),
        ("portal/jobs/queue.py", "from portal.desk import Desk"),
        ("portal/app.py", "from gradio import Blocks"),
        ("portal/api/a.py", "def f():\n    import aiortc.sdp"),
        ("pipeline/turn.py", "def f():\n    import torch"),
        ("pipeline/lipsync/wav2lip.py", "import torch"),
        ("avatars/detect.py", "import mediapipe as mp"),
        ("avatars/prepare.py", "def f():\n    import mediapipe as mp"),
        ("pipeline/tts/a.py", "def f():\n    from piper import PiperVoice"),
        ("pipeline/engine.py", "print('hello')"),
        ("portal/app.py", "from tests import conftest"),
        ("launch.py", "import pydantic"),
        ("launch_packages.py", "from launch import ROOT"),
        ("portal/commands/cli.py", "from launch_packages import LISTS"),
        ("avatars/a.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import pipeline.types"),
    ],
)
def test_the_checker_catches_a_violation(file: str, source: str) -> None:
    """A module that breaks a rule is reported."""
    assert violations(source, file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("pipeline/types.py", "if TYPE_CHECKING:\n    from avatars.bundle import AvatarBundle"),
        ("pipeline/engine.py", "if typing.TYPE_CHECKING:\n    from portal.settings import Settings"),
        ("pipeline/idle.py", "import re\nimport numpy as np\nfrom pipeline.errors import BadRequest"),
        ("pipeline/lipsync/wav2lip.py", "def load():\n    import torch"),
        ("models/wav2lip.py", "import torch\nfrom torch import nn"),
        ("avatars/detect.py", "def load():\n    import mediapipe"),
        ("portal/ui/talk.py", "import gradio as gr\nfrom portal.settings import Settings"),
        ("portal/worker/runner.py", "from portal.jobs.queue import JobQueue"),
        ("portal/commands/cli.py", "from portal.app import serve"),
        ("pipeline/audio.py", "class A:\n    def f(self):\n        import soxr"),
        ("launch.py", "import json\ndef main():\n    from portal.commands.cli import main"),
        ("portal/commands/cli.py", "print('hello')"),
    ],
)
def test_the_checker_lets_the_rest_be(file: str, source: str) -> None:
    """A module that keeps the rules is not reported."""
    assert violations(source, file) == []

"""What Gradio does at its import and serves nobody here is left out when the portal starts."""

from __future__ import annotations

import subprocess
import sys

COMPONENTS_WITHOUT_STUBS = """
import inspect, pathlib
from portal.ui.gradio_import import import_gradio
getfile = inspect.getfile
read = []
real = pathlib.Path.read_text
def counted(path, *args, **kwargs):
    read.append(path.name)
    return real(path, *args, **kwargs)
pathlib.Path.read_text = counted
import_gradio()
import gradio
assert gradio.Textbox(label="it works").label == "it works"
assert inspect.getfile is getfile, "inspect is as it was"
assert inspect.getfile(gradio.Textbox).endswith("textbox.py")
assert "textbox.py" not in read and "textbox.pyi" not in read, "no source was read"
"""


def run_alone(script: str) -> None:
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_gradio_is_imported_without_reading_the_sources_of_its_components() -> None:
    """In an interpreter of its own, for Gradio is imported once. Its components work, and inspect is as before."""
    run_alone(COMPONENTS_WITHOUT_STUBS)


COMPONENTS_WITHOUT_GRAMMAR = """
import sys, types
class Finder:
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
sys.meta_path.insert(0, Finder())
from portal.ui.gradio_import import GRAMMAR, import_gradio
import_gradio()
assert "jsonschema._format" in sys.modules, "who asks for it is there"
assert GRAMMAR not in Finder.asked and GRAMMAR not in sys.modules
sys.modules[GRAMMAR] = there = types.ModuleType(GRAMMAR)
import_gradio()
assert sys.modules[GRAMMAR] is there, "what is there already stays"
"""


def test_no_grammar_of_web_addresses_is_worked_out() -> None:
    """Who asks for it later gets it."""
    run_alone(COMPONENTS_WITHOUT_GRAMMAR)

"""Gradio's type stubs are not written when the portal starts."""

from __future__ import annotations

import subprocess
import sys

COMPONENTS_WITHOUT_STUBS = """
import inspect, pathlib
from portal.ui.without_stubs import import_gradio
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


def test_gradio_is_imported_without_reading_the_sources_of_its_components() -> None:
    """In an interpreter of its own, for Gradio is imported once. Its components work, and inspect is as before."""
    run = subprocess.run([sys.executable, "-c", COMPONENTS_WITHOUT_STUBS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

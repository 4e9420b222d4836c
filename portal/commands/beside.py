"""Commands that run beside the product, each in a process of its own: benchmarks, and notebooks in JupyterLab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from portal.process import child_environment

__all__ = ["open_notebooks", "run_benchmarks"]

ROOT = Path(__file__).resolve().parents[2]


def run_benchmarks(arguments: Sequence[str]) -> int:
    """The product does not need its tests; what they write comes where the caller is. Returns the exit status."""
    return _run("tests.benchmarks.run", *arguments)


def open_notebooks(arguments: Sequence[str]) -> int:
    """Until JupyterLab is ended. Its kernels run on this interpreter, which has what the notebooks need.

    arguments: options of JupyterLab. Returns the exit status.
    """
    return _run("jupyterlab", str(ROOT / "notebooks"), *arguments)


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], env=child_environment(), check=False).returncode

"""Commands that are not part of the product and run in processes of their own: benchmarks, and JupyterLab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from portal.process import child_environment

__all__ = ["open_notebooks", "run_benchmarks"]

ROOT = Path(__file__).resolve().parents[2]


def run_benchmarks(arguments: Sequence[str]) -> int:
    """Run the benchmarks and return the exit status. They write their results into the current folder.

    They run in a process of their own because the product must not import its tests.
    """
    return _run("tests.benchmarks.run", *arguments)


def open_notebooks(arguments: Sequence[str]) -> int:
    """Run JupyterLab until it is ended, and return its exit status. arguments: options of JupyterLab.

    Its kernels run on this interpreter, which has the packages that the notebooks need.
    """
    return _run("jupyterlab", str(ROOT / "notebooks"), *arguments)


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], env=child_environment(), check=False).returncode

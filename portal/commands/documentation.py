"""`python launch.py docs [FOLDER]`: makes a website of docs/ and docs/zh with Sphinx. Every warning is an error.

`docs/site/conf.py` configures it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from portal.commands.checks import ROOT, Module, run_module

__all__ = ["build_site"]

LANGUAGES = (("docs", ".", ()), ("docs/zh", "zh", ("-t", "zh")))
"For each language: its documents, their place below the site's folder, and the options that tell conf.py the language."
STRICT = ("--fail-on-warning", "--keep-going", "--quiet")


def build_site(folder: Path, say: Callable[[str], None], *, run: Module = run_module, root: Path = ROOT) -> int:
    """Make the site in a folder. Return the exit status, which is 0 if Sphinx gave no warning.

    root: the folder that contains `docs`.
    """
    for source, place, more in LANGUAGES:
        with tempfile.TemporaryDirectory(prefix="vivavoce-docs-") as parsed:
            paths = ("-c", str(root / "docs" / "site"), "-d", parsed, str(root / source), str(folder / place))
            if status := run(["sphinx", "-b", "html", *STRICT, *more, *paths], {}):
                return status
    say(f"The site is ready: {folder / 'index.html'}")
    return 0

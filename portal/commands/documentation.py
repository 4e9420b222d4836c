"""`python launch.py docs [FOLDER]`: a website of docs/ and docs/zh, made by Sphinx. Each warning is a failure.

`docs/site/conf.py` says how it is made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from portal.commands.checks import ROOT, Module, run_module

__all__ = ["build_site"]

LANGUAGES = (("docs", ".", ()), ("docs/zh", "zh", ("-t", "zh")))
"Of each language: its documents, where they go below the folder of the site, and what tells conf.py which one it is."
STRICT = ("--fail-on-warning", "--keep-going", "--quiet")


def build_site(folder: Path, say: Callable[[str], None], *, run: Module = run_module, root: Path = ROOT) -> int:
    """Make the site in a folder. Returns the exit status: 0 if Sphinx had nothing to complain about.

    root: where `docs` is.
    """
    for source, place, more in LANGUAGES:
        with tempfile.TemporaryDirectory(prefix="vivavoce-docs-") as parsed:
            paths = ("-c", str(root / "docs" / "site"), "-d", parsed, str(root / source), str(folder / place))
            if status := run(["sphinx", "-b", "html", *STRICT, *more, *paths], {}):
                return status
    say(f"The site is ready: {folder / 'index.html'}")
    return 0

"""Imports Gradio without two steps that are slow and of no use here.

First, each import of Gradio reads the source of its 81 components and writes a `.pyi` file beside each. That helps only
people who edit components, and an installation may be read-only. On an old processor it took 3.4 of the 9 seconds in
which the portal's main thread started.

Second, Gradio imports jsonschema, which imports `rfc3987_syntax` if JupyterLab has installed that. This package
compiles a grammar of web addresses whenever it is imported. That took 1.7 of the 6 seconds of CPU time of Gradio's
import. Nothing here checks such addresses by a schema.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["import_gradio"]

WRITER = "gradio.component_meta"
GRAMMAR = "rfc3987_syntax"


def import_gradio() -> None:
    """Import Gradio. Call this before anything else imports it, and while there is only one thread."""
    with _sourceless(WRITER), _missing(GRAMMAR):
        import gradio  # noqa: F401 - whoever imports it after this gets the same


@contextmanager
def _sourceless(module: str) -> Iterator[None]:
    """Within the block, keep `module` from finding source files of classes. Gradio writes no stubs for such classes."""
    getfile = inspect.getfile

    def elsewhere(of: object) -> str:
        if sys._getframe(1).f_globals.get("__name__") == module:
            raise OSError("Its source is not looked for.")
        return getfile(of)  # type: ignore[arg-type] # whatever it is, inspect says what it takes

    inspect.getfile = elsewhere  # type: ignore[assignment] # no other way in: Gradio asks inspect
    try:
        yield
    finally:
        inspect.getfile = getfile


@contextmanager
def _missing(module: str) -> Iterator[None]:
    """Within the block, make imports of `module` fail as if it were not installed, unless it is already imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] # the documented way to have an import fail
    try:
        yield
    finally:
        del sys.modules[module]

"""Gradio is imported without what serves nobody here and takes long.

Each import of Gradio reads the sources of its 81 components, and writes a `.pyi` file beside each. That serves people
who edit components. It took 3.4 of the 9 seconds in which an old processor brought up the portal's main thread, and an
installation may be read-only.

It imports jsonschema, which takes `rfc3987_syntax` where JupyterLab has brought that. This works out a grammar of web
addresses whenever it is imported: 1.7 of the 6 seconds of processor time that an import of Gradio took. Nothing here
has such addresses checked by a schema.
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
    """Import it, before anything else does. Call it while there is one thread."""
    with _sourceless(WRITER), _missing(GRAMMAR):
        import gradio  # noqa: F401 - whoever imports it after this gets the same


@contextmanager
def _sourceless(module: str) -> Iterator[None]:
    """In here, that module finds no class in a file; Gradio leaves out the stubs of such classes."""
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
    """In here, an import of that module fails as if it were not installed. One that is there already stays."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] # the documented way to have an import fail
    try:
        yield
    finally:
        del sys.modules[module]

"""A file that cannot be read, whoever the tests run as: for root, permissions are no hindrance."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["unreadable"]


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Inside the block, Path.read_text() fails for this file, as where a disk is damaged.

    It fails also for a link to it in a folder of the same name.
    """
    read_text = Path.read_text

    def failing(self: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if self.parts[-2:] == path.parts[-2:]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_text(self, encoding, errors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", failing)
        yield

"""What may become an avatar, seen where it is safe to open it: tasks for avatars.confined."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from avatars.confined import Emit, Limits
from avatars.importers.reading import check_import, is_import
from avatars.media import probe

__all__ = ["CHECKING", "check_source"]

CHECKING: Final = Limits(patience_s=20, cpu_s=15, memory_bytes=384 * 2**20)


def check_source(emit: Emit, path: Path) -> None:
    """Look at the header of a photo or clip, or at the names in a peer's zipped avatar; nothing is decoded.

    Raises BadMedia, BadImport.
    """
    if is_import(path):
        check_import(path)
    else:
        probe(path)

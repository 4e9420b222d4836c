"""Prepare one avatar in a process of its own and print the CPU seconds it took."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from avatars.library import AvatarLibrary
from avatars.prepare import Upload, prepare_avatar


def main(upload: str, library: str, avatar_id: str = "prepared") -> None:
    began_s = time.process_time()
    given = Upload(Path(upload), avatar_id, avatar_id)
    prepare_avatar(given, AvatarLibrary(Path(library)), lambda _stage, _share: None)
    print(time.process_time() - began_s)


if __name__ == "__main__":
    main(*sys.argv[1:])

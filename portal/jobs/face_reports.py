"""The pictures of face reports, of avatars that were made and of uploads that were refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from avatars.errors import AvatarNotFound
from avatars.library import VALID_ID

__all__ = ["FaceReports"]

JOB = "job.txt"
"File in a report's folder with the id of its job."


class FaceReports:
    """Strips of small pictures, by the id that the avatar has or would have had.

    Each strip has the id of the job that made it. If the upload was refused, there is no avatar, and the pictures
    belong to that job's owner.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "reports"

    def keep(self, avatar_id: str, pictures: Mapping[str, bytes], job_id: str) -> None:
        """Write a strip, completely or not at all. pictures: file name -> JPEG. Safe to repeat."""
        staging = self._root / f".{avatar_id}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            (staging / JOB).write_text(job_id)
            for name, jpeg in pictures.items():
                (staging / name).write_bytes(jpeg)
            self.delete(avatar_id)
            staging.rename(self._root / avatar_id)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def pictures(self, avatar_id: str) -> list[str]:
        """Return the names of the pictures, in order; an empty list if there is no report."""
        if not VALID_ID.fullmatch(avatar_id):
            return []
        return sorted(path.name for path in (self._root / avatar_id).glob("*.jpg"))

    def job_of(self, avatar_id: str) -> str | None:
        """Return the id of the job that made the report; "" if an earlier version made it, None if there is none.

        Raises OSError if it cannot be read.
        """
        if not VALID_ID.fullmatch(avatar_id):
            return None
        try:
            return (self._root / avatar_id / JOB).read_text()
        except FileNotFoundError:
            return "" if self.pictures(avatar_id) else None

    def path(self, avatar_id: str, name: str) -> Path:
        """Return the path of a picture. Raises AvatarNotFound."""
        if name not in self.pictures(avatar_id):
            raise AvatarNotFound("There is no such picture.", "Look at the list of avatars again.")
        return self._root / avatar_id / name

    def delete(self, avatar_id: str) -> None:
        """Remove a report. No effect if there is none."""
        shutil.rmtree(self._root / avatar_id, ignore_errors=True)

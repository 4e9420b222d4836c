"""The pictures of face reports, kept beside the avatars: of those that were made, and of uploads that were refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from avatars.errors import AvatarNotFound
from avatars.library import VALID_ID

__all__ = ["FaceReports"]

JOB = "job.txt"


class FaceReports:
    """Strips of small pictures, by the id that the avatar has or would have had. Each says which job made it: whose
    upload was refused, theirs are the pictures.
    """

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "reports"

    def keep(self, avatar_id: str, pictures: Mapping[str, bytes], job_id: str) -> None:
        """Write a strip, file name -> JPEG, whole or not at all; safe to do again."""
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
        """Names of the pictures, in order; none for an id without a report."""
        if not VALID_ID.fullmatch(avatar_id):
            return []
        return sorted(path.name for path in (self._root / avatar_id).glob("*.jpg"))

    def job_of(self, avatar_id: str) -> str | None:
        """Id of the job that made the report; empty for one of an earlier version, None where there is no report."""
        try:
            return (self._root / avatar_id / JOB).read_text()
        except OSError:
            return "" if self.pictures(avatar_id) else None

    def path(self, avatar_id: str, name: str) -> Path:
        """Raises AvatarNotFound."""
        if name not in self.pictures(avatar_id):
            raise AvatarNotFound("There is no such picture.", "Look at the list of avatars again.")
        return self._root / avatar_id / name

    def delete(self, avatar_id: str) -> None:
        shutil.rmtree(self._root / avatar_id, ignore_errors=True)

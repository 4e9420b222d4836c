"""Files of jobs where several machines share a store: what one of them hands to another goes through the store.

Those are uploads, which wait there for a worker, clips, and the pictures of face reports. What a worker has in hand
(`work`) stays on its machine.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from avatars.errors import AvatarNotFound, StoreUnreachable
from avatars.library import VALID_ID
from avatars.shelf import Shelf
from avatars.store import Index, Store
from models.errors import VivavoceError
from portal.errors import JobNotFound
from portal.jobs.face_reports import JOB, FaceReports
from portal.jobs.former_ids import FormerIds, SharedFormerIds
from portal.jobs.records import CLIP_TYPES, MAX_KEPT_BYTES, MAX_KEPT_UPLOAD_BYTES, JobFolders

__all__ = ["SharedJobFolders", "SharedReports"]

logger = logging.getLogger(__name__)

UPLOAD = "upload"
STALE_S = 3600.0
KEPT = "kept"
"Kind of notes in the store: such an upload is there for a retry."


@dataclass(frozen=True, slots=True)
class SharedJobFolders(JobFolders):
    """Reading and writing raise StoreUnreachable; tidying up does not, for what is left is found by sweep()."""

    store: Store
    uploads: Shelf
    clips: Shelf
    kept_reports: Shelf
    has_one_database: bool
    "whether all who use the store have their jobs in one database"

    @classmethod
    def of(
        cls, data_dir: Path, store: Store, now_s: Callable[[], float] = time.monotonic, *, has_one_database: bool
    ) -> SharedJobFolders:
        here = data_dir / "copies"
        return cls(
            data_dir,
            store,
            Shelf(store, "uploads", here / "uploads", _no_upload, now_s=now_s),
            Shelf(store, "clips", here / "clips", _no_clip, now_s=now_s),
            Shelf(store, "reports", here / "reports", _no_report, _about_report, now_s),
            has_one_database,
        )

    @property
    def shelves(self) -> tuple[Shelf, ...]:
        return self.uploads, self.clips, self.kept_reports

    @property
    def reports(self) -> FaceReports:
        return SharedReports(self.data_dir, self.kept_reports)

    @property
    def former_ids(self) -> FormerIds:
        return SharedFormerIds(self.data_dir, self.store)

    @property
    def mark(self) -> str:
        return self.store.mark()

    def make_mark(self) -> str:
        return self.store.mark()

    @property
    def hands_on_work(self) -> bool:
        return False

    # -- uploads

    def upload(self, job_id: str) -> Path | None:
        try:
            return self.uploads.brought(job_id) / UPLOAD
        except JobNotFound:
            return None

    def has_upload(self, job_id: str) -> bool:
        return job_id in self.uploads.names()

    def take_upload(self, job_id: str, upload: Path) -> None:
        if self.uploads.index(job_id) is not None:
            raise FileExistsError(job_id)
        with self.uploads.making(job_id, only_new=True) as folder:
            folder.mkdir()
            shutil.move(upload, folder / UPLOAD)

    def abandon(self, job_id: str) -> None:
        with _left_to_sweeps(job_id):
            self.uploads.remove(job_id)

    def clear(self, job_id: str, *, keep_upload: bool = False) -> None:
        shutil.rmtree(self.home(job_id), ignore_errors=True)
        with _left_to_sweeps(job_id):
            index = self.uploads.index(job_id)
            if index is None:
                return
            if keep_upload and index.size_bytes <= MAX_KEPT_UPLOAD_BYTES:
                self.store.note(KEPT, job_id)
                self._forget_oldest()
            else:
                self._remove_upload(job_id)

    def sweep(self, owned: Collection[str]) -> None:
        """Uploads of jobs of which this database knows nothing may be those of a portal with a database of its own."""
        try:
            if self.has_one_database:
                for job_id, index in self.uploads.listed().items():
                    if job_id not in owned and _is_old(index):  # else its job may be queued just now
                        self._remove_upload(job_id)
        except StoreUnreachable as error:
            logger.warning("uploads without a job are removed later: %s", error)

    def take_back(self, job_id: str) -> None:
        self.store.forget(KEPT, job_id)

    def _remove_upload(self, job_id: str) -> None:
        self.uploads.remove(job_id)
        self.store.forget(KEPT, job_id)

    def _forget_oldest(self) -> None:
        there = self.uploads.indexes()
        kept = [(when, name) for name, when in self.store.notes(KEPT).items() if name in there]
        total_bytes = sum(there[name].size_bytes for _, name in kept)
        for _, name in sorted(kept):
            if total_bytes <= MAX_KEPT_BYTES:
                return
            self._remove_upload(name)
            total_bytes -= there[name].size_bytes

    # -- clips

    def keep_clip(self, job_id: str, ending: str) -> None:
        made = self.clip(job_id, ending)
        if not made.is_file():  # it was kept before, and the step is done again
            return
        with self.clips.making(job_id) as folder:
            folder.mkdir()
            made.rename(folder / made.name)

    def find_clip(self, job_id: str, ending: str) -> Path | None:
        with suppress(JobNotFound):
            path = self.clips.at_hand(job_id) / self.clip(job_id, ending).name
            return path if path.is_file() else None
        return None

    def has_clip(self, job_id: str) -> bool:
        return job_id in self.clips.names()

    def with_clips(self, job_ids: Collection[str]) -> set[str]:
        return self.store.names("clips").keys() & job_ids  # also those that cannot be read just now

    def remove_clip(self, job_id: str) -> None:
        for ending in CLIP_TYPES:
            self.clip(job_id, ending).unlink(missing_ok=True)
        self.clips.remove(job_id)


class SharedReports(FaceReports):
    def __init__(self, data_dir: Path, shelf: Shelf) -> None:
        super().__init__(data_dir)
        self._shelf = shelf

    def keep(self, avatar_id: str, pictures: Mapping[str, bytes], job_id: str) -> None:
        with self._shelf.making(avatar_id) as folder:
            folder.mkdir()
            (folder / JOB).write_text(job_id)
            for name, jpeg in pictures.items():
                (folder / name).write_bytes(jpeg)

    def pictures(self, avatar_id: str) -> list[str]:
        index = self._shelf.indexes().get(avatar_id)
        return [] if index is None else sorted(name for name in index.files if name.endswith(".jpg"))

    def job_of(self, avatar_id: str) -> str | None:
        index = self._shelf.index(avatar_id) if VALID_ID.fullmatch(avatar_id) else None
        return None if index is None else str(index.about["job"])

    def path(self, avatar_id: str, name: str) -> Path:
        path = self._shelf.file(avatar_id, name) if name in self.pictures(avatar_id) else None
        if path is None:
            raise _no_report(avatar_id)
        return path

    def delete(self, avatar_id: str) -> None:
        self._shelf.remove(avatar_id)


def _is_old(index: Index) -> bool:
    return all(time.time() - file.mtime_ns / 1e9 > STALE_S for file in index.files.values())


@contextmanager
def _left_to_sweeps(job_id: str) -> Iterator[None]:
    try:
        yield
    except StoreUnreachable as error:
        logger.warning("the upload of the job %s is removed later: %s", job_id, error)


def _no_upload(job_id: str) -> VivavoceError:
    return JobNotFound(f"There is no upload of the job {job_id!r}.", "Upload the file once more.")


def _no_clip(job_id: str) -> VivavoceError:
    return JobNotFound(f"There is no clip of the job {job_id!r}.", "It may be deleted; see the list of jobs.")


def _no_report(_avatar_id: str) -> VivavoceError:
    return AvatarNotFound("There is no such picture.", "Look at the list of avatars again.")


def _about_report(folder: Path) -> Mapping[str, object]:
    return {"job": (folder / JOB).read_text()}

"""Export of everything that is stored of an avatar, as one zip for its owner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from avatars.library import AvatarLibrary, Ownership
from avatars.shelf_copies import INDEX
from portal.http.error_route import ErrorRoute
from portal.http.people import Role, person_of
from portal.http.rights import NotAllowed, require
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.owners import may_change

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["export_router"]

ZIP = "application/zip"
PIECE_BYTES = 256 * 1024


def export_router(library: AvatarLibrary, queue: JobQueue) -> APIRouter:
    router = APIRouter(prefix="/api/avatars", tags=["avatars"], route_class=ErrorRoute)

    @router.get("/{avatar_id}/export", response_class=StreamingResponse, responses={200: {"content": {ZIP: {}}}})
    def export_avatar(avatar_id: str, request: Request) -> StreamingResponse:
        """Export everything that is stored of an avatar as a zip: its bundle with the consent, its face report, your
        clips of it, and the records of its jobs. Only its owner may do this.
        """
        person, avatar = person_of(request.scope), library.summary(avatar_id)
        require(person, Role.MAKER)
        if not may_change(person, avatar.ownership):
            raise NotAllowed("This belongs to somebody else, who has shared it.", "Ask them.")
        jobs = [
            job
            for job in queue.list(limit=None)
            if job.avatar == avatar_id and may_change(person, Ownership(job.owner))
        ]
        pieces = _zipped(_files(avatar_id, library, queue, jobs), {"jobs.json": _jobs_json(jobs)})
        headers = {"Content-Disposition": f'attachment; filename="{avatar_id}.zip"'}
        return StreamingResponse(pieces, media_type=ZIP, headers=headers)

    return router


def _files(avatar_id: str, library: AvatarLibrary, queue: JobQueue, jobs: Sequence[Job]) -> Iterator[tuple[str, Path]]:
    """Yield each file's name in the zip, and its path."""
    folder, reports = library.folder(avatar_id), queue.folders.reports
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != INDEX:
            yield f"avatar/{path.relative_to(folder).as_posix()}", path
    for name in reports.pictures(avatar_id):
        yield f"face-report/{name}", reports.path(avatar_id, name)
    for job in jobs:
        if clip := queue.folders.made_clip(job.id):
            yield f"clips/{job.id} {job.file_name}", clip


def _jobs_json(jobs: Sequence[Job]) -> bytes:
    return json.dumps([asdict(job) for job in jobs], ensure_ascii=False, indent=1, default=str).encode()


class _Pieces(RawIOBase):
    """A write-only stream that collects what ZipFile writes until it is taken.

    It cannot seek, so ZipFile only writes forward. The zip can be sent while it is made, without a file on disk.
    """

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._written.append(bytes(data))
        return len(self._written[-1])

    def taken(self) -> bytes:
        written, self._written = b"".join(self._written), []
        return written


def _zipped(files: Iterable[tuple[str, Path]], texts: dict[str, bytes]) -> Iterator[bytes]:
    """Yield a zip in pieces. It is not compressed, because pictures and clips are compressed already.

    A file that is deleted meanwhile is left out.
    """
    written = _Pieces()
    with ZipFile(written, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for name, path in files:
            try:
                file = path.open("rb")
            except OSError:  # the file was deleted after it was listed
                continue
            with file, archive.open(ZipInfo(name), "w", force_zip64=True) as entry:
                while piece := file.read(PIECE_BYTES):
                    entry.write(piece)
                    yield written.taken()
    yield written.taken()

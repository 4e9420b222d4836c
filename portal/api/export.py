"""Everything that is kept of an avatar, as one zip, for whoever it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from avatars.library import AvatarLibrary, Ownership
from avatars.shelf import INDEX
from portal.http.errors import ErrorRoute
from portal.http.people import Role, person_of
from portal.http.rights import NotAllowed, require
from portal.jobs.queue import JobQueue
from portal.jobs.records import Job
from portal.owners import may_change

__all__ = ["export_router"]

ZIP = "application/zip"
PIECE_BYTES = 256 * 1024


def export_router(library: AvatarLibrary, queue: JobQueue) -> APIRouter:
    router = APIRouter(prefix="/api/avatars", tags=["avatars"], route_class=ErrorRoute)

    @router.get("/{avatar_id}/export", response_class=StreamingResponse, responses={200: {"content": {ZIP: {}}}})
    def export_avatar(avatar_id: str, request: Request) -> StreamingResponse:
        """Everything that is kept of an avatar, as a zip: its bundle with the consent, its face report, the clips made
        with it that are yours, and what is known of its jobs. For its owner.
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
        pieces = _zipped(_files(avatar_id, library, queue, jobs), {"jobs.json": _told(jobs)})
        headers = {"Content-Disposition": f'attachment; filename="{avatar_id}.zip"'}
        return StreamingResponse(pieces, media_type=ZIP, headers=headers)

    return router


def _files(avatar_id: str, library: AvatarLibrary, queue: JobQueue, jobs: Sequence[Job]) -> Iterator[tuple[str, Path]]:
    """Name in the zip, and where the file lies."""
    folder, reports = library.folder(avatar_id), queue.folders.reports
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != INDEX:
            yield f"avatar/{path.relative_to(folder).as_posix()}", path
    for name in reports.pictures(avatar_id):
        yield f"face-report/{name}", reports.path(avatar_id, name)
    for job in jobs:
        if clip := queue.folders.made_clip(job.id):
            yield f"clips/{job.id} {job.file_name}", clip


def _told(jobs: Sequence[Job]) -> bytes:
    return json.dumps([asdict(job) for job in jobs], ensure_ascii=False, indent=1, default=str).encode()


class _Pieces(RawIOBase):
    """What ZipFile has written since it was last asked. It cannot go back, so the zip needs no room on the disk."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        written, self._written = b"".join(self._written), []
        return written


def _zipped(files: Iterable[tuple[str, Path]], texts: dict[str, bytes]) -> Iterator[bytes]:
    """A zip in pieces, not compressed: pictures and clips are already. A file that goes meanwhile is left out."""
    written = _Pieces()
    with ZipFile(written, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for name, path in files:
            try:
                file = path.open("rb")
            except OSError:  # deleted since the list was made
                continue
            with file, archive.open(ZipInfo(name), "w", force_zip64=True) as entry:
                while piece := file.read(PIECE_BYTES):
                    entry.write(piece)
                    yield written.taken()
    yield written.taken()

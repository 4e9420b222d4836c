"""Files that come in over HTTP: limited while they are read, stored whole or not at all, named by us alone."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from pipeline.errors import BadRequest
from portal.disk import disk_full_explained
from portal.errors import UnsupportedMedia, UploadTooLarge
from portal.http.bodies import UploadPlaces, allow_body

__all__ = ["Uploads", "check_media", "check_speech", "limited_form"]

FORM_OVERHEAD_BYTES = 64 * 1024
"Fields, boundaries and part headers beside the file itself."
MAX_SPEECH_S = 600.0
NOT_STORED = "the upload was not stored"


@asynccontextmanager
async def limited_form(request: Request, max_bytes: int, places: UploadPlaces) -> AsyncIterator[FormData]:
    """The form of a request with at most one file; its temporary files are gone at the end.

    A larger one is refused as soon as that is known: by its declared length, or in the middle of reading. Raises
    BadRequest, TooMany, DiskFull.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        too_large = UploadTooLarge(
            f"The upload is larger than {max_bytes // 2**20} MB.",
            "Use a smaller picture or a shorter clip; the operator can raise max_upload_bytes.",
        )
        allow_body(request.scope, max_bytes + FORM_OVERHEAD_BYTES, too_large)
    try:
        with places.taken(request.scope), disk_full_explained(NOT_STORED):
            async with request.form(max_files=1, max_fields=16) as form:
                yield form
    except (MultiPartException, HTTPException) as error:
        cause = error.message if isinstance(error, MultiPartException) else error.detail
        raise BadRequest(f"The form cannot be read: {cause}", "Send it as multipart/form-data.") from error


class Uploads:
    """Keeps incoming files under `<data_dir>/uploads` until a job takes them over."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "uploads"

    async def store(self, upload: UploadFile) -> Path:
        """Write an upload to a file of our own naming. Raises DiskFull, with nothing left behind."""
        return await run_in_threadpool(self._copy, upload)

    def _copy(self, upload: UploadFile) -> Path:
        path = self._new_path(upload.filename or "")
        with disk_full_explained(NOT_STORED):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("wb") as file:
                    shutil.copyfileobj(upload.file, file)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return path

    def _new_path(self, file_name: str) -> Path:
        suffix = Path(file_name.replace("\0", "")).suffix.lower()
        known = suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 8 else ""
        return self._folder / f"{secrets.token_hex(8)}{known}"


def check_media(path: Path) -> None:
    """Look at the header of a photo or clip, or at the names in a peer's zipped avatar; nothing is decoded.

    Raises AvatarError (BadMedia, BadImport) with its cause and remedy.
    """
    from avatars.importers.reading import check_import, is_import
    from avatars.media import probe

    if is_import(path):
        check_import(path)
    else:
        probe(path)


def check_speech(path: Path) -> None:
    """Look at the header of a recording. Raises UnsupportedMedia."""
    import av

    remedy = "Use a WAV, MP3, M4A, FLAC or OGG recording."
    try:
        with av.open(str(path), metadata_errors="ignore") as file:
            streams = len(file.streams.audio)
            duration_s = (file.duration or 0) / av.time_base
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UnsupportedMedia("The file is not a sound recording that can be read.", remedy) from error
    if not streams:
        raise UnsupportedMedia("There is no sound in the file.", remedy)
    if duration_s > MAX_SPEECH_S:
        raise UnsupportedMedia(
            f"The recording lasts {duration_s / 60:.0f} minutes; a clip takes {MAX_SPEECH_S / 60:.0f}.",
            "Cut it into shorter pieces.",
        )

"""Reads forms with at most one file, within limits. While a file comes in, it is kept in the data folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from avatars.disk import disk_full_explained, require_room
from pipeline.errors import BadRequest
from portal.errors import UploadTooLarge
from portal.http.bodies import UploadPlaces, allow_body

__all__ = ["NOT_STORED", "Spool", "limited_form"]

FORM_OVERHEAD_BYTES = 64 * 1024
"Largest size of everything in a form but its file: fields, boundaries and headers of parts."
PLAIN_FORM_BYTES = 64 * 1024
"Largest form without a file, and largest field. A text in Chinese, percent-encoded, has at most 45 kB."
MAX_FIELDS = 16
MAX_BOUNDARIES = 64
"""Most boundaries in a form. Its parts need fewer, and honest data contains none. After each boundary inside data,
python_multipart goes on byte by byte, which is slow."""
UTF_8 = (b"utf-8", b"utf8")
ROOM_EVERY_BYTES = 4 * 2**20
"After this many bytes of an incoming file, the free space on the disk is checked again."
NOT_STORED = "the upload was not stored"
"What a full disk means for an upload, for the error's text."


@dataclass(frozen=True, slots=True)
class Spool:
    """The folder in which incoming files are kept, without a name, so that nothing is left of them after a crash."""

    folder: Path
    keep_free_bytes: int
    "free space on the disk that uploads must leave"

    def require_room(self, further_bytes: int) -> None:
        """Raise DiskFull if the disk has no room for this many more bytes."""
        require_room(self.folder, self.keep_free_bytes + further_bytes, NOT_STORED)


@asynccontextmanager
async def limited_form(
    request: Request,
    max_bytes: int,
    places: UploadPlaces,
    spool: Spool,
    look: Callable[[str, str], object] | None = None,
) -> AsyncIterator[FormData]:
    """Read a request's form with at most one file. Its temporary files are removed at the end of the block.

    max_bytes: largest size of the file. A larger form is refused as soon as that is known: by its declared length, or
        while it is read.
    look: called as look(name, text) for each field as it comes; whatever it raises ends the reading.

    Raises BadRequest, TooMany, DiskFull, and what look() raises. A form that is too large looks like a disconnect
    here; portal/http/bodies.py answers it.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"utf-8").lower() not in UTF_8:  # some codecs would block the event loop for minutes
        raise BadRequest("The form is not in UTF-8.", "Send it as multipart/form-data in UTF-8.")
    too_large = UploadTooLarge(
        f"The upload is larger than {max_bytes // 2**20} MB.",
        "Use a smaller picture or a shorter clip; the operator can raise max_upload_bytes.",
    )
    is_multipart = kind.startswith(b"multipart/")
    body_limit_bytes = max_bytes + FORM_OVERHEAD_BYTES if is_multipart else PLAIN_FORM_BYTES
    allow_body(request.scope, body_limit_bytes, too_large, places.floor_bytes)
    try:
        with places.taken(request.scope), disk_full_explained(NOT_STORED):
            is_form_data = kind == b"multipart/form-data"
            boundary = options.get(b"boundary", b"")
            form = await (_Parser(request, boundary, spool, look).parse() if is_form_data else request.form())
            try:
                yield form
            finally:
                await form.close()
    except (MultiPartException, HTTPException) as error:
        cause = error.message if isinstance(error, MultiPartException) else error.detail
        raise BadRequest(f"The form cannot be read: {cause}", "Send it as multipart/form-data.") from error


class _Parser(MultiPartParser):
    def __init__(
        self, request: Request, boundary: bytes, spool: Spool, look: Callable[[str, str], object] | None
    ) -> None:
        super().__init__(
            request.headers,
            self._bounded(request.stream(), b"\r\n--" + boundary),
            max_files=1,
            max_fields=MAX_FIELDS,
            max_part_size=PLAIN_FORM_BYTES,
        )
        self._spool = spool
        self._look = look
        self._data_bytes = 0
        "size of the data of all parts so far"

    async def _bounded(self, stream: AsyncGenerator[bytes], delimiter: bytes) -> AsyncGenerator[bytes]:
        """Pass the stream on as long as it can be parsed quickly.

        The parser goes byte by byte through everything that is not data of a part, so both the number of boundaries and
        the bytes outside of data are limited. Raises MultiPartException.
        """
        boundaries, came_bytes, end = 0, 0, b""
        async for chunk in stream:
            looked_at = end + chunk
            boundaries += looked_at.count(delimiter)
            end = looked_at[1 - len(delimiter) :]
            if boundaries > MAX_BOUNDARIES:
                raise MultiPartException("Its boundary is found in its data.")
            yield chunk
            came_bytes += len(chunk)
            if came_bytes - self._data_bytes > FORM_OVERHEAD_BYTES:
                raise MultiPartException("There is too much between its parts.")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data_bytes += end - start
        super().on_part_data(data, start, end)

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        part = self._current_part
        if part.file is not None:  # Starlette would use the system's temporary folder, which may be in memory
            self._spool.folder.mkdir(parents=True, exist_ok=True)
            file = SpooledTemporaryFile(  # noqa: SIM115 - closed with the form
                max_size=self.spool_max_size, dir=str(self._spool.folder)
            )
            self._files_to_close_on_error.append(file)
            part.file = _Spooled(file, part.file, self._spool)

    def on_part_end(self) -> None:
        super().on_part_end()
        name, text = self.items[-1]
        if self._look is not None and isinstance(text, str):
            self._look(name, text)


class _Spooled(UploadFile):
    def __init__(self, file: SpooledTemporaryFile[bytes], told: UploadFile, spool: Spool) -> None:
        super().__init__(file, size=0, filename=told.filename, headers=told.headers)  # type: ignore[arg-type]
        self._spool = spool
        self._unchecked_bytes = ROOM_EVERY_BYTES

    async def write(self, data: bytes) -> None:
        self._unchecked_bytes += len(data)
        if self._unchecked_bytes >= ROOM_EVERY_BYTES:
            self._unchecked_bytes = 0
            await run_in_threadpool(self._spool.require_room, ROOM_EVERY_BYTES)
        await super().write(data)

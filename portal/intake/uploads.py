"""Files that come in over HTTP: limited while they are read, stored completely or not at all, under our own names."""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from avatars.confined import LONG_LOOK, QUICK_LOOK, TOOK_TOO_LONG, Limits, run_confined
from avatars.disk import disk_full_explained
from avatars.errors import BadMedia
from avatars.pieces import family_of
from models.errors import VivavoceError
from pipeline.clock import Clock, SystemClock
from pipeline.errors import BadRequest
from portal.errors import QueueFull, UnsupportedMedia
from portal.http.bodies import UploadPlaces
from portal.http.limits import AddressAllowance, AddressShares, TooMany, TooOften, Turns
from portal.http.proxies import address_of
from portal.intake.forms import NOT_STORED, Spool, limited_form

__all__ = ["MAX_SPEECH_S", "YES", "HandedIn", "Uploads", "check_media", "check_speech"]

T = TypeVar("T")

MAX_SPEECH_S = 600.0
"Longest recording for a clip."
LOOKED_AT = 2
"Files examined at a time in the quick lane."
DOUBTED_S = 600.0
"How long a family of formats is doubted after a file of it took too long; see Uploads."
MAX_WAITING, MAX_WAITING_FIRST = 50, 150
"""Most uploads that wait to be examined; further ones are refused. The second number counts for an address with no
other upload in the line, so that a few addresses cannot fill it for all."""
MAX_WAITING_EACH = 10
"Most uploads of one address that wait or are being examined, so that nobody fills the line for everybody else."
MAX_SLOW = 8
"Most files in the slow lane, which examines one at a time; further ones are refused."
WASTED_S, WASTED_PER_S = 16.0, 0.05
"""Processor time that one address may waste on files that take too long, at once and per second: two such files at
once, then about one every three minutes."""
YES = frozenset({"1", "true", "yes", "on"})
"Values by which a form says that a box was ticked, in lower case."


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A form with a file that has been read and stored."""

    path: Path
    "path of the stored file"
    file_name: str
    "name of the file at its sender"
    texts: Mapping[str, str]
    "the form's other fields"

    @contextmanager
    def or_removed(self) -> Iterator[None]:
        """Remove the file if the block raises."""
        try:
            yield
        except BaseException:  # whatever went wrong, nobody else knows of the file
            self.path.unlink(missing_ok=True)
            raise

    def is_on(self, name: str) -> bool:
        """Whether a field says yes. A missing field does not."""
        return self.texts.get(name, "").lower() in YES


class Uploads:
    """Keeps incoming files in `<data_dir>/uploads` until a job takes them over, and has them examined.

    Files are examined a few at a time, in threads of their own, so that other requests are not delayed.

    A file may be made to keep its reader busy up to the time limit. Such a file delays only files of the same family of
    formats: the family is then doubted for a while, and files of doubted families are examined one at a time, in a lane
    of their own. So an attack by one format, however new, does no harm to users of other formats. Families whose pieces
    are not counted (see avatars.pieces) are always doubted.
    """

    def __init__(self, data_dir: Path, keep_free_bytes: int = 0, clock: Clock | None = None) -> None:
        """keep_free_bytes: free space on the disk that uploads must leave."""
        self._clock = clock or SystemClock()
        self.places = UploadPlaces(self._clock)
        self._folder = data_dir / "uploads"
        self._spool = Spool(self._folder, keep_free_bytes)
        self._quick_lane = anyio.CapacityLimiter(LOOKED_AT)
        self._doubtful_lane, self._slow_lane = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)
        self._threads = anyio.CapacityLimiter(LOOKED_AT + 2)
        "one thread for each place in a lane"
        self._doubted_until_s: dict[str, float] = {}
        "families of which a file took too long -> until when they are doubted"
        self._slow = 0
        "number of files in the slow lane"
        self._turns = Turns()
        "turns of the addresses whose uploads wait or are being examined"
        self._waiting_each = AddressShares(MAX_WAITING_EACH)
        self._wasted = AddressAllowance(self._clock, burst=WASTED_S, per_s=WASTED_PER_S)

    def form(
        self, request: Request, max_bytes: int, look: Callable[[str, str], object] | None = None
    ) -> AbstractAsyncContextManager[FormData]:
        """Read a form; see limited_form()."""
        return limited_form(request, max_bytes, self.places, self._spool, look)

    async def handed_in(self, request: Request, max_bytes: int, what: str) -> HandedIn:
        """Read a form, and store the file in its field `file`.

        what: what that file is, in words for the hint if it is missing.

        Raises BadRequest (cause no_file), and what form() and store() raise.
        """
        async with self.form(request, max_bytes) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise BadRequest("There is no file in the form.", f"Send {what} in the field 'file'.", cause="no_file")
            texts = {name: text for name, text in form.items() if isinstance(text, str)}
            path = await self.store(file, address_of(request.scope))
            return HandedIn(path, file.filename or "", texts)

    async def store(self, upload: UploadFile, address: str) -> Path:
        """Write an upload of an address to a file with a name of our own.

        Raises QueueFull (too many uploads wait to be examined), DiskFull; then no file is left behind.
        """
        waiting = len(self._turns) - LOOKED_AT
        if waiting >= (MAX_WAITING if self._waiting_each.has(address) else MAX_WAITING_FIRST):
            raise QueueFull(f"{waiting} uploads wait to be looked at.", "Try again in a minute.", cause="uploads")
        return await run_in_threadpool(self._copy, upload)

    async def submit(self, submit: Callable[[Limits], T], path: Path, address: str = "") -> T:
        """Call `submit`, which examines a stored file within given limits and accepts it. A refused file is removed.

        It is called in a thread, once a lane has a place. If it takes longer than an ordinary file needs, it is broken
        off and started again in the slow lane, which has one place. Files of one address are examined one after
        another.

        Raises TooMany (this address has as many files waiting as one address may have), QueueFull (the slow lane is
        full), TooOften (this address has sent several files that took too long), and what submit() raises.
        """
        of_address = TooMany(
            f"{MAX_WAITING_EACH} files from your address are waiting to be checked.",
            "Wait until one of them has been checked, then send this one again.",
            cause="uploads",
        )
        with _removed_if_refused(path), self._waiting_each.held(address, of_address):
            async with self._turns.of(address):
                self._refuse_debtor(address)
                try:
                    return await self._look_quickly(submit, await run_in_threadpool(_family_of, path), address)
                except VivavoceError as error:
                    if error.cause != TOOK_TOO_LONG:
                        raise
                with self._waiting_for_slow_lane():
                    async with self._slow_lane:
                        return await self._look(submit, LONG_LOOK, address)

    async def _look_quickly(self, submit: Callable[[Limits], T], family: str, address: str) -> T:
        # While a file waits for a place in a lane, its family may move to the other lane. Then it waits there instead.
        while True:
            lane = self._lane_of(family)
            async with lane:
                if lane is not self._lane_of(family):
                    continue
                try:
                    return await self._look(submit, QUICK_LOOK, address)
                except VivavoceError as error:
                    if error.cause == TOOK_TOO_LONG:
                        self._doubted_until_s[family] = self._clock.now_s() + DOUBTED_S
                    raise

    def _lane_of(self, family: str) -> anyio.CapacityLimiter:
        is_doubted = not family or self._clock.now_s() < self._doubted_until_s.get(family, -math.inf)
        return self._doubtful_lane if is_doubted else self._quick_lane

    async def _look(self, submit: Callable[[Limits], T], limits: Limits, address: str) -> T:
        try:
            return await anyio.to_thread.run_sync(submit, limits, limiter=self._threads)
        except VivavoceError as error:
            if error.cause == TOOK_TOO_LONG:
                self._wasted.charge(address, limits.cpu_s)
            raise

    def _refuse_debtor(self, address: str) -> None:
        """Raise TooOften if an address has wasted too much processor time."""
        wait_s = self._wasted.take(address, 0.0)
        if wait_s > 0:
            raise TooOften(
                "Your address has sent several files that took too long to read.",
                f"Wait {math.ceil(wait_s)} s, then try another file.",
                wait_s,
            )

    @contextmanager
    def _waiting_for_slow_lane(self) -> Iterator[None]:
        if self._slow >= MAX_SLOW:
            raise QueueFull(
                f"{self._slow} files that are hard to read wait to be looked at.",
                "Try again in a minute.",
                cause="uploads",
            )
        self._slow += 1
        try:
            yield
        finally:
            self._slow -= 1

    def _copy(self, upload: UploadFile) -> Path:
        # No suffix, because a suffix from the client would influence how the file is read. Only its bytes count.
        path = self._folder / secrets.token_hex(8)
        self._spool.require_room(upload.size or 0)
        with disk_full_explained(NOT_STORED):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("wb") as file:
                    shutil.copyfileobj(upload.file, file)
            except BaseException:  # whatever went wrong, half a file is of no use
                path.unlink(missing_ok=True)
                raise
        return path


@contextmanager
def _removed_if_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:  # including a client that hangs up; no job will remove the file
        path.unlink(missing_ok=True)
        raise


def _family_of(path: Path) -> str:
    """Return the family of a file's format; "" if it cannot be read, and then whoever examines it raises an error."""
    try:
        return family_of(path)
    except BadMedia:
        return ""


def check_media(path: Path, limits: Limits = LONG_LOOK) -> bool:
    """Check the header of a photo or clip, or the names in a zipped foreign avatar, without decoding anything.

    Return whether it is anything but a photo. Raises AvatarError (BadMedia, BadImport) with its cause and remedy.
    """
    from avatars.source import check_source

    return bool(run_confined(check_source, limits, _ignored, path))


def check_speech(path: Path, limits: Limits = LONG_LOOK) -> float:
    """Return the length of a recording in seconds, from its packets; little is decoded. Raises UnsupportedMedia."""
    from avatars.sound import check_sound

    try:
        return float(run_confined(check_sound, limits, _ignored, path, MAX_SPEECH_S))
    except BadMedia as error:
        raise UnsupportedMedia(error.message, error.hint, cause=error.cause) from error


def _ignored(_item: object) -> None:
    """Ignore an item; examining a file emits none."""

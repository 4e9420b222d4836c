"""The folder of a foreign avatar, on disk or in a zip. A zip is read in place and never unpacked.

So nothing in a zip can be written anywhere. The length of its list of files is limited before it is parsed, and their
declared sizes before the first byte is inflated. No file is inflated beyond its declared size.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from avatars.errors import BadImport

__all__ = ["MAX_FILES", "MAX_RATIO", "MAX_UNPACKED_BYTES", "ForeignFolder", "is_import", "open_folder"]

MAX_FILES: Final = 20_000
"Folders count as well."
MAX_DIRECTORY_BYTES: Final = 200 * MAX_FILES
"Limit for a zip's list of its files (the central directory)."
DIRECTORY_ENTRY: Final = b"PK\x01\x02"
"First bytes of each entry of that list."
MAX_UNPACKED_BYTES: Final = 8 * 2**30
MAX_RATIO: Final = 100
"""A zip that claims to hold more than this many times its own size is taken for a bomb: pictures can hardly be
compressed further."""
COPIED_BYTES: Final = 2**20
"Piece size for reading and copying."
LANDMARK_FILE: Final = "coords.pkl"
"Every project that can be imported stores its boxes in this file."
NUMBERED: Final = re.compile(r"([0-9]{1,18})\.(?:png|jpe?g)", re.IGNORECASE)
READ_HINT: Final = (
    "Name the folder of one avatar (or a zip of it) of LiveTalking, MuseTalk or OpenAvatarChat: "
    "it has coords.pkl and full_imgs in it."
)
ZIP_HINT: Final = "Zip the avatar's folder again, with an ordinary program."
DOCUMENT_FILES: Final = ("[Content_Types].xml", "mimetype")
"Files in the zips of Office, OpenDocument and EPUB documents."
MEDIA_NAME: Final = re.compile(r".*\.(jpe?g|png|webp|heic|avif|gif|mp4|mov|m4v|webm|mkv|avi)", re.IGNORECASE)
FOREIGN: Final = {
    "frames.bin": ("a Vivavoce avatar", "It is one already: copy its folder into `avatars` in the data folder."),
    "net_encode.pt": ("a lite-avatar", "Prepare its bg_video.mp4 instead."),
    "combined_data.json.gz": ("a DH_live avatar", "Prepare its video instead."),
}
"Name of a telling file -> (what the folder is, what to do instead)."


@dataclass(frozen=True, slots=True, eq=False)
class ForeignFolder:
    """The files of one avatar. Names are paths relative to its folder, with slashes."""

    name: str
    "the name of the folder itself"
    sizes: Mapping[str, int]
    "name -> size in bytes"
    _open: Callable[[str], IO[bytes]]

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def numbered(self, folder: str) -> list[str]:
        """Return the paths of the numbered pictures in a subfolder, ordered by number."""
        found = []
        for path in self.sizes:
            below, _, name = path.rpartition("/")
            number = NUMBERED.fullmatch(name)
            if below == folder and number is not None:
                found.append((int(number[1]), path))
        return [path for _, path in sorted(found)]

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return a file's content. Raises BadImport if it is missing, over the limit or damaged."""
        self._check(name, limit_bytes)
        return b"".join(self._pieces(name))

    def copy(self, name: str, target: Path, limit_bytes: int) -> None:
        """Copy a file to a new one, piece by piece. Raises BadImport as read() does, OSError if the disk is full."""
        self._check(name, limit_bytes)
        with target.open("xb") as copied:
            for piece in self._pieces(name):
                copied.write(piece)

    def _pieces(self, name: str) -> Iterator[bytes]:
        left = self.sizes[name]
        with _damage_explained(name), self._open(name) as file:
            # Always pass a size: otherwise zipfile would inflate all of a member before cutting it to its declared
            # size.
            while left and (piece := file.read(min(left, COPIED_BYTES))):
                left -= len(piece)
                yield piece

    def _check(self, name: str, limit_bytes: int) -> None:
        size = self.sizes.get(name)
        if size is None:
            raise BadImport(f"{name} is missing.", READ_HINT, cause="incomplete")
        if size > limit_bytes:
            raise BadImport(
                f"{name} has {size / 2**20:.0f} MB; at most {limit_bytes / 2**20:.0f} are read.",
                READ_HINT,
                cause="too_large",
            )


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BadImport(f"{name} cannot be read.", "Copy the folder again.", cause="damaged") from error


def is_import(path: Path) -> bool:
    """Whether it is a folder or a zip, as opposed to a photo or a clip."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


@contextmanager
def open_folder(path: Path) -> Iterator[ForeignFolder]:
    """Find the one avatar in a folder or zip; it may lie in a subfolder.

    Raises BadImport if there is no avatar or several, or if a zip is damaged or hostile.
    """
    if path.is_dir():
        yield _only_avatar(path.resolve().name, _sizes_on_disk(path), lambda name: (path / name).open("rb"))
        return
    with ExitStack() as opened:
        try:
            file = opened.enter_context(_ZipBytes(io.FileIO(path)))
            archive = opened.enter_context(zipfile.ZipFile(file))
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise BadImport("The zip cannot be read.", ZIP_HINT, cause="damaged") from error
        members = _members_of(archive, path.stat().st_size)
        sizes = {name: one.file_size for name, one in members.items()}
        yield _only_avatar(path.stem, sizes, lambda name: archive.open(members[name]))


def _sizes_on_disk(root: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    entries = 0
    for place, folders, names in os.walk(root):
        entries += len(folders) + len(names)
        if entries > MAX_FILES:
            raise BadImport(f"The folder has more than {MAX_FILES} files and folders.", READ_HINT, cause="too_large")
        for name in names:
            file = Path(place, name)
            if file.is_file():
                sizes[file.relative_to(root).as_posix()] = file.stat().st_size
    return sizes


class _ZipBytes(io.BufferedReader):
    """Passes a zip's bytes to zipfile, and refuses a list of files that is too long.

    zipfile reads this list with one call of read(), and parses exactly what that returned. So the check here holds
    wherever the list is in the file, and whatever length the zip claims for it.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like BufferedReader. Raises BadImport if the data would be too long, or hold too many entries."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            most = MAX_DIRECTORY_BYTES / 2**20
            raise BadImport(
                f"The zip's list of files has {size / 2**20:.0f} MB; at most {most:.0f} are read.",
                ZIP_HINT,
                cause="too_large",
            )
        data = super().read(size)
        entries = data.count(DIRECTORY_ENTRY)
        if entries > MAX_FILES:
            raise BadImport(
                f"The zip has {entries} files and folders; at most {MAX_FILES} are taken.", ZIP_HINT, cause="too_large"
            )
        return data


def _members_of(archive: zipfile.ZipFile, packed_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return name with slashes -> entry, for all files in a zip. Raises BadImport for a hostile one."""
    entries = ((_with_slashes(one.orig_filename), one) for one in archive.infolist())
    members = {name: one for name, one in entries if not name.endswith("/")}
    for name, one in members.items():
        _check_member(name, one)
    unpacked_bytes = sum(one.file_size for one in members.values())
    if unpacked_bytes > MAX_RATIO * packed_bytes:
        raise BadImport(
            f"The zip claims to hold {unpacked_bytes / 2**20:.0f} MB, more than {MAX_RATIO} times its own size.",
            f"It looks like a bomb and was not opened. {ZIP_HINT}",
            cause="bomb",
        )
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise BadImport(
            f"The zip holds {unpacked_bytes / 2**30:.1f} GB; at most {MAX_UNPACKED_BYTES / 2**30:.0f} are taken.",
            "Leave out frames.pkl and masks.pkl if full_imgs is there, or shorten the avatar.",
            cause="too_large",
        )
    return members


def _with_slashes(name: str) -> str:
    """Normalise a name in a zip: some programs on Windows write backslashes, others a leading `./`."""
    slashed = name.replace("\\", "/")
    return f"{PurePosixPath(slashed)}{'/' if slashed.endswith('/') else ''}"


def _check_member(name: str, one: zipfile.ZipInfo) -> None:
    shown = repr(name[:120])
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        raise BadImport(f"The zip has a file {shown}, whose path leads out of it.", ZIP_HINT, cause="unsafe")
    if stat.S_ISLNK(one.external_attr >> 16):
        raise BadImport(f"The zip has a link {shown} in place of a file.", ZIP_HINT, cause="unsafe")
    if one.flag_bits & 1:
        raise BadImport(f"The file {shown} in the zip is encrypted.", "Zip it without a password.", cause="encrypted")
    if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadImport(
            f"The file {shown} is packed in an unusual way ({one.compress_type}).", ZIP_HINT, cause="packing"
        )


def _only_avatar(name: str, sizes: Mapping[str, int], open_file: Callable[[str], IO[bytes]]) -> ForeignFolder:
    paths = [PurePosixPath(one) for one in sizes]
    roots = sorted({path.parent for path in paths if path.name == LANDMARK_FILE})
    if len(roots) > 1:
        some = ", ".join(str(root) for root in roots[:5])
        raise BadImport(f"There are {len(roots)} avatars in it: {some}.", "Import them one at a time.", cause="several")
    if not roots:
        for path in paths:
            if path.name in FOREIGN:
                what, remedy = FOREIGN[path.name]
                raise BadImport(f"This is {what}, which cannot be imported.", remedy, cause="unknown")
        if any(path.name in DOCUMENT_FILES for path in paths):
            raise BadImport("Documents are not taken.", "Save the picture in it as JPEG or PNG.", cause="document")
        if any(MEDIA_NAME.fullmatch(path.name) and not NUMBERED.fullmatch(path.name) for path in paths):
            raise BadImport(
                "There is no avatar in the zip, only pictures or clips.",
                "Unpack it, and upload one of them.",
                cause="media",
            )
        raise BadImport(
            f"There is no avatar in {name[:120]!r}: no {LANDMARK_FILE} is in it.", READ_HINT, cause="unknown"
        )
    (root,) = roots
    before = "" if root == PurePosixPath() else f"{root}/"
    below = {one.removeprefix(before): size for one, size in sizes.items() if one.startswith(before)}
    return ForeignFolder(root.name or name, below, lambda one: open_file(before + one))

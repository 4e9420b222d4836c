"""The partial file of a download, which makes it possible to resume later.

The part of `unet.pth` is `unet.pth.part`. A note beside it, `unet.pth.part.json`, identifies the file it belongs to: by
its checksum if that is known, else by the server's ETag. A part is only continued with the same file. A checksum that
the hub has stated once must hold, wherever the rest comes from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Download", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies the version of a file that a part belongs to. Without checksum and ETag nothing can be resumed."""

    sha256: str = ""
    etag: str = ""
    size_bytes: int | None = None

    def continues(self, other: Identity) -> bool:
        """Whether a part with this identity can be continued with that file."""
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return bool(self.etag) and self.etag == other.etag


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch."""

    url: str
    target: Path
    size_bytes: int | None = None
    sha256: str = ""
    token: str = ""
    "sent to this server only, not to those it redirects to"

    @property
    def part(self) -> Path:
        """Path of the partial file."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        """Path of the note."""
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def part_bytes(self) -> int:
        """Size of the partial file, whatever file it belongs to."""
        return self.part.stat().st_size if self.part.exists() else 0

    def kept_bytes(self, noted: Identity) -> int:
        """Return how many bytes of the wanted file exist. noted: what the part belongs to."""
        wanted = Identity(self.sha256 or noted.sha256, noted.etag)
        return self.part_bytes if noted.continues(wanted) else 0

    def discard(self) -> None:
        """Delete the part and its note."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def read_note(self) -> Identity:
        """Return what the part belongs to; an empty Identity if unknown."""
        try:
            content = json.loads(self.note.read_text(encoding="utf-8"))
            return Identity(str(content["sha256"]), str(content["etag"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Identity()

    def write_note(self, identity: Identity) -> None:
        """Note what the part belongs to."""
        content = {"sha256": identity.sha256, "etag": identity.etag}
        self.note.write_text(json.dumps(content, indent=1), encoding="utf-8")

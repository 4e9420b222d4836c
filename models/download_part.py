"""What has come of a file that is being fetched, so that it can go on another time.

What has come of `unet.pth` lies in `unet.pth.part`, with a note (`unet.pth.part.json`) of which file it is a part of:
its checksum if that is known, else the server's ETag. A part is only ever continued with the same file, and a checksum
that the hub once stated must hold, wherever the rest comes from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Download", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which version of a file a part belongs to. Without checksum and ETag nothing can be resumed."""

    sha256: str = ""
    etag: str = ""
    size_bytes: int | None = None

    def continues(self, other: Identity) -> bool:
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return bool(self.etag) and self.etag == other.etag


@dataclass(frozen=True, slots=True)
class Download:
    """One file to be fetched."""

    url: str
    target: Path
    size_bytes: int | None = None
    sha256: str = ""
    token: str = ""
    "sent to this server, and not to others it leads to"

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def note(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def part_bytes(self) -> int:
        """How much has come, of whatever file."""
        return self.part.stat().st_size if self.part.exists() else 0

    def kept_bytes(self, noted: Identity) -> int:
        """How much has come of the file that is wanted. noted: what the part belongs to."""
        wanted = Identity(self.sha256 or noted.sha256, noted.etag)
        return self.part_bytes if noted.continues(wanted) else 0

    def discard(self) -> None:
        """Forget what has come."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def read_note(self) -> Identity:
        """What the part belongs to; nothing if that cannot be told."""
        try:
            content = json.loads(self.note.read_text(encoding="utf-8"))
            return Identity(str(content["sha256"]), str(content["etag"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Identity()

    def write_note(self, identity: Identity) -> None:
        """Say what the part belongs to."""
        content = {"sha256": identity.sha256, "etag": identity.etag}
        self.note.write_text(json.dumps(content, indent=1), encoding="utf-8")

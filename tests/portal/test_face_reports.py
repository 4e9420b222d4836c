"""Strips of face reports are kept whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from portal.jobs.face_reports import FaceReports


def strip(folder: Path, content: bytes) -> list[Path]:
    paths = [folder / "strip-00.jpg", folder / "strip-01.jpg"]
    for path in paths:
        path.write_bytes(content)
    return paths


def test_a_strip_kept_again_replaces_the_one_before(tmp_path: Path) -> None:
    """The stage that keeps it may run twice."""
    reports = FaceReports(tmp_path)
    reports.keep("ada", strip(tmp_path, b"one"))
    reports.keep("ada", strip(tmp_path, b"two")[:1])
    assert reports.pictures("ada") == ["strip-00.jpg"]
    assert reports.path("ada", "strip-00.jpg").read_bytes() == b"two"


def test_a_full_disk_leaves_no_half_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second picture does not fit: neither is kept, and the strip from before stays."""
    reports = FaceReports(tmp_path)
    pictures = strip(tmp_path, b"one")
    reports.keep("ada", pictures)
    copy = shutil.copyfile

    def copy_one(source: Path, target: Path) -> Any:
        if source == pictures[1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_one)
    for avatar_id in ("ada", "new"):
        with pytest.raises(OSError, match="space"):
            reports.keep(avatar_id, pictures)
    assert len(reports.pictures("ada")) == 2 and reports.pictures("new") == []
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["ada"]

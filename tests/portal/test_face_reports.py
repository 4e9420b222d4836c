"""Strips of face reports are kept whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from portal.jobs.face_reports import FaceReports
from tests.unreadable import unreadable


def strip(content: bytes, pictures: int = 2) -> dict[str, bytes]:
    return {f"strip-{place:02d}.jpg": content for place in range(pictures)}


def test_a_strip_kept_again_replaces_the_one_before(tmp_path: Path) -> None:
    """The step that keeps it may run twice."""
    reports = FaceReports(tmp_path)
    reports.keep("ada", strip(b"one"), "first")
    reports.keep("ada", strip(b"two", 1), "second")
    assert reports.pictures("ada") == ["strip-00.jpg"]
    assert reports.path("ada", "strip-00.jpg").read_bytes() == b"two"
    assert reports.job_of("ada") == "second" and reports.job_of("bea") is None


def test_whose_report_it_is_that_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    """Earlier versions noted no job, and their reports are taken for the oldest job's."""
    reports = FaceReports(tmp_path)
    reports.keep("ada", strip(b"one"), "first")
    with unreadable(tmp_path / "reports" / "ada" / "job.txt"), pytest.raises(OSError, match="output error"):
        reports.job_of("ada")
    (tmp_path / "reports" / "ada" / "job.txt").unlink()
    assert reports.job_of("ada") == ""
    assert reports.job_of("../ada") is reports.job_of("a" * 5000) is None


def test_a_full_disk_leaves_no_half_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second picture does not fit: neither is kept, and the strip from before stays."""
    reports = FaceReports(tmp_path)
    pictures = strip(b"one")
    reports.keep("ada", pictures, "first")
    write = Path.write_bytes

    def write_one(path: Path, content: bytes) -> int:
        if path.name == "strip-01.jpg":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_one)
    for avatar_id in ("ada", "new"):
        with pytest.raises(OSError, match="space"):
            reports.keep(avatar_id, pictures, "second")
    assert len(reports.pictures("ada")) == 2 and reports.pictures("new") == []
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["ada"]

"""Disk troubles for the trials of `launch.py chaos`, and a search for files that they left incomplete."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from avatars.bundle import AvatarBundle
from avatars.errors import AvatarError
from portal.jobs.records import JobFolders

__all__ = ["NotHere", "filled", "half_written", "read_only", "small_disk"]

SMALL_DISK_MB = 300
BLOCK_BYTES = 2**20


class NotHere(Exception):
    """Raised when a trial cannot be run on this machine. Its text says why."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of SMALL_DISK_MB, in memory, at the folder. Provides False if this user may not do that."""
    if os.getuid() != 0 or not _mounted("-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(folder)):
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)  # noqa: S607


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make the folder read-only for the length of the block. Raises NotHere if this user or system cannot do that.

    Files that are already open for writing stay writable.
    """
    if os.getuid() != 0 or not _mounted("--bind", str(folder), str(folder)):
        raise NotHere("only root can make a folder read-only for itself")
    try:
        if not _mounted("-o", "remount,bind,ro", str(folder)):
            raise NotHere("this system makes no folder read-only")
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)  # noqa: S607


def _mounted(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0  # noqa: S607
    except OSError:
        return False


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill the small disk to the last byte for the length of the block."""
    fill = folder / "chaos.fill"
    try:
        with fill.open("wb", buffering=0) as file:
            for size in (BLOCK_BYTES, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        yield
    finally:
        fill.unlink(missing_ok=True)


def half_written(data: Path, done: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return what is incomplete or left over in a data folder. No job may be in progress.

    done: ids of jobs whose clip must exist. known: ids of all jobs; clips of other ids are reported.
    """
    faults = []
    for path in sorted((data / "avatars").glob("[!.]*")):
        try:
            AvatarBundle.open(path)
        except AvatarError as error:
            faults.append(f"{path.name}: {error.message}")
    clips = {path.stem: path for path in (data / "clips").glob("[!.]*.mp4")}
    faults += [f"clip {job_id} is missing" for job_id in done if job_id not in clips]
    faults += [f"clip {job_id} is nobody's" for job_id in sorted(clips.keys() - set(known))]
    faults += [f"clip {job_id} breaks off" for job_id, path in clips.items() if not _plays(path)]
    for path in data.rglob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            faults.append(f"{path.relative_to(data)} is no JSON")
    return faults + [f"work of job {job_id} is left" for job_id in JobFolders(data).in_hand()]


def _plays(clip: Path) -> bool:
    """Return whether a clip can be decoded to its end, with as many pictures as its header says."""
    try:
        with av.open(str(clip)) as source:
            told = source.streams.video[0].frames
            return sum(1 for _ in source.decode(video=0)) == told > 0
    except (av.FFmpegError, IndexError):
        return False

"""Files that wait to be looked at do not hold up anybody else."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from avatars.errors import DiskFull
from portal.errors import QueueFull
from portal.intake import uploads as module
from portal.intake.uploads import LOOKED_AT, Uploads


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_few_files_are_looked_at_at_a_time_and_few_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a look takes, other requests have their threads; beyond the bound an upload is refused, unstored."""
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    uploads, go_on = Uploads(tmp_path), threading.Event()
    looking = threading.Semaphore(0)

    def look() -> Any:
        looking.release()
        go_on.wait(30)

    looks = [asyncio.create_task(uploads.submit(look, tmp_path / "none", str(n))) for n in range(LOOKED_AT + 1)]
    try:
        for _ in range(LOOKED_AT):
            assert await run_in_threadpool(looking.acquire, timeout=30)
        with pytest.raises(QueueFull) as told:
            await uploads.store(UploadFile(io.BytesIO(b"more")))
        assert told.value.hint and stored(tmp_path) == []
        assert not looking.acquire(blocking=False)
    finally:
        go_on.set()
        await asyncio.gather(*looks)
    assert (await uploads.store(UploadFile(io.BytesIO(b"more")))).read_bytes() == b"more"


async def test_part_of_the_disk_stays_free(tmp_path: Path) -> None:
    """An upload that would leave less than is kept free is refused, with nothing left behind."""
    with pytest.raises(DiskFull, match="kept free") as caught:
        await Uploads(tmp_path, keep_free_bytes=10**18).store(UploadFile(io.BytesIO(b"pixels"), size=6))
    assert caught.value.hint
    assert stored(tmp_path) == []


async def test_files_of_one_address_are_looked_at_one_after_another(tmp_path: Path) -> None:
    """However many hard files somebody hands in, somebody else's is looked at beside the first of them."""
    uploads, go_on = Uploads(tmp_path), threading.Event()
    looking = threading.Semaphore(0)

    def look() -> Any:
        looking.release()
        go_on.wait(30)

    def look_at_once() -> Any:
        return "looked at"

    hard = [asyncio.create_task(uploads.submit(look, tmp_path / "none", "203.0.113.1")) for _ in range(6)]
    assert await run_in_threadpool(looking.acquire, timeout=30)
    try:
        looked = await uploads.submit(look_at_once, tmp_path / "none", "203.0.113.2")
        assert str(looked) == "looked at"
        assert not looking.acquire(blocking=False)
    finally:
        go_on.set()
        await asyncio.gather(*hard)
    assert not uploads._turns

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

from avatars.confined import QUICK_LOOK, TOOK_TOO_LONG, Limits
from avatars.errors import BadMedia, DiskFull
from pipeline.clock import ManualClock
from portal.errors import QueueFull
from portal.http.limits import TooMany, TooOften
from portal.intake import uploads as module
from portal.intake.uploads import DOUBTED_S, LOOKED_AT, MAX_WAITING_EACH, Uploads


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def photo(folder: Path) -> Path:
    """What looks like one by its first bytes."""
    path = folder / "photo"
    path.write_bytes(b"\xff\xd8\xff")
    return path


async def test_few_files_are_looked_at_at_a_time_and_few_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a look takes, other requests have their threads; beyond the bound an upload is refused, unstored."""
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    monkeypatch.setattr(module, "MAX_WAITING_FIRST", 2)
    uploads, go_on = Uploads(tmp_path), threading.Event()
    looking = threading.Semaphore(0)

    def look(_limits: Limits) -> Any:
        looking.release()
        go_on.wait(30)

    path = photo(tmp_path)
    looks = [asyncio.create_task(uploads.submit(look, path, str(n))) for n in range(LOOKED_AT + 1)]
    try:
        for _ in range(LOOKED_AT):
            assert await run_in_threadpool(looking.acquire, timeout=30)
        with pytest.raises(QueueFull) as told:
            await uploads.store(UploadFile(io.BytesIO(b"more")), "0")
        assert told.value.hint and stored(tmp_path) == [path]
        (await uploads.store(UploadFile(io.BytesIO(b"the first one")), "newcomer")).unlink()
        looks.append(asyncio.create_task(uploads.submit(look, path, "another newcomer")))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await uploads.store(UploadFile(io.BytesIO(b"the first one")), "newcomer")
        assert not looking.acquire(blocking=False)
    finally:
        go_on.set()
        await asyncio.gather(*looks)
    assert (await uploads.store(UploadFile(io.BytesIO(b"more")), "0")).read_bytes() == b"more"


async def test_one_address_does_not_fill_the_line_for_others(tmp_path: Path) -> None:
    """What it sends beyond its share is refused and removed. Its share is free again when its files are done."""
    uploads, go_on = Uploads(tmp_path), threading.Event()

    def look(_limits: Limits) -> str:
        go_on.wait(30)
        return "looked at"

    def another(name: str) -> Path:
        return photo(tmp_path).rename(tmp_path / name)

    mine = [asyncio.create_task(uploads.submit(look, another(str(n)), "198.51.100.7")) for n in range(MAX_WAITING_EACH)]
    await asyncio.sleep(0)  # each has taken its share
    try:
        with pytest.raises(TooMany) as told:
            await uploads.submit(look, another("beyond"), "198.51.100.7")
        assert told.value.hint and not (tmp_path / "beyond").exists()
        others = asyncio.create_task(uploads.submit(look, another("others"), "203.0.113.9"))
    finally:
        go_on.set()
        done = await asyncio.gather(*mine)
    assert await others == "looked at" and set(done) == {"looked at"}
    assert await uploads.submit(look, another("later"), "198.51.100.7") == "looked at"


async def test_part_of_the_disk_stays_free(tmp_path: Path) -> None:
    """An upload that would leave less than is kept free is refused, with nothing left behind."""
    with pytest.raises(DiskFull, match="kept free") as caught:
        await Uploads(tmp_path, keep_free_bytes=10**18).store(UploadFile(io.BytesIO(b"pixels"), size=6), "a")
    assert caught.value.hint
    assert stored(tmp_path) == []


async def test_files_of_one_address_are_looked_at_one_after_another(tmp_path: Path) -> None:
    """However many hard files somebody hands in, somebody else's is looked at beside the first of them."""
    uploads, go_on = Uploads(tmp_path), threading.Event()
    looking = threading.Semaphore(0)

    def look(_limits: Limits) -> Any:
        looking.release()
        go_on.wait(30)

    def look_at_once(_limits: Limits) -> Any:
        return "looked at"

    path = photo(tmp_path)
    hard = [asyncio.create_task(uploads.submit(look, path, "203.0.113.1")) for _ in range(6)]
    assert await run_in_threadpool(looking.acquire, timeout=30)
    try:
        looked = await uploads.submit(look_at_once, path, "203.0.113.2")
        assert str(looked) == "looked at"
        assert not looking.acquire(blocking=False)
    finally:
        go_on.set()
        await asyncio.gather(*hard)
    assert not uploads._turns


def too_slow() -> BadMedia:
    return BadMedia("It takes too long.", "Use another one.", cause=TOOK_TOO_LONG)


async def test_hard_files_never_hold_up_easy_ones(tmp_path: Path) -> None:
    """What is not done in the time of an honest file is begun again in a lane of its own, one at a time."""
    uploads, go_on = Uploads(tmp_path), threading.Event()
    in_slow_lane = threading.Semaphore(0)

    def look_hard(limits: Limits) -> Any:
        if limits == QUICK_LOOK:
            raise too_slow()
        in_slow_lane.release()
        go_on.wait(30)
        return "after all"

    hard = [asyncio.create_task(uploads.submit(look_hard, tmp_path / "none", str(n))) for n in range(4)]
    assert await run_in_threadpool(in_slow_lane.acquire, timeout=30)
    try:
        easy = [await uploads.submit(lambda limits: limits, tmp_path / "none", "easy") for _ in range(4)]
        assert easy == [QUICK_LOOK] * 4
        assert not in_slow_lane.acquire(blocking=False)
    finally:
        go_on.set()
    assert await asyncio.gather(*hard) == ["after all"] * 4


@pytest.mark.parametrize("hard_bytes", [b"\x1a\x45\xdf\xa3", b"FLV\1"])
async def test_hard_files_of_a_family_hold_up_their_own_family_only(tmp_path: Path, hard_bytes: bytes) -> None:
    """They are looked at one at a time from the moment that one took too long, or, if their pieces are not counted,
    always; all other files have the other places meanwhile, however many hard ones wait.
    """
    clock = ManualClock()
    uploads, go_on = Uploads(tmp_path, clock=clock), threading.Event()
    looking, easy_path, hard_path = threading.Semaphore(0), photo(tmp_path), tmp_path / "hard"

    def look_hard(_limits: Limits) -> Any:
        raise too_slow()

    def look_for_long(_limits: Limits) -> Any:
        looking.release()
        go_on.wait(30)
        return "at last"

    hard_path.write_bytes(hard_bytes)
    with pytest.raises(BadMedia):
        await uploads.submit(look_hard, hard_path, "0")
    hard_path.write_bytes(hard_bytes)
    hard = [asyncio.create_task(uploads.submit(look_for_long, hard_path, str(n))) for n in range(1, 6)]
    assert await run_in_threadpool(looking.acquire, timeout=30)
    try:
        easy = [uploads.submit(lambda limits: limits, easy_path, f"easy {n}") for n in range(4)]
        assert await asyncio.gather(*easy) == [QUICK_LOOK] * 4
        assert not looking.acquire(blocking=False)
    finally:
        go_on.set()
    assert await asyncio.gather(*hard) == ["at last"] * 5


async def test_a_family_is_trusted_again_after_some_time(tmp_path: Path) -> None:
    """Its files are looked at LOOKED_AT at a time then."""
    clock = ManualClock()
    uploads, path, together = Uploads(tmp_path, clock=clock), photo(tmp_path), threading.Barrier(LOOKED_AT)

    def look_hard(_limits: Limits) -> Any:
        raise too_slow()

    with pytest.raises(BadMedia):
        await uploads.submit(look_hard, path, "0")
    photo(tmp_path)
    await clock.advance(DOUBTED_S + 1)
    looks = [uploads.submit(lambda _limits: together.wait(30), path, str(n)) for n in range(LOOKED_AT)]
    assert sorted(await asyncio.gather(*looks)) == list(range(LOOKED_AT))


async def test_few_hard_files_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are refused, and removed."""
    monkeypatch.setattr(module, "MAX_SLOW", 0)
    uploads, path = Uploads(tmp_path), tmp_path / "hard"
    path.touch()

    def look(_limits: Limits) -> Any:
        raise too_slow()

    with pytest.raises(QueueFull):
        await uploads.submit(look, path, "1")
    assert not path.exists()


async def test_an_address_pays_for_looks_that_came_to_nothing(tmp_path: Path) -> None:
    """After two hard files it has to wait before a third is looked at; others need not, and it need not for ever."""
    clock = ManualClock()
    uploads, path = Uploads(tmp_path, clock=clock), tmp_path / "hard"

    def look(_limits: Limits) -> Any:
        raise too_slow()

    refused = []
    for _ in range(4):
        path.touch()
        with pytest.raises((BadMedia, TooOften)) as told:
            await uploads.submit(look, path, "1")
        refused.append(type(told.value))
        assert told.value.hint and not path.exists()
    assert refused == [BadMedia, BadMedia, BadMedia, TooOften]
    assert await uploads.submit(lambda limits: "taken", path, "2") == "taken"
    await clock.advance(1000)
    assert await uploads.submit(lambda limits: "taken", path, "1") == "taken"


async def test_a_file_that_is_refused_for_itself_is_looked_at_once(tmp_path: Path) -> None:
    """Nobody pays for it, and there is no longer look."""
    uploads, path, seen = Uploads(tmp_path), tmp_path / "bad", []

    def look(limits: Limits) -> Any:
        seen.append(limits)
        raise BadMedia("It is damaged.", "Use another one.", cause="damaged")

    for _ in range(20):
        path.touch()
        with pytest.raises(BadMedia):
            await uploads.submit(look, path, "1")
    assert seen == [QUICK_LOOK] * 20 and not path.exists()

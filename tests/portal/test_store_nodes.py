"""Two portals and a worker, as real processes with a data folder each, one Postgres, and one store that speaks S3."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from portal.commands.portal_process import PortalProcess, running_portal
from tests.portal.grey_manager import write_grey_avatar
from tests.portal.node_viewer import NodeViewer
from tests.shared_stores import HAS_S3, new_store

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(not HAS_S3, reason="moto is not installed")]

ROOT = Path(__file__).resolve().parents[2]
TALKING = ("--tts", "beep", "--lipsync", "flash", "--llm", "echo", "--avatar", "grey")
WITHIN_S = 120.0


@pytest.fixture
def options(s3: None, database_url: str, tmp_path: Path) -> tuple[str, ...]:
    for name in ("left", "right", "worker"):
        (tmp_path / name).mkdir()
    return (*TALKING, "--store-url", new_store("s3", tmp_path), "--database-url", database_url)


@pytest.fixture
def left(options: tuple[str, ...], tmp_path: Path) -> Iterator[PortalProcess]:
    """Where the avatar is."""
    write_grey_avatar(tmp_path / "left" / "avatars" / "grey")
    with running_portal(tmp_path / "left", *options, "--no-worker", "--node-name", "left") as portal:
        yield portal


@pytest.fixture
def right(left: PortalProcess, options: tuple[str, ...], tmp_path: Path) -> Iterator[PortalProcess]:
    with running_portal(tmp_path / "right", *options, "--no-worker", "--node-name", "right") as portal:
        yield portal


@contextmanager
def running_worker(data_dir: Path, options: tuple[str, ...]) -> Iterator[None]:
    with (data_dir / "worker.log").open("wb") as log:
        command = [sys.executable, str(ROOT / "launch.py"), "worker", "--data-dir", str(data_dir), *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def asking(portal: PortalProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=portal.url, trust_env=False, timeout=60) as client:
        yield client


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """What other processes do can only be looked for."""
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_what_one_portal_has_another_one_shows_and_loses(
    left: PortalProcess, right: PortalProcess, options: tuple[str, ...], tmp_path: Path
) -> None:
    """The avatar of one talks at the other; a clip that is ordered there, and made by a worker on a third machine, is
    fetched here; and when all is erased here, it is gone there: the session, the clip, and every copy.
    """
    address = f"ws://127.0.0.1:{right.port}/session"
    async with asking(left) as here, asking(right) as there, NodeViewer(address) as viewer:
        job = (await there.post("/api/clips", json={"avatar": "grey", "text": "One two three."})).json()

        async def is_over() -> bool:
            return (await here.get(f"/api/jobs/{job['id']}")).json()["state"] not in ("queued", "running")

        with running_worker(tmp_path / "worker", options):
            await until(is_over)
        made = (await here.get(f"/api/jobs/{job['id']}")).json()
        assert made["state"] == "done", made
        clip = made["result"]["clip"]
        assert (await here.get(clip)).content == (await there.get(clip)).content != b""
        await viewer.hello(avatar="grey")
        await viewer.say("Hello.")
        await viewer.until("turn", state="done")
        erased = await here.delete("/api/avatars/grey/everything")
        assert erased.status_code == 200, erased.text
        await viewer.until("error", code="session_closed")

        async def is_gone() -> bool:
            """A portal may answer by a list of the store that it got a second ago."""
            answers = [await portal.get(path) for portal in (here, there) for path in ("/api/avatars/grey", clip)]
            return {answer.status_code for answer in answers} == {404}

        await until(is_gone)

        async def is_forgotten() -> bool:
            kept = [path for name in ("left", "right") for path in (tmp_path / name).rglob("*")]
            return not any("grey" in path.name or job["id"] in path.name for path in kept)

        await until(is_forgotten)

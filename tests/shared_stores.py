"""Stores for tests: one in memory, one in a folder, and an S3 service (moto, if it is installed)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from avatars.store_objects import Objects

__all__ = ["HAS_S3", "STORES", "SlowService", "bring_back", "damaged", "new_store", "running_s3", "take_away", "unread"]

HAS_S3 = find_spec("moto") is not None and find_spec("s3fs") is not None
STORES = ("memory", "file", pytest.param("s3", marks=pytest.mark.skipif(not HAS_S3, reason="moto is not installed")))
"Kinds of stores, as parameters of a fixture."
BUCKET = "vivavoce"


class SlowService:
    """A service that takes its time, by no clock: whoever would not wait so long gives up."""

    async_impl = True

    def __init__(self) -> None:
        self.takes_s: dict[str, float] = {}
        "name of a method -> how long it takes"
        self._system: Any = fsspec.filesystem("memory")

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*given: Any, timeout: float = inf, **named: Any) -> Any:
            if timeout < self.takes_s.get(method, 0):
                raise TimeoutError
            return getattr(self._system, method)(*given, **named)

        return ask


@contextmanager
def running_s3() -> Iterator[None]:
    """Run a service with one bucket. Until the end, the environment names it, also for child processes."""
    if not HAS_S3:
        yield
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=_free_port(), verbose=False)
    server.start()
    told = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    fsspec.filesystem("s3").mkdir(BUCKET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()


def new_store(kind: str, folder: Path) -> str:
    """Return the address of a new, empty store. folder: one that belongs to the test."""
    places = {"memory": f"memory://{uuid4().hex}", "file": f"file://{folder}/share", "s3": f"s3://{BUCKET}"}
    return f"{places[kind]}/{uuid4().hex}"


@contextmanager
def unread(kind: str, name: str) -> Iterator[None]:
    """Inside the block, the index of one thing cannot be read, as where a part of a disk is damaged.

    So lists of indexes lack it, and whoever asks for it alone is told that it cannot be read.
    """
    lost, read, read_all = f"{kind}/{name}.json", Objects.read, Objects.read_all

    def failing(objects: Objects, key: str) -> bytes | None:
        if key == lost:
            raise objects.unreachable("Input/output error")
        return read(objects, key)

    def lacking(objects: Objects, folder: str, names: Sequence[str]) -> Iterator[dict[str, bytes]]:
        return read_all(objects, folder, [one for one in names if f"{folder}/{one}" != lost])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objects, "read", failing)
        patch.setattr(Objects, "read_all", lacking)
        yield


@contextmanager
def damaged(url: str, kind: str, name: str) -> Iterator[None]:
    """Inside the block, the index of one thing says nothing that could be understood."""
    objects, key = Objects(url), f"{kind}/{name}.json"
    index = objects.read(key)
    assert index is not None
    objects.write(key, b"{")
    yield
    objects.write(key, index)


def take_away(url: str) -> None:
    """Move everything in the store away, so that it seems lost."""
    _move(url, "", "-away")


def bring_back(url: str) -> None:
    _move(url, "-away", "")


def _move(url: str, before: str, after: str) -> None:
    system, place = fsspec.core.url_to_fs(url)
    source, target = f"{place}{before}", f"{place}{after}"
    if "file" in system.protocol:
        Path(source).rename(target)
        return
    for path in system.find(source):
        system.cp_file(path, path.replace(source, target, 1))
    system.rm(source, recursive=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

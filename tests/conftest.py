"""Fixtures that all tests share: small avatars, a library, stores, browsers."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from avatars.bundle import AvatarBundle, encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.library import AvatarLibrary
from portal.commands.environment import apt_offers_firefox, find_chromium, find_firefox
from tests.shared_stores import STORES, new_store, running_s3


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., AvatarBundle]:
    """Return a maker of small avatars: a colour ramp that moves by a pixel per frame; the mouth box is low in it."""

    def make(avatar_id: str = "test", frames: int = 5, width: int = 96, height: int = 128) -> AvatarBundle:
        ramp = np.linspace(0, 200, width * height * 3, dtype=np.uint8).reshape(height, width, 3)
        x0, y0, x1, y1 = width // 4, height // 2, 3 * width // 4, 7 * height // 8
        contents = BundleContents(
            id=avatar_id,
            name=avatar_id.title(),
            kind="clip",
            frames=[encode_jpeg(np.roll(ramp, index, axis=1)) for index in range(frames)],
            width=width,
            height=height,
            boxes=np.tile(np.array([x0, y0, x1, y1], np.int32), (frames, 1)),
            masks=np.full((1, y1 - y0, x1 - x0), 255, np.uint8),
            landmarks=np.zeros((frames, 478, 3), np.float32),
            loop=np.concatenate([np.arange(frames), np.arange(frames - 2, 0, -1)]).astype(np.int32),
            poster=encode_jpeg(ramp),
        )
        return write_bundle(contents, tmp_path / "avatars" / avatar_id)

    return make


@pytest.fixture
def library(tmp_path: Path) -> AvatarLibrary:
    """An empty library; avatars from make_bundle() appear in it."""
    library = AvatarLibrary(tmp_path / "avatars")
    library.root.mkdir(exist_ok=True)
    return library


@pytest.fixture(scope="session")
def s3() -> Iterator[None]:
    """An S3 service, so that stores of the kind `s3` work while this fixture is in use."""
    with running_s3():
        yield


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store; a test with it runs once for each kind of store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return new_store(request.param, tmp_path)


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of garbage collection. With it, each full collection takes half a second."""
    gc.collect()
    gc.freeze()


def pytest_configure() -> None:
    """Set up Hypothesis, and require torch in CI.

    Without torch the tests of networks are skipped. CI has to install torch, so there a missing torch stops the run.

    Hypothesis uses the same examples in every run and has no time limit, so a result depends neither on luck nor on how
    busy the machine is.
    """
    settings.register_profile(
        "certain", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("certain")
    if os.environ.get("CI") == "true" and importlib.util.find_spec("torch") is None:
        raise pytest.UsageError("torch is missing: run `python launch.py test`, which installs it")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a working Chromium. Without one, the test is skipped; in CI it fails."""
    path = find_chromium()
    if path is None:
        message = "no Chromium: apt install chromium, or name one with CHROMIUM=/path/to/chrome"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def firefox() -> Path:
    """The path of a working Firefox. Without one, the test is skipped; in CI it fails where apt offers one."""
    path = find_firefox()
    if path is None:
        message = "no Firefox with a speaker: apt install firefox-esr pulseaudio"
        if os.environ.get("CI") == "true" and apt_offers_firefox():
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return path

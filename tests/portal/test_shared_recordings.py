"""Recordings in a store of which some cannot be read: all others are erased, swept and seen as ever."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from avatars.errors import BundleError, StoreUnreachable
from avatars.store import Store
from pipeline.clock import ManualClock
from portal.kept_recordings import SharedRecordings
from portal.recordings import Recordings
from portal.settings import Settings
from tests.shared_stores import damaged, new_store, unread

NAMES = [letter * 24 for letter in "abcdef"]

Made = Callable[[str], SharedRecordings]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store("memory", tmp_path)


@pytest.fixture
def store(tmp_path: Path, url: str) -> Store:
    return Store(url, tmp_path / "known-as")


@pytest.fixture
def made(tmp_path: Path, store: Store) -> Made:
    """Makes the recordings of a portal, for which no time passes."""
    return lambda portal: SharedRecordings(tmp_path / portal, store, lambda: 0.0)


@pytest.fixture
def ours(made: Made) -> SharedRecordings:
    """Those of a portal that has put six into the store, and has seen them there."""
    ours = made("ours")
    for name in NAMES:
        record(ours, name)
        ours.keep(name)
    ours.shelf.listed()
    return ours


def record(kept: SharedRecordings, name: str) -> None:
    """As one lies there that has just ended."""
    kept.note_owner(name, "anna")
    (kept.root / name / "recording.mp4").write_bytes(b"she speaks")
    (kept.root / name / "recording.json").write_text('{"name": "Ada", "avatars": ["ada"]}')


def test_an_erasure_erases_all_that_can_be_read_before_it_fails(
    ours: SharedRecordings, made: Made, store: Store, url: str
) -> None:
    """Also what is here alone. Damaged ones, which this portal could read before, are erased when they can be read."""
    record(ours, "here-alone")
    with ExitStack() as stack:
        for name in NAMES[::2]:
            stack.enter_context(damaged(url, "recordings", name))
        for kept in (ours, made("theirs")):  # the other one has never read them
            with pytest.raises(BundleError):
                kept.erase_all_of("ada")
            assert sorted(store.names("recordings")) == NAMES[::2]
    assert not (ours.root / "here-alone").exists()
    assert made("new").erase_all_of("ada") == len(NAMES[::2])


def test_each_recording_that_can_be_read_at_a_second_try_is_erased(
    ours: SharedRecordings, made: Made, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if some of the others still cannot be read, whichever are tried first."""
    monkeypatch.setattr(Store, "indexes", lambda *_given: iter(()))
    with ExitStack() as stack:
        for name in NAMES[::2]:
            stack.enter_context(damaged(url, "recordings", name))
        with pytest.raises(BundleError):
            made("theirs").erase_all_of("ada")
        assert sorted(store.names("recordings")) == NAMES[::2]


def test_an_erasure_that_waits_for_a_recording_keeps_nobody_from_seeing_others(
    ours: SharedRecordings, made: Made
) -> None:
    """One that cannot be read does not mean that the store is away."""
    kept = made("theirs")
    with unread("recordings", NAMES[0]):
        with pytest.raises(StoreUnreachable):
            kept.erase_all_of("bob")
        assert kept.path(NAMES[1], "mp4").read_bytes() == b"she speaks"


@pytest.mark.parametrize("limit", [{"recordings_keep_s": 1e-9}, {"recordings_most_bytes": 1}], ids=["time", "size"])
def test_a_damaged_recording_that_is_to_go_keeps_no_other_one(
    ours: SharedRecordings, tmp_path: Path, store: Store, url: str, limit: dict[str, Any]
) -> None:
    recordings = Recordings(Settings(data_dir=tmp_path, **limit), ManualClock(), kept=ours)
    with damaged(url, "recordings", NAMES[0]):
        recordings._sweep()
        newest = [] if "recordings_keep_s" in limit else NAMES[-1:]
        assert sorted(store.names("recordings")) == [NAMES[0], *newest]

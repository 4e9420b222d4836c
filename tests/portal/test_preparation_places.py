"""How many avatars may wait to be made ready for the sessions of one viewer, and whose turn that is."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from avatars.bundle import AvatarBundle
from avatars.library import AvatarLibrary
from pipeline.lipsync.flash import FlashLipSync
from portal.errors import QueueFull
from portal.http.limits import WIDER
from portal.jobs.shares import person_key
from portal.preparation_places import MAX_PREPARATIONS, MAX_PREPARATIONS_EACH, PreparationPlaces
from portal.settings import Settings
from portal.talk import Talk
from tests.backend_rows import replace_backend
from tests.portal.grey_manager import write_grey_avatar


def refused(places: PreparationPlaces, asker: str, waiting: int = 0) -> bool:
    try:
        with places.held(asker, waiting):
            return False
    except QueueFull as error:
        return error.retryable and error.cause == "viewers"


def test_an_address_and_a_person_have_so_many_places() -> None:
    places = PreparationPlaces()
    for full, free in (("192.0.2.1", "192.0.2.2"), (person_key("ada"), person_key("bob"))):
        with ExitStack() as held:
            for _ in range(MAX_PREPARATIONS_EACH):
                held.enter_context(places.held(full, 0))
            assert refused(places, full) and not refused(places, free)
        assert not refused(places, full)


def test_a_network_has_more_than_an_address_and_takes_turns_as_one() -> None:
    """A rented server has 65,536 addresses in its /48."""
    places = PreparationPlaces()
    with ExitStack() as held:
        keys = {
            held.enter_context(places.held(f"2001:db8:1:{number}::/64", 0))
            for number in range(WIDER)
            for _ in range(MAX_PREPARATIONS_EACH)
        }
        assert keys == {"2001:db8:1::/48"}
        assert refused(places, "2001:db8:1:ffff::/64") and not refused(places, "2001:db8:2::/64")
    with places.held("192.0.2.1", 0) as address, places.held(person_key("a:b"), 0) as person:
        assert (address, person) == ("192.0.2.1", person_key("a:b"))


@pytest.mark.parametrize("asker", ["192.0.2.1", person_key("ada"), ""])
def test_there_is_a_bound_in_all(asker: str) -> None:
    """Also for those whose address is not known."""
    places = PreparationPlaces()
    assert refused(places, asker, MAX_PREPARATIONS) and not refused(places, asker, MAX_PREPARATIONS - 1)


class Held(FlashLipSync):
    """Prepares nothing until the test lets it."""

    go_on: ClassVar[threading.Event]

    def prepare(self, bundle: AvatarBundle) -> AvatarBundle:
        assert self.go_on.wait(30)
        return super().prepare(bundle)


async def test_the_portal_counts_the_avatars_that_wait_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused with what the page can say; another address gets in, and so does the first one later."""
    monkeypatch.setattr(Held, "go_on", threading.Event(), raising=False)
    replace_backend(monkeypatch, "lipsync", "flash", f"{__name__}:Held")
    names = [f"grey-{number}" for number in range(MAX_PREPARATIONS_EACH + 1)]
    for name in names:
        write_grey_avatar(tmp_path / "avatars" / name)
    settings = Settings(
        data_dir=tmp_path,
        llm="echo",
        tts="beep",
        lipsync="flash",
        device=("cpu",),
        measure_speed=False,
        max_sessions=64,
        sessions_per_address=64,
    )

    def prepare_for(*_asked: str) -> Any:
        return SimpleNamespace(id="none")

    talk = Talk.build(settings, AvatarLibrary(tmp_path / "avatars"), prepare_for)
    await talk.engine.start()
    try:
        opening = [asyncio.create_task(talk.sessions.open(avatar=name, address="192.0.2.1")) for name in names]
        done, waiting = await asyncio.wait(opening, return_when=asyncio.FIRST_COMPLETED)
        assert [type(one.exception()) for one in done] == [QueueFull] and len(waiting) == MAX_PREPARATIONS_EACH
        other = asyncio.create_task(talk.sessions.open(avatar=names[0], address="192.0.2.2"))
        Held.go_on.set()
        await asyncio.gather(*waiting, other)
        for name in names:
            await talk.sessions.open(avatar=name, address="192.0.2.1")
    finally:
        Held.go_on.set()
        await talk.sessions.aclose()
        await talk.engine.aclose()

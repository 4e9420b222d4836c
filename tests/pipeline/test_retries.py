"""Asking again: how often, after which pauses, and never after something was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from models.errors import VivavoceError
from pipeline.clock import ManualClock
from pipeline.errors import LanguageModelError, RecognitionError
from pipeline.http_service import MAX_PAUSE_S, HttpService, Passing, once_more
from pipeline.retries import LONGEST_S, PAUSES_S, Patience, patience_with_models, with_retries


class _Busy(RecognitionError, Passing):
    def __init__(self, pause_s: float) -> None:
        super().__init__("It is busy.", "Say it again.")
        self.pause_s = pause_s


class Service:
    """Fails with `error` so often, then gives its pieces; `late`: it fails after the first of them."""

    def __init__(self, error: VivavoceError, fails: int, late: bool = False) -> None:
        self.error, self.fails, self.late = error, fails, late
        self.asked = 0

    async def answer(self) -> AsyncGenerator[str, None]:
        self.asked += 1
        if self.asked <= self.fails and not self.late:
            raise self.error
        yield "one"
        if self.asked <= self.fails:
            raise self.error
        yield "two"


async def given(service: Service, patience: Patience, clock: ManualClock) -> list[str]:
    """What comes, while time passes in steps of 0.1 s."""

    async def collect() -> list[str]:
        return [piece async for piece in with_retries(service.answer, clock, patience)]

    collecting = asyncio.create_task(collect())
    while not collecting.done():
        await clock.advance(0.1)
    return await collecting


async def test_what_passes_is_asked_once_more_after_its_pause() -> None:
    """The pause is the one that the service asked for; a second failure is the last."""
    clock, service = ManualClock(), Service(_Busy(1.0), fails=1)
    begun_s = clock.now_s()
    assert await given(service, once_more, clock) == ["one", "two"]
    assert clock.now_s() - begun_s == pytest.approx(1.0, abs=0.15)
    service = Service(_Busy(1.0), fails=2)
    with pytest.raises(RecognitionError, match="busy"):
        await given(service, once_more, clock)
    assert service.asked == 2


@pytest.mark.parametrize("error", [RecognitionError("No key.", "Set it."), _Busy(MAX_PAUSE_S + 1)])
async def test_what_does_not_pass_soon_is_not_asked_again(error: VivavoceError) -> None:
    """A refusal stays one, and nobody waits in silence for as long as some services wish."""
    service = Service(error, fails=1)
    with pytest.raises(type(error)):
        await given(service, once_more, ManualClock())
    assert service.asked == 1


@pytest.mark.parametrize("error", [_Busy(0.5), LanguageModelError("It failed.")])
async def test_nothing_is_given_twice(error: VivavoceError) -> None:
    """After its first piece a failure is told at once."""
    service = Service(error, fails=1, late=True)
    patience = once_more if isinstance(error, Passing) else patience_with_models
    with pytest.raises(type(error)):
        await given(service, patience, ManualClock())
    assert service.asked == 1


@pytest.mark.parametrize(
    ("error", "tries", "waited_s", "pause_s"),
    [
        (LanguageModelError("It failed."), 1, 0.0, PAUSES_S[0]),
        (LanguageModelError("It failed."), 2, 1.0, PAUSES_S[1]),
        (LanguageModelError("It failed."), 3, 2.0, None),
        (LanguageModelError("It failed."), 1, LONGEST_S, None),
        (LanguageModelError("No key.", retryable=False), 1, 0.0, None),
        (RecognitionError("Another kind."), 1, 0.0, None),
    ],
)
def test_patience_with_models(error: VivavoceError, tries: int, waited_s: float, pause_s: float | None) -> None:
    """Two more tries within ten seconds, unless another would not mend it."""
    assert patience_with_models(error, tries, waited_s) == pause_s


async def test_a_service_has_one_client_until_it_is_closed() -> None:
    """All sessions share its connections, and closing twice does no harm."""
    service = HttpService("toy", "secret", 1.0)
    client = service.client()
    assert service.client() is client
    await service.aclose()
    await service.aclose()
    assert client.is_closed and service.client() is not client
    await service.aclose()


def test_the_log_keeps_the_key_and_the_lines_of_others_out(caplog: pytest.LogCaptureFixture) -> None:
    """What a service says is one line without the key."""
    HttpService("toy", "secret", 1.0).log("refused", b"the key secret\nis wrong")
    assert caplog.messages == ["toy refused: the key ***is wrong"]

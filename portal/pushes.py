"""Sessions on streaming servers: which servers are allowed, and what is shown there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avatars.bundle import AvatarBundle
from pipeline.clip_label import ClipLabel, label_language
from pipeline.clock import Clock
from pipeline.errors import BadRequest
from pipeline.push import Push
from pipeline.stream_address import is_below, parse_stream_address

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["Pushes", "check_allowed", "new_push"]


def new_push(
    settings: Settings, clock: Clock, address: str, bundle: AvatarBundle, tell: Callable[[], None] = lambda: None
) -> Push:
    """Connects to a streaming server at once. tell: see Push. Raises BadRequest: it is no address of one."""
    # The label is shown throughout, because people come at any time.
    label = None if settings.clip_label == "off" else ClipLabel(bundle, label_language(bundle.name), always=True)
    return Push(address, bundle.width, bundle.height, clock, label, tell)


def check_allowed(settings: Settings, address: str) -> None:
    """Raises BadRequest: it is no address of a streaming server, or the operator has not allowed that one."""
    parse_stream_address(address)
    if settings.kiosk or not any(is_below(address, allowed) for allowed in settings.push_to):
        raise BadRequest(
            "This portal does not send to that streaming server.",
            "The operator can allow it with push_to.",
            cause="push_not_allowed",
        )


class Pushes:
    """See Streams in portal/api/seating.py."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def check(self, address: str) -> None:
        check_allowed(self._settings, address)

    def new(self, address: str, bundle: AvatarBundle, tell: Callable[[], None]) -> Push:
        return new_push(self._settings, self._clock, address, bundle, tell)

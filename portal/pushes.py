"""Sends sessions to streaming servers: which servers are allowed, and what is shown there."""

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
    """Connect to a streaming server at once, and return the output for it. tell: see Push.

    Raises BadRequest: the address is not one of a streaming server.
    """
    # The label is shown all the time, because people may start to watch at any time.
    label = None if settings.clip_label == "off" else ClipLabel(bundle, label_language(bundle.name), always=True)
    return Push(address, bundle.width, bundle.height, clock, label, tell)


def check_allowed(settings: Settings, address: str) -> None:
    """Raise BadRequest if this is no address of a streaming server, or the operator has not allowed it."""
    parse_stream_address(address)
    if settings.kiosk or not any(is_below(address, allowed) for allowed in settings.push_to):
        raise BadRequest(
            "This portal does not send to that streaming server.",
            "The operator can allow it with push_to.",
            cause="push_not_allowed",
        )


class Pushes:
    """Checks and makes pushes with the portal's settings. Implements Streams of portal/api/seating.py."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def check(self, address: str) -> None:
        check_allowed(self._settings, address)

    def new(self, address: str, bundle: AvatarBundle, tell: Callable[[], None]) -> Push:
        return new_push(self._settings, self._clock, address, bundle, tell)

"""Turns settings into what the engine takes: which backends, with which options, on which devices."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from models.errors import VivavoceError
from pipeline import registry
from pipeline.backends import BackendOptions
from pipeline.clock import Clock
from pipeline.device import find_devices
from pipeline.ears.hearing import HearingChoice
from pipeline.engine import Engine
from pipeline.finishing import Finish
from pipeline.prepared_states import Place, any_place
from pipeline.registry import BackendRow
from pipeline.tts.speed import ONE_SPEED, speeds_of
from pipeline.turn_context import Choice, Limits

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = [
    "BackendCatalogue",
    "BackendChoice",
    "backend_choices",
    "backend_options",
    "check_backend",
    "default_choice",
    "hearing_choice",
    "new_engine",
]

CHOSEN = ("llm", "tts", "lipsync")
"Kinds of backends that a person may choose from."
LOOKED_UP_EVERY_S = 5.0
"How long a catalogue is kept before it is made again."


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """A backend that a person may choose, if it can run here."""

    name: str
    voices: tuple[str, ...]
    lacking: VivavoceError | None
    "why it cannot run here, with the remedy; None if it can"
    online_voices: frozenset[str] = frozenset()
    "the voices whose text is sent to a service over the network"
    speeds: tuple[float, float] = ONE_SPEED
    "slowest and fastest speed of a synthesizer, as multiples of its normal speed"

    @property
    def ready(self) -> bool:
        """Whether it can run here."""
        return self.lacking is None


class BackendCatalogue:
    """All backends that a person may choose from, by kind.

    Looking them up is costly: it imports modules, builds backends and walks through the folder of weights. The portal
    is not told when weights or packages are installed, so a result is kept for a few seconds only. However many ask at
    once, only one thread looks.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._one = threading.Lock()
        self._found: Mapping[str, Sequence[BackendChoice]] = {}
        self._until_s = 0.0

    def look(self) -> Mapping[str, Sequence[BackendChoice]]:
        """Return a mapping from kind to its backends, the default first. Blocks, so call it in a thread."""
        with self._one:
            if not self._found or self._clock.now_s() >= self._until_s:
                options = backend_options(self._settings)
                self._found = {kind: backend_choices(kind, options) for kind in CHOSEN}
                self._until_s = self._clock.now_s() + LOOKED_UP_EVERY_S
            return self._found


def new_engine(settings: Settings, clock: Clock | None = None, place: Place = any_place) -> Engine:
    """Return an engine with the operator's settings. It is not started. place: see Engine."""
    finish = Finish(match_colour=settings.match_colour, sharpness=settings.sharpen)
    limits = Limits(
        wordless_s=settings.llm_thinking_timeout_s,
        speechless_s=settings.tts_timeout_s,
        history_tokens=settings.history_tokens,
        questions_a_minute=settings.llm_questions_a_minute,
    )
    devices = find_devices(settings.device)
    return Engine(
        backend_options(settings),
        clock,
        devices,
        finish,
        settings.measure_speed,
        limits,
        hearing_choice(settings),
        settings.acting,
        place,
    )


def hearing_choice(settings: Settings) -> HearingChoice:
    """Return the operator's settings for listening to viewers."""
    return HearingChoice(
        asr=settings.asr,
        language=settings.asr_language or None,
        silence_s=settings.ears_silence_ms / 1000,
        barge_in=settings.barge_in,
    )


def default_choice(settings: Settings, *, llm: str | None = None) -> Choice:
    """Return the operator's choice of backends. llm: overrides the language model of the settings."""
    return Choice(
        llm=llm or settings.llm,
        tts=settings.tts,
        lipsync=settings.lipsync,
        voice=settings.voice or None,
        speed=settings.tts_speed,
        greets=settings.greeting,
    )


def backend_choices(kind: str, options: BackendOptions) -> list[BackendChoice]:
    """Return every backend of a kind, with whether it can run here and, for a synthesizer, its voices."""
    return [_choice(kind, name, options) for name in registry.names(kind)]


def check_backend(kind: str, name: str, options: BackendOptions) -> None:
    """Raise BackendUnavailable if a backend cannot run here, UnknownBackend if there is none of this name."""
    _build(kind, name, options)


def _choice(kind: str, name: str, options: BackendOptions) -> BackendChoice:
    try:
        backend = _build(kind, name, options)
    except VivavoceError as error:
        return BackendChoice(name, (), error)
    if kind != "tts":
        return BackendChoice(name, (), None)
    return BackendChoice(name, tuple(backend.voices), None, backend.online_voices, speeds_of(backend))


def _build(kind: str, name: str, options: BackendOptions) -> Any:
    """Build a backend. This is cheap: constructors load nothing and only check that everything needed is present."""
    return registry.create(kind, name, **options.get((kind, name), {}))


def backend_options(settings: Settings) -> BackendOptions:
    """Return the constructor arguments of the backends that take any, as their rows in the registry say."""
    every = (row for kind in registry.kinds() for row in registry.rows(kind))
    return {(row.kind, row.name): _arguments(row, settings) for row in every if row.settings}


def _arguments(row: BackendRow, settings: Settings) -> dict[str, object]:
    """Return a backend's constructor arguments. Empty settings are left out, so that the backend's own default applies.

    All voice services share the same settings, and these belong to the service that the operator chose. If a viewer
    asks for another service, the key must not be sent there. Nor may viewers have text sent to ports of this machine
    where nobody has set up a voice.
    """
    if row.kind == "tts" and "api_key" in row.settings and row.name != settings.tts:
        return {} if not row.looked_for_here or settings.offers_service(row.name) else {"at_usual_address": False}
    given = {argument: getattr(settings, setting) for argument, setting in row.settings.items()}
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
    return {name: value for name, value in plain.items() if value not in ("", (), {})}

"""From settings to the engine's words: which backends, with which options, on which devices."""

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
"Kinds that a person chooses from."
LOOKED_UP_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """One backend that a person may choose, or not yet."""

    name: str
    voices: tuple[str, ...]
    lacking: VivavoceError | None
    "why it cannot run here, with the remedy"
    online_voices: frozenset[str] = frozenset()
    "those voices that need a network: what they speak is sent to a service"
    speeds: tuple[float, float] = ONE_SPEED
    "how slow and how fast a synthesizer speaks, in times as fast as by itself"

    @property
    def ready(self) -> bool:
        return self.lacking is None


class BackendCatalogue:
    """All that a person may choose from, by kind.

    Looking it up imports, builds and walks through the folder of weights. Weights and packages are brought by programs
    of which the portal is not told, so what was found is believed for a few seconds; however many ask, one looks.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._one = threading.Lock()
        self._found: Mapping[str, Sequence[BackendChoice]] = {}
        self._until_s = 0.0

    def look(self) -> Mapping[str, Sequence[BackendChoice]]:
        """kind -> its backends, the default first. Blocks; for threads."""
        with self._one:
            if not self._found or self._clock.now_s() >= self._until_s:
                options = backend_options(self._settings)
                self._found = {kind: backend_choices(kind, options) for kind in CHOSEN}
                self._until_s = self._clock.now_s() + LOOKED_UP_EVERY_S
            return self._found


def new_engine(settings: Settings, clock: Clock | None = None) -> Engine:
    """An engine as the operator wants it, not started."""
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
    )


def hearing_choice(settings: Settings) -> HearingChoice:
    """What listens to viewers, as the operator wants it."""
    return HearingChoice(
        asr=settings.asr,
        language=settings.asr_language or None,
        silence_s=settings.ears_silence_ms / 1000,
        barge_in=settings.barge_in,
    )


def default_choice(settings: Settings, *, llm: str | None = None) -> Choice:
    """The operator's choice of backends."""
    return Choice(
        llm=llm or settings.llm,
        tts=settings.tts,
        lipsync=settings.lipsync,
        voice=settings.voice or None,
        speed=settings.tts_speed,
        greets=settings.greeting,
    )


def backend_choices(kind: str, options: BackendOptions) -> list[BackendChoice]:
    """Every backend of a kind: whether it can run here, and a synthesizer's voices."""
    return [_choice(kind, name, options) for name in registry.names(kind)]


def check_backend(kind: str, name: str, options: BackendOptions) -> None:
    """Raises BackendUnavailable if it cannot run here, UnknownBackend."""
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
    """Cheap: a constructor only looks whether all is there."""
    return registry.create(kind, name, **options.get((kind, name), {}))


def backend_options(settings: Settings) -> BackendOptions:
    """Constructor arguments of the backends that take any, as their rows say."""
    every = (row for kind in registry.kinds() for row in registry.rows(kind))
    return {(row.kind, row.name): _arguments(row, settings) for row in every if row.settings}


def _arguments(row: BackendRow, settings: Settings) -> dict[str, object]:
    """A setting that is empty is left out, so that the backend's own default counts.

    The many services that speak share their settings. These are of the one that the operator chose: a viewer who asks
    for another one must not have its key sent there. Nor may they have text sent to ports of this machine at which
    nobody has set up a voice.
    """
    if row.kind == "tts" and "api_key" in row.settings and row.name != settings.tts:
        return {} if not row.looked_for_here or settings.offers_service(row.name) else {"at_usual_address": False}
    given = {argument: getattr(settings, setting) for argument, setting in row.settings.items()}
    plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}
    return {name: value for name, value in plain.items() if value not in ("", (), {})}

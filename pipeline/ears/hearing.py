"""Hearing: what the ears of all sessions share. It is loaded when somebody first listens."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from pipeline import registry
from pipeline.backends import BackendOptions, Backends
from pipeline.ears.recognition import Recognition
from pipeline.errors import BackendUnavailable
from pipeline.interfaces import EndOfTurnDetector, VoiceActivityDetector
from pipeline.registry import AUTO, BackendRow

__all__ = ["KINDS", "Hearing", "HearingChoice", "Senses", "chosen_names"]

KINDS = ("vad", "endpoint", "asr")
"Kinds of backends that listen."
_THREADS = 2
"""Voice activity takes 1 % of a core per microphone, the end of a turn 0.1 s per pause."""


@dataclass(frozen=True, slots=True)
class HearingChoice:
    """Which backends listen, and when a pause is the end. AUTO: the first in the registry that can run here."""

    asr: str = AUTO
    vad: str = AUTO
    endpoint: str = AUTO
    language: str | None = None
    "ISO 639-1, of viewers who do not say what they speak; None: the recogniser finds it out"
    silence_s: float = 1.2
    "a pause that ends a turn, whatever the end-of-turn detector says"
    barge_in: bool = True
    "whether speech over the avatar interrupts it; else it is nobody's"


@dataclass(frozen=True, slots=True)
class Senses:
    """Loaded, shared by all sessions."""

    vad: VoiceActivityDetector
    endpoint: EndOfTurnDetector
    recognition: Recognition
    executor: Executor
    "where sound is looked at, so that the event loop is not held up"


class Hearing:
    """Made by the engine, which closes the backends; this closes its threads (or the executor given instead)."""

    def __init__(
        self, backends: Backends, options: BackendOptions, choice: HearingChoice, executor: Executor | None = None
    ) -> None:
        self.choice = choice
        self._backends = backends
        self._options = options
        self._executor = executor or ThreadPoolExecutor(_THREADS, thread_name_prefix="ears")
        self._recognition: Recognition | None = None

    def recognizer(self) -> BackendRow:
        """What will recognise speech, if all is there that listens. Quick: constructors only look.

        Raises BackendUnavailable, UnknownBackend.
        """
        return registry.row("asr", chosen_names(self.choice, self._options)["asr"])

    async def loaded(self) -> Senses:
        """Load what is not loaded yet, which may take seconds.

        Raises BackendUnavailable, UnknownBackend, SessionClosed (the engine has stopped).
        """
        names = await asyncio.to_thread(chosen_names, self.choice, self._options)
        vad = await self._backends.get("vad", names["vad"])
        endpoint = await self._backends.get("endpoint", names["endpoint"])
        asr = await self._backends.get("asr", names["asr"])
        if self._recognition is None or self._recognition.recognizer is not asr:
            self._recognition = Recognition(asr)
        return Senses(vad, endpoint, self._recognition, self._executor)

    async def aclose(self) -> None:
        """Idempotent."""
        await asyncio.to_thread(self._executor.shutdown)


def chosen_names(choice: HearingChoice, options: BackendOptions) -> dict[str, str]:
    """Kind -> the backend that was chosen, or the first that can run here.

    Raises UnknownBackend, BackendUnavailable (what the first of a kind lacks).
    """
    return {kind: _first_usable(kind, getattr(choice, kind), options) for kind in KINDS}


def _first_usable(kind: str, chosen: str, options: BackendOptions) -> str:
    refusals: list[BackendUnavailable] = []
    for name in registry.names(kind) if chosen == AUTO else (chosen,):
        try:
            registry.create(kind, name, **options.get((kind, name), {}))
        except BackendUnavailable as error:
            refusals.append(error)
        else:
            return name
    raise refusals[0]

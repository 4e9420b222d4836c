"""Hearing: what the ears of all sessions share. It is loaded when somebody listens for the first time."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from pipeline import registry
from pipeline.backends import BackendOptions, Backends
from pipeline.ears.pauses import Pauses
from pipeline.ears.recognition import Recognition
from pipeline.errors import BackendUnavailable
from pipeline.interfaces import VoiceActivityDetector
from pipeline.registry import AUTO, BackendRow

__all__ = ["KINDS", "Hearing", "HearingChoice", "Senses", "chosen_names"]

KINDS = ("vad", "endpoint", "asr")
"Kinds of backends that are needed for listening."
_THREADS = max(2, min(4, os.cpu_count() or 2))
"""Voice activity takes 1 % of a core per microphone; the end of a turn takes 0.1 s per pause."""


@dataclass(frozen=True, slots=True)
class HearingChoice:
    """The backends for listening, and what ends a turn. AUTO: the first backend in the registry that can run here."""

    asr: str = AUTO
    vad: str = AUTO
    endpoint: str = AUTO
    language: str | None = None
    "ISO 639-1 code for viewers who do not name their language; None: the recogniser detects it."
    silence_s: float = 1.2
    "A pause that ends a turn whatever the end-of-turn detector says."
    barge_in: bool = True
    "Whether speech over the avatar interrupts it. Otherwise it is dropped."


@dataclass(frozen=True, slots=True)
class Senses:
    """The loaded backends, shared by all sessions."""

    vad: VoiceActivityDetector
    pauses: Pauses
    recognition: Recognition
    executor: Executor
    "runs the processing of sound, to keep the event loop free"


class Hearing:
    """Made by the engine, which closes the backends.

    This class closes its thread pool, or the executor it was given.
    """

    def __init__(
        self, backends: Backends, options: BackendOptions, choice: HearingChoice, executor: Executor | None = None
    ) -> None:
        self.choice = choice
        self._backends = backends
        self._options = options
        self._executor = executor or ThreadPoolExecutor(_THREADS, thread_name_prefix="ears")
        self._recognition: Recognition | None = None
        self._pauses: Pauses | None = None

    def recognizer(self) -> BackendRow:
        """Return the recogniser's row, after checking that all backends can run. Fast: it only calls constructors.

        Raises BackendUnavailable, UnknownBackend.
        """
        return registry.row("asr", chosen_names(self.choice, self._options)["asr"])

    async def loaded(self) -> Senses:
        """Load whatever is not loaded yet, which may take seconds.

        Raises BackendUnavailable, UnknownBackend, SessionClosed (the engine has stopped).
        """
        names = await asyncio.to_thread(chosen_names, self.choice, self._options)
        vad = await self._backends.get("vad", names["vad"])
        endpoint = await self._backends.get("endpoint", names["endpoint"])
        asr = await self._backends.get("asr", names["asr"])
        if self._recognition is None or self._recognition.recognizer is not asr:
            self._recognition = Recognition(asr)
        if self._pauses is None or self._pauses.detector is not endpoint:
            self._pauses = Pauses(endpoint, self._executor, _THREADS - 1)
        return Senses(vad, self._pauses, self._recognition, self._executor)

    async def aclose(self) -> None:
        """Shut the thread pool down. Idempotent."""
        await asyncio.to_thread(self._executor.shutdown)


def chosen_names(choice: HearingChoice, options: BackendOptions) -> dict[str, str]:
    """Return the backend for each kind: the chosen one, or the first that can run here.

    Raises UnknownBackend, BackendUnavailable (with what the first of a kind lacks).
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

"""TurnContext: what a turn works with once its backends are loaded; and the choice and limits it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from avatars.bundle import AvatarBundle
from avatars.errors import GestureNotFound
from avatars.persona import Persona
from pipeline.clock import Clock
from pipeline.device import DeviceWorker
from pipeline.finishing import Finish
from pipeline.gestures import Gestures
from pipeline.interfaces import FeatureExtractor, LanguageModel, LipSync, SpeechSynthesizer
from pipeline.moving_face import MovingFace
from pipeline.playout import Playout
from pipeline.types import LoopPictures

__all__ = ["Change", "Choice", "Limits", "TurnContext"]

Change: TypeAlias = Mapping[str, Any]
"What is to change in a session that runs: avatar, tts, voice, speed, lipsync, prompt. What is not named stays."


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backends a session talks through."""

    llm: str = "guide"
    tts: str = "auto"
    lipsync: str = "viseme"
    voice: str | None = None
    "unless the persona has one; None: the synthesizer's own default"
    speed: float = 1.0
    "of the voice, in times as fast as by itself; 0.5 to 2"
    persona: Persona = field(default_factory=Persona)
    "what the viewer wishes; it goes before the avatar's own"
    greets: bool = True
    "whether the greeting of a persona is spoken"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a turn waits, and how much a session may ask of the language model."""

    wordless_s: float = 600.0
    "longest time without a word of the language model; one that is silent its own backend gives up, and sooner"
    speechless_s: float = 20.0
    "longest time without sound of the voice"
    history_tokens: int = 4_000
    "sent along with a question, the question included"
    questions_a_minute: int = 30
    "to the language model"


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What a turn works with: shared models, one avatar, and the playout of its session."""

    llm: LanguageModel
    tts: SpeechSynthesizer
    voice: str | None
    extractor: FeatureExtractor
    lipsync: LipSync
    lipsync_state: object
    bundle: AvatarBundle
    loop: LoopPictures
    "what the avatar shows while it says nothing"
    device: DeviceWorker
    executor: Executor
    playout: Playout
    clock: Clock
    speed: float = 1.0
    "of the voice; kept as far as the voice can"
    finish: Finish = field(default_factory=Finish)
    "of what networks draw"
    limits: Limits = field(default_factory=Limits)
    persona: Persona = field(default_factory=Persona)
    "the viewer's wishes, and where they say nothing the avatar's own"
    gestures: Gestures | None = None
    "of the avatar; None: it has none"
    face: MovingFace | None = None
    "what nods and raises its brows with the voice; None: nothing does"

    @property
    def gesture_names(self) -> tuple[str, ...]:
        return () if self.gestures is None else self.gestures.names

    def begin_gesture(self, name: str, *, soon: bool = False) -> None:
        """Show a gesture of the avatar, from the next picture on that is drawn; soon: also in the place of those that
        are drawn already. Raises GestureNotFound.
        """
        if self.gestures is None:
            raise GestureNotFound(f"This avatar has no gesture {name[:80]!r}.", "Add one to the avatar.")
        # Networks draw what was prepared for them: the frames of the loop.
        self.playout.begin_gesture(self.gestures.run(name, spoken_over=not self.lipsync.on_device), soon=soon)

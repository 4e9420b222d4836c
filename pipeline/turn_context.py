"""TurnContext: what a turn works with once its backends are loaded; the Choice and the Limits it is made from."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypedDict

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


class Change(TypedDict, total=False):
    """What to change in a running session. Keys that are absent stay as they are; None asks for the usual again."""

    avatar: str | None
    tts: str | None
    voice: str | None
    speed: float | None
    lipsync: str | None
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backends a session talks through."""

    llm: str = "guide"
    tts: str = "auto"
    lipsync: str = "viseme"
    voice: str | None = None
    "Voice, unless the persona names one; None: the synthesizer's default."
    speed: float = 1.0
    "Speed relative to the voice's natural one, 0.5 to 2."
    persona: Persona = field(default_factory=Persona)
    "The viewer's wishes; they take precedence over the avatar's own persona."
    greets: bool = True
    "Whether the persona's greeting is spoken."


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a turn waits, and how much a session may ask of the language model."""

    wordless_s: float = 600.0
    "Longest wait for the language model's next words. A backend has its own, shorter limit for a silent model."
    speechless_s: float = 20.0
    "Longest wait for the voice's next sound."
    history_tokens: int = 4_000
    "Most tokens of the conversation sent with a question, the question included."
    questions_a_minute: int = 30
    "Most questions a minute for the language model."


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
    "What the avatar shows while idle."
    device: DeviceWorker
    executor: Executor
    playout: Playout
    clock: Clock
    speed: float = 1.0
    "Speed relative to the voice's natural one; limited to what the voice can do."
    finish: Finish = field(default_factory=Finish)
    "What is done to a network's pictures before they are composed."
    limits: Limits = field(default_factory=Limits)
    persona: Persona = field(default_factory=Persona)
    "The viewer's wishes; where they are silent, the avatar's own persona."
    gestures: Gestures | None = None
    "The avatar's gestures; None if it has none."
    face: MovingFace | None = None
    "Moves head and brows with the voice; None if they stay still."

    @property
    def gesture_names(self) -> tuple[str, ...]:
        """Names of the gestures that can be requested."""
        return () if self.gestures is None else self.gestures.names

    def begin_gesture(self, name: str, *, soon: bool = False) -> None:
        """Show a gesture of the avatar, from the next picture that is not drawn yet.

        soon: begin a few pictures from now, and draw the pictures that wait anew. Raises GestureNotFound.
        """
        if self.gestures is None:
            raise GestureNotFound(f"This avatar has no gesture {name[:80]!r}.", "Add one to the avatar.")
        # Networks are prepared for the frames of the loop only, so they cannot draw speech on a gesture.
        self.playout.begin_gesture(self.gestures.run(name, spoken_over=not self.lipsync.on_device), soon=soon)

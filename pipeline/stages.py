"""What a session talks through: the choice of backends, and what a turn runs on once they are loaded."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from avatars.bundle import AvatarBundle
from pipeline.clock import Clock
from pipeline.device import DeviceWorker
from pipeline.finishing import Finish
from pipeline.interfaces import FeatureExtractor, LanguageModel, LipSync, SpeechSynthesizer
from pipeline.playout import Playout

__all__ = ["Choice", "Stages"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backends a session talks through."""

    llm: str = "guide"
    tts: str = "auto"
    lipsync: str = "viseme"
    voice: str | None = None
    "None: the synthesizer's own default"


@dataclass(frozen=True, slots=True)
class Stages:
    """What a turn runs on: shared models and this session's playout."""

    llm: LanguageModel
    tts: SpeechSynthesizer
    voice: str | None
    extractor: FeatureExtractor
    lipsync: LipSync
    lipsync_state: Any
    bundle: AvatarBundle
    device: DeviceWorker
    executor: Executor
    playout: Playout
    clock: Clock
    finish: Finish = field(default_factory=Finish)
    "of what networks draw"

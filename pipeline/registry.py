"""One table: kind -> name -> import path. A new backend is one file plus one row here."""

from __future__ import annotations

import importlib
from typing import Any

from pipeline.errors import UnknownBackend

__all__ = ["BACKENDS", "backend_class", "create", "names"]

BACKENDS: dict[str, dict[str, str]] = {
    "llm": {
        "guide": "pipeline.llm.guide:GuideLanguageModel",
        "openai": "pipeline.llm.openai:OpenAILanguageModel",
        "echo": "pipeline.llm.echo:EchoLanguageModel",
    },
    "tts": {
        "auto": "pipeline.tts.auto:AutoSynthesizer",
        "hibari": "pipeline.tts.hibari:HibariSynthesizer",
        "edge": "pipeline.tts.edge:EdgeSynthesizer",
        "beep": "pipeline.tts.beep:BeepSynthesizer",
    },
    "features": {
        "viseme": "pipeline.features.viseme:VisemeExtractor",
        "loudness": "pipeline.features.loudness:LoudnessExtractor",
        "mel": "pipeline.features.mel:MelExtractor",
        "whisper15": "pipeline.features.whisper:Whisper15Extractor",
        "whisper10": "pipeline.features.whisper:Whisper10Extractor",
        "hubert": "pipeline.features.hubert:HubertExtractor",
    },
    "lipsync": {
        "viseme": "pipeline.lipsync.viseme:VisemeLipSync",
        "flash": "pipeline.lipsync.flash:FlashLipSync",
        "musetalk15": "pipeline.lipsync.musetalk:MuseTalk15LipSync",
        "musetalk10": "pipeline.lipsync.musetalk:MuseTalk10LipSync",
        "wav2lip256": "pipeline.lipsync.wav2lip:Wav2Lip256LipSync",
        "wav2lip96": "pipeline.lipsync.wav2lip:Wav2Lip96LipSync",
        "ultralight": "pipeline.lipsync.ultralight:UltralightLipSync",
        "null": "pipeline.lipsync.null:NullLipSync",
    },
    "transport": {
        "webrtc": "pipeline.transports.webrtc:WebRtcTransport",
        "websocket": "pipeline.transports.websocket:WebSocketTransport",
        "memory": "pipeline.transports.memory:MemoryTransport",
    },
}


def names(kind: str) -> tuple[str, ...]:
    """Names of one kind's backends, the default first."""
    return tuple(BACKENDS[kind])


def backend_class(kind: str, name: str) -> type[Any]:
    """Import the class behind a name.

    Raises UnknownBackend.
    """
    try:
        path = BACKENDS[kind][name]
    except KeyError:
        raise UnknownBackend(
            f"There is no {kind} backend '{name}'.", f"Choose one of: {', '.join(BACKENDS.get(kind, {}))}."
        ) from None
    module, _, attribute = path.partition(":")
    cls: type[Any] = getattr(importlib.import_module(module), attribute)
    return cls


def create(kind: str, name: str, **options: Any) -> Any:
    """Build a backend.

    Raises UnknownBackend, BackendUnavailable.
    """
    return backend_class(kind, name)(**options)

"""Backends: builds and loads each backend once (lip-sync and features: once per device), and closes all together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from pipeline import registry
from pipeline.device import DeviceWorker
from pipeline.errors import SessionClosed
from pipeline.interfaces import (
    EndOfTurnDetector,
    FeatureExtractor,
    LanguageModel,
    LipSync,
    SpeechRecognizer,
    SpeechSynthesizer,
    VoiceActivityDetector,
)

__all__ = ["BackendOptions", "Backends"]

BackendOptions = Mapping[tuple[str, str], Mapping[str, object]]
"Constructor arguments by (kind, name), e.g. {('llm', 'openai'): {'base_url': ...}}."


@dataclass(slots=True)
class _Slot:
    device: DeviceWorker | None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    backend: Any = None
    loaded: bool = False


class Backends:
    """The loaded backends of one engine."""

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._slots: dict[tuple[str, str, DeviceWorker | None], _Slot] = {}
        self._closed = False

    async def built(self, kind: Literal["lipsync"], name: str, device: DeviceWorker) -> LipSync:
        """Return the backend of that name on that device. It may not be loaded yet.

        Raises BackendUnavailable, UnknownBackend, SessionClosed (after aclose()).
        """
        slot = self._slot(kind, name, device)
        async with slot.lock:
            found: LipSync = await self._build(slot, kind, name)
            return found

    @overload
    async def get(self, kind: Literal["llm"], name: str) -> LanguageModel: ...
    @overload
    async def get(self, kind: Literal["tts"], name: str) -> SpeechSynthesizer: ...
    @overload
    async def get(self, kind: Literal["vad"], name: str) -> VoiceActivityDetector: ...
    @overload
    async def get(self, kind: Literal["endpoint"], name: str) -> EndOfTurnDetector: ...
    @overload
    async def get(self, kind: Literal["asr"], name: str) -> SpeechRecognizer: ...
    @overload
    async def get(self, kind: Literal["lipsync"], name: str, device: DeviceWorker) -> LipSync: ...
    @overload
    async def get(self, kind: Literal["features"], name: str, device: DeviceWorker) -> FeatureExtractor: ...
    async def get(self, kind: str, name: str, device: DeviceWorker | None = None) -> object:
        """Return the loaded backend of that name; with `device`, the one on that device. Raises as built() does."""
        slot = self._slot(kind, name, device)
        async with slot.lock:
            backend = await self._build(slot, kind, name)
            if not slot.loaded:
                slot.backend = None  # if loading fails, the next call builds it anew
                await _load(backend, device)
                slot.backend, slot.loaded = backend, True
        return backend

    def _slot(self, kind: str, name: str, device: DeviceWorker | None) -> _Slot:
        return self._slots.setdefault((kind, name, device), _Slot(device))

    async def _build(self, slot: _Slot, kind: str, name: str) -> Any:
        self.check_open()
        if slot.backend is None:
            options = self._options.get((kind, name), {})
            slot.backend = await asyncio.to_thread(registry.create, kind, name, **options)
        return slot.backend

    def check_open(self) -> None:
        """Raise SessionClosed after aclose()."""
        if self._closed:
            raise SessionClosed("The engine has stopped.", "Try again when it is back.")

    async def aclose(self) -> None:
        """Close all backends, even if closing one raises. Call it before their devices are closed. Idempotent."""
        self._closed = True
        async with AsyncExitStack() as stack:
            for slot in self._slots.values():
                stack.push_async_callback(_unload, slot)


async def _load(backend: Any, device: DeviceWorker | None) -> None:
    if device is None:
        await asyncio.to_thread(backend.load)
    else:
        await device.call(lambda: backend.load(device.name))


async def _unload(slot: _Slot) -> None:
    async with slot.lock:  # waits for a backend that is being loaded
        backend, slot.backend = slot.backend, None
    if backend is None:
        return
    if slot.device is None:
        await backend.aclose()
    else:
        await slot.device.call(backend.close)

"""From settings to the engine's words: which backends, with which options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.turn import Choice

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["backend_options", "default_choice"]


def default_choice(settings: Settings, *, llm: str | None = None, voice: str | None = None) -> Choice:
    """The operator's choice of backends."""
    return Choice(
        llm=llm or settings.llm, tts=settings.tts, lipsync=settings.lipsync, voice=voice or settings.voice or None
    )


def backend_options(settings: Settings) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Constructor arguments of the backends that take any."""
    key = settings.llm_api_key.get_secret_value()
    given = {
        "base_url": settings.llm_base_url,
        "api_key": key,
        "model": settings.llm_model,
        "system_prompt": settings.llm_system_prompt,
    }
    return {("llm", "openai"): {name: value for name, value in given.items() if value}}

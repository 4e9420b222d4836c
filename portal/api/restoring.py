"""The state of a session that is stored for other nodes, as JSON, and what a viewer is told after it was restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from avatars.bundle import AvatarBundle
from pipeline.history import Standing
from pipeline.turn_context import Choice
from portal.api.messages import MAX_REMARK_CHARACTERS, Remark, SessionWish

__all__ = ["Kept", "Restorable", "state_of"]

MAX_REMARKS = 200
"Most entries of the history that are stored: as many as a hello may bring."
MAX_PLAYED_CHARACTERS = 120
"Most characters of an interrupted answer that a viewer is told: the end of what was played."


class Restorable(Protocol):
    """The part of pipeline.session.Session that is used here."""

    choice: Choice

    @property
    def bundle(self) -> AvatarBundle: ...
    def standing(self) -> Standing: ...


class Kept(BaseModel):
    """The stored state of a session, as it is written to the database."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer portal may write more

    wish: SessionWish
    "The wish that opens the same session again."
    played: str | None = None
    "What was played of the current speech: Standing.played."

    @property
    def cut_at(self) -> str | None:
        """The last words that were heard of an interrupted answer; "" if none were, None if nothing was being said."""
        if self.played is None or len(self.played) <= MAX_PLAYED_CHARACTERS:
            return self.played
        end = self.played[-MAX_PLAYED_CHARACTERS:]
        return "… " + (end.partition(" ")[2] or end)


def state_of(session: Restorable, identity: Mapping[str, str]) -> str:
    """Return the state of a session as JSON. identity: who the viewer is, as their hello claims."""
    standing, choice = session.standing(), session.choice
    wish = SessionWish(
        avatar=session.bundle.id,
        tts=choice.tts,
        voice=choice.persona.voice,
        speed=choice.speed,
        lipsync=choice.lipsync,
        prompt=choice.persona.prompt,
        greeting="" if standing.has_begun else choice.persona.greeting,
        identity=dict(identity),
        history=tuple(
            Remark.model_validate({"role": one.role, "content": one.content[:MAX_REMARK_CHARACTERS]})
            for one in standing.history[-MAX_REMARKS:]
        ),
    )
    played = None if standing.played is None else standing.played[-2 * MAX_PLAYED_CHARACTERS :]
    return Kept(wish=wish, played=played).model_dump_json()

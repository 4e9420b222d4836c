"""What is kept of a session for another node, as JSON, and what of it a viewer is told who comes back there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from avatars.bundle import AvatarBundle
from pipeline.history import Standing
from pipeline.turn_context import Choice
from portal.api.messages import MOST_REMARK_CHARACTERS, Remark, SessionWish

__all__ = ["Kept", "Restorable", "state_of"]

MOST_REMARKS = 200
"As many as a hello may bring."
TOLD_CHARACTERS = 120
"Of what was played of an answer, the end is told."


class Restorable(Protocol):
    """What is needed here of pipeline.session.Session."""

    choice: Choice

    @property
    def bundle(self) -> AvatarBundle: ...
    def standing(self) -> Standing: ...


class Kept(BaseModel):
    """As it is written."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer portal may write more

    wish: SessionWish
    "with which the same session is opened again"
    played: str | None = None
    "see Standing"

    @property
    def cut_at(self) -> str | None:
        """The last words of an answer that broke off; "" if none of it was heard; None: nothing was being said."""
        if self.played is None or len(self.played) <= TOLD_CHARACTERS:
            return self.played
        end = self.played[-TOLD_CHARACTERS:]
        return "… " + (end.partition(" ")[2] or end)


def state_of(session: Restorable, identity: Mapping[str, str]) -> str:
    """identity: what the viewer's hello said of who this is."""
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
            Remark.model_validate({"role": one.role, "content": one.content[:MOST_REMARK_CHARACTERS]})
            for one in standing.history[-MOST_REMARKS:]
        ),
    )
    return Kept(wish=wish, played=standing.played).model_dump_json()

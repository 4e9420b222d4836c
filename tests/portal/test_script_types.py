"""The types by which the page's scripts are checked are those of the server: the same names, fields and choices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pipeline.types import (
    CutEvent,
    EarsEvent,
    EarsState,
    GestureEvent,
    HoldEvent,
    MetricsEvent,
    NoticeEvent,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TranscriptEvent,
    TurnEvent,
    TurnState,
)
from portal.api import messages
from portal.api.event_messages import event_message
from portal.api.schemas import AvatarView, BackendView, ErrorView, GestureView, JobView
from portal.api.voice_samples import VoiceSampleView

TYPES = Path(__file__).parents[2] / "portal" / "static" / "types"
COMMENT = re.compile(r"/\*\*.*?\*/", re.DOTALL)
MODELS: list[type[BaseModel]] = [*get_args(messages.ClientMessage), messages.Remark]
VIEWS: list[type[BaseModel]] = [AvatarView, BackendView, ErrorView, GestureView, JobView, VoiceSampleView]
EVENTS: dict[str, SessionEvent] = {
    "Turn": TurnEvent(1, TurnState.DONE),
    "Hold": HoldEvent(1, held=True),
    "Cut": CutEvent(1, 2),
    "Gestured": GestureEvent("wave", begins=True),
    "Text": TextEvent(1, "a"),
    "Subtitle": SubtitleEvent(1, "a", 0.0, 1.0),
    "Notice": NoticeEvent("code", "message", "hint"),
    "Metrics": MetricsEvent(1, {}),
    "Transcript": TranscriptEvent("a", True, "en"),
    "Ears": EarsEvent(EarsState.OFF),
}


def fields_of(file: str, name: str) -> dict[str, str]:
    """Field -> type, of an interface; a field that may be missing has its question mark."""
    source = COMMENT.sub("", (TYPES / file).read_text(encoding="utf-8"))
    found = re.search(rf"export interface {name} {{\n(.*?)\n}}", source, re.DOTALL)
    assert found is not None, name
    return dict(re.findall(r"^  (\w+\??): (.+);$", found[1], re.MULTILINE))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_what_a_page_says_is_what_the_server_understands(model: type[BaseModel]) -> None:
    """Each message has the server's fields, and those without a default are never left out."""
    fields = fields_of("messages.d.ts", model.__name__)
    assert {name.removesuffix("?") for name in fields} == model.model_fields.keys()
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    assert needed <= fields.keys()


@pytest.mark.parametrize("name", EVENTS)
def test_what_the_server_tells_is_what_a_page_reads(name: str) -> None:
    """Each event of a session has its fields, and no others."""
    assert fields_of("messages.d.ts", name).keys() == event_message(EVENTS[name]).keys()


def test_a_page_knows_every_state_of_a_turn() -> None:
    """Beside `idle`, which is the page's own word for none."""
    source = (TYPES / "messages.d.ts").read_text(encoding="utf-8")
    (states,) = re.findall(r"export type TurnState = (.+);", source)
    assert {one.strip('"') for one in states.split(" | ")} == {"idle", *(state.value for state in TurnState)}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_what_the_api_answers_is_what_a_page_reads(view: type[BaseModel]) -> None:
    """Avatars, backends, jobs and errors have the same fields on both sides."""
    fields = {name.removesuffix("?") for name in fields_of("api.d.ts", view.__name__)}
    assert fields == view.model_fields.keys()

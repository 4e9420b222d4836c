"""The description of the session socket (docs/asyncapi.json) is of the messages as they are."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from portal.api.event_messages import event_message
from portal.api.messages import ClientMessage
from portal.api.server_messages import ServerSays
from portal.commands.asyncapi import asyncapi_text
from tests.portal.socket_viewer import SERVER_GRAMMAR
from tests.portal.test_script_types import EVENTS, fields_of

ROOT = Path(__file__).parents[2]
WRITTEN = (ROOT / "docs" / "asyncapi.json").read_text(encoding="utf-8")
NAMED_IN_PROTOCOL = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|", re.MULTILINE)


def references(part: object) -> list[str]:
    if isinstance(part, list):
        return [found for one in part for found in references(one)]
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for one in part.values() for found in references(one)]
    return []


def found(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        document = document[step]
    return document


def test_the_description_is_that_of_the_models() -> None:
    """Where this fails: python -m portal.commands.asyncapi > docs/asyncapi.json."""
    assert asyncapi_text() == WRITTEN
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert json.loads(WRITTEN)["info"]["version"] == project["version"]


def test_what_the_description_refers_to_is_in_it() -> None:
    document = json.loads(WRITTEN)
    names = references(document)
    assert names
    assert all(found(document, name) for name in names if not name.endswith("/JsonValue"))
    assert found(document, "#/components/schemas/JsonValue") == {}, "anything"


@pytest.mark.parametrize("name", EVENTS)
def test_events_of_a_session_are_as_described(name: str) -> None:
    SERVER_GRAMMAR.validate_json(json.dumps(event_message(EVENTS[name])), strict=True, extra="forbid")


@pytest.mark.parametrize("model", get_args(ServerSays), ids=lambda model: model.__name__)
def test_a_page_reads_nothing_that_the_server_does_not_say(model: type[BaseModel]) -> None:
    read = {name.removesuffix("?") for name in fields_of("messages.d.ts", model.__name__)}
    assert read <= model.model_fields.keys()


def test_the_protocol_tells_of_every_message() -> None:
    """docs/protocol.md has a row of each type."""
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"\w+", " ".join(NAMED_IN_PROTOCOL.findall(protocol))))
    types = {
        get_args(model.model_fields["type"].annotation)[0]
        for union in (ClientMessage, ServerSays)
        for model in get_args(union)
    }
    assert types <= rows

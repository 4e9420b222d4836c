"""What a request says is bounded, whichever field it is in, so that nothing of it makes lists and files large."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from pipeline.errors import BadRequest
from portal.api.messages import parse
from portal.app import Portal, create_app
from portal.intake.submissions import _framing
from portal.livetalking.answers import Body
from portal.livetalking.routes import OfSession
from portal.settings import Settings
from portal.ui.gradio_api import Join
from tests.portal.api_requests import PHOTO, error_of


def unbounded(schema: Mapping[str, Any], parts: Mapping[str, Any], where: str) -> Iterator[str]:
    """Where in a schema there is a text of any length."""
    if name := schema.get("$ref"):
        yield from unbounded(parts[name.rpartition("/")[2]], parts, where)
    bounds = {"maxLength", "enum", "const", "pattern"} & set(schema)
    if schema.get("type") == "string" and schema.get("format") != "binary" and not bounds:
        yield where
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, parts, f"{where}.{name}")
    inner_ones = [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items")]
    for inner in (*inner_ones, schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from unbounded(inner, parts, where)


def bodies_of(tmp_path: Path) -> tuple[dict[str, Mapping[str, Any]], Mapping[str, Any]]:
    """Of every request, by what the API says of itself, so a new one is among them; and the schemas that they name."""
    settings = Settings.model_validate({"data_dir": tmp_path, "worker": False, "keep_free_bytes": 0})
    portal = Portal.build(settings)
    app: Any = create_app(settings, portal)
    while not hasattr(app, "openapi"):
        app = vars(app)["_app"]
    api = app.openapi()
    portal.desk.queue.close()
    bodies = {
        f"{method} {path}": media["schema"]
        for path, methods in api["paths"].items()
        for method, route in methods.items()
        for kind, media in route.get("requestBody", {}).get("content", {}).items()
        if kind != "application/sdp"
    }
    return bodies, api["components"]["schemas"]


def test_every_text_of_a_request_has_a_bound(tmp_path: Path) -> None:
    """A new field is among them. An offer is SDP: its body's size is its bound."""
    bodies, parts = bodies_of(tmp_path)
    assert "post /api/clips" in bodies and len(bodies) > 10
    assert [place for where, schema in bodies.items() for place in unbounded(schema, parts, where)] == []


@pytest.mark.parametrize("body", [*Body.__subclasses__(), *OfSession.__subclasses__()])
def test_every_text_that_a_client_of_livetalking_sends_has_a_bound(body: type[Body]) -> None:
    """Its routes read their bodies themselves, so the API's description of itself does not have them."""
    schema = body.model_json_schema()
    assert list(unbounded(schema, schema.get("$defs", {}), body.__name__)) == []


@pytest.mark.parametrize("field", ["avatar", "text", "voice", "name"])
def test_a_clip_with_an_endless_text_is_refused(client: TestClient, field: str) -> None:
    """As JSON and as a form, whose fields have a bound of their own. The error does not repeat the text."""
    wish = {"avatar": "ada", "text": "Hi.", field: "x" * 200_000}
    for answer, status in ((client.post("/api/clips", json=wish), 400), (client.post("/api/clips", data=wish), 413)):
        assert len(answer.content) < 1000 and error_of(answer, status)
    fields = {"avatar": "ada", "text": "Hi.", "voice": "x" * 20_000}
    assert "voice" in error_of(client.post("/api/clips", data=fields), 400)["message"]


def test_an_upload_with_an_endless_framing_leaves_no_file(client: TestClient, tmp_path: Path) -> None:
    """The form is looked at after its file was stored."""
    fields = {"consent": "true", "framing": "1" * 50_000}
    answer = client.post("/api/avatars", files={"file": ("me.png", PHOTO.read_bytes())}, data=fields)
    assert error_of(answer, 400)["code"] == "bad_request"
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


@pytest.mark.parametrize("framing", ["0.1,nan,0.5,nan", "nan,0,1,1", "0,0,inf,1", "0,0,1", "-0.1,0,1,1"])
def test_a_framing_is_numbers_within_the_picture(framing: str) -> None:
    """Not-a-number hides from comparisons."""
    with pytest.raises(BadRequest, match="no part of the picture"):
        _framing(framing)


def own_models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    """What the portal reads or writes, but for its settings."""
    for model in base.__subclasses__():
        if model.__module__.startswith("portal.") and not issubclass(model, BaseSettings):
            yield model
        yield from own_models(model)


MANY = 5_000
FEW = 20
SENT_BY_CLIENTS = {"portal.api.messages", "portal.livetalking.routes", "portal.livetalking.avatar_tasks"}
SENT_BY_CLIENTS |= {Body.__module__, Join.__module__}


def test_a_message_is_not_looked_at_before_it_is_counted(tmp_path: Path) -> None:
    """However many wrong entries a field has: an error for each would hold everybody up while they are made."""
    bodies, _parts = bodies_of(tmp_path)
    asked = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(bodies)))
    sent = [one for one in set(own_models()) if one.__name__ in asked or one.__module__ in SENT_BY_CLIENTS]
    assert {"Hello", "Join", "AskRequest"} <= {model.__name__ for model in sent}
    for model, field in ((one, field) for one in sent for field in one.model_fields):
        for wrong in ([0] * MANY, {"": 0, **{f"{number}": number for number in range(MANY)}}, [[0]] * MANY):
            try:
                model.model_validate({field: wrong})
            except ValidationError as error:
                mine = [fault for fault in error.errors() if fault["loc"][:1] == (field,)]
                assert len(mine) <= FEW, (model, field)


def test_a_fault_is_told_in_a_line() -> None:
    """Where it lies may be a key of the client's own, as long as a message may be."""
    with pytest.raises(BadRequest) as caught:
        parse(json.dumps({"type": "hello", "identity": {"k" * 100_000: 0}}))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("event", ['{"a": NaN}', "[1e400]", "-Infinity", '"\\ud800"'])
def test_what_json_cannot_give_back_is_not_taken(event: str) -> None:
    """It would come back as text that the client's own JSON.parse refuses."""
    with pytest.raises(BadRequest):
        parse(f'{{"type": "say", "text": "Hello.", "event": {event}}}')

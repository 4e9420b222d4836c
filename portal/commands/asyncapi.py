"""Describes the session socket as AsyncAPI 3.0: `python -m portal.commands.asyncapi > docs/asyncapi.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from portal.api.messages import ClientMessage
from portal.api.server_messages import ServerSays

__all__ = ["asyncapi_text"]

CLIENT_MESSAGES: tuple[type[BaseModel], ...] = get_args(ClientMessage)
SERVER_MESSAGES: tuple[type[BaseModel], ...] = get_args(ServerSays)
BINARY = {
    "Microphone": "A piece of what the viewer's microphone hears: 8 bytes of header, then 16-bit mono PCM at 16 kHz.",
    "Speech": "A piece of what a turn of `speak` says: 8 bytes of header, then 16-bit mono PCM at the rate it named.",
    "Media": "One picture with its sound, while media goes over the socket: 16 bytes of header, PCM at 48 kHz, JPEG.",
}
"Summaries of the binary messages. docs/protocol.md describes their bytes."


def asyncapi_text() -> str:
    """Return the description as JSON, made from the models of the messages."""
    return json.dumps(_description(), indent=2, ensure_ascii=False) + "\n"


def _description() -> dict[str, object]:
    models = (*CLIENT_MESSAGES, *SERVER_MESSAGES)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    messages = {model.__name__: _text_message(model) for model in models}
    messages |= {name: _binary_message(summary) for name, summary in BINARY.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vivavoce: the session socket",
            "version": "0.1.0",
            "description": "What a viewer's page and the server say to each other; docs/protocol.md explains it.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "session": {
                "address": "/session",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "clientSays": _operation(
                "receive", [*(model.__name__ for model in CLIENT_MESSAGES), "Microphone", "Speech"]
            ),
            "serverSays": _operation("send", [*(model.__name__ for model in SERVER_MESSAGES), "Media"]),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def _operation(action: str, names: Iterable[str]) -> dict[str, object]:
    """Return an AsyncAPI operation. action: "send" or "receive", from the server's point of view."""
    channel = "#/channels/session"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in names],
    }


def _text_message(model: type[BaseModel]) -> dict[str, object]:
    (name,) = get_args(model.model_fields["type"].annotation)
    return {"name": name, "payload": {"$ref": f"#/components/schemas/{model.__name__}"}}


def _binary_message(summary: str) -> dict[str, object]:
    return {
        "summary": summary,
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }


if __name__ == "__main__":
    sys.stdout.write(asyncapi_text())

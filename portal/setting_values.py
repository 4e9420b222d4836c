"""The types of settings that pydantic does not have: paths, lists, names of backends, addresses.

Each type reads a value as written on the command line, in the environment or in the settings file. For a value that
cannot be used, it raises a ValueError that says in plain words what is wrong.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from pipeline import registry
from pipeline.errors import BadRequest
from pipeline.stream_address import parse_stream_address
from portal.http.addresses import (
    parse_address,
    parse_host_pattern,
    parse_networks,
    parse_origin,
    parse_ports,
    parse_root_path,
    parse_web_address,
)

__all__ = [
    "AbsolutePath",
    "AsrName",
    "DatabaseUrl",
    "Fields",
    "Folder",
    "Hosts",
    "LipSyncName",
    "LlmName",
    "LongSecret",
    "Networks",
    "Origins",
    "PortRange",
    "SigningSecret",
    "StoreUrl",
    "StreamAddresses",
    "TtsName",
    "UrlPart",
    "UrlPath",
    "WebAddresses",
    "WebRtcAddress",
    "Words",
    "absolute",
]

SECRET_BYTES = 32
"""Shortest secret that signs something."""


def absolute(path: Path) -> Path:
    """Return the path as an absolute one; `~` is the home folder."""
    return path.expanduser().absolute()


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is no folder")
    return path


def _split(value: object) -> object:
    """Let a list be written as one string: `a, b c`."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class _Named:
    """A validator that accepts the names of registered backends of one kind, and the given words."""

    def __init__(self, kind: str, *words: str) -> None:
        self._kind = kind
        self._words = words

    def __call__(self, name: str) -> str:
        names = (*self._words, *registry.names(self._kind))
        if name not in names:
            raise ValueError(f"there is no such backend; choose one of: {', '.join(names)}")
        return name


def _long_enough(secret: SecretStr) -> SecretStr:
    """Refuse a secret that is too short. HS256 needs a key as long as its hash, 256 bits (RFC 7518, 3.2)."""
    if 0 < len(secret.get_secret_value().encode()) < SECRET_BYTES:
        raise ValueError(
            f"it must have {SECRET_BYTES} bytes or more; python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))' makes one"
        )
    return secret


def _postgres(secret: SecretStr) -> SecretStr:
    """Check the address of a Postgres database. The error does not repeat it, because it contains a password."""
    if secret.get_secret_value():
        parts = urlsplit(secret.get_secret_value())
        if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
            raise ValueError("it must be written like postgresql://USER:PASSWORD@HOST:5432/DATABASE")
    return secret


def _store(url: str) -> str:
    """Check the address of a store. Keys are refused in it, because the address is shown to people."""
    parts = urlsplit(url)
    if url and (not parts.scheme or not (parts.netloc or parts.path)):
        raise ValueError("it must be written like s3://bucket/folder or file:///mnt/share")
    if parts.username or parts.password:
        raise ValueError("keys come from the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return url.rstrip("/")


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(texts)
    return texts


def _origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(parse_origin(text) for text in texts)


def _hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(parse_host_pattern(text) for text in texts)


def _stream_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            parse_stream_address(text)
        except BadRequest as error:
            raise ValueError(f"{text} is no address of a streaming server; {error.hint}") from error
    return texts


def _web_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        parse_web_address(text)
    return texts


def _webrtc_address(text: str) -> str:
    """Check an address for WebRTC. Only digits are accepted: ICE candidates are addresses, and no name is looked up."""
    if text:
        address = parse_address(text)
        if address is None or address.is_unspecified or address.is_loopback or address.is_multicast:
            raise ValueError(f"'{text}' is no address that viewers could reach; write it in digits, like 203.0.113.7")
    return text


def _url_part(text: str) -> str:
    """Allow only letters, digits, _ and -, so that the value, put into a URL, cannot lead to another address."""
    if not all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in text):
        raise ValueError("it may have letters, digits, _ and - only")
    return text


def _port_range(text: str) -> str:
    if text:
        parse_ports(text)
    return text


def _signs(secret: SecretStr) -> SecretStr:
    """Check a secret like _long_enough(); what follows `whsec_` must also be base64."""
    text = _long_enough(secret).get_secret_value()
    if text.startswith("whsec_"):
        base64.b64decode(text.removeprefix("whsec_"), validate=True)
    return secret


def _fields(value: object) -> object:
    """Let a table be written as one string of JSON, for the command line and the environment."""
    if not isinstance(value, str):
        return value
    try:
        fields = json.loads(value)
    except ValueError as error:
        raise ValueError('it is no JSON; write it like {"speed": 1.1}') from error
    if not isinstance(fields, dict):
        raise ValueError('it is no JSON object; write it like {"speed": 1.1}')
    return fields


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
Folder = Annotated[AbsolutePath, AfterValidator(_folder)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Fields = Annotated[dict[str, object], NoDecode, BeforeValidator(_fields)]
Origins = Annotated[Words, AfterValidator(_origins)]
Hosts = Annotated[Words, AfterValidator(_hosts)]
StreamAddresses = Annotated[Words, AfterValidator(_stream_addresses)]
Networks = Annotated[Words, AfterValidator(_networks)]
WebAddresses = Annotated[Words, AfterValidator(_web_addresses)]
WebRtcAddress = Annotated[str, AfterValidator(_webrtc_address)]
PortRange = Annotated[str, AfterValidator(_port_range)]
UrlPart = Annotated[str, AfterValidator(_url_part)]
UrlPath = Annotated[str, AfterValidator(parse_root_path)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_postgres)]
StoreUrl = Annotated[str, AfterValidator(_store)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signs)]
LlmName = Annotated[str, AfterValidator(_Named("llm"))]
TtsName = Annotated[str, AfterValidator(_Named("tts"))]
LipSyncName = Annotated[str, AfterValidator(_Named("lipsync"))]
AsrName = Annotated[str, AfterValidator(_Named("asr", registry.AUTO))]

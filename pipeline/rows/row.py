"""BackendRow: what is known of a backend without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

__all__ = ["BackendRow", "Label", "for_measuring", "same"]


@dataclass(frozen=True, slots=True)
class Label:
    """Words for a person, in the languages of the page."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class BackendRow:
    """A backend, as it can be listed without being imported."""

    kind: str
    "llm, tts, features, lipsync, transport, vad, endpoint or asr; a further kind begins with its first row"
    name: str
    path: str
    "where its class is: `module:Class`"
    label: Label
    _: KW_ONLY
    note: Label | None = None
    "what a viewer should know who chooses it, e.g. that what is spoken goes to a service"
    features: str = ""
    "lipsync: the name of the extractor that it draws from"
    weights: str = ""
    "the name under which a manifest of weights lists the files it reads; empty: it reads none"
    manifest: Path | None = None
    "that manifest, in the form of models/manifest.toml; None: ours"
    face_format: str = ""
    "lipsync: where the FaceFormat is that avatars are prepared by, as `module:NAME`; empty: they need not be prepared"
    packages: tuple[str, ...] = ()
    "Python packages that it needs and the default environment lacks; `launch.py fetch` installs them"
    online: bool = False
    "whether it may talk to a service on the network"
    looked_for_here: bool = False
    "a voice whose service is asked on this machine, at its usual port, where no other address is set"
    measuring: bool = False
    "whether it is for measuring: the page offers it with ?debug only"
    settings: Mapping[str, str] = field(default_factory=dict)
    "constructor argument -> the setting of the portal that it gets; one that is empty is left out"


def same(text: str) -> Label:
    """A name that is the same in both languages."""
    return Label(text, text)


def for_measuring(
    kind: str, name: str, path: str, called: str, *, features: str = "", settings: Mapping[str, str] | None = None
) -> BackendRow:
    """A backend that the page offers to those who measure."""
    label = Label(f"{called} · for measuring", f"{called} · 测量用")
    return BackendRow(kind, name, path, label, features=features, measuring=True, settings=settings or {})

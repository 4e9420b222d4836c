"""BackendRow: what is known about a backend without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

__all__ = ["BackendRow", "Label", "for_measuring", "same"]


@dataclass(frozen=True, slots=True)
class Label:
    """Text for people, in both languages of the page."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class BackendRow:
    """The entry of a backend, which can be listed without being imported."""

    kind: str
    "llm, tts, features, lipsync, transport, vad, endpoint or asr; the first row of a new kind creates it"
    name: str
    path: str
    "where to import its class from: `module:Class`"
    label: Label
    _: KW_ONLY
    note: Label | None = None
    "what a viewer should know before choosing it, e.g. that text is sent to a service"
    features: str = ""
    "lipsync: name of the feature extractor it needs"
    weights: str = ""
    "name of the backend in a manifest of weights, which lists its files; empty: it has no weights"
    manifest: Path | None = None
    "that manifest, in the format of models/manifest.toml; None: ours"
    face_format: str = ""
    "lipsync: where the FaceFormat for preparing avatars is, as `module:NAME`; empty: no preparation is needed"
    packages: tuple[str, ...] = ()
    "Python packages it needs beyond the default environment; `launch.py fetch` installs them"
    online: bool = False
    "whether it may use a service on the network"
    looked_for_here: bool = False
    "tts: whether its service is looked for on this machine, at its usual port, if no other address is set"
    measuring: bool = False
    "whether it is for measuring; the page offers it only with ?debug"
    settings: Mapping[str, str] = field(default_factory=dict)
    "constructor argument -> setting of the portal; empty settings are left out"


def same(text: str) -> Label:
    """Return a label that is the same in both languages."""
    return Label(text, text)


def for_measuring(
    kind: str, name: str, path: str, called: str, *, features: str = "", settings: Mapping[str, str] | None = None
) -> BackendRow:
    """Return the row of a backend for measuring."""
    label = Label(f"{called} · for measuring", f"{called} · 测量用")
    return BackendRow(kind, name, path, label, features=features, measuring=True, settings=settings or {})

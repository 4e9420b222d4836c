"""Who an avatar is when it talks: a small file beside its bundle, which most avatars do not have."""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from avatars.disk import disk_full_explained

__all__ = ["MOST_PROMPT_CHARACTERS", "Persona", "read_persona", "write_persona"]

logger = logging.getLogger(__name__)

FILE = "persona.json"
MOST_PROMPT_CHARACTERS = 8000
MOST_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Persona:
    """None: not said here, so somebody else's wish counts."""

    prompt: str | None = None
    "instructions to the language model: who the avatar is"
    greeting: str | None = None
    "spoken at the start of a session; empty for none"
    voice: str | None = None

    def over(self, other: Persona) -> Persona:
        """A persona that says what this one says, and what the other says where this one is silent."""
        own, others = asdict(self), asdict(other)
        return Persona(**{name: others[name] if own[name] is None else own[name] for name in own})


def read_persona(folder: Path) -> Persona:
    """The persona of the avatar in this folder. A file that cannot be read counts as none, and the log says so."""
    try:
        with (folder / FILE).open("rb") as file:
            told = json.loads(file.read(MOST_FILE_BYTES))
        if not isinstance(told, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        return Persona()
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("the persona of %s is not used: %s", folder.name, error)
        return Persona()
    names = [field.name for field in fields(Persona)]
    return Persona(**{name: told[name] for name in names if isinstance(told.get(name), str)})


def write_persona(folder: Path, persona: Persona) -> None:
    """Keep it for the avatar in this folder, whole or not at all. Raises DiskFull, OSError."""
    said = {name: text for name, text in asdict(persona).items() if text is not None}
    staging = folder / f".persona.{secrets.token_hex(4)}"
    try:
        with disk_full_explained():
            staging.write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
            staging.replace(folder / FILE)
    except BaseException:  # whatever it was: half a file is of no use
        staging.unlink(missing_ok=True)
        raise

"""The persona of an avatar: who it is when it talks. A small file in its folder, which most avatars do not have."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from avatars.disk import read_object, write_object

__all__ = ["MAX_PROMPT_CHARACTERS", "Persona", "read_persona", "write_persona"]

logger = logging.getLogger(__name__)

FILE = "persona.json"
MAX_PROMPT_CHARACTERS = 8000
MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Persona:
    """The persona. A field is None if the file does not set it; then another source may."""

    prompt: str | None = None
    "instructions to the language model about who the avatar is"
    greeting: str | None = None
    "spoken at the start of a session; empty for none"
    voice: str | None = None

    def over(self, other: Persona) -> Persona:
        """Return a persona with this one's fields, and the other's where this one has None."""
        own, others = asdict(self), asdict(other)
        return Persona(**{name: others[name] if own[name] is None else own[name] for name in own})


def read_persona(folder: Path) -> Persona:
    """Read the persona of the avatar in this folder. A file that cannot be read counts as none, and is logged."""
    try:
        told = read_object(folder / FILE, MAX_FILE_BYTES)
    except FileNotFoundError:
        return Persona()
    except (OSError, ValueError) as error:
        logger.warning("the persona of %s is not used: %s", folder.name, error)
        return Persona()
    names = [field.name for field in fields(Persona)]
    return Persona(**{name: text for name in names if isinstance(text := told.get(name), str)})


def write_persona(folder: Path, persona: Persona) -> None:
    """Store the persona in the avatar's folder atomically. Raises DiskFull, OSError."""
    said = {name: text for name, text in asdict(persona).items() if text is not None}
    write_object(folder / FILE, said)

"""Who an avatar is when it talks: a small file beside its bundle, which most avatars do not have."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from avatars.disk import read_object, write_object

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
        told = read_object(folder / FILE, MOST_FILE_BYTES)
    except FileNotFoundError:
        return Persona()
    except (OSError, ValueError) as error:
        logger.warning("the persona of %s is not used: %s", folder.name, error)
        return Persona()
    names = [field.name for field in fields(Persona)]
    return Persona(**{name: text for name in names if isinstance(text := told.get(name), str)})


def write_persona(folder: Path, persona: Persona) -> None:
    """Keep it for the avatar in this folder, whole or not at all. Raises DiskFull, OSError."""
    said = {name: text for name, text in asdict(persona).items() if text is not None}
    write_object(folder / FILE, said)

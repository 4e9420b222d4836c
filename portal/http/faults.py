"""What is wrong with a message or a request: found and told within bounds, however much of it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BeforeValidator, ValidationError

__all__ = ["at_most", "first_fault", "told_fault"]

MOST_CHARACTERS = 300
"Of a fault as it is told. Where it lies may be a key that somebody made up."


def at_most(entries: int) -> BeforeValidator:
    """For a list or an object of a message: count before looking at any of it.

    Pydantic looks at all entries, makes an error of each that is wrong, and counts them after that: a quarter of a
    megabyte of wrong entries held the event loop for 0.3 s. Give it beside `Field(max_length=entries)`, which describes
    the bound in the API's schema.
    """

    def count(value: object) -> object:
        if isinstance(value, (dict, list, tuple)) and len(value) > entries:
            raise ValueError(f"has more than {entries} entries")
        return value

    return BeforeValidator(count)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Its kind, as Pydantic names it; where it lies and what it is. Never echoes the input, which may be private."""
    first = error.errors(include_input=False, include_url=False)[0]
    return first["type"], told_fault(first["loc"], first["msg"])


def told_fault(place: Sequence[object], what: str) -> str:
    """Where it lies and what it is, in a line."""
    where = ".".join(map(str, place))
    return f"{where}: {what}"[:MOST_CHARACTERS] if where else what[:MOST_CHARACTERS]

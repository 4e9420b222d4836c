"""Reports what is wrong with a message or a request, with bounded work however much of it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BeforeValidator, ValidationError

__all__ = ["describe_fault", "first_fault", "max_entries"]

MAX_CHARACTERS = 300
"Longest text of a fault. Its place may be a key that a client made up."


def max_entries(entries: int) -> BeforeValidator:
    """Return a validator that counts the entries of a list or an object before any of them is validated.

    Pydantic itself validates all entries, makes an error of each wrong one, and counts them only then. So a quarter of
    a megabyte of wrong entries blocked the event loop for 0.3 s. Use it together with `Field(max_length=entries)`,
    which states the limit in the API's schema.
    """

    def count(value: object) -> object:
        if isinstance(value, (dict, list, tuple)) and len(value) > entries:
            raise ValueError(f"has more than {entries} entries")
        return value

    return BeforeValidator(count)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Return an error's first fault: Pydantic's name of its kind, and a line with its place and what is wrong.

    It never repeats the input, which may be private.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    return first["type"], describe_fault(first["loc"], first["msg"])


def describe_fault(place: Sequence[object], what: str) -> str:
    """Return a line with the place of a fault and what is wrong."""
    where = ".".join(map(str, place))
    return f"{where}: {what}"[:MAX_CHARACTERS] if where else what[:MAX_CHARACTERS]

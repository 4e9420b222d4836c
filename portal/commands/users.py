"""`launch.py user`: manages the people who may log in."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from models.errors import VivavoceError
from portal.http.people import Role, UsersFile

__all__ = ["change_users"]


def change_users(path: Path, name: str, role: str, *, remove: bool) -> None:
    """Add a person, change their password, or remove them, and then list all people. Without a name, only list them.

    Raises VivavoceError.
    """
    users = UsersFile(path)
    if name and remove:
        users.remove(name)
    elif name:
        users.set(name, _asked_password(name), Role.named(role))
    for one, their_role in users.names().items():
        sys.stdout.write(f"{one}: {their_role.name.lower()}\n")


def _asked_password(name: str) -> str:
    """Ask for the password at a terminal, or else read the first line of standard input.

    It is never an argument, because other users of the machine can see those.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        password = getpass.getpass(f"Password for {name}: ")
        again = getpass.getpass("Again: ")
    except EOFError:  # Ctrl-D
        raise VivavoceError("No password was given, so nothing has changed.", "Try again.") from None
    if password != again:
        raise VivavoceError("The two passwords differ.", "Try again.")
    return password

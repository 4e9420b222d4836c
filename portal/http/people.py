"""Who may come in: people with a role, and the file that keeps their passwords.

The file is JSON: {"anna": {"password": "scrypt$...", "role": "maker"}}. It holds no password, only what one can be
checked against (scrypt, RFC 7914).
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import Scope

from avatars.written import in_sight
from models.errors import VivavoceError

__all__ = [
    "ANYBODY",
    "PERSON",
    "LoginNeeded",
    "LoginState",
    "Person",
    "Role",
    "UsersError",
    "UsersFile",
    "given_name",
    "hashed",
    "is_password",
    "person_of",
    "require_entry",
    "require_stay",
]

PERSON = "vivavoce.person"
"Key of a scope: who asks, where the portal wants to know; see person_of()."
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 2**14, 8, 5
"16 MiB and a quarter of a second per attempt; one of the settings that OWASP's Password Storage Cheat Sheet names."
SALT_BYTES = 16
LONGEST_NAME = 80
LONGEST_GIVEN_NAME = 256
"In a token or the header of a proxy; an address of e-mail has up to 254."


class Role(enum.IntEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = 1
    "talk with avatars"
    MAKER = 2
    "make and delete avatars and clips"
    ADMIN = 3
    "read metrics and other people's sessions"

    @classmethod
    def named(cls, name: str) -> Role:
        """Raises ValueError: there is no such role."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise ValueError(f"there is no role {name!r}; roles are viewer, maker and admin") from None


class LoginState(enum.Enum):
    """What has become of a login since it was checked."""

    VALID = enum.auto()
    EXPIRED = enum.auto()
    "it lets nobody in any more; what began with it may go on"
    REVOKED = enum.auto()
    "the person was removed, or has another role or password: what began with it ends"


def _valid() -> LoginState:
    return LoginState.VALID


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. name: "" for one without, such as whoever knows the shared password."""

    name: str
    role: Role
    logged_in: bool = True
    "False where the portal asks nobody who they are"
    login_state: Callable[[], LoginState] = field(default=_valid, compare=False, repr=False)
    """What has become of the login. A request is checked at the gate. What outlives the request, such as a socket or a
    session, has to ask again."""


class LoginNeeded(VivavoceError, code="login_needed", http_status=401):
    """Nobody is known to be behind the request, or their login holds no more."""


ANYBODY = Person("", Role.ADMIN, logged_in=False)
"Who asks where the portal does not want to know."


def require_entry(person: Person) -> None:
    """For what begins now. Raises LoginNeeded: their login has expired or was revoked."""
    if person.login_state() is not LoginState.VALID:
        raise _login_over()


def require_stay(person: Person) -> None:
    """For what goes on. Raises LoginNeeded: their login was revoked."""
    if person.login_state() is LoginState.REVOKED:
        raise _login_over()


def _login_over() -> LoginNeeded:
    return LoginNeeded("Your login has ended.", "Reload the page and log in.")


def person_of(scope: Scope) -> Person:
    """Who asks; ANYBODY where no login is set up."""
    person: Person = scope.get(PERSON, ANYBODY)
    return person


def given_name(given: str) -> str:
    """Of somebody in no file, as others give it. It is written to logs and databases. Raises ValueError."""
    name = given.strip()
    if not name:
        raise ValueError("it names nobody")
    if len(name) > LONGEST_GIVEN_NAME or in_sight(name) != name:
        raise ValueError(f"a name has up to {LONGEST_GIVEN_NAME} characters, and none that nobody sees")
    return name


class UsersError(VivavoceError, code="bad_settings"):
    """The file of users cannot be read or written, or a name or role in it cannot be used."""


@dataclass(frozen=True, slots=True)
class _User:
    password: str
    "what hashed() gave"
    role: Role


class UsersFile:
    """The people of a portal. It is read again when it has changed, so that nobody has to start the portal anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: Mapping[str, _User] = {}
        self._read_at: tuple[int, int] | None = None
        "what the file's time and size were"

    def exists(self) -> bool:
        """Whether there is such a file, of whatever contents."""
        return self._path.exists()

    def names(self) -> Mapping[str, Role]:
        """Name -> role. Raises UsersError."""
        return {name: user.role for name, user in self._now().items()}

    def person(self, name: str) -> Person | None:
        """Raises UsersError."""
        user = self._now().get(name)
        return Person(name, user.role) if user else None

    def hash_of(self, name: str) -> str:
        """What the password of that name is checked against; "" if nobody has it. Raises UsersError."""
        user = self._now().get(name)
        return user.password if user else ""

    def set(self, name: str, password: str, role: Role) -> None:
        """Add somebody, or give them another password and role. Raises UsersError."""
        if not name or len(name) > LONGEST_NAME or not name.isprintable() or ":" in name or in_sight(name) != name:
            raise UsersError(
                f"{name!r} cannot be a name.", f"Take 1 to {LONGEST_NAME} printable characters without a colon."
            )
        self._write({**self._now(), name: _User(hashed(password), role)})

    def remove(self, name: str) -> None:
        """Raises UsersError: nobody has that name, or the file cannot be written."""
        users = dict(self._now())
        if users.pop(name, None) is None:
            raise UsersError(f"Nobody is called {name!r}.", f"There are: {', '.join(users) or 'no names'}.")
        self._write(users)

    def _now(self) -> Mapping[str, _User]:
        try:
            stat = self._path.stat()
            if self._read_at != (stat.st_mtime_ns, stat.st_size):
                self._users = _users(json.loads(self._path.read_text(encoding="utf-8")))
                self._read_at = (stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            self._users, self._read_at = {}, None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsersError(
                f"The file of users {self._path} cannot be used: {error}.",
                "Correct it, or make it anew with: python launch.py user NAME",
            ) from error
        return self._users

    def _write(self, users: Mapping[str, _User]) -> None:
        told = {name: {"password": user.password, "role": user.role.name.lower()} for name, user in users.items()}
        unfinished = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(told, file, indent=1)
            unfinished.replace(self._path)
        except OSError as error:
            raise UsersError(f"The file of users {self._path} cannot be written: {error}.") from error


def _users(read: Mapping[str, Mapping[str, str]]) -> dict[str, _User]:
    return {name: _User(user["password"], Role.named(user["role"])) for name, user in read.items()}


def hashed(password: str) -> str:
    """What a password can be checked against, and not be found out from."""
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt)))
    return "$".join(("scrypt", *parts))


def is_password(password: str, wanted: str) -> bool:
    """Whether `wanted` was made from that password. Takes as long where nobody has the name (wanted is "")."""
    try:
        _scheme, salt, key = wanted.split("$")
        return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(key))
    except ValueError:
        _scrypt(password, bytes(SALT_BYTES))
        return False


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=SCRYPT_LANES, maxmem=64 * 2**20
    )

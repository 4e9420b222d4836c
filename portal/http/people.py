"""The people who may log in, with their roles, and the file of their passwords.

The file is JSON: {"anna": {"password": "scrypt$...", "role": "maker"}}. It has only hashes of the passwords (scrypt,
RFC 7914).
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

from avatars.unicode_names import blank_invisible
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
"Key in an ASGI scope for the Person who asks; missing if no login is set up. See person_of()."
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 2**14, 8, 5
"16 MiB and a quarter of a second per attempt; one of the settings in OWASP's Password Storage Cheat Sheet."
SALT_BYTES = 16
LONGEST_NAME = 80
LONGEST_GIVEN_NAME = 256
"Longest name in a token or a proxy's header; an e-mail address has up to 254 characters."


class Role(enum.IntEnum):
    """What somebody may do. Each role includes those before it."""

    VIEWER = 1
    "talk with avatars"
    MAKER = 2
    "make and delete avatars and clips"
    ADMIN = 3
    "read metrics and other people's sessions"

    @classmethod
    def named(cls, name: str) -> Role:
        """Return the role with a name, in any case. Raises ValueError: there is no such role."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise ValueError(f"there is no role {name!r}; roles are viewer, maker and admin") from None


class LoginState(enum.Enum):
    """What has become of a login since it was checked."""

    VALID = enum.auto()
    EXPIRED = enum.auto()
    "nothing new may begin with it; what has begun may go on"
    REVOKED = enum.auto()
    "the person was removed or has another role or password, so whatever began with it ends"


def _valid() -> LoginState:
    return LoginState.VALID


@dataclass(frozen=True, slots=True)
class Person:
    """A person who asks for something. name: "" if they have none, such as whoever knows the shared password."""

    name: str
    role: Role
    logged_in: bool = True
    "false if no login is set up"
    login_state: Callable[[], LoginState] = field(default=_valid, compare=False, repr=False)
    """returns the present state of the login. The gate checks each request; whatever outlives its request, such as a
    socket or a session, has to ask again"""


class LoginNeeded(VivavoceError, code="login_needed", http_status=401):
    """The request's sender has not logged in, or the login has ended."""


ANYBODY = Person("", Role.ADMIN, logged_in=False)
"The person behind every request if no login is set up."


def require_entry(person: Person) -> None:
    """Check the login before something begins. Raises LoginNeeded: it has expired or was revoked."""
    if person.login_state() is not LoginState.VALID:
        raise _login_over()


def require_stay(person: Person) -> None:
    """Check the login of something that goes on. Raises LoginNeeded: it was revoked."""
    if person.login_state() is LoginState.REVOKED:
        raise _login_over()


def _login_over() -> LoginNeeded:
    return LoginNeeded("Your login has ended.", "Reload the page and log in.")


def person_of(scope: Scope) -> Person:
    """Return the person behind a request; ANYBODY if no login is set up."""
    person: Person = scope.get(PERSON, ANYBODY)
    return person


def given_name(given: str) -> str:
    """Check the name of a person as a token or a proxy gives it, and return it without spaces around it.

    It is written to logs and databases. Raises ValueError: it is empty, too long, or has invisible characters.
    """
    name = given.strip()
    if not name:
        raise ValueError("it names nobody")
    if len(name) > LONGEST_GIVEN_NAME or blank_invisible(name) != name:
        raise ValueError(f"a name has up to {LONGEST_GIVEN_NAME} characters, and none that nobody sees")
    return name


class UsersError(VivavoceError, code="bad_settings"):
    """The file of users cannot be read or written, or a name or role in it cannot be used."""


@dataclass(frozen=True, slots=True)
class _User:
    password: str
    "result of hashed()"
    role: Role


class UsersFile:
    """The file of the people who may log in. It is read again whenever it has changed, so no restart is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: Mapping[str, _User] = {}
        self._read_at: tuple[int, int] | None = None
        "time of modification (ns) and size (bytes) of the file when it was read"

    def exists(self) -> bool:
        """Whether the file exists, whatever its contents."""
        return self._path.exists()

    def names(self) -> Mapping[str, Role]:
        """Return a mapping from name to role. Raises UsersError."""
        return {name: user.role for name, user in self._now().items()}

    def person(self, name: str) -> Person | None:
        """Return the person with a name, None if there is none. Raises UsersError."""
        user = self._now().get(name)
        return Person(name, user.role) if user else None

    def hash_of(self, name: str) -> str:
        """Return the hash of a person's password, "" if nobody has that name. Raises UsersError."""
        user = self._now().get(name)
        return user.password if user else ""

    def set(self, name: str, password: str, role: Role) -> None:
        """Add a person, or give one another password and role. Raises UsersError."""
        if (
            not name
            or len(name) > LONGEST_NAME
            or not name.isprintable()
            or ":" in name
            or blank_invisible(name) != name
        ):
            raise UsersError(
                f"{name!r} cannot be a name.", f"Take 1 to {LONGEST_NAME} printable characters without a colon."
            )
        self._write({**self._now(), name: _User(hashed(password), role)})

    def remove(self, name: str) -> None:
        """Remove a person. Raises UsersError: nobody has that name, or the file cannot be read or written."""
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
            # Readable by this user only, and renamed when complete, so that nobody ever reads half a file.
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(told, file, indent=1)
            unfinished.replace(self._path)
        except OSError as error:
            raise UsersError(f"The file of users {self._path} cannot be written: {error}.") from error


def _users(read: Mapping[str, Mapping[str, str]]) -> dict[str, _User]:
    return {name: _User(user["password"], Role.named(user["role"])) for name, user in read.items()}


def hashed(password: str) -> str:
    """Return the salted hash of a password, as the file of users keeps it."""
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt)))
    return "$".join(("scrypt", *parts))


def is_password(password: str, wanted: str) -> bool:
    """Whether `wanted` is a hash of the password.

    If `wanted` is "" (nobody has the name), the answer takes just as long, so that timing does not reveal names.
    """
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

"""The login gate: identifies people by a password, a token of the product that embeds us, or a trusted proxy's header.

If no login is set up, the gate is open, and everybody may do everything. It closes when the first person is added to
the file of users, and then stays closed. A request whose sender cannot be identified is answered 401: with the login
page if a page was asked for, otherwise with an error of our usual form. A browser that has logged in keeps a signed
cookie (JWT, RFC 7519). Programs send `Authorization: Basic` or `Bearer` with each request.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode

import jwt
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import VivavoceError
from pipeline.clock import Clock
from portal.http.errors import error_response_for, internal_error
from portal.http.limits import AddressAllowance, TooOften
from portal.http.login_key import secret_of
from portal.http.login_line import LoginLine
from portal.http.login_page import login_page, other_login_page
from portal.http.origins import HARMLESS
from portal.http.people import (
    ANYBODY,
    PERSON,
    LoginNeeded,
    LoginState,
    Person,
    Role,
    UsersError,
    UsersFile,
    given_name,
    is_password,
)
from portal.http.proxies import address_of, path_below, was_passed_on
from portal.http.rights import is_open, require, role_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from portal.settings import Settings

__all__ = ["COOKIE", "Gate", "WrongPassword"]

logger = logging.getLogger(__name__)

COOKIE = "vivavoce"
"Name of our cookie."
LOGGED_IN_S = 30 * 86_400
"How long a browser stays logged in."
ALGORITHM = "HS256"
TRIES_BURST = 10
TRIES_PER_S = 0.1
"How many passwords one address may try, at once and per second. A family that logs in one evening does not notice."
KEPT_LOGINS = 256
"Most correct passwords that are remembered; the oldest goes first."
KEPT_LOGIN_S = 300.0
"Programs send the password with each request. After a correct one, it is not hashed again for this long."
LONGEST_FORM_BYTES = 4096
"Largest form of a login."


class WrongPassword(VivavoceError, code="wrong_password", http_status=401):
    """A name or password is wrong, or a token is not valid."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets and the header by which people are identified; "" for a way that is not set up."""

    password: str
    "the shared password; whoever knows it may do everything"
    token_secret: str
    "the secret with which the product that embeds us signs its tokens"
    header: str
    "the header in which a trusted proxy names the person who has logged in there"
    header_role: Role
    "role of people whom the proxy names and who are not in the file of users"


@dataclass(frozen=True, slots=True)
class _Login:
    """A correct password that a program has sent, kept for a while."""

    name: str
    key: str
    "result of Gate._key_of() at that time; it changes when the password does"
    until_s: float


class Gate:
    """ASGI middleware behind BehindProxies and OriginGuard: puts the person who asks into the scope, or refuses."""

    def __init__(self, app: ASGIApp, users: UsersFile, keys: Keys, data_dir: Path, clock: Clock) -> None:
        self._app = app
        self._users = users
        self._keys = keys
        self._data_dir = data_dir
        self._clock = clock
        self._is_closed = any((keys.password, keys.token_secret, keys.header))
        self._tries = AddressAllowance(clock, burst=TRIES_BURST, per_s=TRIES_PER_S)
        self._line = LoginLine(clock)
        self._logins: OrderedDict[bytes, _Login] = OrderedDict()
        "keyed by the digest of what the program sent"
        self._anybody = replace(ANYBODY, login_state=self._login_of_anybody)

    @classmethod
    def of(cls, app: ASGIApp, settings: Settings, clock: Clock) -> Gate:
        """Return the gate with the portal's settings. Raises UsersError: the file of users cannot be used."""
        users = UsersFile(settings.users_path)
        users.names()  # reads the file, so that a faulty one is found at the start
        keys = Keys(
            settings.password.get_secret_value(),
            settings.token_secret.get_secret_value(),
            settings.login_header,
            Role.named(settings.login_header_role),
        )
        return cls(app, users, keys, settings.data_dir, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if self._login_of_anybody() is LoginState.VALID:
            scope[PERSON] = self._anybody
            await self._app(scope, receive, send)
            return
        answer: Response | None
        try:
            answer = await self._answer(scope, receive)
        except UsersError as error:  # its text names the file's path, which strangers must not learn
            logger.error("Nobody can log in: %s", error)
            answer = internal_error()
        except VivavoceError as error:
            answer = self._refusal(scope, error)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the gate's own answer, or None to let the request pass with its person in the scope."""
        path = path_below(scope)
        if scope["type"] == "http" and scope["method"] == "POST" and path in ("/login", "/logout"):
            return self._log_out(scope) if path == "/logout" else await self._log_in(scope, receive)
        if is_open(path):
            return None
        person, token = await self._who(scope)
        if person is None:
            raise LoginNeeded("You have to log in to use this portal.", "Log in, or send a password or a token.")
        if path == "/login":
            return RedirectResponse(scope.get("root_path", "") + "/", 303)
        require(person, role_for(scope))
        scope[PERSON] = person
        if not token or not _wants_page(scope):
            return None
        now = self._cookie_person(Headers(scope=scope))
        if now is not None and now.name != person.name and _is_link_of_another_website(scope):
            return other_login_page(scope, now.name, person.name, scope["path"] + _query(scope), _without_token(scope))
        return _came_with_token(scope, token)

    async def _who(self, scope: Scope) -> tuple[Person | None, str]:
        """Identify the person behind a request. Return them, and the token in the request's address or "".

        Raises WrongPassword, TooOften.
        """
        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and given:
            return await self._by_basic(scope, given.strip()), ""
        if scheme.lower() == "bearer" and given:
            return self._by_token(given.strip()), ""
        if self._keys.token_secret:
            for token in parse_qs(_query(scope)[1:]).get("token", [])[:1]:
                return self._by_token(token), token
        if self._keys.header and was_passed_on(scope) and (name := headers.get(self._keys.header, "").strip()):
            return self._by_header(name), ""
        return self._cookie_person(headers), ""

    def _cookie_person(self, headers: Headers) -> Person | None:
        # Other websites on this host name set cookies too, some in a form that http.cookies cannot parse.
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return self._by_cookie(cookie) if cookie else None

    async def _by_basic(self, scope: Scope, given: str) -> Person:
        # Only a keyed digest of the password is kept in memory.
        digest = hmac.digest(self._secret, given.encode(), "sha256")
        login = self._logins.get(digest)
        if login is not None and self._clock.now_s() < login.until_s and login.key == self._key_of(login.name):
            known = self._person(login.name)
            if known is not None:
                return known
        try:
            name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            raise WrongPassword("The header Authorization cannot be read.", "Send Basic NAME:PASSWORD.") from None
        person = await self._by_password(scope, name, password)
        self._logins[digest] = _Login(person.name, self._key_of(person.name), self._clock.now_s() + KEPT_LOGIN_S)
        while len(self._logins) > KEPT_LOGINS:
            self._logins.popitem(last=False)
        return person

    async def _by_password(
        self, scope: Scope, name: str, password: str, is_gone: Callable[[], Awaitable[bool]] | None = None
    ) -> Person:
        """Return the person with a name and a password. is_gone: tells whether the client has left already.

        Raises WrongPassword, TooOften.
        """
        if wait_s := self._tries.take(address_of(scope)):
            raise TooOften("Too many passwords were tried from this address.", "Wait a minute, then try again.", wait_s)
        shared = self._keys.password
        if shared and hmac.compare_digest(password.encode(), shared.encode()):
            return self._admin()
        address = address_of(scope)
        is_right = await self._is_right(address, name, password, is_gone) if self._users.names() else False
        person = self._person(name) if is_right and name else None
        if person is None:
            if is_right is not None:
                self._line.note_wrong(address)
            raise WrongPassword("The name or the password is wrong.", "Try again, or ask whoever runs this portal.")
        return person

    async def _is_right(
        self, address: str, name: str, password: str, is_gone: Callable[[], Awaitable[bool]] | None
    ) -> bool | None:
        """Check a password, when its turn has come. None: the client had left by then. Raises TooOften."""
        async with self._line.turn(address):
            if is_gone is not None and await is_gone():
                return None
            return await asyncio.to_thread(is_password, password, self._users.hash_of(name))

    def _by_token(self, token: str) -> Person:
        """Return the person of a token. Raises WrongPassword: it has expired, or is not signed with our secret."""
        if not self._keys.token_secret:
            raise WrongPassword("This portal takes no tokens.", "Log in with a password.")
        try:
            claims = jwt.decode(token, self._keys.token_secret, [ALGORITHM], options={"require": ["exp", "sub"]})
            name, role = given_name(str(claims["sub"])), Role.named(str(claims.get("role", "viewer")))
            # The end by our own clock, so that setting the wall clock during a session makes no difference.
            ends_s = self._clock.now_s() + float(claims["exp"]) - time.time()
            return Person(name, role, login_state=lambda: self._login_until(ends_s))
        except (jwt.InvalidTokenError, ValueError, OverflowError) as error:
            hint = "Get a new one from where you came from."
            raise WrongPassword(f"The token is not valid: {error}.", hint, cause="token") from error

    def _by_cookie(self, cookie: str) -> Person | None:
        """Return the person of a cookie; None if it is not ours, has expired, or the password has changed since."""
        try:
            claims = jwt.decode(cookie, self._secret, [ALGORITHM], options={"require": ["exp"]})
        except jwt.InvalidTokenError:
            return self._by_kept_token(cookie)
        name = str(claims.get("name", ""))
        if claims.get("key") != self._key_of(name):
            return None
        return self._person(name)

    def _by_header(self, name: str) -> Person:
        """Return the person whom a trusted proxy names. Raises WrongPassword: that is no valid name."""
        try:
            name = given_name(name)
        except ValueError as error:
            raise WrongPassword(f"The login header is not valid: {error}.", "Ask whoever runs this portal.") from error

        def named_now() -> Person:
            return self._users.person(name) or Person(name, self._keys.header_role)

        person = named_now()
        return replace(person, login_state=lambda: self._login_if(lambda: named_now() == person))

    def _person(self, name: str) -> Person | None:
        """Return the person with a name, None if there is none. "" stands for whoever knows the shared password."""
        if not name:
            return self._admin()
        person, key = self._users.person(name), self._key_of(name)
        if person is None:
            return None

        def is_unchanged() -> bool:
            return self._users.person(name) == person and self._key_of(name) == key

        return replace(person, login_state=lambda: self._login_if(is_unchanged))

    def _admin(self) -> Person:
        """Return the person who knows the shared password. It cannot change while the portal runs."""
        return Person("", Role.ADMIN)

    def _login_of_anybody(self) -> LoginState:
        """Return the state of an anonymous login. It is valid until the file of users exists."""
        self._is_closed = self._is_closed or self._users.exists()
        return LoginState.REVOKED if self._is_closed else LoginState.VALID

    def _login_until(self, ends_s: float) -> LoginState:
        """Return the state of a login by token. After its end nothing new may begin; what has begun goes on."""
        return LoginState.VALID if self._clock.now_s() < ends_s else LoginState.EXPIRED

    def _login_if(self, is_unchanged: Callable[[], bool]) -> LoginState:
        try:
            return LoginState.VALID if is_unchanged() else LoginState.REVOKED
        except UsersError as error:  # perhaps somebody is editing the file: nobody new comes in, nobody has to leave
            logger.error("Nobody knows who may still be here: %s", error)
            return LoginState.EXPIRED

    @cached_property
    def _secret(self) -> bytes:
        """The key that signs cookies. It is made when first needed, because a portal without a login needs none."""
        return secret_of(self._data_dir)

    def _by_kept_token(self, cookie: str) -> Person | None:
        """Return the person of a cookie that is itself a token; see _came_with_token()."""
        try:
            return self._by_token(cookie) if self._keys.token_secret else None
        except WrongPassword:
            return None

    def _key_of(self, name: str) -> str:
        """Return a mark of a person's password. Cookies contain it, so that changing the password ends them."""
        known_by = self._users.hash_of(name) if name else self._keys.password
        return hmac.new(self._secret, known_by.encode(), hashlib.sha256).hexdigest()[:16] if known_by else "none"

    async def _log_in(self, scope: Scope, receive: Receive) -> Response:
        request = Request(scope, receive)
        form = await _form(request)
        after = _inside(scope, form.get("next", ""))
        try:
            name, password = form.get("name", ""), form.get("password", "")
            person = await self._by_password(scope, name, password, request.is_disconnected)
        except (WrongPassword, TooOften) as error:
            return self._page(scope, error, after)
        scope[PERSON] = person  # the audit log reads it
        claims = {"name": person.name, "key": self._key_of(person.name), "exp": time.time() + LOGGED_IN_S}
        answer = RedirectResponse(after, 303)
        answer.headers["set-cookie"] = _cookie(scope, jwt.encode(claims, self._secret, ALGORITHM), LOGGED_IN_S)
        return answer

    def _log_out(self, scope: Scope) -> Response:
        if (person := self._cookie_person(Headers(scope=scope))) is not None:
            scope[PERSON] = person
        answer = RedirectResponse(scope.get("root_path", "") + "/", 303)
        answer.headers["set-cookie"] = _cookie(scope, "", 0)
        return answer

    def _refusal(self, scope: Scope, error: VivavoceError) -> Response:
        if isinstance(error, LoginNeeded | WrongPassword) and _wants_page(scope):
            return self._page(scope, error, _without_token(scope))
        headers = {"WWW-Authenticate": "Bearer"} if error.http_status == 401 else {}
        return error_response_for(error, headers)

    def _page(self, scope: Scope, error: VivavoceError, after: str) -> Response:
        return login_page(scope, error, after, asks_name=bool(self._users.names()))


async def _form(request: Request) -> dict[str, str]:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_FORM_BYTES:
                raise WrongPassword("That is more than a name and a password.", "Send the form of the login page.")
    except ClientDisconnect:
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def _wants_page(scope: Scope) -> bool:
    is_read = scope["type"] == "http" and scope["method"] in HARMLESS
    return is_read and "text/html" in Headers(scope=scope).get("accept", "")


def _is_link_of_another_website(scope: Scope) -> bool:
    """Whether a link on another website opened this in a whole window. Frames are limited by allowed_origins."""
    headers = Headers(scope=scope)
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") == "document"


def _came_with_token(scope: Scope, token: str) -> Response:
    """Turn a token in the address into a cookie, because the page's later requests do not carry it in their address.

    This also works in a frame of another website: browsers keep a Partitioned cookie separately for each website.
    """
    answer = RedirectResponse(_inside(scope, _without_token(scope)), 303)
    answer.headers["set-cookie"] = _cookie(scope, token, LOGGED_IN_S, framed=True)
    return answer


def _cookie(scope: Scope, value: str, age_s: int, *, framed: bool = False) -> str:
    """Return the header that sets our cookie.

    framed: the cookie is also sent if our page is in a frame of another website. Browsers allow that over TLS only.
    """
    secure = scope["scheme"] == "https"
    site = "None; Partitioned" if framed and secure else "Lax"
    path = scope.get("root_path", "") or "/"
    return f"{COOKIE}={value}; Max-Age={age_s}; Path={path}; HttpOnly; SameSite={site}{'; Secure' if secure else ''}"


def _query(scope: Scope) -> str:
    query: str = scope.get("query_string", b"").decode("latin-1")
    return f"?{query}" if query else ""


def _without_token(scope: Scope) -> str:
    """Return the address that was asked for, without its token."""
    others = [pair for pair in parse_qsl(_query(scope)[1:], keep_blank_values=True) if pair[0] != "token"]
    path: str = scope["path"]
    return path + (f"?{urlencode(others)}" if others else "")


def _inside(scope: Scope, wanted: str) -> str:
    """Return where to go after the login: the wanted address if it is ours, never one of another website."""
    root = scope.get("root_path", "")
    is_ours = wanted.startswith(f"{root}/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours else f"{root}/"

"""The page on which people log in, in the language of their browser. It needs no script."""

from __future__ import annotations

import html
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from models.errors import VivavoceError
from portal.http.headers import page_policy
from portal.http.page_frame import framed_page

__all__ = ["login_page", "other_login_page"]

TEXTS = {
    "en": {
        "title": "Log in to Vivavoce",
        "name": "Name",
        "password": "Password",
        "enter": "Log in",
        "wrong_password": "The name or the password is wrong.",
        "alone": "The password is wrong.",
        "token": "This link is no longer valid. Log in, or open it again from where you came from.",
        "too_often": "Too many attempts. Wait a minute, then try again.",
        "other_title": "Continue as somebody else?",
        "other": "You are logged in as {now}. This link logs you in as {then}.",
        "nobody": "an admin",
        "go_on": "Continue as {then}",
        "stay": "Keep my login",
    },
    "zh": {
        "title": "登录 Vivavoce",
        "name": "用户名",
        "password": "密码",
        "enter": "登录",
        "wrong_password": "用户名或密码不正确。",
        "alone": "密码不正确。",
        "token": "此链接已失效。请登录，或从原来的网站重新打开。",
        "too_often": "尝试次数过多，请稍等一分钟再试。",
        "other_title": "要换一个身份吗？",
        "other": "你现在以“{now}”的身份登录，打开此链接会改用“{then}”的身份。",
        "nobody": "管理员",
        "go_on": "以“{then}”的身份继续",
        "stay": "保持现在的身份",
    },
}
STYLE = """<style>
  :root { --ground: #f5f5f8; --card: #fff; --ink: #1b1c25; --line: #c9c9d6; --accent: #4a46cf; --bad: #b3261e; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #0e0f14; --card: #171922; --ink: #ececf3; --line: #4a4e60; --accent: #8f8bff; --bad: #ff8a80; }
  }
  body { display: grid; place-items: center; min-height: 100vh; margin: 0; background: var(--ground);
    color: var(--ink); font: 16px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", sans-serif; }
  main { width: min(340px, calc(100vw - 64px)); padding: 32px; border-radius: 18px; background: var(--card); }
  img { display: block; }
  h1 { margin: 12px 0 20px; font-size: 20px; }
  label { display: block; margin-bottom: 14px; font-size: 14px; }
  input { display: block; box-sizing: border-box; width: 100%; margin-top: 4px; padding: 10px 12px; font: inherit;
    color: inherit; background: transparent; border: 1px solid var(--line); border-radius: 10px; }
  button { width: 100%; padding: 11px; font: inherit; font-weight: 600; color: var(--card); cursor: pointer;
    background: var(--accent); border: 0; border-radius: 999px; }
  p { color: var(--bad); font-size: 14px; }
  a { display: block; margin-top: 14px; color: var(--accent); }
</style>"""
BODY = """<body>
<main>
<img src="{root}/static/logo.svg" alt="" width="40" height="40">
<h1>{title}</h1>
<form method="post" action="{root}/login">
<input type="hidden" name="next" value="{after}">
{fields}
{trouble}
<button>{enter}</button>
</form>
</main>
</body>"""
OTHER_BODY = """<body>
<main>
<img src="{root}/static/logo.svg" alt="" width="40" height="40">
<h1>{title}</h1>
<p>{words}</p>
<a href="{address}">{go_on}</a>
<a href="{without}">{stay}</a>
</main>
</body>"""
FIELD = '<label>{label}<input name="{name}" {kind}{focus}></label>'
KINDS = {
    "name": 'autocomplete="username"',
    "password": 'type="password" autocomplete="current-password" required',
}
TROUBLE = '<p role="alert">{text}</p>'


def login_page(scope: Scope, error: VivavoceError, after: str, *, asks_name: bool) -> Response:
    """Return the page on which a person logs in.

    error: why they are not let in yet. after: where to go after the login. asks_name: whether to ask for a name too.
    """
    code, texts = _texts(scope)
    fields = [
        FIELD.format(label=texts[name], name=name, kind=KINDS[name], focus=" autofocus" if first else "")
        for name, first in ((("name", True), ("password", False)) if asks_name else (("password", True),))
    ]
    # The page itself already says that one has to log in.
    trouble = "" if error.code == "login_needed" else TROUBLE.format(text=_words(error, texts, asks_name=asks_name))
    root, title = html.escape(scope.get("root_path", "")), texts["title"]
    body = BODY.format(
        root=root,
        title=title,
        after=html.escape(after),
        fields="\n".join(fields),
        trouble=trouble,
        enter=texts["enter"],
    )
    return _answer(body, error.http_status, title, code, root)


def other_login_page(scope: Scope, now: str, then: str, address: str, without: str) -> Response:
    """Return the page that asks before a link from another website logs somebody in as another person.

    now, then: the two names, "" for an admin without one. address: the link's own; followed from this page, it no
    longer counts as a link of another website. without: the same address without the token.
    """
    code, texts = _texts(scope)
    names = {"now": html.escape(now or texts["nobody"]), "then": html.escape(then)}
    root, title = html.escape(scope.get("root_path", "")), texts["other_title"]
    body = OTHER_BODY.format(
        root=root,
        title=title,
        words=texts["other"].format(**names),
        address=html.escape(address),
        without=html.escape(without),
        go_on=texts["go_on"].format(**names),
        stay=texts["stay"],
    )
    return _answer(body, 403, title, code, root)


def _texts(scope: Scope) -> tuple[str, Mapping[str, str]]:
    """Return the language of the browser, "zh" or "en", and the words in it."""
    code = "zh" if Headers(scope=scope).get("accept-language", "").lower().startswith("zh") else "en"
    return code, TEXTS[code]


def _answer(body: str, status: int, title: str, code: str, root: str) -> Response:
    page = framed_page(STYLE, body, title=title, lang="zh-CN" if code == "zh" else "en", root=f"{root}/")
    policy = page_policy(page).replace("form-action 'none'", "form-action 'self'")
    extra = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Vary": "Accept-Language"}
    return HTMLResponse(page, status, extra)


def _words(error: VivavoceError, texts: Mapping[str, str], *, asks_name: bool) -> str:
    if error.code == "wrong_password" and not error.cause and not asks_name:
        return texts["alone"]
    return texts.get(error.cause) or texts.get(error.code) or html.escape(error.message)

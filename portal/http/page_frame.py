"""The HTML around each of our pages that Gradio does not draw."""

from __future__ import annotations

__all__ = ["framed_page"]

_FRAME = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
<link rel="icon" href="{root}static/logo.svg" type="image/svg+xml">
{head}
</head>
{body}
</html>
"""


def framed_page(
    head: str, body: str, *, title: str = "Vivavoce", lang: str = "en", scheme: str = "light dark", root: str = ""
) -> str:
    """Return a whole page. head: further HTML for its head. body: HTML with the body tag. Neither is escaped here.

    scheme: the page's colour schemes. root: the portal's address relative to the page, ending with a slash.
    """
    return _FRAME.format(head=head, body=body, title=title, lang=lang, scheme=scheme, root=root)

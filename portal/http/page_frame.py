"""The HTML around each page of ours that Gradio does not draw."""

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
    """A whole page. head: what else belongs there; body: with its tag. Both are HTML, as they are.

    scheme: the colour schemes that the page has. root: the portal's address, as the page finds it, with a slash.
    """
    return _FRAME.format(head=head, body=body, title=title, lang=lang, scheme=scheme, root=root)

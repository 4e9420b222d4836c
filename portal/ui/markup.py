"""Puts values from Python into the page's markup."""

from __future__ import annotations

import html
import json

__all__ = ["json_attribute"]


def json_attribute(value: object) -> str:
    """Return a value as JSON for a quoted HTML attribute.

    Backticks are escaped as well, because one would end Gradio's template.
    """
    return html.escape(json.dumps(value, ensure_ascii=False)).replace("`", "&#96;")

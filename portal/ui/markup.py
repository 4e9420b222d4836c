"""What goes from Python into the page's markup."""

from __future__ import annotations

import html
import json

__all__ = ["json_attribute"]


def json_attribute(value: object) -> str:
    """As JSON, to be put between the quotes of an attribute; without backticks, with which Gradio's templates end."""
    return html.escape(json.dumps(value, ensure_ascii=False)).replace("`", "&#96;")

"""Makes the script `texts.js`, which contains all texts of the page and is imported by its other scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from portal.ui.error_texts import ERROR_TEXTS
from portal.ui.talk_text import HEADER_TEXTS, TALK_TEXTS
from portal.ui.text import DESK_TEXTS

__all__ = ["texts_module"]

Texts = Mapping[str, Mapping[str, str]]
"Language -> key -> text."


def texts_module() -> str:
    """Return the script. Its exports `header`, `talk` and `desk` are {language: {key: text}}.

    The texts of errors, which `talk` and `desk` share, are in it only once.
    """
    parts = [f"const errors = {_json(ERROR_TEXTS)};", f"export const header = {_json(HEADER_TEXTS)};"]
    for name, texts in (("talk", TALK_TEXTS), ("desk", DESK_TEXTS)):
        languages = (
            f"{language}: {{ ...errors.{language}, ...{_json(_without_errors(own, language))} }}"
            for language, own in texts.items()
        )
        parts.append(f"export const {name} = {{ {', '.join(languages)} }};")
    return "\n".join(parts) + "\n"


def _without_errors(texts: Mapping[str, str], language: str) -> dict[str, str]:
    common = ERROR_TEXTS[language]
    return {key: text for key, text in texts.items() if common.get(key) != text}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""The words of the page as a script: all of them, once, and as Node.js reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from portal.ui.error_texts import ERROR_TEXTS
from portal.ui.talk_text import HEADER_TEXTS, TALK_TEXTS
from portal.ui.text import DESK_TEXTS
from portal.ui.texts_module import texts_module
from tests.scripts.__main__ import NODE


def test_the_script_exports_every_word_of_the_page(tmp_path: Path) -> None:
    """Each tab has its texts in both languages, with those of errors."""
    (tmp_path / "texts.mjs").write_text(texts_module(), encoding="utf-8")
    told = 'import("./texts.mjs").then((texts) => console.log(JSON.stringify(texts)))'
    output = subprocess.run([NODE, "-e", told], cwd=tmp_path, check=True, capture_output=True).stdout
    assert json.loads(output) == {"header": HEADER_TEXTS, "talk": TALK_TEXTS, "desk": DESK_TEXTS}


def test_what_went_wrong_is_in_it_once() -> None:
    """Both tabs tell of errors, by the same words."""
    module = texts_module()
    for text in ERROR_TEXTS["zh"].values():
        assert module.count(json.dumps(text, ensure_ascii=False)) >= 1
    longest = max(ERROR_TEXTS["zh"].values(), key=len)
    assert module.count(json.dumps(longest, ensure_ascii=False)) == 1

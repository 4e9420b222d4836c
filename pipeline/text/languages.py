"""Which language a sentence is in."""

from __future__ import annotations

import re

__all__ = ["detect_language"]

_SCRIPTS = re.compile(
    "(?P<zh>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|(?P<ja>[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f])"
    "|(?P<ko>[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e])"
    "|(?P<ru>[\u0400-\u052f]+)|(?P<el>[\u0370-\u03ff]{2,})|(?P<he>[\u0590-\u05ff]+)|(?P<ar>[\u0600-\u06ff]+)"
    "|(?P<hi>[\u0900-\u097f]+)|(?P<th>[\u0e00-\u0e7f]+)"
    "|(?P<en>[A-Za-z\u00c0-\u024f]+(?:['’][A-Za-z]+)?)"
)
_CJK_SHARE = 0.4
"""Share of (Chinese characters + words) from which a mixed sentence counts as Chinese: "I like 北京 very much" is
English, "iPhone 15 Pro Max 很好" is Chinese."""
_KANA_SHARE = 0.1


def detect_language(text: str, default: str = "en") -> str:
    """ISO 639-1 code by script: zh, ja, ko, ru, el, he, ar, hi, th, or en for anything in Latin letters.

    default: for a text without letters.
    """
    counts: dict[str, int] = {}
    for match in _SCRIPTS.finditer(text):
        script = match.lastgroup or default
        counts[script] = counts.get(script, 0) + 1
    if not counts:
        return default
    total = sum(counts.values())
    cjk = {script: counts.get(script, 0) for script in ("zh", "ja", "ko")}
    if sum(cjk.values()) >= _CJK_SHARE * total:
        if cjk["ko"] > max(cjk["zh"], cjk["ja"]):
            return "ko"
        return "ja" if cjk["ja"] >= max(1, _KANA_SHARE * (cjk["zh"] + cjk["ja"])) else "zh"
    words = {script: count for script, count in counts.items() if script not in cjk}
    return max(words, key=words.__getitem__)

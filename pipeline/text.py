"""Text on its way to a voice: cutting a stream into sentences, taking markup out, telling languages apart.

Pure functions and one small machine, standard library only. English and Chinese are cut by their own punctuation.
"""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["SentenceSplitter", "detect_language", "is_cjk", "speakable"]

FIRST_CLAUSE_CHARS = 10
"""The first sentence is cut at a clause once more than this is held: the sooner it is cut, the sooner it is heard."""
LONG_CLAUSE_CHARS = 120
"""Later sentences are cut at a clause only beyond this."""
MAX_CHARS = 200
"""Nothing longer is ever held: it is cut between words, or anywhere in a script without spaces. A Chinese character
counts as two, because it says as much as two letters."""
MAX_WORD_CHARS = 60
"""Longer runs of letters (hashes, keys, the tail of an address) are not words: no voice can say them."""

_CLOSERS = "\"'”’»)]}」』）】》〉*_`~"
_WIDE_ENDS = "。！？｡．"
_ENDS = ".!?…" + _WIDE_ENDS
_WIDE_CLAUSES = "，、；："
_CLAUSES = ",;:—–" + _WIDE_CLAUSES
_FENCE = "```"

_TITLES = re.compile(
    r"mr|mrs|ms|mx|dr|prof|rev|fr|hon|pres|gov|sen|rep|gen|col|maj|capt|cmdr|lt|sgt|st|mt|ft|messrs|mme|mlle|vs|cf|al"
)
"""Abbreviations that stand before a name, so that the capital after them begins no sentence."""
_BEFORE_NUMBER = re.compile(
    r"no|nos|nr|figs?|eqs?|sec|ch|chap|vol|pp?|art|ver|approx|ca?|est|tel|ext"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Abbreviations only when a digit follows ("No. 5"); else they may be words ("The answer is no.")."""
_DOTTED = re.compile(r"[^\W\d_]{1,2}(\.[^\W\d_]{1,2})+")
_CLOCK = frozenset({"a.m", "p.m"})
_AFTER_CLAUSE = re.compile(rf"[{_CLAUSES}{_ENDS}](?=\s)|[{_WIDE_CLAUSES}]")
_AFTER_WORD = re.compile(r"\s")
_LIST_MARKER = re.compile(r"(?:^|\n|: |：)[ \t]*\(?\d{1,3}$")


class SentenceSplitter:
    """Cuts a stream of text into sentences. One instance an answer.

    Works character by character, so the result is the same however the stream is split. Code between ``` fences is
    dropped: nobody wants to hear it. Pieces without a letter or digit are dropped too.
    """

    def __init__(self) -> None:
        self._held = ""
        self._held_width = 0
        self._is_first = True
        self._in_fence = False
        self._ticks = 0

    def push(self, delta: str) -> list[str]:
        """Take the next piece of the stream; return the sentences that it completes."""
        sentences: list[str] = []
        for character in delta:
            sentences += self._take(character)
        return sentences

    def flush(self) -> list[str]:
        """The stream has ended: return what is left. The splitter is then as new."""
        rest = [] if self._in_fence else self._cut(len(self._held))
        self._held, self._held_width, self._is_first, self._in_fence, self._ticks = "", 0, True, False, 0
        return rest

    def _take(self, character: str) -> list[str]:
        if self._toggles_fence(character):
            self._in_fence = not self._in_fence
            self._held = self._held.removesuffix(_FENCE[:-1])
            return self._cut(len(self._held))
        if self._in_fence:
            return []
        if character.isspace():
            return self._take_space(character)
        cut = self._cut(len(self._held)) if self._is_boundary(character) else []
        self._held += character
        self._held_width += 1 + is_cjk(character)
        if self._held_width > MAX_CHARS:
            cut += self._cut(_place_to_break(self._held))
        return cut

    def _toggles_fence(self, character: str) -> bool:
        self._ticks = self._ticks + 1 if character == "`" else 0
        if self._ticks < len(_FENCE):
            return False
        self._ticks = 0
        return True

    def _take_space(self, character: str) -> list[str]:
        """Runs of white space are held as one space, or one newline; a blank line ends a sentence."""
        if not self._held:
            return []
        is_newline = character in "\n\r\u2028\u2029"
        if self._held.endswith("\n"):
            return self._cut(len(self._held)) if character == "\n" else []
        if is_newline:
            self._held = self._held.rstrip() + "\n"
        elif not self._held.endswith(" "):
            self._held += " "
            self._held_width += 1
        return []

    def _is_boundary(self, following: str) -> bool:
        """Whether a sentence ends between what is held and the character after it (which is no white space)."""
        text = self._held.rstrip()
        gap = self._held[len(text) :]
        if not gap and (following in _CLOSERS or following in _ENDS or following in _CLAUSES):
            return False
        core = text.rstrip(_CLOSERS)
        if not core:
            return False
        if "\n" in gap:
            # A line of prose that was wrapped goes on in lower case; anything else (a list, a heading) is on its own.
            return not following.islower()
        last = core[-1]
        if last in _WIDE_ENDS:
            return True
        is_ellipsis = last == "…" or core.endswith("..")
        if gap or is_cjk(following):
            if last in "!?":
                return core == text or not following.islower()
            if last == "." and not is_ellipsis:
                return not following.islower() and not _is_abbreviation(core[:-1], following)
            if is_ellipsis and gap and not following.islower():
                return True
        is_clause = last in _WIDE_CLAUSES or ((last in _CLAUSES or is_ellipsis) and (bool(gap) or is_cjk(following)))
        return is_clause and self._may_cut_clause(core)

    def _may_cut_clause(self, core: str) -> bool:
        if core[:-1].endswith(".") or _is_inside_link(core):
            return False
        return _width(core) > (FIRST_CLAUSE_CHARS if self._is_first else LONG_CLAUSE_CHARS)

    def _cut(self, at: int) -> list[str]:
        sentence, self._held = self._held[:at], self._held[at:].lstrip()
        self._held_width = _width(self._held)
        sentence = " ".join(sentence.split())
        if not any(map(str.isalnum, sentence)):
            return []
        self._is_first = False
        return [sentence]


def _is_abbreviation(word_and_before: str, following: str) -> bool:
    """Whether the full stop after that text ends no sentence. Lower-case continuations are dealt with before."""
    word = re.split(r"[\s(\[\"“‘'*_]", word_and_before)[-1]
    lowered = word.lower()
    if _TITLES.fullmatch(lowered) or (_BEFORE_NUMBER.fullmatch(lowered) and following.isdigit()):
        return True
    if _DOTTED.fullmatch(word):
        return lowered not in _CLOCK
    if len(word) == 1 and word.isalpha() and word.isascii():
        return word != "I"
    return _LIST_MARKER.search(word_and_before) is not None


def _is_inside_link(text: str) -> bool:
    """Whether the text ends within the [words] of a markdown link, or within its (address)."""
    return text.rfind("[") > text.rfind("]") or text.rfind("](") > text.rfind(")")


def _place_to_break(text: str) -> int:
    """Where to cut a text that became too long: after its last clause, else its last word, else just before its end."""
    for mark in (_AFTER_CLAUSE, _AFTER_WORD):
        places = [match.end() for match in mark.finditer(text, len(text) // 2, len(text) - 1)]
        if places:
            return places[-1]
    return len(text) - 1


def _width(text: str) -> int:
    """Length as it is heard: a Chinese character says about as much as two letters."""
    return len(text) + sum(map(is_cjk, text))


# -- what a voice should say --

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_LINK_TAIL = re.compile(r"\]\([^)\s]*\)?")
_URL = re.compile(
    r"(?:https?|ftp|wss?)://(?:www\.)?([^\s/?#:<>()\"'，。！？；、]+)[^\s<>\"'，。！？；、）】]*", re.IGNORECASE
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+•·▪◦‣][ \t]+(?:\[[ xX]\][ \t]+)?)+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$|^[ \t|:+-]*-{2,}[ \t|:+-]*$", re.MULTILINE)
_STRONG = re.compile(r"\*\*|__|~~|`+")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|(?<!\w)_(?=\w)|(?<=\w|[.,!?])_(?!\w)")
_PIPE = re.compile(r"[ \t]*\|[ \t]*")
_LONG_WORD = re.compile(rf"[A-Za-z0-9+/=_-]{{{MAX_WORD_CHARS + 1},}}")
_REPEATED = re.compile(r"([!?！？,，;；:：、~])\1+|(。)。+")
_BEFORE_MARK = re.compile(r"\s+([,.!?;:，。！？；：、](?:\s|$))")
_SPOKEN_SYMBOLS = frozenset("°©®™№℃℉%‰$€£¥₩₹+=<>±×÷−√≈≠≤≥&@#")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3")


def speakable(text: str) -> str:
    """What a voice should say of a text: no markup, code, emoji; of an address only its host. May be empty."""
    text = _FENCED.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _LINK_TAIL.sub("", text)
    text = _URL.sub(lambda match: match[1].rstrip(".,;!"), text)
    text = html.unescape(_TAG.sub(" ", text))
    text = _LINE_MARK.sub("", _RULE.sub("", text))
    text = _EMPHASIS.sub("", _STRONG.sub("", text))
    text = _PIPE.sub(", ", text)
    text = "".join(map(_without_pictures, text))
    text = _LONG_WORD.sub(" ", text)
    text = _REPEATED.sub(r"\1\2", " ".join(text.split()))
    text = _BEFORE_MARK.sub(r"\1", text).strip(" ,;:，、；：-–—|[]")
    return text if any(map(str.isalnum, text)) else ""


def _without_pictures(character: str) -> str:
    """The character, or nothing or a space for emoji, arrows, joiners and what no font or voice knows."""
    if character in _SPOKEN_SYMBOLS:
        return character
    if character in _JOINERS:
        return ""
    category = unicodedata.category(character)
    if category in ("So", "Sk", "Cf", "Co", "Cn", "Cs"):
        return " " if category == "So" else ""
    if category == "Sm":
        return ", "
    return " " if category == "Cc" else character


# -- which language --

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


def is_cjk(character: str) -> bool:
    """Whether a character is Chinese, Japanese or Korean, or their full-width punctuation."""
    return (
        "\u1100" <= character <= "\u11ff"
        or "\u2e80" <= character <= "\ud7a3"
        or (
            "\uf900" <= character <= "\ufaff"
            or "\ufe30" <= character <= "\ufe4f"
            or "\uff01" <= character <= "\uffee"
            or "\U00020000" <= character <= "\U0003ffff"
        )
    )


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

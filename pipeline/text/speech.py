"""Turns text into what a voice should say. This is the only place where text becomes speakable.

Markdown is parsed by markdown-it, inline only: a sentence is part of a line, and code blocks and formulas were removed
when it was cut. All words stay. Removed are markup, code blocks, citations, emoji and what no voice can say.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipeline.text.formulas import say_formulas

__all__ = ["speakable"]

MAX_CHARACTERS = 1000
"""Most characters of a text that are said. That is five times the longest sentence that is ever cut."""
MAX_WORD_CHARS = 60
"""Longer runs of letters (hashes, keys, the end of an address) are not words, and no voice can say them. Neither are
shorter ones that mix letters with digits."""

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("strikethrough")
_FENCED = re.compile(r"```.*?(?:```|\Z)|^[ \t]*~~~.*?(?:^[ \t]*~~~[^\n]*$|\Z)", re.DOTALL | re.MULTILINE)
_NUMBERS = r"[1-9]\d{0,2}(?:\s*[,;–-]\s*\d{1,3})*"
_NUMBERED = rf"\[{_NUMBERS}\](?:\s?(?:[,;–-]\s?)?\[{_NUMBERS}\])*"
_SITE = r"\[(?:(?:[\w-]+\.)+[a-z]{2,}|sources?|link|quelle|来源|链接)\]\([^()\s]*\)"
_AUTHOR_YEAR = r"[^\W\d_][^\[\]();\n]{1,60}?,? (?:19|20)\d\d[a-z]?"
_CITATION = re.compile(  # in the notations of search engines, chat services, papers and wikis
    rf"(?:(?<!\s)\s+)?(?:【[^【】†\n]*†[^【】\n]*】|【{_NUMBERS}】|\[\^[\w-]{{1,20}}\^?\](?!:)|\[citation:[^\[\]]*\]"
    r"|\[(?:doc|source|ref|webpage|search|result|来源|资料|文档)s?[\s:_-]?\d{1,3}\](?!\()|\[\d{1,3}†[^\[\]]*\]"
    r"|\[(?:note|注)\s?\d{1,3}\](?!\()|\[(?:citation needed|来源请求|需要引用)\]"
    r"|(?::contentReference)?\[oaicite:\d+\](?:\{[^{}]*\})?|［\d{1,3}］|〔\d{1,3}〕|\^\[[^\[\]]{1,20}\]\^"
    r"|\[cite(?:_start|_end|:[^\[\]\n]*)\]|\[(?:web|page|post|news|image|video|file):\d{1,3}\]|%\[\d{1,3}\]%"
    r"|\[turn\d+[a-z]+\d+(?:\s*[,;]\s*turn\d+[a-z]+\d+)*\]|(?:(?<=[^\W\d_]{3})|\s)\^\d{1,3}(?:,\s?\d{1,3})*\^"
    rf"|[(（](?:(?:see|cf\.?|sources?|refs?\.?|参见|详见|见|来源)[:：]?\s*)?{_NUMBERED}[)）]"
    rf"|[(（]{_SITE}(?:[,;]\s*{_SITE})*[)）]"
    rf"|\[\[{_NUMBERS}\]\](?:\([^()\s]*\))?"
    rf"|\[{_AUTHOR_YEAR}(?:; {_AUTHOR_YEAR})*\](?!\()|\([^\W\d_][\w' -]{{1,40}} et al\.,? (?:19|20)\d\d[a-z]?\)"
    r"|\[@\w[\w:.;@ -]*\](?!\()|\ue200[^\ue200\ue201]*\ue201|cite(?:turn\d+[a-z]+\d+)+)"
    rf"|(?P<before>(?:(?<!\w)\w+)?)(?P<marks>\s?{_NUMBERED})(?![(:\w])",
    re.IGNORECASE,
)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"
_RAISED_TAG = re.compile(r"<(su[pb])>\[?(\d{1,3})\]?</\1>", re.IGNORECASE)
_RAISED_CITATION = re.compile(
    rf"(?<=[.,;:!?。，！？])[{_RAISED}]+|⁽[{_RAISED}]+⁾|(?<=[^\W\d_]{{3}})"
    + "".join(f"(?<!{unit})" for unit in ("feet", "foot", "inch", "mile", "eter", "etre", "yard"))
    + f"[{_RAISED}]+"
)
"""Raised numbers after a word or at the end of a sentence are footnotes; after a unit or a variable they are powers."""
_EMOTICON = re.compile(r"(?<!\S)(?::[a-z][a-z0-9_+-]{1,30}:|[:;=]['’]?-?[()DPpO/|])(?=\s|$|[.,!?])")
_KEYS_TOGETHER = re.compile(r"<([A-Za-z]\w*(?:[+-]\w+)+)>")
_NEEDS_NUMBER = re.compile(
    r"press|choose|select|enter|type|hit|dial|key|button|option|number|see|in|from|to|by|of|with|and|or|use|(?<!\w)\w*[按选择入见键]",
    re.IGNORECASE,
)
"""After these words a number in brackets is not a citation: "Press [1]"."""
_REFERENCE = re.compile(r"^[ \t]*\[\^?[^\[\]\n]+\]:[ \t]*(?:<?\w+://\S+[^\n]*)?", re.MULTILINE)
_LINKED = re.compile(r"!?\[([^\[\]]+)\]\[[^\[\]]*\]")
_LINK_TAIL = re.compile(r"\]\([^)\s]*\)?")
_LINK_HEAD = re.compile(r"!?\[(?=[^\[\]]*\Z)")
_URL = re.compile(
    r"(?:https?|ftp|wss?)://(?:[^\s/?#@<>()]*@)?(?:www\.)?([^\s/?#:<>()\"'，。！？；、]++)[^\s<>\"'，。！？；、）】]*|mailto:"
    r"|data:[\w/+.-]+;base64,[\w+/=]*",
    re.IGNORECASE,
)
_CLOSED_HEADING = re.compile(r"^([ \t]*#{1,6}[ \t].*?)(?<![ \t])[ \t]+#+[ \t]*$", re.MULTILINE)
_CALLOUT = re.compile(r"\[!(\w+)\]")
_HIGHLIGHT = re.compile(r"(?<![\w=])==(?=[^\s=])(.{1,200}?)(?<=[^\s=])==(?![\w=])")
_TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNSEEN = re.compile(
    r"<(script|style|pre)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<ref\b[^<>]*>(?:(?<=/>)|[^<]*</ref\s*>)", re.DOTALL | re.IGNORECASE
)
"""Elements whose content is code or a note."""
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+•·▪◦‣][ \t]+(?:\[[ xX]\][ \t]+)?)+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$|^(?=[ \t|:+-]*--)[ \t|:+-]+$", re.MULTILINE)
_PRODUCT = re.compile(r"(?<=\d)\*(?=\d)")
_POWER = re.compile(r"(?<=[A-Za-z0-9)])(?:\^|\*\*(?=\d))\{?(-?\w{1,3})\}?\^?(?![\w*])")
_ARROW = re.compile(r"(?<!\S)(?:<?-{1,3}>|<?={1,3}>|<-{1,3})(?=\s)")
_STRONG = re.compile(r"\*\*|__|~~|`+")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|(?<!\w)_(?=\w)|(?<=\w|[.,!?])_(?!\w)")
_PIPE = re.compile(r"(?:(?<![ \t])[ \t]+)?\|+[ \t]*")
_LONG_WORD = re.compile(
    rf"[A-Za-z0-9+/=_-]{{{MAX_WORD_CHARS + 1},}}"
    r"|\b(?=(?:[A-Za-z]*\d){3})(?=\d*[A-Za-z])[A-Za-z0-9]{20,}(?![A-Za-z0-9])"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
    re.IGNORECASE,
)
_KEYS = str.maketrans({"⌘": " Command ", "⌥": " Option ", "⇧": " Shift ", "⌃": " Control ", "⌫": " Backspace "})
_REPEATED = re.compile(r"([!?！？,，;；:：、~])\1+|(。)。+")
_BEFORE_MARK = re.compile(r"(?<!\s)\s+([,.!?;:，。！？；：、](?:\s|$))")
_SPOKEN_SYMBOLS = frozenset("°©®™№℃℉%‰$€£¥₩₹+=<>±×÷−√≈≠≤≥∞&@#")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3")
_KEPT_JOINERS = re.compile(r"(?<=[\u0600-\u0dff\u1000-\u109f\u1780-\u17ff])[\u200c\u200d](?=\w)")
"""In scripts with joined letters, these two change how a word is read."""
_TAG_NAME = re.compile(r"</?([A-Za-z][\w-]*)")
_COMPARED = re.compile(r"<\w{1,12}(?:\s+[\w.]+)+\s*>")
_ELEMENT = re.compile(
    r"a|abbr|article|aside|b|blockquote|body|br|center|code|dd|del|details|div|dl|dt|em|figure|font|footer|h[1-6]|head"
    r"|header|hr|html|i|iframe|img|ins|kbd|li|main|mark|nav|ol|p|pre|q|s|samp|script|section|small|span|strike|strong"
    r"|style|su[bp]|summary|svg|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|var|video|wbr",
    re.IGNORECASE,
)
"""HTML elements. Any other <word> is text, e.g. a key to press."""


def speakable(text: str) -> str:
    """Return what a voice should say of a sentence; may be empty. Of an address only the host is said.

    Others wait while it runs, so the time of each pattern here is linear in the length of the text (tests check that),
    and only the first MAX_CHARACTERS of the text are used.
    """
    text = _UNSEEN.sub(" ", _FENCED.sub(" ", _TERMINAL_COLOUR.sub("", text[:MAX_CHARACTERS])))
    text = _CALLOUT.sub(r"\1", _CLOSED_HEADING.sub(r"\1", _REFERENCE.sub("", text)))
    text = _RAISED_TAG.sub(_as_digits, _CITATION.sub(_without_citation, text))
    text = _EMOTICON.sub("", _RAISED_CITATION.sub("", text))
    text = say_formulas(_KEYS_TOGETHER.sub(r"\1", text))
    text = _LINKED.sub(r"\1", _LINE_MARK.sub("", _RULE.sub("", text)))
    text = _HIGHLIGHT.sub(r"\1", _POWER.sub(_said_power, text))
    text = "".join(_words(_MARKDOWN.parseInline(_PRODUCT.sub(r"\\*", text)), text))
    text = _LINK_HEAD.sub("", _LINK_TAIL.sub("", text))
    text = _ARROW.sub("→", html.unescape(_URL.sub(_said_address, text))).translate(_KEYS)
    text = _EMPHASIS.sub("", _STRONG.sub("", text))
    text = _PIPE.sub(", ", text)
    text = "".join(_without_pictures(text))
    text = _LONG_WORD.sub(" ", text)
    text = _REPEATED.sub(r"\1\2", " ".join(text.split()))
    text = _BEFORE_MARK.sub(r"\1", text).strip(" ,;:，、；：-–—|[]")
    return text if any(map(str.isalnum, text)) else ""


def _without_citation(match: re.Match[str]) -> str:
    if match["marks"] is None:
        return " " if match[0].endswith("start]") else ""
    return match[0] if _NEEDS_NUMBER.fullmatch(match["before"]) else match["before"]


def _as_digits(match: re.Match[str]) -> str:
    """Return raised or lowered digits for those in an HTML element."""
    digits = _RAISED if match[1].lower() == "sup" else _LOWERED
    return "".join(digits[int(digit)] for digit in match[2])


def _said_power(match: re.Match[str]) -> str:
    """Keep a power recognisable: without a sign it would become another number."""
    return {"2": "²", "3": "³"}.get(match[1], f"^{match[1]}")


def _said_address(match: re.Match[str]) -> str:
    """Return the host, and a closing bracket that was matched but belongs to the sentence around the address."""
    closed = match[0].count(")") > match[0].count("(")
    return (match[1] or "").rstrip(".,;!") + (")" + match[0].rpartition(")")[2] if closed else "")


def _words(tokens: list[Token], source: str) -> Iterator[str]:
    for token in tokens:
        if token.type in ("inline", "image"):
            yield from _words(token.children or [], source)
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "html_inline":
            yield _of_tag(token.content, source)
        else:
            yield token.content


def _of_tag(tag: str, source: str) -> str:
    """Return a space for an HTML element, and the text of what only looks like one."""
    name = match[1] if (match := _TAG_NAME.match(tag)) else ""
    is_compared = _COMPARED.fullmatch(tag) is not None and f"</{name}>" not in source
    if is_compared and re.search(r"\w" + re.escape(tag), source):
        return tag  # "a<b and c>d"
    is_known = not is_compared and (not name or _ELEMENT.fullmatch(name) is not None)
    is_element = is_known or "=" in tag or tag.startswith("</") or f"</{name}>" in source
    return " " if is_element else f" {tag.strip('<>/ ')} "


def _without_pictures(text: str) -> Iterator[str]:
    """Yield the characters without emoji, arrows, joiners and unassigned characters; a space replaces emoji."""
    kept = {match.start() for match in _KEPT_JOINERS.finditer(text)}
    for at, character in enumerate(text):
        is_power = character == "^" and text[at - 1 : at].isalnum() and text[at + 1 : at + 2] > ""
        if character.isalnum() or character in _SPOKEN_SYMBOLS or at in kept or is_power:
            yield character
        elif character not in _JOINERS:
            category = unicodedata.category(character)
            if category in ("So", "Cc") or character == "~":
                yield " "
            elif category == "Sm":
                yield ", "
            elif category not in ("Sk", "Cf", "Co", "Cn", "Cs"):
                yield character

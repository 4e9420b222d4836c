"""What a voice should say of a text: the one place where text becomes speakable.

Markdown is read by markdown-it, inline only: a sentence is a part of a line, and its blocks (code, formulas) were taken
out while it was cut. All words stay; what goes is markup, code blocks, citations, pictures and what no voice can say.
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

MAX_WORD_CHARS = 60
"""Longer runs of letters (hashes, keys, the tail of an address) are not words: no voice can say them."""

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("strikethrough")
_FENCED = re.compile(r"```.*?(?:```|\Z)|^[ \t]*~~~.*?(?:^[ \t]*~~~[^\n]*$|\Z)", re.DOTALL | re.MULTILINE)
_NUMBERS = r"\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*"
_CITATION = re.compile(
    rf"\s*(?:【[^【】\n]*†[^【】\n]*】|【{_NUMBERS}】|\[\^[\w-]{{1,20}}\](?!:)|\[citation:[^\[\]]*\])"
    rf"|(?P<before>\w*)(?P<marks>\s?(?:\[{_NUMBERS}\])+)(?![(:\w])",
    re.IGNORECASE,
)
_NEEDS_NUMBER = re.compile(
    r"press|choose|select|enter|type|hit|dial|key|button|option|number|see|in|from|to|by|of|with|and|or|use|\w*[按选择入见键]",
    re.IGNORECASE,
)
"""After these words a number in brackets is no citation: "Press [1]"."""
_REFERENCE = re.compile(r"^[ \t]*\[\^?[^\[\]\n]+\]:[ \t]*(?:<?\w+://\S+[^\n]*)?", re.MULTILINE)
_LINKED = re.compile(r"!?\[([^\[\]]+)\]\[[^\[\]]*\]")
_LINK_TAIL = re.compile(r"\]\([^)\s]*\)?")
_LINK_HEAD = re.compile(r"!?\[(?=[^\[\]]*\Z)")
_URL = re.compile(
    r"(?:https?|ftp|wss?)://(?:www\.)?([^\s/?#:<>()\"'，。！？；、]+)[^\s<>\"'，。！？；、）】]*|mailto:", re.IGNORECASE
)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+•·▪◦‣][ \t]+(?:\[[ xX]\][ \t]+)?)+", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$|^[ \t|:+-]*-{2,}[ \t|:+-]*$", re.MULTILINE)
_PRODUCT = re.compile(r"(?<=\d)\*(?=\d)")
_STRONG = re.compile(r"\*\*|__|~~|`+")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|(?<!\w)_(?=\w)|(?<=\w|[.,!?])_(?!\w)")
_PIPE = re.compile(r"[ \t]*\|[ \t]*")
_LONG_WORD = re.compile(rf"[A-Za-z0-9+/=_-]{{{MAX_WORD_CHARS + 1},}}")
_REPEATED = re.compile(r"([!?！？,，;；:：、~])\1+|(。)。+")
_BEFORE_MARK = re.compile(r"\s+([,.!?;:，。！？；：、](?:\s|$))")
_SPOKEN_SYMBOLS = frozenset("°©®™№℃℉%‰$€£¥₩₹+=<>±×÷−√≈≠≤≥∞&@#")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3")
_KEPT_JOINERS = re.compile(r"(?<=[\u0600-\u0dff\u1000-\u109f\u1780-\u17ff])[\u200c\u200d](?=\w)")
"""In scripts whose letters join, these two change how a word reads."""
_TAG_NAME = re.compile(r"</?([A-Za-z][\w-]*)")
_ELEMENT = re.compile(
    r"a|abbr|article|aside|b|blockquote|body|br|center|code|dd|del|details|div|dl|dt|em|figure|font|footer|h[1-6]|head"
    r"|header|hr|html|i|iframe|img|ins|kbd|li|main|mark|nav|ol|p|pre|q|s|samp|script|section|small|span|strike|strong"
    r"|style|su[bp]|summary|svg|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|var|video|wbr",
    re.IGNORECASE,
)
"""Elements; any other <word> is something to be read, such as a key to press."""


def speakable(text: str) -> str:
    """What a voice should say of a text: no markup, code blocks or emoji; of an address only its host. May be empty."""
    text = _REFERENCE.sub("", _FENCED.sub(" ", text))
    text = say_formulas(_CITATION.sub(_without_citation, text))
    text = _LINKED.sub(r"\1", _LINE_MARK.sub("", _RULE.sub("", text)))
    text = "".join(_words(_MARKDOWN.parseInline(_PRODUCT.sub(r"\\*", text)), text))
    text = _LINK_HEAD.sub("", _LINK_TAIL.sub("", text))
    text = html.unescape(_URL.sub(lambda match: (match[1] or "").rstrip(".,;!"), text))
    text = _EMPHASIS.sub("", _STRONG.sub("", text))
    text = _PIPE.sub(", ", text)
    text = "".join(_without_pictures(text))
    text = _LONG_WORD.sub(" ", text)
    text = _REPEATED.sub(r"\1\2", " ".join(text.split()))
    text = _BEFORE_MARK.sub(r"\1", text).strip(" ,;:，、；：-–—|[]")
    return text if any(map(str.isalnum, text)) else ""


def _without_citation(match: re.Match[str]) -> str:
    if match["marks"] is None:
        return ""
    return match[0] if _NEEDS_NUMBER.fullmatch(match["before"]) else match["before"]


def _words(tokens: list[Token], source: str) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline" or token.type == "image":
            yield from _words(token.children or [], source)
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "html_inline":
            yield _of_tag(token.content, source)
        else:
            yield token.content


def _of_tag(tag: str, source: str) -> str:
    """A space for an element of HTML; the words of what only looks like one."""
    name = match[1] if (match := _TAG_NAME.match(tag)) else ""
    is_known = not name or _ELEMENT.fullmatch(name) is not None
    is_element = is_known or "=" in tag or tag.startswith("</") or f"</{name}>" in source
    return " " if is_element else f" {tag.strip('<>/ ')} "


def _without_pictures(text: str) -> Iterator[str]:
    """Its characters without emoji, arrows, joiners and what no font or voice knows; a space where one stood."""
    kept = {match.start() for match in _KEPT_JOINERS.finditer(text)}
    for at, character in enumerate(text):
        if character.isalnum() or character in _SPOKEN_SYMBOLS or at in kept:
            yield character
        elif character not in _JOINERS:
            category = unicodedata.category(character)
            if category in ("So", "Cc") or character == "~":
                yield " "
            elif category == "Sm":
                yield ", "
            elif category not in ("Sk", "Cf", "Co", "Cn", "Cs"):
                yield character

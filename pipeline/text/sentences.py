"""Cutting a stream of text into sentences, by the marks of many scripts. Pure, standard library only."""

from __future__ import annotations

import re
from typing import Self

from pipeline.text.formulas import said_formula
from pipeline.text.scripts import has_no_case, is_cjk, last_letter, may_break_before, width

__all__ = ["MAX_CHARS", "Sentence", "SentenceSplitter"]

FIRST_CLAUSE_CHARS = 10
"""The first sentence is cut at a clause once more than this is held: the sooner it is cut, the sooner it is heard."""
LONG_CLAUSE_CHARS = 120
"""Later sentences are cut at a clause only beyond this."""
MAX_CHARS = 200
"""Nothing longer is ever held: it is cut between words, or anywhere in a script without spaces. A Chinese character
counts as two, because it says as much as two letters."""
MAX_INSIDE_CHARS = 100
"""A link, a formula or `code` is not cut within, unless it turns out to be none."""
MAX_FORMULA_CHARS = 500
MAX_FENCE_CHARS = 8

_CLOSERS = "\"'”’»›“‘«)]}」』）】》〉〕｝*_`~"
_WIDE_ENDS = "。！？｡．‼⁇⁈⁉" + "।॥" + "؟۔" + "։" + "።፧፨" + "។៕" + "။" + "෴" + "།༎" + "\u037e"
"""Marks that end a sentence whatever follows: Chinese, Hindi and its sisters, Arabic and Urdu, Armenian, Ethiopic,
Khmer, Burmese, Sinhala, Tibetan, the Greek question mark."""
_ENDS = ".!?…" + _WIDE_ENDS
_WIDE_CLAUSES = "，、；：" + "،؛" + "፣፤፥" + "၊" + "՝"
_CLAUSES = ",;:—–" + _WIDE_CLAUSES
_PHRASED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: a space stands between phrases, not between words."""
_IS_PHRASED = re.compile(f"[{_PHRASED}]")
_BOUNDARY_MARKS = frozenset(_CLOSERS + _ENDS + _CLAUSES + "\n").union(
    map(chr, [*range(0x0E00, 0x0F00), *range(0x1000, 0x10A0), *range(0x1780, 0x1800)])
)
"""A sentence can only end after one of these."""

_PLAIN = re.compile(rf"[^\s`~$\\(\[{{{re.escape(_CLOSERS + _ENDS + _CLAUSES)}]+")
"""Within a run of these no sentence ends, and nothing begins that is not text."""
_FENCE = "```"
_FENCE_LINE = re.compile(r"(?:\A|\n)[ \t]*+(?:(?:[-*+>]|\d+[.)])[ \t]*)?\Z")
"""What may stand before the marks of a block of code that has lines of its own."""

_TITLES = re.compile(
    r"mr|mrs|ms|mx|dr|prof|rev|fr|hon|pres|gov|sen|rep|gen|col|maj|capt|cmdr|lt|sgt|st|mt|ft|messrs|mme|mlle|vs|cf|al"
    r"|hr|frau|sr|sra|srta|dna|inż|mgr|bzw|usw|ca|nr|ee|med|phil|rer|exm[oa]|av|np|ul|např|wm|viz"
    r"|ул|пр|им|акад|проф|тов|डॉ|प्रो"
)
"""Abbreviations that stand before a name, so that the capital after them begins no sentence."""
_BEFORE_NUMBER = re.compile(
    r"no|nos|nr|figs?|eqs?|sec|ch|chap|vol|pp?|art|ver|approx|ca?|max|min|est|tel|ext"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Abbreviations only when a digit follows ("No. 5"); else they may be words ("The answer is no.")."""
_DOTTED = re.compile(r"[^\W\d_]{1,2}(\.[^\W\d_]{1,2})+")
_CLOCK = frozenset({"a.m", "p.m"})
_AFTER_CLAUSE = re.compile(rf"[{_CLAUSES}{_ENDS}](?=\s)|[{_WIDE_CLAUSES}{_WIDE_ENDS}]")
_AFTER_WORD = re.compile(r"\s")
_LIST_MARKER = re.compile(r"(?:^|\n|: |：)[ \t]*\(?(?:\d{1,3}|[IVX]{1,5})$")
_ORDINAL = re.compile(r"(?<!I )\b(?:am|vom|zum|zur|den|dem|der|des|im|ab|seit|bis)\s\d{1,2}$", re.IGNORECASE)
"""In German a full stop makes a number an ordinal: "am 3. Oktober"."""
_CITED = re.compile(rf"(?<=[{re.escape(_ENDS)}])(?:\s?\[\^?[\w-]{{1,8}}\^?\])+\Z")
_ENTITY = re.compile(r"&#?\w{1,8};\Z")
_HEADING = re.compile(r"(?:\A|\n)[ \t]*#{1,6} [^\n]*\Z")
_GREEK_QUESTION = re.compile("[\u0370-\u03ff\u1f00-\u1fff];\\Z")
_ENVIRONMENT = re.compile(
    r"\\begin\{((?:equation|align(?:ed)?|gather(?:ed)?|multline|cases|array|split|eqnarray|[pbvBV]?matrix)\*?)\}"
    r".*\\end\{\1\}\Z",
    re.DOTALL,
)
_SENTENCE_OPENERS = "¡¿"
_COMMON_BEGINNING = re.compile(
    r"the|this|that|these|those|there|then|they|he|she|it|we|you|but|and|so|if|when|what|how|why"
)
"""First words of sentences that are no part of a name: "at 9.The gate", "with Bob.He", against "Math.Floor"."""
_LAST_TOKEN = re.compile(r"(?<!\S)\S*\Z")
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_SENTENCE_WORD = re.compile(r"[^\W\d_][^\W\d_]*(?:['’][^\W\d_]+)?")
_OPEN_FORMULA = re.compile(r"(?<![\w$\\])\$(?=[^\s\d$])[^$\n]*\Z")


class Sentence(str):
    """A sentence that was cut out of a stream."""

    __slots__ = ("end",)
    end: int
    "how much of the stream, in characters, it covers together with all before it"

    def __new__(cls, text: str, end: int) -> Self:
        sentence = super().__new__(cls, text)
        sentence.end = end
        return sentence


class SentenceSplitter:
    """Cuts a stream of text into sentences. One instance an answer.

    The result is the same however the stream is split. Blocks of code, between ``` or ~~~, are dropped: nobody wants to
    hear them; long formulas too, short ones are put plainly. Pieces without a letter or digit are dropped.
    """

    def __init__(self) -> None:
        self._reset()

    @property
    def has_ended(self) -> bool:
        """Whether a whole sentence is held, as far as can be known, that waits for what follows."""
        return self._is_in_text and _has_ended(self._held)

    def push(self, delta: str) -> list[Sentence]:
        """Take the next piece of the stream; return the sentences that it completes."""
        sentences: list[Sentence] = []
        at = 0
        while at < len(delta):
            run = _PLAIN.match(delta, at, at + MAX_CHARS) if self._is_in_text else None
            end = run.end() if run else at + 1
            sentences += self._take_run(run[0]) if run else self._take(delta[at])
            at = end
        return sentences

    def pause(self) -> list[Sentence]:
        """The stream has paused: a sentence that has ended, as far as can be known, need not wait for the next one."""
        return self._cut(len(self._held)) if self.has_ended else []

    def flush(self) -> list[Sentence]:
        """The stream has ended: return what is left. The splitter is then as new."""
        rest: list[Sentence] = []
        if not self._fence:
            rest = self._unformulated()
            rest += self._cut(self._glued) if self._ends_glued_word("") else []
            rest += self._cut(len(self._held))
        self._reset()
        return rest

    def _reset(self) -> None:
        self._taken = 0  # of the stream
        self._held = ""
        self._held_width = 0
        self._is_first = True
        self._fence = ""  # the mark that ends the block of code that we are in
        self._fence_on_line = False  # only on a line of its own
        self._fence_may_be_block = False
        self._fence_grows = False  # its opening mark may be longer yet
        self._fence_line = ""  # of a block of code: its last line so far
        self._formula = ""  # the raw formula that we are in, with its opening mark
        self._sees_formulas = True
        self._glued = 0  # where, within what is held, a sentence may begin without a space before it
        self._glued_to_name = False  # what is before that place may be a name, a number or an address

    @property
    def _is_in_text(self) -> bool:
        return not self._fence and not self._formula

    # -- one step --

    def _take_run(self, run: str) -> list[Sentence]:
        """Letters, digits and signs that end nothing."""
        cut = self._cut(len(self._held)) if self._is_boundary(run[0]) else []
        if not cut and not self._glued and self._may_be_glued(run[0]):
            self._glued = len(self._held)
        self._taken += len(run)
        self._held += run
        self._held_width += width(run)
        while self._held_width > MAX_CHARS:
            cut += self._cut(_place_to_break(self._held))
        return cut

    def _take(self, character: str) -> list[Sentence]:
        if self._fence or self._formula:
            self._taken += 1
            return self._take_code(character) if self._fence else self._take_formula(character)
        cut = self._cut(self._glued) if self._ends_glued_word(character) else []
        if character in "`~" and self._opens_fence(character):
            cut += self._cut(len(self._held))
        elif self._opens_formula(character):
            pass
        elif character.isspace():
            cut += self._take_space(character)
        else:
            return cut + self._take_run(character)
        self._taken += 1
        return cut

    def _take_space(self, character: str) -> list[Sentence]:
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

    # -- code and formulas --

    def _opens_fence(self, character: str) -> bool:
        mark = character * 3
        if not self._held.endswith(mark[:-1]):
            return False
        before = self._held[:-2]
        on_line = _FENCE_LINE.search(before) is not None
        if mark != _FENCE and not on_line:
            return False
        self._held = before
        self._fence, self._fence_line = mark, ""
        self._fence_on_line = mark != _FENCE
        self._fence_may_be_block = self._fence_grows = on_line
        return True

    def _take_code(self, character: str) -> list[Sentence]:
        self._fence_grows = self._fence_grows and character == self._fence[0] and len(self._fence) < MAX_FENCE_CHARS
        if self._fence_grows:
            self._fence += character
            return []
        if character == "\n":
            self._fence_on_line = self._fence_on_line or self._fence_may_be_block
            self._fence_line = ""
            return []
        self._fence_line = (self._fence_line + character)[-2 * MAX_FENCE_CHARS :]
        closes = self._fence_line.lstrip(" \t>") == self._fence if self._fence_on_line else self._ends_inline_code()
        if closes:
            self._fence = ""
        return []

    def _ends_inline_code(self) -> bool:
        return self._fence_line.endswith(self._fence) and self._fence_line.strip("`") != ""

    def _opens_formula(self, character: str) -> bool:
        opened = {"$": "$$", "[": "\\[", "(": "\\(", "{": "\\begin{"}.get(character, "")
        before = opened[:-1]
        if (
            not opened
            or not self._sees_formulas
            or not self._held.endswith(before)
            or self._held.endswith("\\" + before)
        ):
            return False
        self._held = self._held[: -len(before)]
        self._formula = opened
        return True

    def _take_formula(self, character: str) -> list[Sentence]:
        """A formula is put plainly once it is whole; one that never ends was none, and its words are kept."""
        self._formula += character
        closer = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}.get(self._formula[:2])
        if closer is None and character == "}" and _ENVIRONMENT.match(self._formula):
            self._formula = ""
        elif closer and len(self._formula) >= 4 and self._formula.endswith(closer):
            said = said_formula(self._formula[2:-2])
            self._formula = ""
            cut = self._take_run(said) if said else []
            self._taken -= len(said)
            return cut
        if len(self._formula) > MAX_FORMULA_CHARS or self._formula.endswith("\n\n"):
            return self._unformulated()
        return []

    def _unformulated(self) -> list[Sentence]:
        raw, self._formula = self._formula, ""
        self._taken -= len(raw)
        self._sees_formulas = False
        cut = self.push(raw)
        self._sees_formulas = True
        return cut

    # -- where sentences end --

    def _is_boundary(self, following: str) -> bool:
        """Whether a sentence ends between what is held and the character after it (which is no white space)."""
        if self._last_mark() not in _BOUNDARY_MARKS:
            return False
        text = self._held.rstrip()
        gap = self._held[len(text) :]
        if not gap and (following in _CLOSERS or following in _ENDS or following in _CLAUSES):
            # “ closes a German quotation and opens a Chinese one.
            return following in "“‘" and text.rstrip("”’")[-1:] in _WIDE_ENDS
        core = _CITED.sub("", text).rstrip(_CLOSERS + " ")
        if not core or not may_break_before(self._held + following, len(self._held)):
            return False
        if following == "»" and core.count("«") > core.count("»"):
            return False  # French: a space stands before the closing quote
        if "\n" in gap:
            # A line of prose that was wrapped goes on in lower case; anything else (a list, a heading) is on its own.
            return not following.islower() or _HEADING.search(text) is not None
        last = core[-1]
        if last in _WIDE_ENDS or (gap and _GREEK_QUESTION.search(core)):
            return True
        is_ellipsis = last == "…" or core.endswith("..")
        if gap or is_cjk(following) or following in _SENTENCE_OPENERS or _is_caseless(core[:-1], following):
            if last in "!?":
                return core == text or not following.islower()
            if last == "." and not is_ellipsis:
                goes_on = following.islower() and not has_no_case(following)
                return not goes_on and not _is_abbreviation(core[:-1], following) and not _is_inside(core)
            if is_ellipsis and gap and not following.islower():
                return True
        is_clause = last in _WIDE_CLAUSES or ((last in _CLAUSES or is_ellipsis) and (bool(gap) or is_cjk(following)))
        is_clause = is_clause or (bool(gap) and _IS_PHRASED.match(last) is not None)
        return is_clause and self._may_cut_clause(core)

    def _last_mark(self) -> str:
        """The character that may be a mark: the last one, or that before a space."""
        last = self._held[-2:]
        return last[0] if last[1:] == " " else last[-1:] or " "

    def _may_cut_clause(self, core: str) -> bool:
        if core[:-1].endswith(".") or _is_inside(core) or _ENTITY.search(core):
            return False
        return width(core) > (FIRST_CLAUSE_CHARS if self._is_first else LONG_CLAUSE_CHARS)

    def _may_be_glued(self, following: str) -> bool:
        """Whether what follows may begin a sentence though no space is before it, as some models send it."""
        core = _CITED.sub("", self._held).rstrip(_CLOSERS)
        if not following.isupper() or core[-1:] not in (".", "!", "?") or _is_inside(core):
            return False
        before = core[:-1] if core[-1:] == "." else core.rstrip("!?").rstrip()  # French has a space before these
        token = _LAST_TOKEN.search(before)
        word = token[0].lstrip(_CLOSERS + "(“‘«¿¡").rstrip(_CLOSERS) if token else ""
        is_short = _DOTTED.fullmatch(word) is not None and word.lower() not in _CLOCK
        if _TITLES.fullmatch(word.lower()) or is_short or (len(word) < 2 and not word.isdigit()):
            return False
        is_word = _WORD.fullmatch(word) is not None
        is_plain = is_word and (word.islower() or before.lstrip(_CLOSERS + "“‘«¿¡ ") == word)
        is_year = word.isdigit() and len(word) > 3  # and no number in front of a month
        self._glued_to_name = not is_plain and not is_year
        return True

    def _ends_glued_word(self, following: str) -> bool:
        """Whether that was indeed the first word of a sentence, and no file, address or name in code."""
        if not self._glued:
            return False
        word = self._held[self._glued :]
        if _SENTENCE_WORD.fullmatch(word) is None:
            self._glued = 0
            return False
        mark = self._held[: self._glued].rstrip(_CLOSERS)[-1:]
        ends_word = following.isspace() or following in ",;:!?…—–*" if following else mark != "."
        ends_word = ends_word or (following == "." and mark != ".")  # no file or address has the other marks
        is_sentence = ends_word and (len(word) == 1 or word[1:].islower())
        if self._glued_to_name and not _COMMON_BEGINNING.fullmatch(word.lower()):
            is_sentence = False
        if not is_sentence and following not in "'’":
            self._glued = 0
        return is_sentence

    def _cut(self, at: int) -> list[Sentence]:
        sentence, self._held = self._held[:at], self._held[at:].lstrip()
        self._held_width = width(self._held)
        self._glued = 0
        text = " ".join(sentence.split())
        if not any(map(str.isalnum, text)):
            return []
        self._is_first = False
        return [Sentence(text, max(0, self._taken - len(self._held)))]


def _has_ended(held: str) -> bool:
    """Whether a text that pauses there is a whole sentence. Not after a digit: "3." may go on with "14"."""
    text = held.rstrip()
    core = _CITED.sub("", text).rstrip(_CLOSERS + " ")
    if not core or _is_inside(core):
        return False
    if core[-1] in "!?…" + _WIDE_ENDS:
        return True
    token = _LAST_TOKEN.search(core[:-1])
    word = token[0].lstrip(_CLOSERS + "(“‘«¿¡") if token else ""
    if core[-1] != "." or not _WORD.fullmatch(word) or len(word) < 2:
        return False
    return not _is_abbreviation(core[:-1], "") and not _BEFORE_NUMBER.fullmatch(word.lower())


def _is_abbreviation(word_and_before: str, following: str) -> bool:
    """Whether the full stop after that text ends no sentence. Lower-case continuations are dealt with before."""
    word = re.split(r"[\s(\[\"“‘'*_]", word_and_before)[-1]
    lowered = word.lower()
    if _TITLES.fullmatch(lowered) or (_BEFORE_NUMBER.fullmatch(lowered) and following.isdigit()):
        return True
    if _DOTTED.fullmatch(word):
        return lowered not in _CLOCK
    is_initial = word.isascii() or word.isupper() or (has_no_case(word) and not is_cjk(word))
    if len(word) == 1 and word.isalpha() and is_initial and word not in ("I", "Я"):
        return True
    return any(kind.search(word_and_before) for kind in (_LIST_MARKER, _ORDINAL))


def _is_caseless(before: str, following: str) -> bool:
    """Whether a text ends, and what follows begins, with letters of a script without capitals; no file or address is
    written in one.
    """
    letter = last_letter(before)
    return has_no_case(letter) and has_no_case(following) and not is_cjk(letter)


def _is_inside(text: str) -> bool:
    """Whether the text ends within the [words] of a markdown link, its (address), a $formula$ or `code`."""
    text = text[-MAX_INSIDE_CHARS:]
    if text.rfind("[") > text.rfind("]") or text.rfind("](") > text.rfind(")"):
        return True
    return text.count("`") % 2 == 1 or _OPEN_FORMULA.search(text) is not None


def _place_to_break(text: str) -> int:
    """Where to cut a text that became too long: after its last clause, else its last word, else just before its end."""
    for mark in (_AFTER_CLAUSE, _AFTER_WORD):
        places = [match.end() for match in mark.finditer(text, len(text) // 2, len(text) - 1)]
        if places:
            return places[-1]
    limit = min(len(text) - 1, MAX_CHARS)
    return next((at for at in range(limit, limit // 2, -1) if may_break_before(text, at)), limit)

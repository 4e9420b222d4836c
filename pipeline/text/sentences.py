"""Cuts a stream of text into sentences, by the punctuation of many scripts. Pure, standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Self

from pipeline.text.endings import (
    in_last_line,
    is_abbreviation,
    is_before_number,
    is_short_form,
    last_token,
    near_end,
)
from pipeline.text.formulas import said_formula
from pipeline.text.scripts import has_no_case, is_cjk, last_letter, may_break_before, width

__all__ = ["MAX_CHARS", "Sentence", "SentenceSplitter"]

FIRST_CLAUSE_CHARS = 10
"""The first sentence is cut at a clause once it is longer than this, because an earlier cut is heard earlier."""
LONG_CLAUSE_CHARS = 120
"""Later sentences are cut at a clause only if they are longer than this."""
MAX_CHARS = 200
"""Most that is ever held: a longer text is cut between words, or anywhere in a script without spaces. A Chinese
character counts as two, because it says as much as two letters."""
MAX_INSIDE_CHARS = 100
"""A link, a formula or `code` is not cut inside, up to this length; a longer one is not what it seemed to be."""
MAX_FORMULA_CHARS = 500
MAX_FENCE_CHARS = 8
STEP_CHARS = 50
"""How much of a stream is looked at in one step."""

_CLOSERS = "\"'”’»›“‘«)]}」』）】》〉〕｝*_`~"
_WIDE_ENDS = "。！？｡．‼⁇⁈⁉" + "।॥" + "؟۔" + "։" + "።፧፨" + "។៕" + "။" + "෴" + "།༎" + "\u037e"
"""Marks that end a sentence whatever follows: of Chinese, Hindi and related languages, Arabic and Urdu, Armenian,
Ethiopic, Khmer, Burmese, Sinhala and Tibetan, and the Greek question mark."""
_ENDS = ".!?…" + _WIDE_ENDS
_WIDE_CLAUSES = "，、；：" + "،؛" + "፣፤፥" + "၊" + "՝"
_CLAUSES = ",;:—–" + _WIDE_CLAUSES
_PHRASED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: spaces separate phrases, not words."""
_IS_PHRASED = re.compile(f"[{_PHRASED}]")
_BOUNDARY_MARKS = frozenset(_CLOSERS + _ENDS + _CLAUSES + "\n").union(
    map(chr, [*range(0x0E00, 0x0F00), *range(0x1000, 0x10A0), *range(0x1780, 0x1800)])
)
"""The only characters after which a sentence can end."""

_CLOSERS_AND_SPACE = _CLOSERS + " "
_OPENERS = _CLOSERS + "(“‘«¿¡"

_PLAIN = re.compile(rf"[^\s`~$\\(\[{{{re.escape(_CLOSERS + _ENDS + _CLAUSES)}]+")
"""Within such a run no sentence ends, and no markup begins."""
_FENCE = "```"
_FENCE_LINE = re.compile(r"(?:\A|\n)[ \t]*+(?:(?:[-*+>]|\d+[.)])[ \t]*)?\Z")
"""What may precede the marks of a code block on its own lines."""
_FORMULAS = {"$": "$$", "[": "\\[", "(": "\\(", "{": "\\begin{"}
"""By its last sign, what opens a formula."""
_FORMULA_ENDS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}

_AFTER_CLAUSE = re.compile(rf"[{_CLAUSES}{_ENDS}](?=\s)|[{_WIDE_CLAUSES}{_WIDE_ENDS}]")
_AFTER_WORD = re.compile(r"\s")
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
"""First words of sentences that cannot belong to a name: "at 9.The gate", "with Bob.He", as opposed to "Math.Floor"."""
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_SENTENCE_WORD = re.compile(r"[^\W\d_][^\W\d_]*(?:['’][^\W\d_]+)?")
_OPEN_FORMULA = re.compile(r"(?<![\w$\\])\$(?=[^\s\d$])[^$\n]*\Z")


class Sentence(str):
    """A sentence cut out of a stream."""

    __slots__ = ("end",)
    end: int
    "position in the stream, in characters, at which the sentence ends"

    def __new__(cls, text: str, end: int) -> Self:
        sentence = super().__new__(cls, text)
        sentence.end = end
        return sentence


class SentenceSplitter:
    """Cuts a stream of text into sentences. Use one instance per answer.

    The result does not depend on how the stream is split. Dropped are code blocks, between ``` or ~~~, which nobody
    wants to hear, long formulas, and pieces without a letter or digit. Short formulas are put into plain words.
    """

    def __init__(self) -> None:
        self._no_formula = ""  # text that was taken for a formula, and is to be taken once more
        self._reset()

    @property
    def has_ended(self) -> bool:
        """Whether the held text is probably a whole sentence that only waits for what follows."""
        return self._is_in_text and _has_ended(self._held)

    def push(self, delta: str) -> list[Sentence]:
        """Take the next piece of the stream. Returns the sentences that it completes."""
        return [sentence for step in self.steps(delta) for sentence in step]

    def steps(self, delta: str) -> Iterator[list[Sentence]]:
        """Take the next piece of the stream step by step: each takes a millisecond at most, whatever is written there.

        Yields the sentences that each step completes. Nothing else may be called before the last step.
        """
        sentences: list[Sentence] = []
        at = raw = looked = 0
        while True:
            if self._no_formula:
                delta, at, raw = self._no_formula + delta[at:], 0, len(self._no_formula)
                self._no_formula = ""
            if at >= len(delta):
                break
            self._sees_formulas = at >= raw
            run = _PLAIN.match(delta, at, at + STEP_CHARS) if self._is_in_text else None
            end = run.end() if run else at + 1
            sentences += self._take_run(run[0]) if run else self._take(delta[at])
            looked += end - at
            at = end
            if looked >= STEP_CHARS:
                yield sentences
                sentences, looked = [], 0
        self._sees_formulas = True
        yield sentences

    def pause(self) -> list[Sentence]:
        """Note that the stream has paused. Returns a sentence that is probably complete, so that it need not wait."""
        return self._cut(len(self._held)) if self.has_ended else []

    def flush(self) -> list[Sentence]:
        """Note the end of the stream. Returns what remains, and resets the splitter."""
        rest: list[Sentence] = []
        if not self._fence:
            self._give_up_formula()
            rest = self.push("")
            rest += self._cut(self._glued) if self._ends_glued_word("") else []
            rest += self._cut(len(self._held))
        self._reset()
        return rest

    def _reset(self) -> None:
        self._taken = 0  # characters of the stream
        self._held = ""
        self._held_width = 0
        self._is_first = True
        self._fence = ""  # the mark that ends the present code block
        self._fence_on_line = False  # the mark must be on a line of its own
        self._fence_may_be_block = False
        self._fence_grows = False  # the opening mark may still become longer
        self._fence_line = ""  # the present line of the code block
        self._formula = ""  # the present raw formula, with its opening mark
        self._sees_formulas = True
        self._glued = 0  # place in the held text where a sentence may begin without a space before it
        self._glued_to_name = False  # the text before that place may be a name, a number or an address

    @property
    def _is_in_text(self) -> bool:
        return not self._fence and not self._formula

    # -- one step --

    def _take_run(self, run: str) -> list[Sentence]:
        """Take letters, digits and signs that end nothing."""
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
        """Take white space. Runs of it are held as one space or one newline. A blank line ends a sentence."""
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
        on_line = in_last_line(_FENCE_LINE, before)
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
        opened = _FORMULAS.get(character, "")
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
        """Put a complete formula into plain words. If it never ends it was none, and its text is kept."""
        self._formula += character
        closer = _FORMULA_ENDS.get(self._formula[:2])
        if closer is None and character == "}" and _ENVIRONMENT.match(self._formula):
            self._formula = ""
        elif closer and len(self._formula) >= 4 and self._formula.endswith(closer):
            said = said_formula(self._formula[2:-2])
            self._formula = ""
            cut = self._take_run(said) if said else []
            self._taken -= len(said)
            return cut
        if len(self._formula) > MAX_FORMULA_CHARS or self._formula.endswith("\n\n"):
            self._give_up_formula()
        return []

    def _give_up_formula(self) -> None:
        """Have the text of the present formula, if any, taken once more as what it is: no formula."""
        self._no_formula, self._formula = self._formula, ""
        self._taken -= len(self._no_formula)

    # -- where sentences end --

    def _is_boundary(self, following: str) -> bool:
        """Whether a sentence ends between the held text and the character after it, which is not white space."""
        if self._last_mark() not in _BOUNDARY_MARKS:
            return False
        text = self._held.rstrip()
        gap = self._held[len(text) :]
        if not gap and (following in _CLOSERS or following in _ENDS or following in _CLAUSES):
            # “ closes a German quotation, and opens a Chinese one.
            return following in "“‘" and text.rstrip("”’")[-1:] in _WIDE_ENDS
        core = _uncited(text).rstrip(_CLOSERS_AND_SPACE)
        if not core or not may_break_before(self._held + following, len(self._held)):
            return False
        if following == "»" and core.count("«") > core.count("»"):
            return False  # French has a space before the closing quote
        if "\n" in gap:
            # A wrapped line of prose goes on in lower case. Anything else (a list, a heading) is separate.
            return not following.islower() or in_last_line(_HEADING, text)
        last = core[-1]
        if last in _WIDE_ENDS or (gap and near_end(_GREEK_QUESTION, core)):
            return True
        is_ellipsis = last == "…" or core.endswith("..")
        if gap or is_cjk(following) or following in _SENTENCE_OPENERS or _is_caseless(core[:-1], following):
            if last in "!?":
                return core == text or not following.islower()
            if last == "." and not is_ellipsis:
                goes_on = following.islower() and not has_no_case(following)
                return not goes_on and not is_abbreviation(core[:-1], following) and not _is_inside(core)
            if is_ellipsis and gap and not following.islower():
                return True
        is_clause = last in _WIDE_CLAUSES or ((last in _CLAUSES or is_ellipsis) and (bool(gap) or is_cjk(following)))
        is_clause = is_clause or (bool(gap) and _IS_PHRASED.match(last) is not None)
        return is_clause and self._may_cut_clause(core)

    def _last_mark(self) -> str:
        """Return the character that may be a mark: the last one, or the one before a space."""
        last = self._held[-2:]
        return last[0] if last[1:] == " " else last[-1:] or " "

    def _may_cut_clause(self, core: str) -> bool:
        if core[:-1].endswith(".") or _is_inside(core) or near_end(_ENTITY, core):
            return False
        return width(core) > (FIRST_CLAUSE_CHARS if self._is_first else LONG_CLAUSE_CHARS)

    def _may_be_glued(self, following: str) -> bool:
        """Whether `following` may begin a sentence without a space before it, as some models write it."""
        if not following.isupper():
            return False
        core = _uncited(self._held).rstrip(_CLOSERS)
        if core[-1:] not in (".", "!", "?") or _is_inside(core):
            return False
        before = core[:-1] if core[-1:] == "." else core.rstrip("!?").rstrip()  # French has a space before ! and ?
        word = last_token(before).lstrip(_OPENERS).rstrip(_CLOSERS)
        if is_short_form(word) or (len(word) < 2 and not word.isdigit()):
            return False
        is_word = _WORD.fullmatch(word) is not None
        is_plain = is_word and (word.islower() or before.lstrip(_CLOSERS + "“‘«¿¡ ") == word)
        is_year = word.isdigit() and len(word) > 3  # rather than the number of a day before a month
        self._glued_to_name = not is_plain and not is_year
        return True

    def _ends_glued_word(self, following: str) -> bool:
        """Whether the glued word was indeed the first of a sentence, not part of a file name, address or code."""
        if not self._glued:
            return False
        word = self._held[self._glued :]
        if _SENTENCE_WORD.fullmatch(word) is None:
            self._glued = 0
            return False
        mark = self._held[: self._glued].rstrip(_CLOSERS)[-1:]
        ends_word = following.isspace() or following in ",;:!?…—–*" if following else mark != "."
        ends_word = ends_word or (following == "." and mark != ".")  # files and addresses contain no other marks
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


def _uncited(text: str) -> str:
    """Return the text without the citations at its end."""
    cited = near_end(_CITED, text) if text.endswith("]") else None
    return text[: cited.start()] if cited else text


def _has_ended(held: str) -> bool:
    """Whether a text that pauses here is a whole sentence. Not after a digit: "3." may continue with "14"."""
    text = held.rstrip()
    core = _uncited(text).rstrip(_CLOSERS_AND_SPACE)
    if not core or _is_inside(core):
        return False
    if core[-1] in "!?…" + _WIDE_ENDS:
        return True
    word = last_token(core[:-1]).lstrip(_OPENERS)
    if core[-1] != "." or not _WORD.fullmatch(word) or len(word) < 2:
        return False
    return not is_abbreviation(core[:-1], "") and not is_before_number(word)


def _is_caseless(before: str, following: str) -> bool:
    """Whether the text before and after a stop has letters of a script without capitals.

    Files and addresses are not written in such scripts, so the stop ends a sentence.
    """
    letter = last_letter(before)
    return has_no_case(letter) and has_no_case(following) and not is_cjk(letter)


def _is_inside(text: str) -> bool:
    """Whether the text ends inside the [words] or the (address) of a markdown link, a $formula$, or `code`."""
    text = text[-MAX_INSIDE_CHARS:]
    if text.rfind("[") > text.rfind("]") or text.rfind("](") > text.rfind(")"):
        return True
    return text.count("`") % 2 == 1 or ("$" in text and _OPEN_FORMULA.search(text) is not None)


def _place_to_break(text: str) -> int:
    """Return where to cut a text that is too long: after its last clause, else its last word, else near its end."""
    for mark in (_AFTER_CLAUSE, _AFTER_WORD):
        places = [match.end() for match in mark.finditer(text, len(text) // 2, len(text) - 1)]
        if places:
            return places[-1]
    limit = min(len(text) - 1, MAX_CHARS)
    return next((at for at in range(limit, limit // 2, -1) if may_break_before(text, at)), limit)

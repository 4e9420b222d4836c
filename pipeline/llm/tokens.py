"""Taking out of a model's words what it never meant to say: its thoughts, and the marks of its template."""

from __future__ import annotations

import re

__all__ = ["SaidWords"]

HELD_CHARACTERS = 64
"""No mark is longer; a piece's end that may be the beginning of one waits for the next piece, at most so much of it."""
_MARK = re.compile(
    r"(?<!`)(?:"
    r"(?P<thought><(?P<c1>/?)(?:[a-z]{1,8}:)?(?:think|thinking|thoughts?|reasoning|reflection)>|◁(?P<c2>/?)think▷"
    r"|<\|(?:begin|(?P<c3>end))_of_thought\|>)"
    r"|(?P<call></?(?:tool_calls?|function_calls?|tool_response)>|\[TOOL_CALLS\])"
    r"|(?P<instruction>\[/?INST\]|<</?SYS>>)"
    r"|(?P<bar><[|｜][^\s<>|｜]{1,48}[|｜]>)"
    r"|(?P<other></?s>|</?answer>|<(?:(?:eos|bos|pad|unk|eot|sep|cls)(?:_token)?|(?:start|end)_of_[a-z]{4,9})>"
    r"|\[(?:EOS|BOS|PAD|UNK|SEP|CLS)\]|<0x[0-9A-F]{2}>)"
    r")",
    re.IGNORECASE,
)
_BEGINNING = re.compile(r"(?:<[<|｜/]?[^\s<>]{0,50}|◁/?[a-z]{0,5}|<</?SYS>|\[/?[A-Z_]{0,12})\Z", re.IGNORECASE)
_ENDS = frozenset(
    {"im_end", "eot", "eot_id", "eom", "eom_id", "end", "endoftext", "eos", "eos_token", "return", "call"}
    | {f"end{gap}of{gap}{what}" for gap in "_▁" for what in ("text", "turn", "sentence", "utterance", "turn_token")}
)
"""Marks with which a message ends; what a model runs on with is somebody else's."""
_ROLE = re.compile(r"\s*(\w*)[ \t]*\n?")
_ROLE_CHARACTERS = 24
_ROLE_FOLLOWS = frozenset({"im_start", "start_header_id", "start", "start_of_turn", "channel"})
_OWN_NAMES = frozenset({"assistant", "model", "final"})
_SPEAKERS = frozenset({"user", "system", "tool", "ipython", "analysis", "commentary"})


class SaidWords:
    """What a person may read and hear of a model's raw text, however it is split. One instance an answer.

    Thoughts may be opened and closed, opened only (all the rest is thought), or closed only: some templates open
    them in the prompt. Then what came before was thought; so the first words are held until release(), by which time a
    mark that follows closely has come. A mark in `backticks` is talked about, and stays.
    """

    def __init__(self, thinks_first: bool = False) -> None:
        """thinks_first: this model is known to begin with thoughts that it does not open."""
        self.closed_unopened = False
        self._held = ""  # may be the beginning of a mark
        self._first: str | None = ""  # said, but may turn out to be a thought; None once released
        self._thinks_first = thinks_first
        self._skipped_until = ""  # the mark that ends what is being left out
        self._role: str | None = None  # who speaks next, as far as it has come
        self._before = ""  # the character before what is held
        self._ended = False
        self._at_start = True

    @property
    def holds(self) -> bool:
        """Whether there are words that only release() or the end will give."""
        return bool(self._first)

    def push(self, raw: str) -> str:
        text = self._held + raw
        keep = _BEGINNING.search(text, max(0, len(text) - HELD_CHARACTERS))
        self._held = keep[0] if keep else ""
        return self._take(text[: len(text) - len(self._held)])

    def release(self) -> str:
        """Time has passed: the first words are no thoughts, as far as can be known."""
        if self._thinks_first:
            return ""
        first, self._first = self._first or "", None
        return first

    def finish(self) -> str:
        """The rest of the answer."""
        held, self._held = self._held, ""
        said = self._take(held)
        self._thinks_first = False
        return self.release() + said

    def _take(self, text: str) -> str:
        said: list[str] = []
        at = 0
        scanned = self._before + text
        shift = len(self._before)
        for mark in _MARK.finditer(scanned, shift):
            said.append(self._plain(text[at : mark.start() - shift]))
            at = mark.end() - shift
            if self._obey(mark):
                said.clear()
        said.append(self._plain(text[at:]))
        self._before = scanned[-1:]
        return self._hold("".join(said))

    def _plain(self, text: str) -> str:
        if self._role is not None:
            self._role += text
            if "\n" not in self._role.lstrip() and len(self._role) < _ROLE_CHARACTERS:
                return ""
            text = self._turn_to_speaker()
        if self._skipped_until or self._ended:
            return ""
        if self._at_start:
            text = text.lstrip()
            self._at_start = not text
        return text

    def _turn_to_speaker(self) -> str:
        """Whose message begins is known: others' words, and thoughts, are left out. Gives what is said already."""
        text, self._role = self._role or "", None
        role = _ROLE.match(text)
        name = role[1].lower() if role else ""
        self._skipped_until = "bar" if name in _SPEAKERS else ""
        return text[role.end() :] if role and name in _SPEAKERS | _OWN_NAMES else text

    def _hold(self, said: str) -> str:
        if self._first is None:
            return said
        self._first += said
        return ""

    def _obey(self, mark: re.Match[str]) -> bool:
        """Whether what was said before was thought."""
        if self._role is not None:
            self._turn_to_speaker()
        word = mark[0].lower().strip("<>[]|｜/")
        closes = "/" in mark[0][:3]
        if mark["thought"]:
            return self._obey_thought(bool(mark["c1"] or mark["c2"] or mark["c3"]))
        if mark["call"]:
            self._skipped_until = "" if closes else "call"
        elif mark["instruction"]:
            self._skipped_until = "" if closes else "instruction"
        elif word in _ROLE_FOLLOWS:
            self._role = ""
        elif word in _ENDS:
            self._end_message()
        return False

    def _obey_thought(self, closes: bool) -> bool:
        if not closes:
            self._skipped_until = "thought"
            return False
        unopened = self._skipped_until != "thought"
        self._skipped_until = ""
        self._at_start = True
        if unopened and self._first is not None:
            self.closed_unopened = True
            self._first, self._thinks_first = "", False
            return True
        self.closed_unopened = self.closed_unopened or unopened
        self._thinks_first = False
        return False

    def _end_message(self) -> None:
        """A message has ended; the answer with it, unless that was only a thought."""
        if self._skipped_until == "bar":
            self._skipped_until = ""
        elif not self._at_start:
            self._ended = True

"""Removes from a model's text what is not meant for a person: its thoughts, and the special tokens of its template."""

from __future__ import annotations

import re

__all__ = ["SaidWords"]

HELD_CHARACTERS = 64
"""Longest mark. The end of a piece that may begin a mark, at most this long, waits for the next piece."""
_THOUGHT = r"(?:[a-z]{1,12}_)?think|thinking|thoughts?|reasoning|reflection"
_THOUGHT_AT_START = (
    r"analysis|reason|scratchpad|internal|monologue|ponder|plan|cot"
    r"|(?:inner|internal)_(?:monologue|thoughts?)|(?:thinking|thought)_process"
)
"""Words that may also be said to a person in <brackets>, so they open thoughts only before anything was said."""
_CALL = r"(?:tool|function)_(?:calls?|response|results?|outputs?|code)"
_WRAPPER = r"answer|final_answer|response|assistant|output|final|reply"
_TAG_WORDS = rf"{_THOUGHT}|{_THOUGHT_AT_START}|{_CALL}"
_MARK = re.compile(
    # Groups c1 to c8 are the slash of a closing mark. The other groups name the kind of mark; a digit at the end tells
    # apart several notations of one kind.
    r"(?P<fence>```)|(?<!`)(?:"
    rf"<(?P<c1>/)?(?:[|｜]DSML[|｜]|[a-z]{{1,8}}:)?(?:(?P<thought>{_THOUGHT})|(?P<start>{_THOUGHT_AT_START})"
    rf"|(?P<call>{_CALL}|(?(c1)function|function=[\w.-]{{1,40}})))(?:\s[^<>]{{0,40}})?>"
    rf"|<(?P<c2>/?)(?P<wrapper>{_WRAPPER})>|<(?P<c3>/?)(?P<role>role)>"
    r"|◁(?P<c4>/?)(?P<thought2>think)▷|(?-i:\[(?P<c5>/?)(?P<thought3>THINK)\])"
    r"|\[(?P<c6>/?)(?P<call2>TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
    r"|\[(?P<c7>/?)(?P<instruction>INST)\]|<<(?P<c8>/?)(?P<instruction2>SYS)>>"
    r"|(?<![^\n])### ?(?P<speaker>Human|User|Instruction|Assistant|Response):"
    r"|<[|｜](?P<bar>[^\s<>|｜]{1,48})[|｜]>|\[\|(?P<bar2>endofturn|assistant|user|system)\|\]|<\|(?P<opened>turn|channel|tool_call|tool_response)>"
    r"|<(?P<closed>turn|channel|tool_call|tool_response)\|>"
    r"|(?P<other></?s>|<sop>|\[gMASK\]|<(?:(?:eos|bos|pad|unk|eot|sep|cls)(?:_token)?|(?:start|end)_of_[a-z]{4,9})>"
    r"|<(?:unused|reserved_|extra_id_)\d{1,4}>|\[unused(?:_token_)?\d{1,4}\]"
    r"|\[(?:EOS|BOS|PAD|UNK|SEP|CLS)\]|<0x[0-9A-F]{2}>)"
    r")",
    re.IGNORECASE,
)
_BEGINNING = re.compile(  # the beginning of a mark, at the end of the text
    rf"(?:<[<|｜/]?[^\s<>]{{0,50}}|</?(?:[|｜]DSML[|｜]|[a-z]{{1,8}}:)?(?:{_TAG_WORDS})\s[^<>]{{0,40}}|◁/?[a-z]{{0,5}}"
    r"|<</?SYS>|\[/?[A-Z_]{0,15}\d{0,4}|\[\|[a-z]{0,10}\|?|(?<![^\n])#{1,3} ?[a-z]{0,11}|(?<!`)`{1,2})\Z",
    re.IGNORECASE,
)
_HEADING_SPEAKERS = {"instruction": "user", "response": "assistant"}
_OPENING = re.compile(r"\A(?:GPT4 Correct )?Assistant:\s*")
_BARE_ANALYSIS = re.compile(r"\Aanalysis(?=[A-Z])")
_BARE_FINAL = "assistantfinal"
"""What remains of gpt-oss's marks if a service removes their brackets."""
_QUOTES = "\"'“‘«「("
"""A tag of a thought or a call right after one of these is only quoted."""
_BAR = re.compile(r"(?P<verb>(?:begin|start|end)(?:_of)?_|/|)(?P<name>\w+?)(?P<verb2>_(?:begin|start|end)|)")
_BAR_THOUGHT = re.compile(_THOUGHT)
_BAR_CALL = re.compile(
    r"(?:tool|function)_?(?:calls?|response|results?|outputs?)(?:s?_section|_argument)?|python_tag|action|plugin"
)
_ENDS = frozenset(
    {"im_end", "eot", "eot_id", "eom", "eom_id", "end", "endoftext", "endofturn", "eos", "eos_token", "return", "call"}
    | {f"end_of_{what}" for what in ("text", "turn", "sentence", "utterance", "turn_token")}
)
"""Marks that end a message. Text after them belongs to another speaker."""
_ROLE = re.compile(r"\s*(\w*)[ \t]*\n?")
_ROLE_CHARACTERS = 24
_ROLE_FOLLOWS = frozenset(
    {"im_start", "start_header_id", "header_start", "start", "start_of_turn", "start_of_role", "role_start", "channel"}
    | {"im_system", "im_user", "im_assistant"}
)
_OWN_NAMES = frozenset({"assistant", "model", "final"})
_OTHERS = frozenset({"user", "human", "system", "tool", "observation", "ipython"})
_SPEAKERS = _OTHERS | {"analysis", "commentary", "thought"}


class SaidWords:
    """Finds what a person may read and hear in a model's raw text, however it is split. Use one instance per answer.

    Thoughts may be opened and closed, only opened (then all the rest is thought), or only closed, because some
    templates open them in the prompt. In the last case the text before was thought. So the first words are held until
    release(), to give such a mark the time to arrive. A mark in `backticks` is quoted, and stays.
    """

    def __init__(self, thinks_first: bool = False) -> None:
        """thinks_first: this model is known to begin with thoughts that it does not open."""
        self.closed_unopened = False
        self._held = ""  # the beginning of a mark, perhaps
        self._first: str | None = ""  # text that may turn out to be a thought; None once released
        self._thinks_first = thinks_first
        self._skipped_until = ""  # the mark that ends what is left out
        self._role: str | None = None  # name of the next speaker, as far as it has arrived
        self._before = ""  # the character before the held text
        self._ended = False
        self._at_start = True
        self._in_code = False
        self._wrapped = ""  # name of the tag around the answer

    @property
    def holds(self) -> bool:
        """Whether it holds back words that release() would return."""
        return bool(self._first) and not self._thinks_first

    def push(self, raw: str) -> str:
        """Take raw text, and return the text that is certain now."""
        text = self._held + raw
        keep = _BEGINNING.search(text, max(0, len(text) - HELD_CHARACTERS))
        self._held = keep[0] if keep else ""
        return self._take(text[: len(text) - len(self._held)])

    def release(self) -> str:
        """Return the first words: enough time has passed, so they are probably not thoughts."""
        if self._thinks_first:
            return ""
        first, self._first = self._first or "", None
        return first

    def finish(self) -> str:
        """Return the rest of the answer, at its end."""
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
            if self._is_talked_about(mark):
                said.append(self._plain(mark[0]))
            elif self._obey(mark):
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
        """Begin the message of a speaker who is now known. Returns its text so far; other speakers' text is skipped."""
        text, self._role = self._role or "", None
        role = _ROLE.match(text)
        name = role[1].lower() if role else ""
        self._let_speak(name)
        return text[role.end() :] if role and name in _SPEAKERS | _OWN_NAMES else text

    def _let_speak(self, name: str) -> None:
        if name in _OTHERS and not self._at_start:
            self._ended = True  # it goes on with what another speaker might say
        self._skipped_until = "bar" if name in _SPEAKERS else ""

    def _hold(self, said: str) -> str:
        if self._first is None:
            return said
        self._first = _OPENING.sub("", self._first + said)
        self._at_start = self._at_start or (said != "" and not self._first)
        if _BARE_ANALYSIS.match(self._first):
            thought, mark, answer = self._first.partition(_BARE_FINAL)
            self._thinks_first = not mark
            self._first = None if mark else thought
            return answer.lstrip()
        return ""

    def _is_talked_about(self, mark: re.Match[str]) -> bool:
        """Whether a mark is part of the text: in code, in quotes, or a word in brackets within a sentence."""
        if mark["fence"]:
            self._in_code = not self._in_code and not self._skipped_until
            return True
        is_tag = mark["bar"] is None and mark["bar2"] is None and mark["other"] is None
        if is_tag and self._in_code:
            return True
        closes = _closes(mark)
        word = (mark["start"] or mark["wrapper"] or "").lower()
        if word and closes:
            return word not in (self._wrapped, self._skipped_until)
        if mark["call"] == "function":
            return self._skipped_until != "call"
        if word:
            return not self._at_start or bool(self._skipped_until)
        quoted = mark.string[: mark.start()][-1:]
        return is_tag and not closes and not self._at_start and quoted != "" and quoted in _QUOTES

    def _obey(self, mark: re.Match[str]) -> bool:
        """Apply a mark. Returns True if the text before it was a thought."""
        if self._role is not None:
            self._turn_to_speaker()
        closes = _closes(mark)
        if mark["thought"] or mark["thought2"] or mark["thought3"]:
            return self._obey_thought(closes)
        if mark["start"]:
            self._skipped_until = "" if closes else mark["start"].lower()
        elif mark["call"] or mark["call2"]:
            self._obey_call(closes)
        elif mark["instruction"] or mark["instruction2"]:
            self._skipped_until = "" if closes else "instruction"
        elif mark["wrapper"]:
            self._wrapped = "" if closes else mark["wrapper"].lower()
        elif mark["speaker"]:
            speaker = mark["speaker"].lower()
            self._let_speak(_HEADING_SPEAKERS.get(speaker, speaker))
        elif mark["role"]:
            self._role = None if closes else ""
        elif name := mark["bar"] or mark["bar2"] or mark["opened"]:
            return self._obey_bar(name.lower().replace("▁", "_"))
        elif mark["closed"]:
            return self._obey_bar("end" if mark["closed"] in ("turn", "channel") else f"end_{mark['closed']}".lower())
        elif mark["other"]:
            self._obey_bar(mark["other"].lower().strip("<>[]/"))
        return False

    def _obey_bar(self, name: str) -> bool:
        """Apply a mark in the form of most templates: <|name|>, <|name_begin|>, <|end_of_name|>."""
        part = _BAR.fullmatch(name)
        core = part["name"] if part else name
        closes = part is not None and (part["verb"] == "/" or "end" in part["verb"] + part["verb2"])
        if name in _ROLE_FOLLOWS or name == "turn":
            self._role = ""
        elif name in _ENDS:
            self._end_message()
        elif _BAR_THOUGHT.fullmatch(core):
            return self._obey_thought(closes)
        elif _BAR_CALL.fullmatch(core):
            self._obey_call(closes)
        elif not closes and name in _OTHERS | _OWN_NAMES:
            self._let_speak(name)
        return False

    def _obey_call(self, closes: bool) -> None:
        if self._skipped_until in ("", "call"):
            self._skipped_until = "" if closes else "call"

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
        """End a message, and the answer with it unless the message was only a thought."""
        if self._skipped_until in ("bar", "call") and self._at_start:
            self._skipped_until = ""
        elif not self._at_start:
            self._ended = True


def _closes(mark: re.Match[str]) -> bool:
    return any(mark[f"c{number}"] for number in range(1, 9))

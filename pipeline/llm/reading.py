"""Reads what a chat service streams, whatever its dialect: takes bytes, and returns the words meant for a person.

Nothing here waits or connects. Everything it holds is bounded: a line, and the whole answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pipeline.errors import LanguageModelError
from pipeline.llm.tokens import SaidWords
from pipeline.llm.tools import ToolCalls

__all__ = ["MAX_ANSWER_CHARACTERS", "MAX_LINE_BYTES", "AnswerReader", "broken_off", "said_in"]

MAX_LINE_BYTES = 4 * 2**20
"""Most bytes of a line. A line is one event of the stream, usually a few hundred bytes."""
LINE_OVERHEAD = 64
"""Memory for holding a line, besides its characters."""
MAX_ANSWER_CHARACTERS = 50_000
"""About an hour of speech."""
PIECE_CHARACTERS = 1000
"""Longer pieces are split, so that nobody has to process a megabyte in one step."""
_AGAIN = "Ask again in a moment."
_BEGINS_JSON = frozenset('{}[]"')
_JSON_WORDS = frozenset({"null", "true", "false"})
_TYPES_OF_TEXT = (None, "text", "output_text", "refusal")
_OTHER_ROLES = ("tool", "function", "user", "system")
_NO_REASONS = ("", "null", "none")
"""Some services write these as the finish reason of an answer that goes on."""


class AnswerReader:
    """Reads one answer: push() each piece, and call rest() at the end. The end is a true one only if `complete`.

    It understands server-sent events with or without blank lines in between, lines of JSON, and a single JSON object in
    place of a stream. It ignores what it does not know (usage, thoughts in separate fields). The tool calls of the
    model are in `calls`.
    """

    def __init__(self, thinks_first: bool = False, max_characters: int = MAX_ANSWER_CHARACTERS) -> None:
        """thinks_first: see SaidWords. max_characters: limit of the answer; the rest is refused."""
        self.began = False
        "Something has arrived."
        self.complete = False
        "The service has reported the end of the answer. More metadata may follow."
        self.done = False
        "Nothing more will arrive."
        self.calls = ToolCalls()
        self._words = SaidWords(thinks_first)
        self._whole = _WholeCharacters()
        self._line: list[bytes] = []  # parts of the unfinished line
        self._line_bytes = 0
        self._data: list[str] = []  # lines of one event
        self._data_characters = 0
        self._event = ""
        self._in_deltas = False  # once deltas come, a whole message only repeats them
        self._left = max_characters

    @property
    def thought_first(self) -> bool:
        """Whether the answer began with thoughts that were closed without having been opened."""
        return self._words.closed_unopened

    @property
    def holds(self) -> bool:
        """Whether it holds back words that release() would return."""
        return self._words.holds

    def push(self, data: bytes) -> Iterator[str]:
        """Take bytes, and yield the text that is certain now, in pieces that are not empty.

        Raises LanguageModelError if the service reports an error, or sends too much.
        """
        self.began = True
        for part in data.splitlines(keepends=True):
            self._line.append(part)
            self._line_bytes += len(part)
            if self._line_bytes > MAX_LINE_BYTES:
                raise _too_much()
            if part.endswith((b"\n", b"\r")):
                yield from self._take_line()

    def release(self) -> Iterator[str]:
        """Yield the first words if they were held back, because enough time has passed."""
        return _in_parts(self._words.release())

    def rest(self) -> Iterator[str]:
        """Yield what is held, at the end of the stream. Raises LanguageModelError if it ends within an event."""
        yield from self._take_line()
        try:
            if self._data:
                yield from self._take_event("\n".join(self._data))
        finally:
            rest = self._words.finish()
        yield from _in_parts(rest)

    def _take_line(self) -> Iterator[str]:
        line = b"".join(self._line).decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")
        self._line, self._line_bytes = [], 0
        name, _, value = line.partition(":")
        if name in ("data", "error"):
            self._event = "error" if name == "error" else self._event
            yield from self._take_data(value.removeprefix(" "))
        elif name == "event":
            self._event = value.strip()
        elif line.lstrip()[:1] in ("{", "}", '"', "[", "]") or (self._data and line.strip() and name):
            yield from self._take_data(line)
        elif not line and self._data:
            yield from self._take_event("\n".join(self._data))

    def _take_data(self, data: str) -> Iterator[str]:
        """Take a line of data. Most events are one line of JSON; longer ones end with a blank line."""
        if self._data:
            self._keep(data)
        elif data.strip() == "[DONE]":
            self.complete = self.done = True
        elif data.strip()[:1] in _BEGINS_JSON or data.strip() in _JSON_WORDS:
            try:
                event = json.loads(data, strict=False)
            except (ValueError, RecursionError):
                self._keep(data)
            else:
                yield from self._take_json(event)
        elif data.strip() and self._event == "error":
            yield from self._take_json(data)

    def _keep(self, data: str) -> None:
        self._data.append(data)
        self._data_characters += len(data) + LINE_OVERHEAD
        if self._data_characters > MAX_LINE_BYTES:
            raise _too_much()

    def _take_event(self, data: str) -> Iterator[str]:
        self._data, self._data_characters = [], 0
        try:
            event = json.loads(data, strict=False)
        except (ValueError, RecursionError) as error:
            raise broken_off() from error
        yield from self._take_json(event)

    def _take_json(self, event: object) -> Iterator[str]:
        name, self._event = self._event, ""
        if name == "error" and not isinstance(event, dict):
            event = {"error": event}
        if not isinstance(event, dict):
            return
        if (problem := _problem_in(event, name)) is not None:
            raise LanguageModelError("The language model failed in the middle of its answer.", _AGAIN, problem)
        self._in_deltas = self._in_deltas or isinstance(_dict(_choice_of(event)).get("delta"), dict)
        choice = _dict(_choice_of(event))
        self.calls.push(_dict(choice.get("delta") or choice.get("message")).get("tool_calls"))
        said = self._whole.push(said_in(event, self._in_deltas)[: self._left + 2])
        if len(said) > self._left:
            yield from _in_parts(self._words.push(said[: self._left]) + self._words.finish())
            raise LanguageModelError(
                "The answer was too long, and ends here.", "Ask for a shorter one.", retryable=False
            )
        self._left -= len(said)
        yield from _in_parts(self._words.push(said))
        self.complete = self.complete or _is_last(event)


def said_in(event: dict[str, object], in_deltas: bool = False) -> str:
    """Return the text of one event; empty if it has none. in_deltas: ignore whole messages."""
    choice = _choice_of(event)
    if choice is None:
        return _text_of(_dict(event.get("message")).get("content")) or _text_of(event.get("response"))
    delta = _dict(choice.get("delta" if in_deltas else "message"))
    google = _dict(_dict(delta.get("extra_content")).get("google"))
    if google.get("thought") is True or delta.get("role") in _OTHER_ROLES:
        return ""
    # A refusal takes the place of an answer.
    return _text_of(delta.get("content")) or _text_of(delta.get("refusal")) or _text_of(choice.get("text"))


def _choice_of(event: dict[str, object]) -> dict[str, object] | None:
    """Return the first of the alternative answers. The others are ignored."""
    choices = event.get("choices")
    if not isinstance(choices, list):
        return None
    return next((c for c in choices if isinstance(c, dict) and c.get("index") in (None, 0, "0")), None)


def _text_of(content: object) -> str:
    """Return the text in content, which is a string, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        if content.get("type", "text") not in _TYPES_OF_TEXT or content.get("thought") is True:
            return ""
        text = content.get("text") or content.get("refusal")
        return _text_of(text.get("value")) if isinstance(text, dict) else text if isinstance(text, str) else ""
    if isinstance(content, list):
        return "".join(_text_of(part) for part in content if isinstance(part, str | dict))
    return ""


def _problem_in(event: dict[str, object], name: str) -> str | None:
    """Return the error in an event, for the log; None if it is not an error."""
    choice = _dict(_choice_of(event))
    if error := event.get("error") or choice.get("error"):
        told = error.get("message") if isinstance(error, dict) else error
        return str(told or error)
    if name == "error" or event.get("object") == "error" or event.get("type") == "error":
        return str(event.get("message") or event)
    if not choice and (event.get("error_code") or (event.get("code") and isinstance(event.get("message"), str))):
        return str(event.get("message") or event)
    return "the reason given for the end is an error" if choice.get("finish_reason") == "error" else None


def _is_last(event: dict[str, object]) -> bool:
    choice = _dict(_choice_of(event))
    is_whole = isinstance(choice.get("message"), dict) and "delta" not in choice  # a complete answer, not a stream
    reason = choice.get("finish_reason")
    return is_whole or str(reason or "").lower() not in _NO_REASONS or event.get("done") is True


def _too_much() -> LanguageModelError:
    return LanguageModelError("The language model sent more than anybody can take in.", _AGAIN, retryable=False)


def broken_off() -> LanguageModelError:
    return LanguageModelError("The language model broke off in the middle of its answer.", _AGAIN)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _in_parts(text: str) -> Iterator[str]:
    return (text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS))


class _WholeCharacters:
    """Joins surrogate halves that a service has split (an emoji is two in UTF-16). A lone half is dropped."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, delta: str) -> str:
        if not delta:
            return ""
        text = self._held + delta
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text[: len(text) - len(self._held)]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")

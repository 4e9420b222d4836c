"""The grammar of the session socket: parses and checks the messages that a client sends.

The messages in the other direction are in `event_messages`. The functions here are pure: they turn a message into one
of the models below, or raise BadRequest. docs/protocol.md is the reference.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, TypeAdapter, ValidationError

from avatars.persona import MAX_PROMPT_CHARACTERS
from pipeline.errors import BadRequest
from pipeline.tts.speed import FASTEST, SLOWEST
from pipeline.types import ListenMode
from portal.http.faults import first_fault, max_entries

if TYPE_CHECKING:
    from pipeline.turn_context import Change as SessionChange

__all__ = [
    "MAX_EVENT_CHARACTERS",
    "MAX_MESSAGE_BYTES",
    "MAX_REMARK_CHARACTERS",
    "Bye",
    "Candidate",
    "Change",
    "ChoiceWish",
    "ClientMessage",
    "Gesture",
    "Hello",
    "Interrupt",
    "Listen",
    "MediaUse",
    "MessageTooLarge",
    "Offer",
    "OwnEvent",
    "Ping",
    "Places",
    "Reached",
    "RecordSession",
    "Remark",
    "Say",
    "Seen",
    "SendStream",
    "SessionWish",
    "Speak",
    "Stats",
    "SwapAvatar",
    "cost_of",
    "explicit_fields",
    "parse",
    "small_json",
]

MAX_MESSAGE_BYTES = 256 * 1024

MAX_EVENT_CHARACTERS = 2000
"""Most characters of the `event` that a client sends along with a text, written as JSON."""
JSON = TypeVar("JSON")

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_IdentityKey = Annotated[str, Field(min_length=1, max_length=64)]
_IdentityValue = Annotated[str, Field(max_length=4096)]


class MessageTooLarge(BadRequest, code="too_large"): ...


def small_json(value: JSON) -> JSON:
    """Return the value unchanged, if it is small enough.

    The size is limited because the value is kept with each event that waits, and may take thirty times as much memory
    as it takes on the wire. Raises ValueError if it has more than MAX_EVENT_CHARACTERS, or if it holds numbers or
    characters that JSON cannot represent.
    """
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    if len(json.dumps(value)) > MAX_EVENT_CHARACTERS:
        raise ValueError(f"has more than {MAX_EVENT_CHARACTERS} characters as JSON")
    return value


OwnEvent = Annotated[JsonValue, AfterValidator(small_json)]
"""Any JSON value that a client sends along with a text. It comes back in the `speech` messages."""


class _Message(BaseModel):
    # Unknown fields are ignored, so that a newer page can talk to an older server.
    model_config = ConfigDict(frozen=True, extra="ignore")


MAX_REMARK_CHARACTERS = 100_000


class Remark(_Message):
    """One entry of an earlier conversation."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=MAX_REMARK_CHARACTERS)]


class ChoiceWish(_Message):
    """What can also be changed while a session runs. null: as if it had not been asked for."""

    voice: _Name | None = None
    tts: _Name | None = None
    lipsync: _Name | None = None
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] | None = None
    "of the voice, in times as fast as by itself"
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] | None = None
    "instructions to the language model, in the place of the avatar's own"


class SessionWish(ChoiceWish):
    """What a new session should be like. The portal chooses whatever is left out."""

    avatar: _Name | None = None
    identity: Annotated[dict[_IdentityKey, _IdentityValue], Field(max_length=16), max_entries(16)] | None = None
    "who the client says that it is; kept with the session, never checked, so it allows nobody anything"
    greeting: Annotated[str, Field(max_length=1000)] | None = None
    "spoken at the start, in the place of the avatar's own; empty for none"
    history: Annotated[tuple[Remark, ...], Field(max_length=200, fail_fast=True), max_entries(200)] = ()
    "what was said before, oldest first; the session keeps as much of it as of its own questions and answers"


class Hello(SessionWish):
    """First message: asks for a new session, or with `token` for the one whose socket broke."""

    type: Literal["hello"]
    wait: bool = False
    "rather wait in line than be refused when all places are taken"
    token: _Name | None = None


class Offer(_Message):
    type: Literal["offer"]
    sdp: Annotated[str, Field(min_length=1)]


class Candidate(_Message):
    """A trickled ICE candidate; an empty one says that there are no more."""

    type: Literal["candidate"]
    candidate: Annotated[str, Field(max_length=2000)]
    sdpMid: Annotated[str, Field(max_length=100)] | None = None
    sdpMLineIndex: Annotated[int, Field(ge=0, le=100)] | None = None


class MediaUse(_Message):
    type: Literal["media"]
    use: Literal["webrtc", "websocket"]
    reason: Annotated[str, Field(max_length=500)] | None = None


class Say(_Message):
    """`text` is checked (empty, too long) by the session, which knows its limits."""

    type: Literal["say"]
    text: str
    mode: Literal["chat", "echo"] = "chat"
    event: OwnEvent = None
    "comes back when the speech begins, and when it has ended"


class Speak(_Message):
    """Speak sound that the client sends in binary messages, as soon as its turn is queued."""

    type: Literal["speak"]
    rate: Annotated[int, Field(ge=8000, le=48_000)]
    "of the sound, Hz"
    event: OwnEvent = None
    "as for say"


class Interrupt(_Message):
    type: Literal["interrupt"]


class Reached(_Message):
    """The viewer's answer to `hold`: what was played last before the silence."""

    type: Literal["reached"]
    at: FiniteFloat
    "seconds on the media clock"


class Seen(_Message):
    """The first picture of a turn was seen."""

    type: Literal["seen"]
    turn: int
    delayMs: FiniteFloat
    "after its release by the server"


class Listen(_Message):
    """The viewer's microphone is on, is held on (push to talk), or is off."""

    type: Literal["listen"]
    mode: ListenMode
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] | None = None
    "what the viewer speaks, ISO 639; None: to be found out"


class SwapAvatar(_Message):
    type: Literal["avatar"]
    id: _Name


class Change(ChoiceWish):
    """Go on with another voice, lip-sync or persona. What is left out stays as it is."""

    type: Literal["change"]


class Gesture(_Message):
    """Show a gesture of the avatar; without a name, go back to the idle loop."""

    type: Literal["gesture"]
    name: _Name | None = None


class Places(_Message):
    """Report which place of the loop each frame shows, or no longer."""

    type: Literal["places"]
    on: bool


class RecordSession(_Message):
    """Begin or end a recording of the session."""

    type: Literal["record"]
    on: bool


class SendStream(_Message):
    """Send the session to a streaming server that the operator has allowed, or no longer."""

    type: Literal["push"]
    to: Annotated[str, Field(min_length=1, max_length=800)] | None = None
    "its address with the key, such as rtmp://server/app/key; None: end that"


class Stats(_Message):
    """What the client sees, for the server's log and for its idea of what was played."""

    type: Literal["stats"]
    transport: Annotated[str, Field(max_length=20)] | None = None
    fps: FiniteFloat | None = None
    frames: int | None = None
    firstFrameMs: FiniteFloat | None = None
    avSkewMs: FiniteFloat | None = None
    delayMs: FiniteFloat | None = None
    "how long it takes until what the server releases is played"


class Ping(_Message):
    type: Literal["ping"]
    t: FiniteFloat


class Bye(_Message):
    """The viewer leaves: the session is closed now, not after the grace."""

    type: Literal["bye"]


ClientMessage = (
    Hello
    | Offer
    | Candidate
    | MediaUse
    | Say
    | Speak
    | Interrupt
    | Reached
    | Seen
    | Listen
    | SwapAvatar
    | Change
    | Gesture
    | Places
    | RecordSession
    | SendStream
    | Stats
    | Ping
    | Bye
)


_ADAPTER: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


# What each message costs. A viewer has 200 to spend, and gets 20 more each second (viewer_socket.py). Offers have a
# tighter allowance of their own as well (allowances.py). Sound is free as long as it comes no faster than it can be
# spoken (connection.py).
COSTS: dict[type[ClientMessage] | None, float] = {
    Ping: 1,
    Stats: 1,
    Candidate: 1,
    Reached: 1,
    Seen: 1,
    Interrupt: 2,
    Gesture: 2,
    Listen: 2,
    Places: 2,
    None: 2,  # a message that is not understood, or sound that comes too fast
    Say: 4,
    Speak: 4,
    Bye: 5,
    Hello: 10,
    MediaUse: 10,
    SwapAvatar: 10,
    Change: 10,
    RecordSession: 10,
    SendStream: 10,
    Offer: 20,  # a peer connection takes 10 to 30 ms
}
CHEAP_BYTES = 8192


def cost_of(raw: str | bytes, message: ClientMessage | None) -> float:
    """Return what a message costs of its viewer's allowance.

    message: None if it was not understood, or if it is sound that comes too fast.
    """
    return COSTS[None if message is None else type(message)] + len(raw) / CHEAP_BYTES


MAX_TOKENS: Final = 8000
"""Most strings, commas and opening brackets in a message. A `hello` with 200 remarks and a `say` with the largest event
have fewer than 4,000 together."""
_TOKEN: Final = re.compile(r'[^\[{,"]*+(?:[\[{,]|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\Z)', re.DOTALL)
"""A string (the last one may lack its end), a comma or an opening bracket, with all that is before it; or the end of
the text. No part of a text is looked at twice."""


def _has_many_values(text: str) -> bool:
    """Whether a message holds far too many values. It stops looking as soon as it knows.

    Making the values takes a microsecond each, and a message has room for 87,000. Their limits are checked afterwards.
    """
    # Signs are counted in a tenth of a millisecond. Only a message that has many, even if in its texts, is looked at.
    if sum(map(text.count, '[{,"')) <= MAX_TOKENS:
        return False
    return next(islice(_TOKEN.finditer(text), MAX_TOKENS, None), None) is not None


def parse(text: str) -> ClientMessage:
    """Parse one text message.

    Raises MessageTooLarge, BadRequest (no JSON, no object, unknown type, missing or wrong fields).
    """
    # A text has at least as many bytes as characters, so the cheap test of its length comes before it is encoded.
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"The message is larger than {MAX_MESSAGE_BYTES // 1024} KiB.", "Send long texts in several messages."
        )
    if _has_many_values(text):
        raise MessageTooLarge("The message holds too many values.", "Send a smaller `event` or a shorter `history`.")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise BadRequest(_explain(error), "See docs/protocol.md for the messages and their fields.") from error
    except ValueError as error:  # lone surrogates
        raise BadRequest("The message is not valid UTF-8 text.", "Send JSON objects as text.") from error


def _explain(error: ValidationError) -> str:
    """Describe the first fault in one line. The input is never repeated, because it may be large or private."""
    kind, told = first_fault(error)
    if kind == "json_invalid":
        return "The message is not valid JSON."
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"The message has no known type; known are {', '.join(_KNOWN_TYPES)}."
    return f"The message is not understood: {told}."


_KNOWN_TYPES = (
    "hello",
    "offer",
    "candidate",
    "media",
    "say",
    "speak",
    "interrupt",
    "reached",
    "seen",
    "listen",
    "avatar",
    "change",
    "gesture",
    "places",
    "record",
    "push",
    "stats",
    "ping",
    "bye",
)


def explicit_fields(wish: ChoiceWish) -> SessionChange:
    """Return the fields that the client has set, without those that it left out."""
    return cast("SessionChange", wish.model_dump(exclude_unset=True, exclude={"type"}))

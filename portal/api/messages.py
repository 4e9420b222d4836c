"""The grammar of the session socket: what a client may send, parsed and checked, and how events are sent to it.

Pure: a message in, one of the models below out, or BadRequest. docs/protocol.md is the reference.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, assert_never

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from avatars.persona import MOST_PROMPT_CHARACTERS
from models.errors import VivavoceError
from pipeline.errors import BadRequest
from pipeline.tts.speed import FASTEST, SLOWEST
from pipeline.types import (
    LISTEN_RATE_HZ,
    CutEvent,
    EarsEvent,
    ErrorEvent,
    FloatArray,
    GestureEvent,
    HoldEvent,
    ListenMode,
    MetricsEvent,
    NoticeEvent,
    SessionEvent,
    SubtitleEvent,
    TextEvent,
    TranscriptEvent,
    TurnEvent,
)
from portal.errors import AvatarBeingPrepared

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MOST_EVENT_CHARACTERS",
    "SOUND_HEADER",
    "SOUND_KIND",
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
    "ServerMessage",
    "SessionWish",
    "Sound",
    "Stats",
    "SwapAvatar",
    "cost_of",
    "error_message",
    "event_message",
    "given",
    "parse",
    "parse_sound",
    "small_json",
]

MAX_MESSAGE_BYTES = 256 * 1024
SOUND_HEADER = struct.Struct("<BBHI")
"""kind, flags (none yet), sequence number, place of the first sample in the microphone's stream; then the samples."""
SOUND_KIND = 2
SHORTEST_SOUND_MS, LONGEST_SOUND_MS = 10, 120

MOST_EVENT_CHARACTERS = 2000
"""Of what is sent along with a text, as JSON."""
JSON = TypeVar("JSON")

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_IdentityKey = Annotated[str, Field(min_length=1, max_length=64)]
_IdentityValue = Annotated[str, Field(max_length=4096)]


class MessageTooLarge(BadRequest):
    code = "too_large"


def small_json(value: JSON) -> JSON:
    """As it is. It is kept with each event that waits, and in memory may be thirty times as large as on the wire.

    Raises ValueError.
    """
    if len(json.dumps(value)) > MOST_EVENT_CHARACTERS:
        raise ValueError(f"has more than {MOST_EVENT_CHARACTERS} characters as JSON")
    return value


OwnEvent = Annotated[JsonValue, AfterValidator(small_json)]
"""What comes back with `speech`, whatever it is."""


class _Message(BaseModel):
    # Unknown fields are ignored, so that a newer page can talk to an older server.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Remark(_Message):
    """One entry of an earlier conversation."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=100_000)]


class ChoiceWish(_Message):
    """What can also be changed while a session runs. null: as if it had not been asked for."""

    voice: _Name | None = None
    tts: _Name | None = None
    lipsync: _Name | None = None
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] | None = None
    "of the voice, in times as fast as by itself"
    prompt: Annotated[str, Field(max_length=MOST_PROMPT_CHARACTERS)] | None = None
    "instructions to the language model, in the place of the avatar's own"


class SessionWish(ChoiceWish):
    """What a new session should be like. The portal chooses whatever is left out."""

    avatar: _Name | None = None
    identity: Annotated[dict[_IdentityKey, _IdentityValue], Field(max_length=16)] | None = None
    "who the client says that it is; kept with the session, never checked, so it allows nobody anything"
    greeting: Annotated[str, Field(max_length=1000)] | None = None
    "spoken at the start, in the place of the avatar's own; empty for none"
    history: Annotated[tuple[Remark, ...], Field(max_length=200, fail_fast=True)] = ()
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
    | Interrupt
    | Reached
    | Seen
    | Listen
    | SwapAvatar
    | Change
    | Gesture
    | Places
    | RecordSession
    | Stats
    | Ping
    | Bye
)


@dataclass(frozen=True, slots=True)
class Sound:
    """A binary message: a piece of what the viewer's microphone hears."""

    position: int
    "of its first sample in the microphone's stream, modulo 2**32"
    samples: FloatArray
    "(n,) float32 at LISTEN_RATE_HZ"


ServerMessage: TypeAlias = dict[str, object]
"""What is sent to a client, before it becomes JSON."""

_ADAPTER: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


# A viewer has 200 to spend, and 20 more each second (viewer_socket.py). Offers have a tighter allowance of their own
# besides (session_socket.py). Sound costs nothing as long as it comes no faster than it is spoken (connection.py).
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
    None: 2,  # not understood, or sound that comes too fast
    Say: 4,
    Bye: 5,
    Hello: 10,
    MediaUse: 10,
    SwapAvatar: 10,
    Change: 10,
    RecordSession: 10,
    Offer: 20,  # a peer connection takes 10 to 30 ms
}
CHEAP_BYTES = 8192


def cost_of(raw: str | bytes, message: ClientMessage | None) -> float:
    """What a message costs of its viewer's allowance; None: it was not understood, or is sound that comes too fast."""
    return COSTS[None if message is None else type(message)] + len(raw) / CHEAP_BYTES


def parse(text: str) -> ClientMessage:
    """Parse one text message.

    Raises MessageTooLarge, BadRequest (no JSON, no object, unknown type, missing or wrong fields).
    """
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"The message is larger than {MAX_MESSAGE_BYTES // 1024} KiB.", "Send long texts in several messages."
        )
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise BadRequest(_explain(error), "See docs/protocol.md for the messages and their fields.") from error
    except ValueError as error:  # lone surrogates
        raise BadRequest("The message is not valid UTF-8 text.", "Send JSON objects as text.") from error


def parse_sound(data: bytes) -> Sound:
    """Parse one binary message. Raises BadRequest (another kind, no whole samples, too short or too long)."""
    hint = "See docs/protocol.md for the binary messages."
    if len(data) < SOUND_HEADER.size or data[0] != SOUND_KIND:
        raise BadRequest(f"Of binary messages only sound (kind {SOUND_KIND}) is understood.", hint)
    _, _, _, position = SOUND_HEADER.unpack_from(data)
    count, odd = divmod(len(data) - SOUND_HEADER.size, 2)
    if odd or not SHORTEST_SOUND_MS <= 1000 * count / LISTEN_RATE_HZ <= LONGEST_SOUND_MS:
        raise BadRequest(
            f"Sound comes as {SHORTEST_SOUND_MS} to {LONGEST_SOUND_MS} ms of 16-bit samples at {LISTEN_RATE_HZ} Hz.",
            hint,
        )
    samples = np.frombuffer(data, "<i2", offset=SOUND_HEADER.size).astype(np.float32) / np.float32(32768)
    return Sound(position, samples)


def _explain(error: ValidationError) -> str:
    """The first fault in one line. Never echoes the input: it may be large or private."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return "The message is not valid JSON."
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"The message has no known type; known are {', '.join(_KNOWN_TYPES)}."
    return f"The message is not understood: {where + ': ' if where else ''}{first['msg']}."


_KNOWN_TYPES = (
    "hello",
    "offer",
    "candidate",
    "media",
    "say",
    "interrupt",
    "reached",
    "seen",
    "listen",
    "avatar",
    "change",
    "gesture",
    "places",
    "record",
    "stats",
    "ping",
    "bye",
)


def given(wish: ChoiceWish) -> dict[str, Any]:
    """What the message says is to change."""
    return wish.model_dump(exclude_unset=True, exclude={"type"})


def event_message(event: SessionEvent) -> ServerMessage:
    """One session event as the client gets it."""
    match event:
        case TurnEvent(turn, state):
            return {"type": "turn", "turn": turn, "state": state.value}
        case HoldEvent(turn, held):
            return {"type": "hold", "turn": turn, "held": held}
        case CutEvent(turn, played):
            return {"type": "cut", "turn": turn, "played": played}
        case GestureEvent(name, begins):
            return {"type": "gesture", "name": name, "begins": begins}
        case TextEvent(turn, delta):
            return {"type": "text", "turn": turn, "delta": delta}
        case SubtitleEvent(turn, text, start_s, end_s, spoken):
            times = {"start": start_s, "end": end_s}
            return {"type": "subtitle", "turn": turn, "text": text, **times, "spoken": spoken}
        case NoticeEvent(code, message, hint):
            return {"type": "notice", "code": code, "message": message, "hint": hint}
        case ErrorEvent(code, message, hint, cause):
            return {"type": "error", "code": code, "message": message, "hint": hint, "cause": cause}
        case MetricsEvent(turn, stages_ms):
            return {"type": "metrics", "turn": turn, "stages": stages_ms}
        case TranscriptEvent(text, final, language):
            return {"type": "transcript", "text": text, "final": final, "language": language}
        case EarsEvent(state):
            return {"type": "ears", "state": state.value}
        case _:
            assert_never(event)


def error_message(error: VivavoceError) -> ServerMessage:
    sent: ServerMessage = {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "cause": error.cause,
    }
    if isinstance(error, AvatarBeingPrepared):
        sent |= {"avatar": error.avatar, "lipsync": error.backend, "job": error.job}
    return sent

"""What the server says on the session socket, as models: for its description (portal/commands/asyncapi.py) and tests.

The server sends dictionaries, and never makes one of these. What a client says is in `messages`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipeline.types import EarsState, TurnState

__all__ = ["ServerSays"]

Count = Annotated[int, Field(ge=0)]
TurnNumber = Annotated[int, Field(ge=1)]


class _Told(BaseModel):
    # A newer server may say more, as docs/protocol.md has it.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class AvatarName(_Told):
    id: str
    name: str


class InForce(_Told):
    """What a session talks with."""

    tts: str
    voice: str | None
    "null: the default of tts"
    speed: float
    lipsync: str
    persona: Literal["session", "avatar", "none"]
    "whose instructions the language model has"


class IceServer(_Told):
    """Fit for RTCPeerConnection."""

    urls: str | list[str]
    username: str = ""
    credential: str = ""


class _Shown(_Told):
    width: Count
    "pixels"
    height: Count
    "pixels"
    avatar: AvatarName
    gestures: list[str]
    "names of what the avatar can be asked to show"
    choice: InForce


class Restored(_Told):
    """The session goes on where another one broke off, whose machine is gone."""

    cut: str | None
    "the last words that were played of an answer; empty: none of it was; null: nothing was being said"


class Welcome(_Shown):
    """The session is open."""

    type: Literal["welcome"]
    session: str
    resumed: bool
    restored: Restored | None
    "null: it is the same session, or one that begins"
    token: str
    "greets for the same session after the socket broke; for one use"
    iceServers: list[IceServer]
    fps: int
    sampleRate: int
    "hertz"
    watch: str
    "a token by which others may watch; empty: the operator does not allow it"


class Waiting(_Told):
    """All places are taken."""

    type: Literal["waiting"]
    place: TurnNumber
    "in the line; 1 came first"


class Answer(_Told):
    """To `offer`."""

    type: Literal["answer"]
    sdp: str


class Turn(_Told):
    """What becomes of an answer."""

    type: Literal["turn"]
    turn: TurnNumber
    state: TurnState


class Hold(_Told):
    """Somebody speaks over the answer, or it goes on."""

    type: Literal["hold"]
    turn: TurnNumber
    held: bool


class Cut(_Told):
    """An answer is being interrupted."""

    type: Literal["cut"]
    turn: TurnNumber
    played: Count
    "characters of its text that were heard, in UTF-16"


class Text(_Told):
    """A piece of the answer, ahead of speech."""

    type: Literal["text"]
    turn: TurnNumber
    delta: str


class Subtitle(_Told):
    """A sentence begins to be spoken."""

    type: Literal["subtitle"]
    turn: TurnNumber
    text: str
    start: float
    "seconds on the media clock"
    end: float
    "seconds on the media clock"
    spoken: bool
    "false: no voice speaks it"


class Speech(_Told):
    """Of a `say` that had an `event`."""

    type: Literal["speech"]
    turn: TurnNumber
    event: JsonValue
    begins: bool
    "false: it has ended, or never began"
    outcome: Literal["", "done", "interrupted"]


class Ears(_Told):
    """What the server does with the viewer's speech."""

    type: Literal["ears"]
    state: EarsState


class Transcript(_Told):
    """What the viewer said, as far as it is recognised."""

    type: Literal["transcript"]
    text: str
    final: bool
    language: str


class Metrics(_Told):
    """How long each mark of a turn took."""

    type: Literal["metrics"]
    turn: TurnNumber
    stages: dict[str, float]
    "milliseconds, by mark"


class Shown(_Shown):
    """The avatar was swapped."""

    type: Literal["avatar"]


class Chosen(_Told):
    """To `change`."""

    type: Literal["choice"]
    changed: bool
    "false: it could not be had, and an error says why"
    choice: InForce


class Gestured(_Told):
    """A gesture begins to be seen, or has ended."""

    type: Literal["gesture"]
    name: str
    begins: bool


class Place(_Told):
    """Which place of the loop a frame shows, and each one after it."""

    type: Literal["place"]
    number: Count
    "of the frame on the media clock"
    place: Count
    step: Literal[-1, 0, 1]


class Recorded(_Told):
    """What becomes of a recording."""

    type: Literal["recording"]
    state: Literal["on", "done", "failed"]
    id: str
    name: str
    code: str = ""
    message: str = ""
    hint: str = ""


class Streamed(_Told):
    """How it goes to send the session to a streaming server."""

    type: Literal["push"]
    state: Literal["connecting", "live", "waiting", "closed"]
    "waiting: for the next try"
    host: str
    connections: Count
    "how often the server has taken the connection"
    framesDropped: Count
    "because the server took them too slowly"
    trouble: str
    "why the last connection ended, or could not be made; empty if none has"
    code: str
    """the same for programs: unreachable, refused (it does not take the key, or the stream), no_media (WHIP: no way for
    pictures), silent (it takes nothing), lost, camera, damaged (the avatar is), failed (inside the portal), or empty"""


class Notice(_Told):
    """Something to know that is nobody's mistake."""

    type: Literal["notice"]
    code: str
    message: str
    hint: str


class Refusal(_Told):
    """What went wrong, and the remedy."""

    type: Literal["error"]
    code: str
    message: str
    hint: str
    cause: str
    avatar: str = ""
    "of `avatar_not_prepared`, with `lipsync` and `job`"
    lipsync: str = ""
    job: str = ""


class Pong(_Told):
    """To `ping`."""

    type: Literal["pong"]
    t: float
    media: float | None
    "seconds on the media clock; null before `hello`"


ServerSays = (
    Welcome
    | Waiting
    | Answer
    | Turn
    | Hold
    | Cut
    | Text
    | Subtitle
    | Speech
    | Ears
    | Transcript
    | Metrics
    | Shown
    | Chosen
    | Gestured
    | Place
    | Recorded
    | Streamed
    | Notice
    | Refusal
    | Pong
)

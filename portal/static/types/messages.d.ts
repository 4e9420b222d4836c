/**
 * The messages of the session socket, as portal/api/messages.py has them; docs/protocol.md says what they mean. For the
 * type checker only: no script loads this. tests/portal/test_script_types.py compares it with the server's own.
 */

export interface Remark {
  role: "user" | "assistant";
  content: string;
}

export interface Hello {
  type: "hello";
  avatar?: string;
  voice?: string;
  tts?: string;
  lipsync?: string;
  /** Of the voice, in times as fast as by itself: 0.5 to 2. */
  speed?: number;
  wait?: boolean;
  token?: string;
  identity?: Record<string, string>;
  /** Instructions to the language model; the avatar's own if left out. */
  prompt?: string;
  /** Spoken at the start; empty for none. */
  greeting?: string;
  history?: Remark[];
}

export interface Offer {
  type: "offer";
  sdp: string;
}

export interface Candidate {
  type: "candidate";
  candidate: string;
  sdpMid?: string | null;
  sdpMLineIndex?: number | null;
}

export interface MediaUse {
  type: "media";
  use: "webrtc" | "websocket";
  reason?: string;
}

export type Mode = "chat" | "echo";

export interface Say {
  type: "say";
  text: string;
  mode: Mode;
  /** Any JSON; it comes back with `speech`. */
  event?: unknown;
}

/** What the page never says: sound of a program's own follows in binary messages. */
export interface Speak {
  type: "speak";
  /** Of the sound, Hz. */
  rate: number;
  /** As for `say`. */
  event?: unknown;
}

export interface Interrupt {
  type: "interrupt";
}

export interface Reached {
  type: "reached";
  /** Media time, in seconds, that was played last before the silence. */
  at: number;
}

export interface Seen {
  type: "seen";
  turn: number;
  /** From its release by the server until the first picture of the turn was seen. */
  delayMs: number;
}

export type ListenMode = "off" | "open" | "hold";

export interface Listen {
  type: "listen";
  mode: ListenMode;
  /** What the viewer speaks, ISO 639; without it the server finds out. */
  language?: string;
}

export interface SwapAvatar {
  type: "avatar";
  id: string;
}

/** What is left out stays as it is; null: as if it had not been asked for. */
export interface Change {
  type: "change";
  voice?: string | null;
  tts?: string | null;
  lipsync?: string | null;
  speed?: number | null;
  prompt?: string | null;
}

export interface Gesture {
  type: "gesture";
  /** null: back to the idle loop */
  name: string | null;
}

export interface Places {
  type: "places";
  on: boolean;
}

export interface RecordSession {
  type: "record";
  on: boolean;
}

/** Send the session to a streaming server, or with null no longer. */
export interface SendStream {
  type: "push";
  to: string | null;
}

export interface Stats {
  type: "stats";
  transport: string | null;
  fps: number | null;
  frames: number;
  firstFrameMs: number | null;
  avSkewMs: number | null;
  delayMs: number | null;
}

export interface Ping {
  type: "ping";
  /** Comes back in the pong. */
  t: number;
}

export interface Bye {
  type: "bye";
}

export type ClientMessage =
  | Hello
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
  | Bye;

// -- what the server says

export interface AvatarName {
  id: string;
  name: string;
}

/** What a session talks with. */
export interface InForce {
  tts: string;
  /** null: the default of tts */
  voice: string | null;
  speed: number;
  lipsync: string;
  /** Whose instructions the language model has. */
  persona: "session" | "avatar" | "none";
}

/** The session goes on where another one broke off, whose machine is gone. */
export interface Restored {
  /** The last words that were played of an answer; empty: none of it was; null: nothing was being said. */
  cut: string | null;
}

export interface Welcome {
  type: "welcome";
  session: string;
  resumed: boolean;
  /** Null: it is the same session, or one that begins. */
  restored: Restored | null;
  token: string;
  iceServers: RTCIceServer[];
  fps: number;
  sampleRate: number;
  /** By which others may watch the session; empty: the operator does not allow it. */
  watch: string;
  width: number;
  height: number;
  avatar: AvatarName;
  /** By name, what the avatar can be asked to show. */
  gestures: string[];
  choice: InForce;
}

export interface Answer {
  type: "answer";
  sdp: string;
}

export type TurnState = "idle" | "queued" | "thinking" | "speaking" | "done" | "interrupted";

export interface Turn {
  type: "turn";
  turn: number;
  state: TurnState;
}

export interface Hold {
  type: "hold";
  turn: number;
  /** false: it goes on. */
  held: boolean;
}

export interface Cut {
  type: "cut";
  turn: number;
  /** How many characters of the answer were played. */
  played: number;
}

export interface Text {
  type: "text";
  turn: number;
  delta: string;
}

export interface Subtitle {
  type: "subtitle";
  turn: number;
  text: string;
  /** Media time, in seconds, at which it is heard. */
  start: number;
  end: number;
  /** false: no voice speaks it. */
  spoken: boolean;
}

/** Of a text that was said with an event. */
export interface Speech {
  type: "speech";
  turn: number;
  event: unknown;
  /** false: it has ended, or never began. */
  begins: boolean;
  /** At its end. */
  outcome: "" | "done" | "interrupted";
}

export interface Notice {
  type: "notice";
  code: string;
  message: string;
  hint: string;
}

export interface Refusal {
  type: "error";
  code: string;
  message: string;
  hint: string;
  cause?: string;
  /** Of an avatar that is being prepared for a lip-sync: the three below. */
  avatar?: string;
  lipsync?: string;
  job?: string;
}

export interface Metrics {
  type: "metrics";
  turn: number;
  stages: Record<string, number>;
}

export interface Transcript {
  type: "transcript";
  /** Of the whole utterance; a final empty one was nothing. */
  text: string;
  final: boolean;
  language: string;
}

export type EarsState = "off" | "listening" | "hearing" | "recognising";

export interface Ears {
  type: "ears";
  state: EarsState;
}

export interface Gestured {
  type: "gesture";
  name: string;
  /** false: it has ended. */
  begins: boolean;
}

/** Frame `number` shows `place` of the loop, and each one after it the place `step` further. */
export interface Place {
  type: "place";
  /** Of the media clock, 25 per second. */
  number: number;
  place: number;
  step: -1 | 0 | 1;
}

export interface Shown {
  type: "avatar";
  avatar: AvatarName;
  gestures: string[];
  choice: InForce;
}

/** To `change`. */
export interface Chosen {
  type: "choice";
  /** false: it could not be had, and an error says why. */
  changed: boolean;
  choice: InForce;
}

export interface Recorded {
  type: "recording";
  /** failed: it has ended without files, and the code says why. done with a code: its file lacks the signature. */
  state: "on" | "done" | "failed";
  id: string;
  /** What its files are called, but for their endings. */
  name: string;
  code?: string;
  message?: string;
  hint?: string;
}

export interface Streamed {
  type: "push";
  /** waiting: for the next try. */
  state: "connecting" | "live" | "waiting" | "closed";
  host: string;
  framesDropped: number;
  /** Why the last connection ended, or could not be made. */
  trouble: string;
  /** The same by a key of the page's words; empty: none has. */
  code: string;
}

export interface Waiting {
  type: "waiting";
  /** In the line; the first is 1. */
  place: number;
}

export interface Pong {
  type: "pong";
  t: number;
  /** Where the media clock is, in seconds. */
  media: number | null;
}

export type ServerMessage =
  | Welcome
  | Answer
  | Turn
  | Hold
  | Cut
  | Text
  | Subtitle
  | Speech
  | Notice
  | Refusal
  | Metrics
  | Transcript
  | Ears
  | Gestured
  | Place
  | Shown
  | Chosen
  | Recorded
  | Streamed
  | Waiting
  | Pong;

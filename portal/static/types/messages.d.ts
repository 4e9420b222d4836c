/**
 * The messages of the session socket, as in portal/api/messages.py. docs/protocol.md says what they mean. This file is
 * for the type checker only; no script loads it. tests/portal/test_script_types.py compares it with the server's own
 * types.
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
  /** Speed of the voice, as a factor of its normal speed: 0.5 to 2. */
  speed?: number;
  wait?: boolean;
  token?: string;
  identity?: Record<string, string>;
  /** Instructions to the language model; the avatar's own if missing. */
  prompt?: string;
  /** Spoken at the start; "" for no greeting. */
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
  /** Any JSON value; it comes back with `speech`. */
  event?: unknown;
}

/** Announces a program's own sound, which follows in binary messages. The page never sends this. */
export interface Speak {
  type: "speak";
  /** Sample rate of the sound, in Hz. */
  rate: number;
  /** As in `say`. */
  event?: unknown;
}

export interface Interrupt {
  type: "interrupt";
}

export interface Reached {
  type: "reached";
  /** The last media time, in seconds, that was played before the silence. */
  at: number;
}

export interface Seen {
  type: "seen";
  turn: number;
  /** Time from the server's release of the turn's first picture until it was seen, in ms. */
  delayMs: number;
}

export type ListenMode = "off" | "open" | "hold";

export interface Listen {
  type: "listen";
  mode: ListenMode;
  /** The viewer's language, as an ISO 639 code. If it is missing, the server recognises it. */
  language?: string;
}

export interface SwapAvatar {
  type: "avatar";
  id: string;
}

/** Missing fields stay as they are. null resets a field as if it had not been asked for. */
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
  /** null: go back to the idle loop */
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

/** Send the session to a streaming server; null: stop that. */
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
  /** Any number; it comes back in the pong. */
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

// -- messages of the server

export interface AvatarName {
  id: string;
  name: string;
}

/** The choices in force in a session. */
export interface InForce {
  tts: string;
  /** null: the default of tts */
  voice: string | null;
  speed: number;
  lipsync: string;
  /** Where the language model's instructions come from. */
  persona: "session" | "avatar" | "none";
}

/** The session goes on where another one broke off because its machine was lost. */
export interface Restored {
  /** The last words of an answer that were played; "": none of it was played; null: nothing was being said. */
  cut: string | null;
}

export interface Welcome {
  type: "welcome";
  session: string;
  resumed: boolean;
  /** null: it is the same session, or a new one without a predecessor. */
  restored: Restored | null;
  token: string;
  iceServers: RTCIceServer[];
  fps: number;
  sampleRate: number;
  /** The token with which others may watch the session; "": the operator does not allow watching. */
  watch: string;
  width: number;
  height: number;
  avatar: AvatarName;
  /** The names of the avatar's gestures. */
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
  /** false: the turn goes on. */
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
  /** false: it is text only, because no voice speaks it. */
  spoken: boolean;
}

/** Tells when speech begins or ends that was ordered with an event. */
export interface Speech {
  type: "speech";
  turn: number;
  event: unknown;
  /** false: it has ended, or never began. */
  begins: boolean;
  /** Set at its end. */
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
  /** Set, with the two fields below, if an avatar is being prepared for a lip-sync. */
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
  /** The text of the whole utterance so far. If it is final and empty, nothing was said. */
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

/** Frame `number` shows the loop position `place`. Each later frame shows the position `step` further. */
export interface Place {
  type: "place";
  /** Frame number by the media clock, 25 per second. */
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

/** The answer to `change`. */
export interface Chosen {
  type: "choice";
  /** false: the change was refused, and an error says why. */
  changed: boolean;
  choice: InForce;
}

export interface Recorded {
  type: "recording";
  /** failed: it has ended without files, and `code` says why. done with a `code`: the file has no signature. */
  state: "on" | "done" | "failed";
  id: string;
  /** The name of its files, without their endings. */
  name: string;
  code?: string;
  message?: string;
  hint?: string;
}

export interface Streamed {
  type: "push";
  /** waiting: it waits before the next attempt. */
  state: "connecting" | "live" | "waiting" | "closed";
  host: string;
  framesDropped: number;
  /** Why the last connection ended or could not be made. */
  trouble: string;
  /** The same as a code, for which the page has texts; "": no connection has failed. */
  code: string;
}

export interface Waiting {
  type: "waiting";
  /** Place in the waiting line; the first is 1. */
  place: number;
}

export interface Pong {
  type: "pong";
  t: number;
  /** Time of the media clock, in seconds; null: unknown. */
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

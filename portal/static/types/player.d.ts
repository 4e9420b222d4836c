/** What the live player tells, and what it is started with. For the type checker only: no script loads this. */

import type { PortalError } from "../errors.js";
import type { Media, Reason } from "../media-choice.js";
import type { Wish } from "../session.js";
import type {
  Chosen as ChosenMessage,
  Cut,
  Ears,
  Gestured,
  Hold,
  Metrics,
  Notice,
  Place,
  Recorded,
  Refusal,
  Restored,
  Shown,
  Speech,
  Streamed,
  Subtitle,
  Text,
  Transcript,
  Turn,
  Waiting,
  Welcome,
} from "./messages.d.ts";

export type PlayerState = "idle" | "connecting" | "live" | "mending";

/** What can be changed while a session runs; what is left out is as if it had not been asked for. */
export type Chosen = Pick<Wish, "tts" | "voice" | "speed" | "lipsync" | "prompt" | "greeting">;

/** What a session is started with. */
export type Start = Wish & {
  /** auto, webrtc or websocket */
  transport?: string;
  /**
   * For a screen that nobody looks after. Whatever ends the session but stop(), another one is opened, however often and
   * however long it takes; it does so only while the page is on show.
   */
  keep?: boolean;
};

/** The details of the player's events, by their types. The first ones are messages of the session socket as they are. */
export type PlayerEvents = {
  avatar: Shown;
  choice: ChosenMessage;
  cut: Cut;
  ears: Ears;
  error: Refusal;
  gesture: Gestured;
  hold: Hold;
  metrics: Metrics;
  notice: Notice;
  place: Place;
  push: Streamed;
  recording: Recorded;
  speech: Speech;
  subtitle: Subtitle;
  text: Text;
  transcript: Transcript;
  turn: Turn;
  /** The place in the line for a place. */
  waiting: Waiting;
  welcome: Welcome;

  state: PlayerState;
  firstpicture: { transport: Media["name"] };
  /** Why pictures and sound come over the session socket. */
  fallback: { code: Reason; text: string };
  /** From say() to the first sound, ms. */
  latency: number;
  /** The browser wants a gesture before sound, or it paused the video. The first gesture anywhere on the page does. */
  blocked: void;
  /** It sounds. */
  unblocked: void;
  /** The session is gone; this is a new one. Not null: it goes on where that broke off. */
  renewed: Restored | null;
  /** The server had ended the session, and the viewer is back: start() again. */
  return: void;
  /** null: the viewer has stopped it. */
  ended: PortalError | null;
};

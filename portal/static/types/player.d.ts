/** The live player's events and options. This file is for the type checker only; no script loads it. */

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

/**
 * The choices that can be changed while a session runs. A missing voice, speed or prompt is reset to its default; a
 * missing tts or lipsync stays as it is. The greeting is for the session that follows if this one is lost.
 */
export type Chosen = Pick<Wish, "tts" | "voice" | "speed" | "lipsync" | "prompt" | "greeting">;

/** The options that a session is started with. */
export type Start = Wish & {
  /** auto, webrtc or websocket */
  transport?: string;
  /**
   * For a screen that nobody attends. Whenever the session ends by anything but stop(), another one is opened, without
   * limit of time or number, but only while the page is visible.
   */
  keep?: boolean;
};

/**
 * The details of the player's events, by type. The first group are messages of the session socket, passed on unchanged.
 */
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
  /** The viewer's place in the waiting line. */
  waiting: Waiting;
  welcome: Welcome;

  state: PlayerState;
  firstpicture: { transport: Media["name"] };
  /** The reason why pictures and sound now come over the session socket. */
  fallback: { code: Reason; text: string };
  /** Time from say() to the first sound, in ms. */
  latency: number;
  /**
   * The browser does not allow sound before a click or key press, or it paused the video. The first click or key press
   * anywhere on the page resolves that.
   */
  blocked: void;
  /** There is sound again. */
  unblocked: void;
  /** The old session is gone and this is a new one. Not null: it goes on where the old one broke off. */
  renewed: Restored | null;
  /** The session ended without the viewer's wish, and the viewer is back. Call start() again. */
  return: void;
  /** null: the viewer stopped the session. */
  ended: PortalError | null;
};

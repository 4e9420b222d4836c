/**
 * The live player. It runs one session, from start() to its end, and plays the pictures and sound of that session. Its
 * events are listed in types/player.d.ts.
 */

import { Changes } from "./changes.js";
import { PortalError } from "./errors.js";
import { FrameRate } from "./frame-rate.js";
import { Listening } from "./listening.js";
import { MediaChoice, REASONS } from "./media-choice.js";
import { Reports } from "./reports.js";
import { SessionSocket, noSession, stopped } from "./session.js";
import { Subtitles } from "./subtitles.js";
import { Teller } from "./teller.js";
import { Viewer } from "./viewer.js";

/**
 * @typedef {import("./types/messages.d.ts").AvatarName} AvatarName
 * @typedef {import("./types/messages.d.ts").ClientMessage} ClientMessage
 * @typedef {import("./types/messages.d.ts").Hold} Hold
 * @typedef {import("./types/messages.d.ts").Mode} Mode
 * @typedef {import("./types/messages.d.ts").ServerMessage} ServerMessage
 * @typedef {import("./types/messages.d.ts").Turn} Turn
 * @typedef {import("./types/messages.d.ts").Welcome} Welcome
 * @typedef {import("./types/player.d.ts").PlayerEvents} PlayerEvents
 * @typedef {import("./types/player.d.ts").PlayerState} PlayerState
 * @typedef {import("./types/player.d.ts").Start} Start
 * @typedef {import("./media-choice.js").Media} Media
 */

// The server's own limit is lower and answers with an error. A message far above this one would break the socket.
const MAX_CHARACTERS = 300000;
const ANSWERS_WITHIN_MS = 2000; // a session socket that stays silent for longer is taken for dead
const FAILED_FOR_MS = 10000; // pause before a session with `keep` is opened again after its media failed
const OF_AN_ANSWER = ["language_model_failed", "speech_failed"]; // errors that do not refuse an avatar
const COMES_BACK = ["session_closed", "unreachable"]; // codes of endings that the viewer did not ask for

/** @extends {Teller<PlayerEvents>} */
export class Player extends Teller {
  /**
   * @param {HTMLVideoElement} video for WebRTC
   * @param {HTMLCanvasElement} canvas for the session socket
   * @param {string} url of the session socket
   */
  constructor(video, canvas, url) {
    super();
    this.url = url;
    /** @type {PlayerState} */
    this.state = "idle";
    this.transport = "auto";
    /** @type {() => Promise<boolean>} logs in again when the login has ended; resolves to whether that worked */
    this.loginAgain = () => Promise.resolve(false);
    this.startedAt = 0; // ms by performance.now(), like all times here
    this.saidAt = 0;
    this.listening = new Listening(
      (message) => this.session?.send(message) ?? false,
      (data) => this.session?.sendSound(data) ?? false,
    );
    this.mediaChoice = new MediaChoice(video, canvas, {
      send: (message) => void this.session?.send(message),
      isConnected: () => this.checkConnection(),
      isLive: () => this.state === "live",
    });
    this.viewer = new Viewer();
    this.changes = new Changes(() => this.session);
    this.reports = new Reports({
      stats: () => this.stats(),
      released: () => this.session?.mediaNow() ?? null,
      seen: () => this.mediaNow(),
      send: (message) => void this.session?.send(message),
    });
    this.bind();
    // The fields below belong to one session. forget() resets them.
    /** @type {SessionSocket?} */
    this.session = null;
    /** @type {Welcome?} */
    this.welcome = null;
    this.frameRate = new FrameRate();
    /** @type {number?} */
    this.firstFrameMs = null;
    /** @type {number?} */
    this.latencyMs = null;
    /** @type {Omit<Turn, "type">} */
    this.turn = { turn: 0, state: "idle" };
    this.subtitles = new Subtitles();
  }

  forget() {
    this.session = null;
    this.welcome = null;
    this.changes.forget();
    this.mediaChoice.forget();
    this.frameRate = new FrameRate();
    this.firstFrameMs = null;
    this.forgetTurns();
  }

  forgetTurns() {
    this.latencyMs = null;
    this.turn = { turn: 0, state: "idle" };
    this.subtitles.clear();
    this.reports.forgetTurns();
  }

  bind() {
    const { mediaChoice, viewer } = this;
    mediaChoice.on("adopted", (media) => this.listening.adopt(media));
    mediaChoice.on("picture", () => this.frameRate.note(performance.now(), mediaChoice.frames));
    mediaChoice.on("first", (transport) => this.seeFirst(transport));
    mediaChoice.on("sound", () => this.hearSound());
    mediaChoice.on("stopped", () => viewer.block());
    mediaChoice.on("playing", () => viewer.unblock());
    mediaChoice.on("fallback", (fallback) => this.tell("fallback", fallback));
    mediaChoice.on("failed", (error) => this.fail(error));
    viewer.on("gesture", () => this.playBlocked());
    viewer.on("look", () => {
      this.playBlocked();
      this.checkConnection();
    });
    viewer.on("online", () => void this.checkConnection());
    for (const type of /** @type {const} */ (["blocked", "unblocked", "return"])) viewer.on(type, () => this.tell(type));
  }

  get media() {
    return this.mediaChoice.media;
  }

  /**
   * Open a session and show it. Resolves when the first picture is seen, rejects with a PortalError.
   * @param {Start} options
   */
  async start({ transport = "auto", keep = false, ...hello } = {}) {
    if (this.state !== "idle") this.stop();
    this.forget();
    this.viewer.watch();
    this.startedAt = performance.now();
    this.transport = transport;
    this.mediaChoice.allowSound();
    this.setState("connecting");
    const session = new SessionSocket(this.url, { keep, loginAgain: () => this.loginAgain() });
    this.session = session;
    session.on("message", (message) => this.hear(message));
    session.on("media", (data) => this.mediaChoice.push(data));
    session.on("lost", () => this.lose());
    session.on("resumed", (welcome) => this.resume(welcome));
    session.on("renewed", (welcome) => this.renew(welcome));
    session.on("ended", (error) => this.end(error));
    try {
      this.welcome = await session.open({ ...hello, wait: true });
      this.setState("connecting"); // no longer waiting in line
      this.changes.askAgain(this.welcome.avatar.id);
      const live = this.live();
      this.beginMedia(this.welcome);
      await live;
    } catch (error) {
      if (this.session === session) this.end(/** @type {PortalError} */ (error));
      throw error;
    }
  }

  /**
   * Ask for an answer ("chat"), or have the text spoken as it is ("echo"). Throws a PortalError.
   * @param {string} text
   * @param {Mode} mode
   */
  say(text, mode = "chat") {
    if (text.length > MAX_CHARACTERS) {
      const message = "The text is too long.";
      throw new PortalError({ code: "bad_request", cause: "too_long", message, hint: "Send it in parts." });
    }
    this.order({ type: "say", text, mode });
    this.expectAnswer();
  }

  expectAnswer() {
    this.saidAt = performance.now();
    if (this.media) this.media.listenForSound();
  }

  /**
   * Start or stop listening to the viewer's microphone. Throws a PortalError that names the reason.
   * @param {import("./types/messages.d.ts").ListenMode} mode
   * @param {import("./listening.js").ListenChoice} [choice]
   */
  async listen(mode, choice) {
    if (mode !== "off" && !this.session) throw noSession();
    await this.listening.set(mode, choice);
  }

  interrupt() {
    if (this.session) this.session.send({ type: "interrupt" });
    if (this.media) {
      this.media.interrupt();
      if (!this.isTalking) this.media.turnOver(); // no turn runs, so the server will not report an end
    }
    this.subtitles.clear();
  }

  /** The gestures that the avatar of this session has. */
  get gestures() {
    return this.welcome?.gestures ?? [];
  }

  /** The token with which others may watch this session, or "" if the operator does not allow watching. */
  get watchToken() {
    return this.welcome?.watch ?? "";
  }

  /**
   * Show a gesture of the avatar. The event "gesture" tells when it begins and ends.
   * @param {string | null} name null: go back to the idle loop
   */
  gesture(name) {
    this.order({ type: "gesture", name });
  }

  /**
   * Start or stop recording this session. The event "recording" tells when recording has begun and when its files are
   * ready.
   * @param {boolean} on
   */
  record(on) {
    this.order({ type: "record", on });
  }

  /**
   * Send a message to the server. Throws a PortalError if there is no open session socket.
   * @param {ClientMessage} message
   */
  order(message) {
    if (!this.session?.send(message)) throw noSession();
  }

  /** Whether the browser withholds sound until the viewer clicks or presses a key. */
  get isBlocked() {
    return this.viewer.isBlocked;
  }

  get isMending() {
    return this.state === "mending";
  }

  get isTalking() {
    return ["queued", "thinking", "speaking"].includes(this.turn.state);
  }

  stop() {
    if (this.state === "idle") this.viewer.leave();
    else this.end(null);
  }

  get muted() {
    return this.mediaChoice.muted;
  }

  set muted(muted) {
    this.mediaChoice.muted = muted;
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.mediaChoice.volume = volume;
  }

  /** The sentence that is heard now, or "". */
  get subtitle() {
    const now = this.mediaNow();
    return now === null ? "" : this.subtitles.at(now);
  }

  /** Return the media time, in seconds, of the picture on the screen, or null while it is unknown. */
  pictureNow() {
    return this.media && this.session ? this.media.pictureNow(this.session.mediaNow()) : null;
  }

  /** Have the event "place" tell which loop position of the avatar is shown. Call this anew in each session. */
  reportPlaces() {
    this.session?.send({ type: "places", on: true });
  }

  /** Return the media time, in seconds, of what is heard now, or null while it is unknown. */
  mediaNow() {
    return this.media && this.session ? this.media.mediaNow(this.session.mediaNow()) : null;
  }

  stats() {
    /** @param {number?} value */
    const rounded = (value) => (value === null ? null : Math.round(value * 10) / 10);
    const { fallbackMs, frames, reason } = this.mediaChoice;
    return {
      state: this.state,
      transport: this.media ? this.media.name : null,
      reason: reason ? REASONS[reason] : null,
      reasonCode: reason,
      fps: rounded(this.frameRate.at(performance.now())),
      frames,
      firstFrameMs: rounded(this.firstFrameMs),
      fallbackMs: rounded(fallbackMs),
      avSkewMs: rounded(this.media ? this.media.skewMs : null),
      latencyMs: rounded(this.latencyMs),
      turn: this.turn.turn,
      turnState: this.turn.state,
      ears: this.listening.stats(),
      session: this.welcome ? this.welcome.session : null,
    };
  }

  /** Resolves when the session is live. Rejects if the session ends before that. */
  live() {
    const over = new AbortController();
    /** @type {Promise<void>} */
    const live = new Promise((resolve, reject) => {
      const look = () => {
        if (this.state === "live") resolve();
      };
      this.on("state", look, over);
      this.on("ended", (error) => reject(error || stopped()), over);
      look();
    });
    return live.finally(() => over.abort());
  }

  // -- media

  /** @param {Welcome} welcome */
  beginMedia({ iceServers }) {
    this.mediaChoice.begin(this.transport, iceServers);
    this.reports.begin();
  }

  /** Resolves to whether the session socket is alive. A dead one starts to be mended. */
  async checkConnection() {
    const { session } = this;
    if (!session || !this.welcome) return true;
    if (this.isMending) return false;
    if (await session.answers(ANSWERS_WITHIN_MS)) return true;
    if (session === this.session && !this.isMending) session.mend();
    return false;
  }

  playBlocked() {
    if (this.isBlocked && this.media) this.media.play();
  }

  /** @param {Media["name"]} transport */
  seeFirst(transport) {
    if (this.firstFrameMs === null) this.firstFrameMs = performance.now() - this.startedAt;
    this.setState("live");
    this.tell("firstpicture", { transport });
  }

  // -- session

  /** @param {ServerMessage} message */
  hear(message) {
    switch (message.type) {
      case "answer":
        this.mediaChoice.answer(message.sdp);
        return;
      case "turn":
        this.turn = message;
        if (message.state === "speaking" && this.media) this.media.speaking();
        if (["done", "interrupted"].includes(message.state) && this.media) this.media.turnOver();
        if (message.state === "interrupted") this.subtitles.forget(message.turn);
        break;
      case "hold":
        this.takeHold(message);
        break;
      case "subtitle":
        this.subtitles.add(message);
        this.reports.expect(message);
        break;
      case "avatar":
        this.takeAvatar(message);
        break;
      case "choice":
        if (this.welcome) this.welcome.choice = message.choice;
        this.changes.answered(message.changed);
        break;
      case "ears":
        this.listening.learn(message.state);
        break;
      case "transcript":
        if (message.final && message.text) this.expectAnswer();
        break;
      case "error":
        if (message.code === "no_udp_port") return this.mediaChoice.refuse(); // "fallback" says why
        if (message.code === "backend_unavailable" && this.listening.state === "off") this.listening.drop();
        if (!OF_AN_ANSWER.includes(message.code)) this.changes.refused();
        break;
      case "pong":
        return;
    }
    this.tell(message.type, message);
  }

  /**
   * A hold begins or ends. While somebody speaks over the avatar, the server sends no speech, and speech that is
   * buffered here is dropped. The server is told how far playback came, so that it can send the rest again if the turn
   * goes on.
   * @param {Hold} hold
   */
  takeHold({ held }) {
    const { media, session } = this;
    if (!media || !session) return;
    if (!held) return media.speaking();
    const at = this.mediaNow();
    if (at !== null) session.send({ type: "reached", at });
    media.interrupt();
    media.turnOver();
    this.subtitles.clear();
  }

  /**
   * Take over the avatar that is shown now. A session that is opened anew after a restart of the server begins with it.
   * @param {Pick<Welcome, "avatar" | "gestures" | "choice">} shown
   */
  takeAvatar({ avatar, gestures, choice }) {
    if (!this.welcome || !this.session) return;
    Object.assign(this.welcome, { avatar, gestures, choice });
    this.changes.shown(avatar.id);
  }

  hearSound() {
    this.latencyMs = performance.now() - this.saidAt;
    this.tell("latency", this.latencyMs);
  }

  lose() {
    this.mediaChoice.pause();
    this.setState("mending");
  }

  /**
   * The same session goes on over a new socket.
   * @param {Welcome} welcome
   */
  resume({ avatar, gestures, choice }) {
    const { media, session, welcome } = this;
    if (!media || !session || !welcome) return;
    const swapped = avatar.id !== welcome.avatar.id;
    this.takeAvatar({ avatar, gestures, choice });
    if (swapped) this.tell("avatar", { type: "avatar", avatar, gestures, choice });
    this.changes.askAgain(welcome.avatar.id);
    this.setState(media.frames ? "live" : "connecting");
    this.mediaChoice.resume();
    this.listening.begin();
  }

  /**
   * The server no longer has the old session. This one is new.
   * @param {Welcome} welcome
   */
  renew(welcome) {
    this.dropMedia();
    this.mediaChoice.leave();
    this.welcome = welcome;
    this.forgetTurns();
    this.setState("connecting");
    this.changes.askAgain(welcome.avatar.id);
    this.tell("renewed", welcome.restored ?? null);
    this.beginMedia(welcome);
    this.listening.begin();
  }

  /**
   * The media failed. The session ends, or is opened again later if it has `keep`.
   * @param {PortalError} error
   */
  fail(error) {
    if (!this.session?.keep) return this.end(error);
    this.dropMedia();
    this.session.renew(FAILED_FOR_MS);
  }

  /** @param {PortalError?} error null: the viewer stopped the session */
  end(error) {
    if (this.state === "idle") return;
    this.dropMedia();
    this.viewer.leave(error !== null && COMES_BACK.includes(error.code) && this.welcome !== null);
    this.listening.drop();
    this.listening.adopt(null);
    if (this.session) this.session.close();
    this.session = null;
    this.mediaChoice.leave();
    this.setState("idle");
    this.tell("ended", error);
  }

  dropMedia() {
    this.reports.end();
    this.mediaChoice.close();
  }

  /** @param {PlayerState} state */
  setState(state) {
    this.state = state;
    this.tell("state", state);
  }
}

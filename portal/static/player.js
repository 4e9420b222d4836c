/**
 * The live player: one session, its pictures and sound, over WebRTC where that works and over the session socket where
 * it does not. It falls back at most once a session, and never back again.
 *
 * Events (CustomEvent, `detail` in brackets): "state" (idle, connecting, live or mending), "firstpicture",
 * "fallback" ({code, text}), "waiting" (place in the line for a place), "turn", "hold", "cut", "text", "subtitle", "notice",
 * "error", "metrics", "transcript", "ears", "avatar" (messages of the session socket as they are), "latency" (ms from
 * say() to sound), "blocked" (the browser wants a gesture before sound, or it paused the video; the first gesture anywhere
 * on the page does), "unblocked" (it sounds), "return" (the server had ended the session, and the viewer is back: start()
 * again), "ended" (a PortalError).
 */

import { PortalError } from "./errors.js";
import { Listening } from "./listening.js";
import { SessionSocket, stopped } from "./session.js";
import { AudioOutput, SocketMedia } from "./socket-media.js";
import { Teller } from "./teller.js";
import { WebRtcMedia } from "./webrtc.js";

/**
 * @typedef {import("./types/messages.d.ts").AvatarName} AvatarName
 * @typedef {import("./types/messages.d.ts").Hold} Hold
 * @typedef {import("./types/messages.d.ts").Mode} Mode
 * @typedef {import("./types/messages.d.ts").ServerMessage} ServerMessage
 * @typedef {import("./types/messages.d.ts").Subtitle} Subtitle
 * @typedef {import("./types/messages.d.ts").Turn} Turn
 * @typedef {import("./types/messages.d.ts").Welcome} Welcome
 *
 * @typedef {"idle" | "connecting" | "live" | "mending"} PlayerState
 * @typedef {keyof typeof REASONS} Reason
 * @typedef {WebRtcMedia | SocketMedia} Media
 *
 * What a session is started with. keep: for a screen that nobody looks after. Whatever ends the session but stop(),
 * another one is opened, however often and however long it takes; it does so only while the page is on show.
 * @typedef {import("./session.js").Wish & {transport?: string, keep?: boolean}} Start transport: auto, webrtc, websocket
 *
 * @typedef {{
 *   state: PlayerState, firstpicture: {transport: Media["name"]}, fallback: {code: Reason, text: string},
 *   waiting: import("./types/messages.d.ts").Waiting, turn: Turn, hold: Hold,
 *   cut: import("./types/messages.d.ts").Cut,
 *   text: import("./types/messages.d.ts").Text,
 *   subtitle: Subtitle, notice: import("./types/messages.d.ts").Notice, error: import("./types/messages.d.ts").Refusal,
 *   metrics: import("./types/messages.d.ts").Metrics, transcript: import("./types/messages.d.ts").Transcript,
 *   ears: import("./types/messages.d.ts").Ears, avatar: import("./types/messages.d.ts").Shown,
 *   welcome: Welcome, latency: number, blocked: void, unblocked: void, return: void, renewed: void,
 *   ended: PortalError?,
 * }} PlayerEvents
 */

const FIRST_PICTURE_WITHIN_MS = 2500;
const ANY_PICTURE_WITHIN_MS = 15000; // whichever way it comes
const MOST_CHARACTERS = 300000; // the session takes less and says so; much more would break the socket
const STALLED_AFTER_MS = 1500;
const LOOK_EVERY_MS = 250;
const LOOK_AGAIN_MS = 40; // a picture
const FPS_OVER_MS = 2000;
const REPORT_EVERY_MS = 10000;
const ANSWERS_WITHIN_MS = 2000; // a session socket that lives
const FAILED_FOR_MS = 10000; // then a session that is kept is tried again
const MOST_SUBTITLES = 50; // waiting for their moment
const OF_AN_ANSWER = ["language_model_failed", "speech_failed"]; // errors that refuse no avatar
const GESTURES = ["pointerup", "touchend", "click", "keydown"]; // those in which browsers let sound begin
const COMES_BACK = ["session_closed", "unreachable"]; // how a session ends without anybody's wish

/** Why the pictures come over the WebSocket. */
export const REASONS = {
  forced: "asked for",
  unsupported: "this browser has no WebRTC",
  no_route: "the network lets no UDP through",
  no_picture: "no picture over WebRTC within 2.5 s",
  failed: "the WebRTC connection failed",
  stalled: "the WebRTC pictures stopped",
  forbidden: "this browser plays no video before a click",
  refused: "the server could not answer over WebRTC",
};

/** @extends {Teller<PlayerEvents>} */
export class Player extends Teller {
  /**
   * @param {HTMLVideoElement} video for WebRTC
   * @param {HTMLCanvasElement} canvas for the session socket
   * @param {string} url of the session socket
   */
  constructor(video, canvas, url) {
    super();
    this.video = video;
    this.canvas = canvas;
    this.url = url;
    /** @type {PlayerState} */
    this.state = "idle";
    this.transport = "auto";
    this.startedAt = 0; // as all times here: performance time, ms
    this.saidAt = 0;
    this.lookedAt = 0;
    this.lastPictureAt = 0;
    /** @type {AudioOutput?} */
    this.output = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} the first picture of a peer is late */
    this.patience = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} any picture is late */
    this.limit = undefined;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.watcher = undefined;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.reporter = undefined;
    this.isMuted = false;
    this.loudness = 1;
    this.isBlocked = false; // sound waits for a gesture
    this.isAway = false; // the session was ended by the server, and nobody has come back yet
    this.listening = new Listening(
      (message) => this.session?.send(message) ?? false,
      (data) => this.session?.sendSound(data) ?? false,
    );
    this.onGesture = () => this.takeGesture();
    this.onShown = () => {
      if (!document.hidden) this.takeLook();
    };
    this.onOnline = () => void this.checkConnection();
    // What follows belongs to one session: forget().
    /** @type {SessionSocket?} */
    this.session = null;
    /** @type {Welcome?} */
    this.welcome = null;
    /** @type {string?} id of an avatar that was asked for and is not there yet */
    this.wanted = null;
    /** @type {Media?} */
    this.media = null;
    /** @type {Reason?} */
    this.reason = null;
    this.earlierFrames = 0; // shown before the fallback
    /** @type {{at: number, frames: number}[]} frames: shown until then */
    this.seenOfLate = [];
    /** @type {number?} */
    this.firstFrameMs = null;
    /** @type {number?} */
    this.fallbackMs = null;
    /** @type {number?} */
    this.latencyMs = null;
    /** @type {Omit<Turn, "type">} */
    this.turn = { turn: 0, state: "idle" };
    /** @type {Subtitle[]} */
    this.subtitles = [];
    this.seenTurn = 0; // the last one whose first picture is reported, or waited for
  }

  forget() {
    this.session = null;
    this.welcome = null;
    this.wanted = null;
    this.media = null;
    this.reason = null;
    this.earlierFrames = 0;
    this.seenOfLate = [];
    this.firstFrameMs = null;
    this.fallbackMs = null;
    this.forgetTurns();
  }

  forgetTurns() {
    this.latencyMs = null;
    this.turn = { turn: 0, state: "idle" };
    this.subtitles = [];
    this.seenTurn = 0;
  }

  /**
   * Open a session and show it. Resolves when the first picture is seen, rejects with a PortalError.
   * @param {Start} options
   */
  async start({ transport = "auto", keep = false, ...hello } = {}) {
    if (this.state !== "idle") this.stop();
    this.forget();
    this.isAway = false;
    this.watchViewer();
    this.startedAt = performance.now();
    this.transport = transport;
    this.output ||= new AudioOutput();
    this.output.context.resume();
    this.setState("connecting");
    const session = new SessionSocket(this.url, { keep });
    this.session = session;
    session.on("message", (message) => this.hear(message));
    session.on("media", (data) => {
      if (this.media instanceof SocketMedia) this.media.push(data);
    });
    session.on("lost", () => this.lose());
    session.on("resumed", (welcome) => this.resume(welcome));
    session.on("renewed", (welcome) => this.renew(welcome));
    session.on("ended", (error) => this.end(error));
    try {
      this.welcome = await session.open({ ...hello, wait: true });
      this.setState("connecting"); // no longer waiting in line
      this.askForWanted();
      const live = this.live();
      this.chooseMedia(this.welcome);
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
    if (text.length > MOST_CHARACTERS) {
      const message = "The text is too long.";
      throw new PortalError({ code: "bad_request", cause: "too_long", message, hint: "Send it in parts." });
    }
    if (!this.session || !this.session.send({ type: "say", text, mode })) {
      throw new PortalError({ code: "no_session", message: "There is no session.", hint: "Press Start." });
    }
    this.expectAnswer();
  }

  expectAnswer() {
    this.saidAt = performance.now();
    if (this.media) this.media.listenForSound();
  }

  /**
   * Listen to the viewer's microphone, or no longer. Throws a PortalError that names what is in the way.
   * @param {import("./types/messages.d.ts").ListenMode} mode
   * @param {import("./listening.js").ListenChoice} [choice]
   */
  async listen(mode, choice) {
    if (mode !== "off" && !this.session) {
      throw new PortalError({ code: "no_session", message: "There is no session.", hint: "Press Start." });
    }
    await this.listening.set(mode, choice);
  }

  interrupt() {
    if (this.session) this.session.send({ type: "interrupt" });
    if (this.media) {
      this.media.interrupt();
      if (!this.isTalking) this.media.turnOver(); // the server has nothing to say about it
    }
    this.subtitles = [];
  }

  /** @param {string} id */
  swapAvatar(id) {
    if (!this.session) return;
    this.wanted = id;
    this.session.send({ type: "avatar", id }); // without a socket it is asked for when there is one
  }

  /** At a welcome: an avatar that was chosen while there was no socket, or whose answer was lost with one. */
  askForWanted() {
    if (this.wanted === null) return;
    if (this.wanted === this.welcome?.avatar.id) this.wanted = null;
    else this.session?.send({ type: "avatar", id: this.wanted });
  }

  get isMending() {
    return this.state === "mending";
  }

  get isTalking() {
    return ["queued", "thinking", "speaking"].includes(this.turn.state);
  }

  stop() {
    this.isAway = false;
    if (this.state === "idle") this.unwatchViewer();
    this.end(null);
  }

  get muted() {
    return this.isMuted;
  }

  set muted(muted) {
    this.isMuted = muted;
    if (this.media) this.media.muted = muted;
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.loudness = volume;
    if (this.media) this.media.volume = volume;
  }

  /** The sentence that is being heard now, or "". */
  get subtitle() {
    const now = this.mediaNow();
    if (now === null) return "";
    this.subtitles = this.subtitles.filter(({ end }) => end + 0.4 > now);
    const said = this.subtitles.filter(({ start }) => start <= now);
    return said.length ? said[said.length - 1].text : "";
  }

  mediaNow() {
    return this.media && this.session ? this.media.mediaNow(this.session.mediaNow()) : null;
  }

  get fps() {
    const since = performance.now() - FPS_OVER_MS;
    this.seenOfLate = this.seenOfLate.filter(({ at }) => at > since);
    if (this.seenOfLate.length < 2) return 0;
    const first = this.seenOfLate[0];
    const last = this.seenOfLate[this.seenOfLate.length - 1];
    return ((last.frames - first.frames) * 1000) / (last.at - first.at);
  }

  get frames() {
    return this.earlierFrames + (this.media ? this.media.frames : 0);
  }

  stats() {
    /** @param {number?} value */
    const rounded = (value) => (value === null ? null : Math.round(value * 10) / 10);
    return {
      state: this.state,
      transport: this.media ? this.media.name : null,
      reason: this.reason ? REASONS[this.reason] : null,
      reasonCode: this.reason,
      fps: rounded(this.fps),
      frames: this.frames,
      firstFrameMs: rounded(this.firstFrameMs),
      fallbackMs: rounded(this.fallbackMs),
      avSkewMs: rounded(this.media ? this.media.skewMs : null),
      latencyMs: rounded(this.latencyMs),
      turn: this.turn.turn,
      turnState: this.turn.state,
      ears: earsOf(this.listening),
      session: this.welcome ? this.welcome.session : null,
    };
  }

  /** Resolves when the session is live, rejects if it ends before. */
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
  chooseMedia(welcome) {
    this.expectPicture();
    if (this.transport === "websocket") this.useSocket("forced");
    else if (!("RTCPeerConnection" in window)) this.useSocket("unsupported");
    else this.useWebRtc(welcome);
    this.watcher = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.reporter = setInterval(() => this.report(), REPORT_EVERY_MS);
  }

  /** Whatever is in the way: nobody is left before "connecting" for ever. */
  expectPicture() {
    clearTimeout(this.limit);
    const message = `There is a session, but no picture came within ${ANY_PICTURE_WITHIN_MS / 1000} s.`;
    const hint = "Press Start again. If that does not help, reload the page, and look at the server's log.";
    this.limit = setTimeout(() => {
      // Nobody waits before a page that is not on show, and what it would draw is not drawn.
      if (document.hidden) this.expectPicture();
      else this.fail(new PortalError({ code: "no_picture", message, hint }));
    }, ANY_PICTURE_WITHIN_MS);
  }

  /** @param {Welcome} welcome */
  useWebRtc({ iceServers }) {
    const media = new WebRtcMedia(this.video, iceServers, (message) => this.session?.send(message));
    media.on("failed", (reason) => this.missPictures(media, reason));
    this.adopt(media);
    this.awaitFirst(media);
    media.start().catch(() => this.missPictures(media, "unsupported"));
  }

  /**
   * Pictures of a connected peer may well be there when nobody is shown them: then they are waited for.
   * @param {WebRtcMedia} media
   */
  awaitFirst(media) {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      const isUnseen = document.hidden || media.isPaused;
      if (isUnseen && media.pc.connectionState === "connected") this.awaitFirst(media);
      else this.missPictures(media, "no_picture");
    }, FIRST_PICTURE_WITHIN_MS);
  }

  /**
   * A peer gives no pictures, or no longer. If the session socket is dead too then the network has changed: it is mended
   * first, and a new peer tried on the new network. Otherwise it is WebRTC that does not get through.
   * @param {Media} media
   * @param {Reason} reason
   */
  async missPictures(media, reason) {
    if (media !== this.media || media.isMissing) return;
    media.isMissing = true;
    if (media.shown && !(await this.checkConnection())) return; // resume() goes on
    if (media === this.media) this.useSocket(reason);
  }

  /** Whether the session socket lives; if not, it is mended. */
  async checkConnection() {
    const { session } = this;
    if (!session || !this.welcome) return true;
    if (this.isMending) return false;
    if (await session.answers(ANSWERS_WITHIN_MS)) return true;
    if (session === this.session && !this.isMending) session.mend();
    return false;
  }

  /**
   * The peer's network may have gone with the socket's; a peer that still gives pictures is left alone.
   * @param {WebRtcMedia} media
   */
  async checkPeer(media) {
    if ((!media.isMissing && (await media.flows())) || media !== this.media || !this.welcome) return;
    media.close();
    this.useWebRtc(this.welcome);
  }

  /**
   * From now on, this session's pictures and sound come over its socket.
   * @param {Reason} reason
   */
  useSocket(reason) {
    if (this.media instanceof SocketMedia || !this.session || !this.output) return;
    clearTimeout(this.patience);
    if (this.transport === "webrtc") {
      const message = `WebRTC does not work here: ${REASONS[reason]}.`;
      this.fail(new PortalError({ code: "webrtc_failed", message, hint: "Use the automatic transport." }));
      return;
    }
    const fellAt = performance.now();
    this.media?.close();
    this.reason = reason;
    const media = new SocketMedia(this.canvas, this.output);
    this.adopt(media);
    media.on("picture", () => (this.fallbackMs = performance.now() - fellAt), { once: true });
    media.start().then(() => this.session?.send({ type: "media", use: "websocket", reason: REASONS[reason] }));
    this.tell("fallback", { code: reason, text: REASONS[reason] });
  }

  /** @param {Media} media */
  adopt(media) {
    this.earlierFrames = this.frames;
    this.media = media;
    media.muted = this.isMuted;
    media.volume = this.loudness;
    this.listening.adopt(media);
    this.lastPictureAt = performance.now();
    media.addEventListener("picture", () => this.seePicture(media));
    media.addEventListener("sound", () => this.hearSound());
    media.addEventListener("stopped", () => this.block());
    media.addEventListener("playing", () => this.unblock());
  }

  // -- the viewer: gestures, and whether the page is on show

  watchViewer() {
    for (const type of GESTURES) addEventListener(type, this.onGesture, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this.onShown);
    addEventListener("online", this.onOnline);
  }

  unwatchViewer() {
    for (const type of GESTURES) removeEventListener(type, this.onGesture, { capture: true });
    document.removeEventListener("visibilitychange", this.onShown);
    removeEventListener("online", this.onOnline);
  }

  /** Sound is not allowed, or the video was paused (a call, its own window, a key of the keyboard). */
  block() {
    if (this.isBlocked) return;
    this.isBlocked = true;
    this.tell("blocked");
  }

  unblock() {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    this.tell("unblocked");
  }

  takeGesture() {
    if (this.isAway) this.comeBack();
    else if (this.isBlocked && this.media) this.media.play();
  }

  /** The page is on show again, perhaps after a long sleep. */
  takeLook() {
    this.takeGesture();
    this.checkConnection();
  }

  /** Unless it was a press on Start, or something else that begins a session by itself. */
  comeBack() {
    setTimeout(() => {
      if (!this.isAway || this.state !== "idle") return;
      this.isAway = false;
      this.unwatchViewer();
      this.tell("return");
    });
  }

  /** @param {Media} media */
  seePicture(media) {
    const now = performance.now();
    this.seenOfLate.push({ at: now, frames: this.frames });
    if (this.seenOfLate.length > 256) this.seenOfLate.shift();
    this.lastPictureAt = now;
    if (media.shown) return;
    media.shown = true;
    clearTimeout(this.patience);
    clearTimeout(this.limit);
    if (this.firstFrameMs === null) this.firstFrameMs = now - this.startedAt;
    this.setState("live");
    this.tell("firstpicture", { transport: media.name });
  }

  /** Notice a stall. A page that was hidden or frozen itself, or whose video was paused, starts counting anew. */
  look() {
    const now = performance.now();
    const { media } = this;
    const frozen = now - (this.lookedAt || now) > 2 * LOOK_EVERY_MS;
    this.lookedAt = now;
    if (!media || document.hidden || frozen || this.state !== "live" || media.isPaused) this.lastPictureAt = now;
    else if (media.name === "webrtc" && media.shown && now - this.lastPictureAt > STALLED_AFTER_MS) {
      this.missPictures(media, "stalled");
    }
  }

  report() {
    if (!this.session) return;
    const { transport, fps, frames, firstFrameMs, avSkewMs } = this.stats();
    const [released, played] = [this.session.mediaNow(), this.mediaNow()];
    const delayMs = released === null || played === null ? null : Math.round((released - played) * 1000);
    this.session.send({ type: "stats", transport, fps, frames, firstFrameMs, avSkewMs, delayMs });
  }

  // -- session

  /** @param {ServerMessage} message */
  hear(message) {
    switch (message.type) {
      case "answer":
        this.takeAnswer(message);
        return;
      case "turn":
        this.turn = message;
        if (message.state === "speaking" && this.media) this.media.speaking();
        if (["done", "interrupted"].includes(message.state) && this.media) this.media.turnOver();
        if (message.state === "interrupted") this.subtitles = this.subtitles.filter(({ turn }) => turn !== message.turn);
        break;
      case "hold":
        this.takeHold(message);
        break;
      case "subtitle":
        this.subtitles.push(message);
        if (this.subtitles.length > MOST_SUBTITLES) this.subtitles.shift();
        if (message.turn > this.seenTurn) {
          this.seenTurn = message.turn;
          this.reportSeen(message, this.session);
        }
        break;
      case "avatar":
        this.takeAvatar(message.avatar);
        break;
      case "ears":
        this.listening.learn(message.state);
        break;
      case "transcript":
        if (message.final && message.text) this.expectAnswer();
        break;
      case "error":
        if (message.code === "backend_unavailable" && this.listening.state === "off") this.listening.drop();
        if (!OF_AN_ANSWER.includes(message.code)) this.wanted = null;
        break;
      case "pong":
        return;
    }
    this.tell(message.type, message);
  }

  /**
   * The first picture of a turn is on its way: once it is seen, the server is told how long that took.
   * @param {Subtitle} subtitle its first
   * @param {SessionSocket?} session
   */
  reportSeen(subtitle, session) {
    const { start, turn } = subtitle;
    if (!session || session !== this.session || turn !== this.seenTurn) return; // it is over
    const [released, seen] = [session.mediaNow(), this.mediaNow()];
    if (released === null || seen === null) return;
    if (seen >= start) session.send({ type: "seen", turn, delayMs: Math.round((released - seen) * 1000) });
    else setTimeout(() => this.reportSeen(subtitle, session), Math.max(LOOK_AGAIN_MS, (start - seen) * 1000));
  }

  /** @param {import("./types/messages.d.ts").Answer} answer */
  takeAnswer({ sdp }) {
    const { media } = this;
    if (media instanceof WebRtcMedia) media.answer(sdp).catch(() => this.missPictures(media, "refused"));
  }

  /**
   * Somebody speaks over the avatar. The server has stopped; what waits here is not played either, and comes again if the
   * speech goes on: the server is told what was played last.
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
    this.subtitles = [];
  }

  /**
   * A new session, after a restart of the server, is to begin with it.
   * @param {AvatarName} avatar
   */
  takeAvatar(avatar) {
    if (!this.welcome || !this.session) return;
    this.welcome.avatar = avatar;
    this.session.hello.avatar = avatar.id;
    if (this.wanted === avatar.id) this.wanted = null;
  }

  hearSound() {
    this.latencyMs = performance.now() - this.saidAt;
    this.tell("latency", this.latencyMs);
  }

  /** The socket broke. The first picture is waited for no longer than it takes to mend it. */
  lose() {
    clearTimeout(this.limit);
    this.setState("mending");
  }

  /**
   * The same session on a new socket: its pictures come over it again, if they did; a peer has not noticed.
   * @param {Welcome} welcome
   */
  resume({ avatar }) {
    const { media, session, welcome } = this;
    if (!media || !session || !welcome) return;
    const swapped = avatar.id !== welcome.avatar.id;
    this.takeAvatar(avatar);
    if (swapped) this.tell("avatar", { type: "avatar", avatar });
    this.askForWanted();
    this.setState(media.frames ? "live" : "connecting");
    if (this.state === "connecting") this.expectPicture();
    if (media instanceof SocketMedia) session.send({ type: "media", use: "websocket", reason: "resumed" });
    else this.checkPeer(media);
    this.listening.begin();
  }

  /**
   * The server has forgotten the session; this is a new one.
   * @param {Welcome} welcome
   */
  renew(welcome) {
    this.dropMedia();
    this.earlierFrames = this.frames;
    this.media = null;
    this.welcome = welcome;
    this.reason = null;
    this.forgetTurns();
    this.setState("connecting");
    this.askForWanted();
    this.tell("renewed");
    this.chooseMedia(welcome);
    this.listening.begin();
  }

  /**
   * It does not work now. A session that is to be kept is opened again later.
   * @param {PortalError} error
   */
  fail(error) {
    if (!this.session?.keep) return this.end(error);
    this.dropMedia();
    this.session.renew(FAILED_FOR_MS);
  }

  /** @param {PortalError?} error null: the viewer has stopped it */
  end(error) {
    if (this.state === "idle") return;
    this.dropMedia();
    this.isBlocked = false;
    this.isAway = error !== null && COMES_BACK.includes(error.code) && this.welcome !== null;
    if (!this.isAway) this.unwatchViewer();
    this.listening.drop();
    this.listening.adopt(null);
    if (this.session) this.session.close();
    this.session = null;
    this.media = null;
    this.setState("idle");
    this.tell("ended", error);
  }

  dropMedia() {
    clearTimeout(this.patience);
    clearTimeout(this.limit);
    clearInterval(this.watcher);
    clearInterval(this.reporter);
    if (this.media) this.media.close();
  }

  /** @param {PlayerState} state */
  setState(state) {
    this.state = state;
    this.tell("state", state);
  }
}

/**
 * What is known of the microphone and of who listens to it. level: dB, 0 is full scale; null: nothing is sent.
 * @param {Listening} listening
 */
function earsOf({ facts, isSending, level, mode, state }) {
  return { mode, state, level: isSending ? Math.round(20 * Math.log10(Math.max(level, 1e-5))) : null, microphone: facts };
}

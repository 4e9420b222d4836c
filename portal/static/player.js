/**
 * The live player: one session, its pictures and sound, over WebRTC where that works and over the session socket where
 * it does not. It falls back at most once a session, and never back again.
 *
 * Events (CustomEvent, `detail` in brackets): "state" (idle, connecting, live or mending), "firstpicture",
 * "fallback" ({code, text}), "waiting" (place in the line for a place), "turn", "text", "subtitle", "notice", "error", "metrics", "avatar" (messages of the
 * session socket as they are), "latency" (ms from say() to sound), "blocked" (the browser wants a gesture before sound, or
 * it paused the video; the first gesture anywhere on the page does), "unblocked" (it sounds), "return" (the server had
 * ended the session, and the viewer is back: start() again), "ended" (a PortalError).
 */

import { PortalError } from "./errors.js";
import { SessionSocket, stopped } from "./session.js";
import { AudioOutput, SocketMedia } from "./socket-media.js";
import { WebRtcMedia } from "./webrtc.js";

const FIRST_PICTURE_WITHIN_MS = 2500;
const ANY_PICTURE_WITHIN_MS = 15000; // whichever way it comes
const MOST_CHARACTERS = 300000; // the session takes less and says so; much more would break the socket
const STALLED_AFTER_MS = 1500;
const LOOK_EVERY_MS = 250;
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

export class Player extends EventTarget {
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
    this.state = "idle";
    this.isMuted = false;
    this.isBlocked = false; // sound waits for a gesture
    this.isAway = false; // the session was ended by the server, and nobody has come back yet
    this.onGesture = () => this.takeGesture();
    this.onShown = () => document.hidden || this.takeLook();
    this.onOnline = () => this.checkConnection();
    this.forget();
  }

  /** What belongs to one session. */
  forget() {
    this.session = null;
    this.welcome = null;
    this.wanted = null; // id of an avatar that was asked for and is not there yet
    this.media = null;
    this.reason = null; // a key of REASONS
    this.earlierFrames = 0; // shown before the fallback
    this.seenOfLate = []; // [{at: performance time, frames: shown until then}]
    this.firstFrameMs = null;
    this.fallbackMs = null;
    this.forgetTurns();
  }

  forgetTurns() {
    this.latencyMs = null;
    this.turn = { turn: 0, state: "idle" };
    this.subtitles = [];
  }

  /**
   * Open a session and show it. Resolves when the first picture is seen, rejects with a PortalError.
   * @param {{transport?: "auto"|"webrtc"|"websocket", keep?: boolean, avatar?, voice?, tts?, lipsync?}} options
   *   keep: for a screen that nobody looks after. Whatever ends the session but stop(), another one is opened, however
   *   often and however long it takes; it does so only while the page is on show.
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
    session.addEventListener("message", ({ detail }) => this.hear(detail));
    session.addEventListener("media", ({ detail }) => this.media instanceof SocketMedia && this.media.push(detail));
    session.addEventListener("lost", () => this.lose());
    session.addEventListener("resumed", ({ detail }) => this.resume(detail));
    session.addEventListener("renewed", ({ detail }) => this.renew(detail));
    session.addEventListener("ended", ({ detail }) => this.end(detail));
    try {
      this.welcome = await session.open({ ...hello, wait: true });
      this.setState("connecting"); // no longer waiting in line
      this.askForWanted();
      const live = this.live();
      this.chooseMedia();
      await live;
    } catch (error) {
      if (this.session === session) this.end(error);
      throw error;
    }
  }

  /** Ask for an answer ("chat"), or have the text spoken as it is ("echo"). */
  say(text, mode = "chat") {
    if (text.length > MOST_CHARACTERS) {
      const message = "The text is too long.";
      throw new PortalError({ code: "bad_request", cause: "too_long", message, hint: "Send it in parts." });
    }
    if (!this.session || !this.session.send({ type: "say", text, mode })) {
      throw new PortalError({ code: "no_session", message: "There is no session.", hint: "Press Start." });
    }
    this.saidAt = performance.now();
    if (this.media) this.media.listenForSound();
  }

  interrupt() {
    if (this.session) this.session.send({ type: "interrupt" });
    if (this.media) {
      this.media.interrupt();
      if (!this.isTalking) this.media.turnOver(); // the server has nothing to say about it
    }
    this.subtitles = [];
  }

  swapAvatar(id) {
    if (!this.session) return;
    this.wanted = id;
    this.session.send({ type: "avatar", id }); // without a socket it is asked for when there is one
  }

  /** At a welcome: an avatar that was chosen while there was no socket, or whose answer was lost with one. */
  askForWanted() {
    if (this.wanted === null) return;
    if (this.wanted === this.welcome.avatar.id) this.wanted = null;
    else this.session.send({ type: "avatar", id: this.wanted });
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
      session: this.welcome ? this.welcome.session : null,
    };
  }

  /** Resolves when the session is live, rejects if it ends before. */
  live() {
    const heard = new AbortController();
    const told = new Promise((resolve, reject) => {
      const look = () => this.state === "live" && resolve();
      this.addEventListener("state", look, heard);
      this.addEventListener("ended", ({ detail }) => reject(detail || stopped()), heard);
      look();
    });
    return told.finally(() => heard.abort());
  }

  // -- media

  chooseMedia() {
    this.expectPicture();
    if (this.transport === "websocket") this.useSocket("forced");
    else if (!("RTCPeerConnection" in window)) this.useSocket("unsupported");
    else this.useWebRtc();
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

  useWebRtc() {
    const media = new WebRtcMedia(this.video, this.welcome.iceServers, (message) => this.session?.send(message));
    media.addEventListener("failed", ({ detail }) => this.missPictures(media, detail));
    this.adopt(media);
    this.awaitFirst(media);
    media.start().catch(() => this.missPictures(media, "unsupported"));
  }

  /** Pictures of a connected peer may well be there when nobody is shown them: then they are waited for. */
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
    if (this.state === "mending") return false;
    if (await session.answers(ANSWERS_WITHIN_MS)) return true;
    if (session === this.session && this.state !== "mending") session.mend();
    return false;
  }

  /** The peer's network may have gone with the socket's; a peer that still gives pictures is left alone. */
  async checkPeer(media) {
    if ((!media.isMissing && (await media.flows())) || media !== this.media) return;
    media.close();
    this.useWebRtc();
  }

  /** From now on, this session's pictures and sound come over its socket. */
  useSocket(reason) {
    if (this.media instanceof SocketMedia || !this.session) return;
    clearTimeout(this.patience);
    if (this.transport === "webrtc") {
      const message = `WebRTC does not work here: ${REASONS[reason]}.`;
      this.fail(new PortalError({ code: "webrtc_failed", message, hint: "Use the automatic transport." }));
      return;
    }
    const fellAt = performance.now();
    if (this.media) this.media.close();
    this.reason = reason;
    const media = new SocketMedia(this.canvas, this.output);
    this.adopt(media);
    media.addEventListener("picture", () => (this.fallbackMs = performance.now() - fellAt), { once: true });
    media.start().then(() => this.session && this.session.send({ type: "media", use: "websocket", reason: REASONS[reason] }));
    this.tell("fallback", { code: reason, text: REASONS[reason] });
  }

  adopt(media) {
    this.earlierFrames = this.frames;
    this.media = media;
    media.muted = this.isMuted;
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
    const frozen = now - (this.lookedAt || now) > 2 * LOOK_EVERY_MS;
    this.lookedAt = now;
    if (document.hidden || frozen || this.state !== "live" || this.media.isPaused) this.lastPictureAt = now;
    else if (this.media.name === "webrtc" && this.media.shown && now - this.lastPictureAt > STALLED_AFTER_MS) {
      this.missPictures(this.media, "stalled");
    }
  }

  report() {
    const { transport, fps, frames, firstFrameMs, avSkewMs } = this.stats();
    if (this.session) this.session.send({ type: "stats", transport, fps, frames, firstFrameMs, avSkewMs });
  }

  // -- session

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
      case "subtitle":
        this.subtitles.push(message);
        if (this.subtitles.length > MOST_SUBTITLES) this.subtitles.shift();
        break;
      case "avatar":
        this.takeAvatar(message.avatar);
        break;
      case "error":
        if (!OF_AN_ANSWER.includes(message.code)) this.wanted = null;
        break;
      case "pong":
        return;
    }
    this.tell(message.type, message);
  }

  takeAnswer({ sdp }) {
    const { media } = this;
    if (media instanceof WebRtcMedia) media.answer(sdp).catch(() => this.missPictures(media, "refused"));
  }

  /** A new session, after a restart of the server, is to begin with it. */
  takeAvatar(avatar) {
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

  /** The same session on a new socket: its pictures come over it again, if they did; a peer has not noticed. */
  resume({ avatar }) {
    const swapped = avatar.id !== this.welcome.avatar.id;
    this.takeAvatar(avatar);
    if (swapped) this.tell("avatar", { type: "avatar", avatar });
    this.askForWanted();
    this.setState(this.media.frames ? "live" : "connecting");
    if (this.state === "connecting") this.expectPicture();
    if (this.media instanceof SocketMedia) {
      this.session.send({ type: "media", use: "websocket", reason: "resumed" });
    } else this.checkPeer(this.media);
  }

  /** The server has forgotten the session; this is a new one. */
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
    this.chooseMedia();
  }

  /** It does not work now. A session that is to be kept is opened again later. */
  fail(error) {
    if (!this.session?.keep) return this.end(error);
    this.dropMedia();
    this.session.renew(FAILED_FOR_MS);
  }

  end(error) {
    if (this.state === "idle") return;
    this.dropMedia();
    this.isBlocked = false;
    this.isAway = COMES_BACK.includes(error?.code) && this.welcome !== null;
    if (!this.isAway) this.unwatchViewer();
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

  setState(state) {
    this.state = state;
    this.tell("state", state);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

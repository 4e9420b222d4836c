/**
 * The live player: one session, its pictures and sound, over WebRTC where that works and over the session socket where
 * it does not. It falls back at most once a session, and never back again.
 *
 * Events (CustomEvent, `detail` in brackets): "state" (idle, connecting, live or mending), "firstpicture",
 * "fallback" ({code, text}), "waiting" (place in the line for a place), "turn", "text", "subtitle", "notice", "error", "metrics", "avatar" (messages of the
 * session socket as they are), "latency" (ms from say() to sound), "blocked" (the browser wants a click before sound),
 * "ended" (a SessionError).
 */

import { SessionError, SessionSocket, stopped } from "./session.js";
import { AudioOutput, SocketMedia } from "./socket-media.js";
import { WebRtcMedia } from "./webrtc.js";

const FIRST_PICTURE_WITHIN_MS = 2500;
const ANY_PICTURE_WITHIN_MS = 15000; // whichever way it comes
const MOST_CHARACTERS = 300000; // the session takes less and says so; much more would break the socket
const STALLED_AFTER_MS = 1500;
const LOOK_EVERY_MS = 250;
const FPS_OVER_MS = 2000;
const REPORT_EVERY_MS = 10000;
const OF_AN_ANSWER = ["language_model_failed", "speech_failed"]; // errors that refuse no avatar

/** Why the pictures come over the WebSocket. */
export const REASONS = {
  forced: "asked for",
  unsupported: "this browser has no WebRTC",
  no_route: "the network lets no UDP through",
  no_picture: "no picture over WebRTC within 2.5 s",
  failed: "the WebRTC connection failed",
  stalled: "the WebRTC pictures stopped",
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
   * Open a session and show it. Resolves when the first picture is seen, rejects with a SessionError.
   * @param {{transport?: "auto"|"webrtc"|"websocket", avatar?, voice?, tts?, lipsync?}} options
   */
  async start({ transport = "auto", ...hello } = {}) {
    if (this.state !== "idle") this.stop();
    this.forget();
    this.startedAt = performance.now();
    this.transport = transport;
    this.output ||= new AudioOutput();
    this.output.context.resume();
    this.setState("connecting");
    const session = new SessionSocket(this.url);
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
      throw new SessionError({ code: "bad_request", message: "The text is too long.", hint: "Send it in parts." });
    }
    if (!this.session || !this.session.send({ type: "say", text, mode })) {
      throw new SessionError({ code: "no_session", message: "There is no session.", hint: "Press Start." });
    }
    this.saidAt = performance.now();
    if (this.media) this.media.listenForSound();
  }

  interrupt() {
    if (this.session) this.session.send({ type: "interrupt" });
    if (this.media) this.media.interrupt();
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

  stop() {
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
    this.limit = setTimeout(() => this.end(new SessionError({ code: "no_picture", message, hint })), ANY_PICTURE_WITHIN_MS);
  }

  useWebRtc() {
    const media = new WebRtcMedia(this.video, this.welcome.iceServers, (message) => this.session.send(message));
    media.addEventListener("failed", ({ detail }) => this.useSocket(detail));
    media.addEventListener("blocked", () => this.tell("blocked"));
    this.adopt(media);
    this.patience = setTimeout(() => this.useSocket("no_picture"), FIRST_PICTURE_WITHIN_MS);
    media.start().catch(() => this.useSocket("unsupported"));
  }

  /** From now on, this session's pictures and sound come over its socket. */
  useSocket(reason) {
    if (this.media instanceof SocketMedia || !this.session) return;
    clearTimeout(this.patience);
    if (this.transport === "webrtc") {
      const message = `WebRTC does not work here: ${REASONS[reason]}.`;
      this.end(new SessionError({ code: "webrtc_failed", message, hint: "Use the automatic transport." }));
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

  /** Notice a stall. A page that was hidden or frozen itself starts counting anew. */
  look() {
    const now = performance.now();
    const frozen = now - (this.lookedAt || now) > 2 * LOOK_EVERY_MS;
    this.lookedAt = now;
    if (document.hidden || frozen || this.state !== "live") this.lastPictureAt = now;
    else if (this.media.name === "webrtc" && now - this.lastPictureAt > STALLED_AFTER_MS) this.useSocket("stalled");
  }

  report() {
    const { transport, fps, frames, firstFrameMs, avSkewMs } = this.stats();
    if (this.session) this.session.send({ type: "stats", transport, fps, frames, firstFrameMs, avSkewMs });
  }

  // -- session

  hear(message) {
    switch (message.type) {
      case "answer":
        if (this.media instanceof WebRtcMedia) this.media.answer(message.sdp).catch(() => this.useSocket("refused"));
        return;
      case "turn":
        this.turn = message;
        if (message.state === "speaking" && this.media) this.media.speaking();
        if (message.state === "interrupted") this.subtitles = this.subtitles.filter(({ turn }) => turn !== message.turn);
        break;
      case "subtitle":
        this.subtitles.push(message);
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
    }
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

  end(error) {
    if (this.state === "idle") return;
    this.dropMedia();
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

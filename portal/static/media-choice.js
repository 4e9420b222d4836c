/**
 * Chooses how a session's pictures and sound arrive: over WebRTC where that works, otherwise over the session socket. A
 * session falls back to the socket at most once, and never returns to WebRTC.
 *
 * Events (`detail` in brackets): "adopted" (the media that are used from now on), "picture" (a picture was shown),
 * "first" (the first picture of the current media was shown; their name), "sound" (the first sound after
 * listenForSound()), "fallback" ({code, text}), "stopped" and "playing" (see webrtc.js), "failed" (a PortalError: no
 * pictures will come).
 */

import { PortalError } from "./errors.js";
import { AudioOutput, SocketMedia } from "./socket-media.js";
import { Teller } from "./teller.js";
import { waysOf } from "./ways.js";
import { WebRtcMedia } from "./webrtc.js";

/**
 * @typedef {import("./types/messages.d.ts").ClientMessage} ClientMessage
 * @typedef {keyof typeof REASONS} Reason
 * @typedef {{code: Reason, text: string}} Fallback
 * @typedef {WebRtcMedia | SocketMedia} Media
 *
 * What the media need from the session. isConnected: resolves to whether the session socket is alive; if not, the
 * socket is being mended, and resume() is called afterwards.
 * @typedef {{send: (message: ClientMessage) => void, isConnected: () => Promise<boolean>, isLive: () => boolean}} Link
 */

const ANSWER_WITHIN_MS = 5000; // generous, because a server that has just started is slow whatever the network
const NEXT_STEP_WITHIN_MS = 2500; // from the answer to the connection, and from there to the first picture
const ANY_PICTURE_WITHIN_MS = 15000; // over WebRTC or the socket
const STALLED_AFTER_MS = 1500;
const LOOK_EVERY_MS = 250;

/** Why the pictures come over the WebSocket. */
export const REASONS = {
  forced: "asked for",
  unsupported: "this browser has no WebRTC",
  no_route: "the network lets no UDP through",
  no_answer: "the server did not answer over WebRTC within 5 s",
  no_picture: "no picture over WebRTC within 2.5 s",
  failed: "the WebRTC connection failed",
  stalled: "the WebRTC pictures stopped",
  forbidden: "this browser plays no video before a click",
  refused: "the server could not answer over WebRTC",
  no_port: "the server has no port left for WebRTC",
};

/**
 * @extends {Teller<{
 *   adopted: Media, picture: void, first: Media["name"], sound: void, fallback: Fallback, stopped: void, playing: void,
 *   failed: PortalError,
 * }>}
 */
export class MediaChoice extends Teller {
  /**
   * @param {HTMLVideoElement} video for WebRTC
   * @param {HTMLCanvasElement} canvas for the session socket
   * @param {Link} link
   */
  constructor(video, canvas, link) {
    super();
    this.video = video;
    this.canvas = canvas;
    this.link = link;
    /** @type {AudioOutput?} */
    this.output = null;
    this.isMuted = false;
    this.loudness = 1;
    this.transport = "auto";
    /** @type {RTCIceServer[]} */
    this.iceServers = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} fires when the WebRTC peer is late with its next step */
    this.patience = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} fires when no picture came by either way */
    this.limit = undefined;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.watcher = undefined;
    this.lookedAt = 0; // ms by performance.now(), like all times here
    this.lastPictureAt = 0;
    // The fields below belong to one session. forget() resets them.
    /** @type {import("./ways.js").Ways?} the ways that its last WebRTC peer tried */
    this.ways = null;
    /** @type {Media?} */
    this.media = null;
    /** @type {Reason?} */
    this.reason = null;
    this.earlierFrames = 0; // pictures that earlier media of this session have shown
    /** @type {number?} ms from the fallback to the first picture over the socket */
    this.fallbackMs = null;
  }

  forget() {
    this.ways = null;
    this.media = null;
    this.reason = null;
    this.earlierFrames = 0;
    this.fallbackMs = null;
  }

  /** Which ways to the server exist, and which one is used. It is also known after a session that showed nothing. */
  get connection() {
    return waysOf(this.ways, this.media?.name ?? null, this.reason === "unsupported" ? "unsupported" : "forced");
  }

  /** Number of pictures shown in this session. */
  get frames() {
    return this.earlierFrames + (this.media ? this.media.frames : 0);
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

  /** Prepare sound output. Call this while handling a click or key press: later the browser may not allow sound. */
  allowSound() {
    this.output ||= new AudioOutput();
    this.output.context.resume();
  }

  /**
   * @param {string} transport auto, webrtc or websocket
   * @param {RTCIceServer[]} iceServers
   */
  begin(transport, iceServers) {
    this.transport = transport;
    this.iceServers = iceServers;
    this.reason = null;
    this.expectPicture();
    if (transport === "websocket") this.useSocket("forced");
    else if (!("RTCPeerConnection" in window)) this.useSocket("unsupported");
    else this.useWebRtc();
    this.watcher = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  /** The socket broke. Stop the time limit for a first picture; resume() starts it again. */
  pause() {
    clearTimeout(this.limit);
  }

  /** The socket was mended. Ask for pictures over it again if they came that way; a WebRTC peer may still work. */
  resume() {
    const { media } = this;
    if (!media) return;
    if (!media.frames) this.expectPicture();
    if (media instanceof SocketMedia) this.link.send({ type: "media", use: "websocket", reason: "resumed" });
    else this.checkPeer(media);
  }

  /** @param {string} sdp the server's answer to the offer */
  answer(sdp) {
    const { media } = this;
    if (!(media instanceof WebRtcMedia)) return;
    this.awaitFirst(media);
    media.answer(sdp).catch(() => this.missPictures(media, "refused"));
  }

  /** The server has no free port for the WebRTC peer. */
  refuse() {
    const { media } = this;
    if (media?.name === "webrtc") this.missPictures(media, "no_port");
  }

  /** @param {ArrayBuffer} data pictures and sound that came over the session socket */
  push(data) {
    if (this.media instanceof SocketMedia) this.media.push(data);
  }

  /** Stop showing pictures. The counts stay. */
  close() {
    clearTimeout(this.patience);
    clearTimeout(this.limit);
    clearInterval(this.watcher);
    if (this.media) this.media.close();
  }

  /** Close the media and let go of them. */
  leave() {
    this.close();
    this.earlierFrames = this.frames;
    if (this.media?.shown) this.ways = null;
    this.media = null;
  }

  /** Fail if no picture comes in time, so that "connecting" never stays on the page for ever. */
  expectPicture() {
    clearTimeout(this.limit);
    const message = `There is a session, but no picture came within ${ANY_PICTURE_WITHIN_MS / 1000} s.`;
    const hint = "Press Start again. If that does not help, reload the page, and look at the server's log.";
    this.limit = setTimeout(() => {
      // Browsers draw nothing on a hidden page, so a missing picture proves nothing there, and nobody waits for it.
      if (document.hidden) this.expectPicture();
      else this.tell("failed", new PortalError({ code: "no_picture", message, hint }));
    }, ANY_PICTURE_WITHIN_MS);
  }

  useWebRtc() {
    const media = new WebRtcMedia(this.video, this.iceServers, (message) => this.link.send(message));
    media.on("failed", (reason) => this.missPictures(media, reason));
    media.on("connected", () => this.awaitFirst(media));
    this.ways = media.ways;
    this.adopt(media);
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.missPictures(media, "no_answer"), ANSWER_WITHIN_MS);
    media.start().catch(() => this.missPictures(media, "unsupported"));
  }

  /**
   * The peer has made a step (it has the answer, or a connection), so the time limit for the next step starts. If the
   * peer is connected but the page is hidden or the video paused, pictures may arrive without being shown. Then the
   * time limit starts again instead of failing.
   * @param {WebRtcMedia} media
   */
  awaitFirst(media) {
    if (media !== this.media || media.shown || media.isMissing) return;
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      const isUnseen = document.hidden || media.isPaused;
      if (isUnseen && media.pc.connectionState === "connected") this.awaitFirst(media);
      else this.missPictures(media, "no_picture");
    }, NEXT_STEP_WITHIN_MS);
  }

  /**
   * A peer sends no pictures, or no longer does. If the session socket is dead as well, the network has changed: the
   * socket is mended first, and then a new peer is tried on the new network. Otherwise only WebRTC is blocked, and the
   * session falls back to the socket.
   * @param {Media} media
   * @param {Reason} reason
   */
  async missPictures(media, reason) {
    if (media !== this.media || media.isMissing) return;
    media.isMissing = true;
    if (media.shown && !(await this.link.isConnected())) return; // resume() continues after the mending
    if (media === this.media) this.useSocket(reason);
  }

  /**
   * The peer may have lost its network together with the socket. Replace it, unless it still delivers pictures.
   * @param {WebRtcMedia} media
   */
  async checkPeer(media) {
    if ((!media.isMissing && (await media.flows())) || media !== this.media) return;
    media.close();
    this.useWebRtc();
  }

  /**
   * From now on, receive this session's pictures and sound over its socket. If the viewer asked for WebRTC only, fail.
   * @param {Reason} reason
   */
  useSocket(reason) {
    if (this.media instanceof SocketMedia || !this.output) return;
    clearTimeout(this.patience);
    if (this.transport === "webrtc") {
      const message = `WebRTC does not work here: ${REASONS[reason]}.`;
      const hint = "Use the automatic transport.";
      this.tell("failed", new PortalError({ code: "webrtc_failed", message, hint }));
      return;
    }
    const fellAt = performance.now();
    this.media?.close();
    this.reason = reason;
    const media = new SocketMedia(this.canvas, this.output);
    this.adopt(media);
    media.on("picture", () => (this.fallbackMs = performance.now() - fellAt), { once: true });
    media.start().then(() => this.link.send({ type: "media", use: "websocket", reason: REASONS[reason] }));
    this.tell("fallback", { code: reason, text: REASONS[reason] });
  }

  /** @param {Media} media */
  adopt(media) {
    this.earlierFrames = this.frames;
    this.media = media;
    media.muted = this.isMuted;
    media.volume = this.loudness;
    this.tell("adopted", media);
    this.lastPictureAt = performance.now();
    media.addEventListener("picture", () => this.seePicture(media));
    media.addEventListener("sound", () => this.tell("sound"));
    media.addEventListener("stopped", () => this.tell("stopped"));
    media.addEventListener("playing", () => this.tell("playing"));
  }

  /** @param {Media} media */
  seePicture(media) {
    this.lastPictureAt = performance.now();
    this.tell("picture");
    if (media.shown) return;
    media.shown = true;
    clearTimeout(this.patience);
    clearTimeout(this.limit);
    this.tell("first", media.name);
  }

  /** Notice a stall. While the page is hidden or frozen, or the video paused, the time does not count. */
  look() {
    const now = performance.now();
    const { media } = this;
    const frozen = now - (this.lookedAt || now) > 2 * LOOK_EVERY_MS;
    this.lookedAt = now;
    if (!media || document.hidden || frozen || !this.link.isLive() || media.isPaused) this.lastPictureAt = now;
    else if (media.name === "webrtc" && media.shown && now - this.lastPictureAt > STALLED_AFTER_MS) {
      this.missPictures(media, "stalled");
    }
  }
}

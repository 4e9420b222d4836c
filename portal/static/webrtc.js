/**
 * Pictures and sound over WebRTC.
 *
 * Events: "connected" (also after each loss), "picture" (for each picture shown), "failed" (detail: a reason code),
 * "stopped" (the browser or the viewer paused the video, or sound is not allowed yet; play() during a click or key
 * press helps), "playing" (the video plays with its sound), "sound" (the first sound after listenForSound()).
 */

import { Hush } from "./hush.js";
import { Skews } from "./skews.js";
import { SoundTrim } from "./sound-trim.js";
import { Teller } from "./teller.js";
import { Ways } from "./ways.js";

/**
 * @typedef {import("./types/messages.d.ts").ClientMessage} ClientMessage
 * @typedef {{
 *   connected: void, picture: void, failed: "no_route" | "failed" | "forbidden", stopped: void, playing: void, sound: void,
 * }} WebRtcEvents
 *
 * A browser's statistics of incoming sound or pictures. Not every browser reports all fields, and TypeScript's own type
 * lacks some.
 * @typedef {RTCInboundRtpStreamStats & {estimatedPlayoutTimestamp?: number}} Inbound
 */

const STATS_EVERY_MS = 1000;
const SOUND_POLL_MS = 40;
const AUDIBLE = 1e-4; // mean square; -40 dBFS
const SKEWS_KEPT = 60;
const HUSH_LOOK_MS = 60; // how often the delay is measured while sound is muted after an interruption
const FLOWS_OVER_MS = 500; // flows() counts packets for this long

/** @extends {Teller<WebRtcEvents>} */
export class WebRtcMedia extends Teller {
  /**
   * @param {HTMLVideoElement} video plays the media
   * @param {RTCIceServer[]} iceServers
   * @param {(message: ClientMessage) => void} send to the session socket
   */
  constructor(video, iceServers, send) {
    super();
    this.name = /** @type {const} */ ("webrtc");
    this.video = video;
    this.send = send;
    this.frames = 0;
    this.shown = false; // whether a picture of these media was seen
    this.isMissing = false; // whether pictures have failed to come
    this.skews = new Skews(SKEWS_KEPT);
    this.trim = new SoundTrim();
    this.delayMs = 60; // the jitter buffer's delay: a guess until it is measured
    /** @type {Hush?} set while sound is muted after an interruption */
    this.hush = null;
    /** @type {{audio?: Inbound, video?: Inbound}} the last reports */
    this.before = {};
    /** @type {RTCRtpReceiver?} receives the avatar's voice */
    this.voice = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.statsTimer = undefined;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.soundTimer = undefined;
    this.isMuted = false;
    this.isWithheld = false; // whether the browser does not allow sound yet
    this.plays = 0; // number of calls of play()
    this.closed = false;
    /** @type {RTCRtpSender?} sends the microphone's sound */
    this.sender = null;
    /** @type {MediaStreamTrack?} the microphone's sound */
    this.speech = null;
    this.stream = new MediaStream();
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.ways = new Ways(this.pc);
    this.onPause = () => {
      if (this.video.srcObject === this.stream) this.tell("stopped");
    };
  }

  /** Send the offer at once. Candidates follow as they are found. */
  async start() {
    const pc = this.pc;
    let usable = 0;
    pc.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      if (this.video.srcObject !== this.stream) this.video.srcObject = this.stream;
      this.play();
    };
    this.video.addEventListener("pause", this.onPause);
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected") this.tell("connected");
      else if (pc.connectionState === "failed") this.tell("failed", "failed");
    };
    pc.onicecandidate = ({ candidate }) => {
      if (this.closed) return;
      if (candidate && candidate.candidate) {
        // The server speaks UDP only. A relay counts whatever its protocol is, since it reaches the server by UDP
        // itself.
        if (/ (udp|UDP) /.test(candidate.candidate) || candidate.type === "relay") usable += 1;
        const { sdpMid, sdpMLineIndex } = candidate;
        this.send({ type: "candidate", candidate: candidate.candidate, sdpMid, sdpMLineIndex });
      } else if (!candidate && usable === 0) this.tell("failed", "no_route");
    };
    // Both ways for sound, but without a track at first: so the microphone can be switched on without another offer.
    const pictures = pc.addTransceiver("video", { direction: "recvonly" });
    const sound = pc.addTransceiver("audio", { direction: "sendrecv" });
    for (const { receiver } of [pictures, sound]) {
      receiver.jitterBufferTarget = 0; // no more delay than the network requires, because this is a conversation
    }
    this.voice = sound.receiver;
    this.sender = sound.sender;
    this.sendSound(this.speech);
    await pc.setLocalDescription(await pc.createOffer());
    if (this.closed || !pc.localDescription) return;
    this.send({ type: "offer", sdp: pc.localDescription.sdp });
    this.watchPictures();
    this.statsTimer = setInterval(() => this.readStats(), STATS_EVERY_MS);
  }

  /** @param {string} sdp */
  async answer(sdp) {
    if (!this.closed) await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /**
   * Send the microphone's sound to the server; null: send nothing.
   * @param {MediaStreamTrack | null} track
   */
  sendSound(track) {
    this.speech = track;
    this.sender?.replaceTrack(track).catch(() => {}); // it rejects if the connection was closed meanwhile
  }

  /**
   * Return the media time, in seconds, that is seen and heard now.
   * @param {number?} serverNow media time that the server releases now, in seconds
   */
  mediaNow(serverNow) {
    return serverNow === null ? null : serverNow - this.delayMs / 1000;
  }

  /**
   * Return the media time, in seconds, of the picture that is seen. It is as exact as the estimate of the server's
   * clock, a few pictures off at worst.
   * @param {number?} serverNow
   */
  pictureNow(serverNow) {
    return this.mediaNow(serverNow);
  }

  /** Median of the recent skews, in ms. Positive: the sound comes after its picture. */
  get skewMs() {
    return this.skews.medianMs;
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this.isMuted = muted;
    this.video.muted = muted || this.isWithheld;
  }

  /** @param {number} volume 0 to 1; some phones ignore it, since only their buttons change the volume */
  set volume(volume) {
    this.video.volume = volume;
  }

  /**
   * Whether the video is paused, so that pictures arrive unseen. (Browsers call a stream that has ended paused, too.)
   */
  get isPaused() {
    return this.video.paused && !this.video.ended;
  }

  /**
   * Play the incoming pictures and sound. If the browser does not allow sound before a click or key press, the video
   * plays muted: call this again while handling one.
   */
  async play() {
    const { video } = this;
    const turn = ++this.plays;
    // Each incoming track calls play(), and a later call may abort an earlier one. Only the last call's outcome counts.
    /** @param {Error} error */
    const isOver = (error) => this.closed || turn !== this.plays || error.name === "AbortError";
    try {
      this.isWithheld = false;
      video.muted = this.isMuted;
      await video.play();
      this.tell("playing");
    } catch (error) {
      if (isOver(/** @type {Error} */ (error))) return;
      this.isWithheld = true;
      video.muted = true;
      this.tell("stopped");
      await video.play().catch((refusal) => isOver(refusal) || this.frames || this.tell("failed", "forbidden"));
    }
  }

  /** Resolves to whether packets arrive within half a second. Works on a hidden page, too. */
  async flows() {
    const before = await this.received();
    await new Promise((passed) => setTimeout(passed, FLOWS_OVER_MS));
    return !this.closed && (await this.received()) > before;
  }

  async received() {
    const { audio, video } = await this.inbound();
    return (audio?.packetsReceived ?? 0) + (video?.packetsReceived ?? 0);
  }

  /** Tell the event "sound" when the next sound is heard. */
  listenForSound() {
    clearInterval(this.soundTimer);
    /** @type {Inbound?} */
    let before = null;
    this.soundTimer = setInterval(async () => {
      const { audio } = await this.inbound();
      if (!audio || this.closed) return;
      const heard = before ? meanSquareBetween(before, audio) : 0;
      before = audio;
      if (heard > AUDIBLE) {
        clearInterval(this.soundTimer);
        this.tell("sound");
      }
    }, SOUND_POLL_MS);
  }

  /** Mute at once, until the sound of the interrupted turn that is still under way has passed. */
  interrupt() {
    this.hush = new Hush(performance.now());
    this.sound(false);
    this.lookAtHush(this.hush);
  }

  /** The server has said that the turn is over. */
  turnOver() {
    this.hush?.turnOver(performance.now());
  }

  /** A new answer begins. All of it must be heard. */
  speaking() {
    this.hush?.speaking(performance.now());
  }

  /**
   * Unmute when `hush` says so. The delay is measured repeatedly, since it may change by a second within a second.
   * @param {Hush} hush
   */
  async lookAtHush(hush) {
    /** @type {Inbound | undefined} */
    let before;
    /** @type {number?} */
    let delayMs = null;
    while (this.hush === hush && !this.closed) {
      const { audio } = await this.inbound();
      // On a busy machine the jitter buffer may stand still. Its sound comes later then, and the delay is unknown.
      delayMs = standsStill(before, audio) ? Infinity : delayBetween(before, audio) ?? delayMs;
      before = audio;
      const remaining = hush.remainingMs(performance.now(), delayMs);
      if (remaining <= 0) break;
      await new Promise((passed) => setTimeout(passed, Math.min(remaining, HUSH_LOOK_MS)));
    }
    if (this.hush !== hush) return; // interrupted again
    this.hush = null;
    this.sound(true);
  }

  /** @param {boolean} on */
  sound(on) {
    for (const track of this.stream.getAudioTracks()) track.enabled = on;
  }

  close() {
    this.closed = true;
    clearInterval(this.statsTimer);
    clearInterval(this.soundTimer);
    this.video.removeEventListener("pause", this.onPause);
    this.pc.close();
    if (this.video.srcObject === this.stream) this.video.srcObject = null;
  }

  watchPictures() {
    const video = this.video;
    /** @type {number?} the element's count when this session began; the element counts on over sessions */
    let before = null;
    /** @type {VideoFrameRequestCallback} */
    const shown = (_now, { presentedFrames }) => {
      if (this.closed) return;
      // The browser may skip callbacks, but presentedFrames counts every picture.
      before ??= presentedFrames - 1;
      this.frames = presentedFrames - before;
      this.tell("picture");
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  async inbound() {
    return this.closed ? {} : inboundOf(await this.pc.getStats());
  }

  async readStats() {
    const { before } = this;
    const stats = await this.pc.getStats();
    if (this.closed) return;
    this.ways.read(stats);
    const { audio, video } = inboundOf(stats);
    if (!audio || !video) return;
    this.before = { audio, video };
    this.delayMs = delayBetween(before.video, video) ?? this.delayMs;
    if (!audio.estimatedPlayoutTimestamp || !video.estimatedPlayoutTimestamp) return;
    const skewMs = video.estimatedPlayoutTimestamp - audio.estimatedPlayoutTimestamp;
    this.skews.add(skewMs);
    const soundDelayMs = delayBetween(before.audio, audio);
    if (soundDelayMs !== null && this.voice && this.trim.learn(skewMs, soundDelayMs)) {
      this.voice.jitterBufferTarget = this.trim.targetMs;
    }
  }

  /** @type {Teller<WebRtcEvents>["tell"]} */
  tell(type, detail) {
    if (!this.closed) super.tell(type, detail);
  }
}

/** @param {RTCStatsReport} stats */
function inboundOf(stats) {
  /** @type {{audio?: Inbound, video?: Inbound}} */
  const found = {};
  for (const report of stats.values()) {
    if (report.type !== "inbound-rtp") continue;
    if (report.kind === "audio") found.audio = report;
    else found.video = report;
  }
  return found;
}

/**
 * Return the mean square of the sound between two reports.
 * @param {Inbound} before
 * @param {Inbound} after
 */
function meanSquareBetween(before, after) {
  const seconds = (after.totalSamplesDuration ?? NaN) - (before.totalSamplesDuration ?? NaN);
  return ((after.totalAudioEnergy ?? NaN) - (before.totalAudioEnergy ?? NaN)) / Math.max(seconds, 1e-3);
}

/**
 * Whether the jitter buffer gave out nothing between two reports. Browsers may return the same report twice, which does
 * not count.
 * @param {Inbound} [before]
 * @param {Inbound} [after]
 */
function standsStill(before, after) {
  if (!before || !after || after.timestamp <= before.timestamp) return false;
  return !((after.jitterBufferEmittedCount ?? NaN) > (before.jitterBufferEmittedCount ?? NaN));
}

/**
 * Return the mean time, in ms, that media spent in the jitter buffer, of those it gave out between two reports; null if
 * it gave out nothing.
 * @param {Inbound} [before]
 * @param {Inbound} [after]
 */
function delayBetween(before, after) {
  if (!before || !after) return null;
  const emitted = (after.jitterBufferEmittedCount ?? 0) - (before.jitterBufferEmittedCount ?? 0);
  if (!(emitted > 0)) return null;
  return (1000 * ((after.jitterBufferDelay ?? NaN) - (before.jitterBufferDelay ?? NaN))) / emitted;
}

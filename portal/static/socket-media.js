/**
 * Pictures and sound over the session socket. JPEGs are drawn on a canvas. PCM is played from a ring buffer, and the
 * position in it is the clock.
 *
 * Events: "picture" (for each picture drawn), "stopped" (the browser does not allow sound; play() during a click or key
 * press helps), "playing" (there is sound), "sound" (the first sound after listenForSound()).
 */

import { Hush } from "./hush.js";
import { PcmRing } from "./pcm-ring.js";
import { Skews } from "./skews.js";
import { Teller } from "./teller.js";

/**
 * A block of sound to be put into the ring. pcm null: silence.
 * @typedef {{ptsMs: number, pcm: ArrayBuffer?, speaking: boolean}} Block
 *
 * The state of the ring at context time `at`, in s. onset: context time at which sound began after silence.
 * @typedef {{ptsMs: number?, at: number, playing: boolean, bufferedMs: number, underruns: number, trimmed: number,
 *   onset: number?, hushes: number}} Position
 *
 * The node that plays: a worklet, or a script processor where worklets do not exist.
 * @typedef {{node: AudioNode, feed: (block: Block) => void, quiet: () => void, finish: () => void}} Source
 *
 * @typedef {{ptsMs: number, bitmap: ImageBitmap}} Picture
 * @typedef {{picture: void, stopped: void, playing: void, sound: void}} SocketMediaEvents
 */

const HEADER_BYTES = 16;
const KIND_MEDIA = 1;
const SPEAKING = 1;
const PICTURE = 2;
const MAX_WAITING_PICTURES = 50;
const DISPLAY_MS = 8; // rough time from drawing a picture to seeing it on the screen
const HALF_REFRESH_MS = 8; // a picture is drawn at the screen refresh nearest to its time
const SKEWS_KEPT = 250;
const BLOCK_MS = 40;
const TRUSTED_WITHIN_MS = 1000; // an output timestamp older than this is not believed
const TRUSTED_AHEAD_MS = 50; // how far one may lie ahead: browsers may report a sample slightly before it is heard
const SOUNDS_WITHIN_MS = 1000; // a context that is allowed to play starts much sooner
const FADE_S = 0.003; // time constant of fades; sound that is cut off without one clicks

const MAY_FREEZE = /\b(Linux|X11|Android)\b.*\bFirefox\//.test(navigator.userAgent);
const FIREFOX_LATENCY_S = 0.05; // the outputLatency that it reports on Debian with PulseAudio, if it does not freeze

/**
 * Return the time by performance.now(), in ms, at which a sample of context time 0 is heard. The browser's own output
 * timestamp is used only if it is plausible. Some browsers report times of another clock (WebKitGTK's runs ahead by the
 * age of the context, so it is nearly right for a new one), or times from before the device slept.
 *
 * Where Firefox may play through PulseAudio, it is not asked. It answers getOutputTimestamp() and outputLatency while
 * holding a lock that sound rendering also needs, and asks PulseAudio, which in turn waits for rendered sound. If sound
 * is being rendered at that moment, the page freezes for good. (Seen in Firefox 153.)
 *
 * @param {AudioContext} context
 * @param {number} now ms by performance.now()
 */
export function outputOffsetMs(context, now, mayFreeze = MAY_FREEZE) {
  if (mayFreeze) return now - (context.currentTime - FIREFOX_LATENCY_S) * 1000;
  const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp();
  const aheadMs = performanceTime - now;
  const isTrue = performanceTime && aheadMs > -TRUSTED_WITHIN_MS && aheadMs < TRUSTED_AHEAD_MS;
  if (isTrue) return performanceTime - contextTime * 1000;
  const latency = context.outputLatency || context.baseLatency || 0;
  return now - (context.currentTime - latency) * 1000;
}

/**
 * The AudioContext of the page. Browsers let it play from the first click or key press on, such as the click on Start.
 */
export class AudioOutput {
  constructor() {
    this.context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    this.context.resume();
    // Only secure pages (HTTPS, localhost) have worklets. Others use the older, coarser script processor.
    this.ready = this.context.audioWorklet
      ? this.context.audioWorklet.addModule(new URL("./pcm-worklet.js", import.meta.url).href)
      : Promise.resolve();
  }

  /** The time by performance.now(), in ms, at which a sample of context time 0 is heard. */
  get offsetMs() {
    return outputOffsetMs(this.context, performance.now());
  }

  get isRunning() {
    return this.context.state === "running";
  }

  /** Call this while handling a click or key press. @returns {Promise<boolean>} whether there is sound */
  async resume() {
    const within = new Promise((passed) => setTimeout(passed, SOUNDS_WITHIN_MS));
    await Promise.race([this.context.resume().catch(() => {}), within]); // without a click, resume() may never settle
    return this.isRunning;
  }
}

/** @extends {Teller<SocketMediaEvents>} */
export class SocketMedia extends Teller {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {AudioOutput} output
   */
  constructor(canvas, output) {
    super();
    this.name = /** @type {const} */ ("websocket");
    this.canvas = canvas;
    this.output = output;
    this.shown = false; // whether a picture of these media was seen
    this.isMissing = false; // always false here: these media last as long as the socket
    this.painter = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { alpha: false, desynchronized: true })
    );
    /** @type {Picture[]} decoded pictures that wait for their time, in its order */
    this.pictures = [];
    this.decoding = 0;
    this.frames = 0;
    /** @type {number?} media time, in ms, of the picture that was drawn last */
    this.drawnMs = null;
    this.skews = new Skews(SKEWS_KEPT);
    /** @type {Position?} */
    this.position = null;
    /** @type {Hush?} set while incoming sound is dropped after an interruption */
    this.hush = null;
    /** @type {GainNode?} */
    this.gain = null;
    this.loudness = 1;
    /** @type {Source?} */
    this.source = null;
    this.hushes = 0; // how often the ring was told to hush
    this.listening = false;
    this.isMuted = false;
    this.closed = false;
    this.onState = () => this.tell(this.output.isRunning ? "playing" : "stopped");
  }

  async start() {
    const { context, ready } = this.output;
    await ready;
    if (this.closed) return;
    this.gain = new GainNode(context);
    this.gain.connect(context.destination);
    this.sound(!this.isMuted); // `muted` may have been set before there was a gain node
    this.source = context.audioWorklet ? this.startWorklet(context) : this.startScriptProcessor(context);
    this.source.node.connect(this.gain);
    context.addEventListener("statechange", this.onState);
    this.play();
    const draw = () => {
      if (this.closed) return;
      this.drawDue();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  /** Play sound. If the browser does not allow it yet, call this again while handling a click or key press. */
  async play() {
    this.tell((await this.output.resume()) ? "playing" : "stopped");
  }

  /** Never true: pictures are shown without sound, too. */
  get isPaused() {
    return false;
  }

  /**
   * @param {AudioContext} context
   * @returns {Source}
   */
  startWorklet(context) {
    const node = new AudioWorkletNode(context, "vivavoce-pcm", { numberOfInputs: 0, outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => this.report(data);
    return {
      node,
      feed: (block) => node.port.postMessage(block, block.pcm ? [block.pcm] : []),
      quiet: () => node.port.postMessage("hush"),
      finish: () => node.port.postMessage("end"),
    };
  }

  /**
   * @param {AudioContext} context
   * @returns {Source}
   */
  startScriptProcessor(context) {
    const ring = new PcmRing(context.sampleRate);
    const node = context.createScriptProcessor(1024, 0, 1);
    node.onaudioprocess = ({ outputBuffer, playbackTime }) => {
      const { ptsMs } = ring;
      ring.pull(outputBuffer.getChannelData(0));
      const onset = ring.onset < 0 ? null : playbackTime + ring.onset / context.sampleRate;
      const { playing, bufferedMs, underruns, trimmed, hushes } = ring;
      this.report({ ptsMs, at: playbackTime, playing, bufferedMs, underruns, trimmed, onset, hushes });
    };
    return {
      node,
      feed: ({ ptsMs, pcm, speaking }) => ring.push(ptsMs, pcm && new Int16Array(pcm), speaking),
      quiet: () => ring.hush(),
      finish: () => (node.onaudioprocess = null),
    };
  }

  /**
   * Take a binary message of the session socket. Its header, little-endian: kind (byte 0), flags (byte 1), number of
   * sound bytes (32 bits at 4), media time in microseconds (64 bits at 8). Sound and then the JPEG follow.
   * @param {ArrayBuffer} data
   */
  push(data) {
    const view = new DataView(data);
    if (this.closed || !this.source || data.byteLength < HEADER_BYTES || view.getUint8(0) !== KIND_MEDIA) return;
    const flags = view.getUint8(1);
    const audioBytes = view.getUint32(4, true);
    const ptsMs = Number(view.getBigInt64(8, true)) / 1000;
    const speaking = (flags & SPEAKING) !== 0;
    if (this.hush && this.hush.remainingMs(performance.now(), 0) <= 0) this.hush = null;
    const pcm = audioBytes && !this.hush ? data.slice(HEADER_BYTES, HEADER_BYTES + audioBytes) : null;
    // Sound that comes while the context is stopped is dropped, so that it is not played late.
    if (this.output.isRunning) this.source.feed({ ptsMs, pcm, speaking });
    // Nobody sees the pictures of a hidden page.
    if (flags & PICTURE && !(document.hidden && this.frames)) this.decode(ptsMs, data, HEADER_BYTES + audioBytes);
  }

  /**
   * Silence the avatar at once, and drop speech that is still under way. On a busy page the message to the ring may
   * take half a second (WebKitGTK), so the gain stays at zero until the ring has confirmed it.
   */
  interrupt() {
    this.hush = new Hush(performance.now());
    if (!this.source) return;
    this.hushes += 1;
    this.sound(false);
    this.source.quiet();
  }

  /** The server has said that the turn is over. */
  turnOver() {
    this.hush?.turnOver(performance.now());
  }

  /** A new answer begins. All of it must be heard. */
  speaking() {
    this.hush?.speaking(performance.now());
  }

  /** Return the media time, in seconds, that is seen and heard now; null while it is unknown. */
  mediaNow() {
    const ptsMs = this.audibleMs(performance.now());
    return ptsMs === null ? null : ptsMs / 1000;
  }

  /** Return the media time, in seconds, of the picture that is seen; null if there was none. */
  pictureNow() {
    return this.drawnMs === null ? null : this.drawnMs / 1000;
  }

  get skewMs() {
    return this.skews.medianMs;
  }

  /** @param {number} volume 0 to 1 */
  set volume(volume) {
    this.loudness = volume;
    this.sound(!this.isMuted && !this.isHushing);
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this.isMuted = muted;
    this.sound(!muted && !this.isHushing);
  }

  /** @param {boolean} on */
  sound(on) {
    this.gain?.gain.setTargetAtTime(on ? this.loudness : 0, this.output.context.currentTime, FADE_S);
  }

  listenForSound() {
    this.listening = true;
  }

  close() {
    this.closed = true;
    if (this.source) {
      this.output.context.removeEventListener("statechange", this.onState);
      this.source.finish();
      this.source.node.disconnect();
      this.gain?.disconnect();
    }
    for (const { bitmap } of this.pictures) bitmap.close();
    this.pictures = [];
  }

  /**
   * Decode a picture and keep it until its time.
   * @param {number} ptsMs
   * @param {ArrayBuffer} data
   * @param {number} offset in bytes, where the JPEG begins
   */
  async decode(ptsMs, data, offset) {
    if (this.decoding > MAX_WAITING_PICTURES) return;
    this.decoding += 1;
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, offset)], { type: "image/jpeg" }));
      if (this.closed) return bitmap.close();
      this.pictures.push({ ptsMs, bitmap });
      this.pictures.sort((a, b) => a.ptsMs - b.ptsMs);
      // If two seconds of pictures wait and none is due, the clock is wrong, so the oldest are shown as they come.
      for (const late of this.pictures.splice(0, this.pictures.length - MAX_WAITING_PICTURES)) this.draw(late, null);
      if (this.frames === 0) this.drawDue();
    } catch {
      // A damaged picture is skipped; the one before stays on the canvas.
    } finally {
      this.decoding -= 1;
    }
  }

  /**
   * Return the media time, in ms, that is heard at a moment; null if nothing has been played or the context is stopped.
   * @param {number} at ms by performance.now()
   */
  audibleMs(at) {
    const position = this.position;
    if (!position || position.ptsMs === null || this.output.context.state !== "running") return null;
    return position.playing ? position.ptsMs + at - (position.at * 1000 + this.output.offsetMs) : position.ptsMs;
  }

  /** Draw the newest picture whose time has come, and drop older ones. */
  drawDue() {
    const now = performance.now() + DISPLAY_MS;
    const audible = this.audibleMs(now);
    /** @type {Picture | undefined} */
    let due;
    // Without a clock (sound is not allowed yet, or nothing is buffered) pictures are shown as they come.
    while (this.pictures.length && (audible === null || this.pictures[0].ptsMs <= audible + HALF_REFRESH_MS)) {
      due?.bitmap.close();
      due = this.pictures.shift();
    }
    if (due) this.draw(due, audible);
  }

  /**
   * @param {Picture} picture
   * @param {number?} audible media time, in ms, of the sound that is heard when the picture is seen
   */
  draw({ bitmap, ptsMs }, audible) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.painter.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.frames += 1;
    this.drawnMs = ptsMs;
    if (audible !== null && this.position?.playing) this.skews.add(ptsMs - audible);
    this.tell("picture");
  }

  /** Whether the ring has been told to hush and has not confirmed it yet. */
  get isHushing() {
    return (this.position?.hushes ?? 0) < this.hushes;
  }

  /**
   * The ring reports its state.
   * @param {Position} position
   */
  report(position) {
    const wasHushing = this.isHushing;
    this.position = position;
    if (wasHushing && !this.isHushing) this.sound(!this.isMuted);
    if (position.onset !== null && this.listening) {
      this.listening = false;
      const heardAt = position.onset * 1000 + this.output.offsetMs;
      setTimeout(() => this.tell("sound"), Math.max(0, Math.min(heardAt - performance.now(), BLOCK_MS * 5)));
    }
  }

  /** @type {Teller<SocketMediaEvents>["tell"]} */
  tell(type, detail) {
    if (!this.closed) super.tell(type, detail);
  }
}

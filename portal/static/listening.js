/**
 * Controls whether the avatar listens, and how the microphone's sound reaches it: as a track of the WebRTC connection,
 * or over the session socket.
 *
 * Events: "changed" (the mode or the state), "level" (detail: RMS of 40 ms), "fault" (detail: a PortalError; the
 * microphone is off now).
 */

import { Microphone } from "./microphone.js";
import { Teller } from "./teller.js";

/**
 * @typedef {import("./errors.js").PortalError} PortalError
 * @typedef {import("./microphone.js").MicrophoneFacts} MicrophoneFacts
 * @typedef {import("./types/messages.d.ts").ClientMessage} ClientMessage
 * @typedef {import("./types/messages.d.ts").EarsState} EarsState
 * @typedef {import("./types/messages.d.ts").ListenMode} ListenMode
 *
 * The media that carry the sound.
 * @typedef {{name: "webrtc" | "websocket", sendSound?: (track: MediaStreamTrack | null) => void}} Carrier
 *
 * device: its id, or "" for the browser's choice; language: what the viewer speaks, or "" to have it recognised
 * @typedef {{device: string, language: string}} ListenChoice
 */

const KIND_SOUND = 2;
const HEADER_BYTES = 8;
const BLOCK_SAMPLES = 640;
const TAIL_MS = 200; // people release the button slightly before they have finished their last word
// Over WebRTC the sound passes the browser's encoder and network queues, so the message over the session socket that
// ends listening would overtake it. That message waits this much longer.
const UNDER_WAY_MS = 200;
const KEPT_MS = 20000; // how long the microphone stays open between two presses; reopening it would lose the first word

/**
 * Return a binary message of the session socket that carries sound. Its header, little-endian: kind (byte 0), sequence
 * number (16 bits at 2), position (32 bits at 4).
 * @param {number} sequence
 * @param {number} position of the first sample in the microphone's stream
 * @param {ArrayBuffer} pcm
 */
export function soundMessage(sequence, position, pcm) {
  const data = new Uint8Array(HEADER_BYTES + pcm.byteLength);
  const view = new DataView(data.buffer);
  view.setUint8(0, KIND_SOUND);
  view.setUint16(2, sequence & 0xffff, true);
  view.setUint32(4, position >>> 0, true);
  data.set(new Uint8Array(pcm), HEADER_BYTES);
  return data.buffer;
}

/** @extends {Teller<{changed: void, level: number, fault: PortalError}>} */
export class Listening extends Teller {
  /**
   * @param {(message: ClientMessage) => boolean} send to the session socket
   * @param {(data: ArrayBuffer) => boolean} sendSound likewise for sound; returns false if it was dropped
   * @param {(device: string) => Promise<Microphone>} open
   */
  constructor(send, sendSound, open = (device) => Microphone.open(device)) {
    super();
    this.send = send;
    this.sendSound = sendSound;
    this.open = open;
    /** @type {ListenMode} the mode that the viewer wants */
    this.mode = "off";
    /** @type {EarsState} the state that the server reports */
    this.state = "off";
    this.level = 0;
    /** @type {ListenChoice} */
    this.choice = { device: "", language: "" };
    /** @type {Microphone?} */
    this.microphone = null;
    /** @type {Promise<void>?} */
    this.opening = null;
    this.openings = 0; // counts openings begun or given up, so that an opening can tell whether it is still wanted
    /** @type {Carrier?} */
    this.carrier = null;
    this.isSending = false;
    this.sequence = 0;
    this.position = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} stops sending after the last words, then closes the device */
    this.ending = undefined;
  }

  get facts() {
    return this.microphone?.facts ?? null;
  }

  /** Return facts for people and tests. `level` is in dB relative to full scale, or null while nothing is sent. */
  stats() {
    const level = this.isSending ? Math.round(20 * Math.log10(Math.max(this.level, 1e-5))) : null;
    return { mode: this.mode, state: this.state, level, microphone: this.facts };
  }

  /**
   * Change the mode. "open" and "hold" open the microphone if it is closed. Throws a PortalError that names the reason.
   * @param {ListenMode} mode
   * @param {ListenChoice} choice
   */
  async set(mode, choice = this.choice) {
    const before = this.mode;
    if (mode === before) return;
    clearTimeout(this.ending);
    this.mode = mode;
    this.tell("changed");
    if (mode === "off") {
      const tailMs = TAIL_MS + (this.carrier?.name === "webrtc" ? UNDER_WAY_MS : 0);
      if (before === "hold") this.ending = setTimeout(() => this.release(KEPT_MS), tailMs);
      else this.release(0);
      return;
    }
    if (choice.device !== this.choice.device) this.closeMicrophone();
    this.choice = choice;
    try {
      await this.opened();
    } catch (error) {
      this.drop();
      throw error;
    }
    if (this.mode === mode) this.begin();
    else if (this.mode === "off" && !this.isSending) this.release(KEPT_MS);
  }

  /** Start sending sound. Call this again after the socket was mended, and in a new session. */
  begin() {
    if (this.mode === "off" || !this.microphone) return;
    this.isSending = true;
    this.carry();
    const { language } = this.choice;
    this.send({ type: "listen", mode: this.mode, language: language || undefined });
  }

  /**
   * Send the sound over this carrier from now on; null: there is none.
   * @param {Carrier?} carrier
   */
  adopt(carrier) {
    this.carrier = carrier;
    this.carry();
  }

  /** @param {EarsState} state */
  learn(state) {
    this.state = state;
    this.tell("changed");
  }

  /** Close the microphone at once, because the session is over or the server cannot listen. */
  drop() {
    clearTimeout(this.ending);
    this.isSending = false;
    this.closeMicrophone();
    this.mode = this.state = "off";
    this.tell("changed");
  }

  /**
   * Stop sending sound.
   * @param {number} keptMs how long the microphone stays open, in case it is wanted again
   */
  release(keptMs) {
    if (this.isSending) this.send({ type: "listen", mode: "off" });
    this.isSending = false;
    this.carry();
    this.ending = setTimeout(() => this.closeMicrophone(), keptMs);
  }

  /** Open the microphone. Calls share one opening: a key may be pressed twice while the browser asks for consent. */
  opened() {
    if (!this.microphone) this.opening ??= this.openMicrophone(++this.openings);
    return this.opening;
  }

  /** @param {number} turn */
  async openMicrophone(turn) {
    try {
      const microphone = await this.open(this.choice.device);
      if (turn !== this.openings) return microphone.close(); // given up meanwhile, or replaced by a newer opening
      this.microphone = microphone;
      microphone.on("sound", ({ pcm, level }) => this.takeSound(pcm, level));
      microphone.on("lost", (fault) => {
        this.send({ type: "listen", mode: "off" });
        this.drop();
        this.tell("fault", fault);
      });
    } finally {
      if (turn === this.openings) this.opening = null;
    }
  }

  closeMicrophone() {
    this.openings += 1;
    this.opening = null;
    this.microphone?.close();
    this.microphone = null;
    this.level = 0;
    this.carry();
  }

  /** Give the carrier the microphone's track while sound is sent, otherwise null. */
  carry() {
    this.carrier?.sendSound?.(this.isSending ? (this.microphone?.track ?? null) : null);
  }

  /**
   * @param {ArrayBuffer} pcm
   * @param {number} level
   */
  takeSound(pcm, level) {
    this.level = this.isSending ? level : 0;
    if (this.isSending && this.carrier?.name === "websocket") {
      if (this.sendSound(soundMessage(this.sequence, this.position, pcm))) this.sequence += 1;
    }
    this.position += BLOCK_SAMPLES; // dropped sound counts, too: the server fills such gaps with silence
    this.tell("level", this.level);
  }
}

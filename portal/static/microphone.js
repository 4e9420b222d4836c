/**
 * The viewer's microphone: opened by a click, with the browser's own echo cancellation, until it is closed or unplugged.
 *
 * Events: "sound" (every 40 ms), "lost" (detail: a PortalError; it was unplugged, or the browser took it away).
 */

import { PortalError } from "./errors.js";
import { Teller } from "./teller.js";

/**
 * 40 ms; pcm: signed 16-bit at 16 kHz, level: RMS, 1 is full scale.
 * @typedef {{pcm: ArrayBuffer, level: number}} MicrophoneSound
 *
 * What the browser really does, as far as it says so.
 * @typedef {{label: string, echoCancellation?: boolean | string, noiseSuppression?: boolean, autoGainControl?: boolean,
 *   sampleRate?: number}} MicrophoneFacts
 */

/** By the names of the browser's errors. */
const FAULTS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/**
 * Why there is no microphone. The words are in portal/ui/error_texts.py.
 * @param {"insecure" | "unsupported" | "refused" | "missing" | "busy" | "unplugged"} cause
 */
export function microphoneFault(cause) {
  return new PortalError({ code: `microphone_${cause}`, message: `There is no microphone: ${cause}.` });
}

/**
 * What is asked of the browser. Where it can cancel all that the machine plays, it shall: over the WebSocket the avatar's
 * voice is no WebRTC track, which is all that `true` has to cover.
 * @param {string} device id; "": the browser's choice
 */
export function constraintsFor(device) {
  return {
    deviceId: device ? { ideal: device } : undefined,
    channelCount: { ideal: 1 },
    echoCancellation: { ideal: /** @type {any} */ ("all") }, // browsers that know only true and false take it as true
    noiseSuppression: { ideal: true },
    autoGainControl: { ideal: true },
  };
}

/** @extends {Teller<{sound: MicrophoneSound, lost: PortalError}>} */
export class Microphone extends Teller {
  /**
   * Throws a PortalError that names the reason.
   * @param {string} device id; "": the browser's choice
   */
  static async open(device) {
    if (!window.isSecureContext) throw microphoneFault("insecure");
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) throw microphoneFault("unsupported");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: constraintsFor(device) }).catch((error) => {
      const { name } = /** @type {{name: keyof typeof FAULTS}} */ (error);
      throw microphoneFault(/** @type {"refused" | "missing" | "busy"} */ (FAULTS[name] ?? "busy"));
    });
    const microphone = new Microphone(stream);
    try {
      await microphone.start();
    } catch (error) {
      microphone.close();
      throw error;
    }
    return microphone;
  }

  /** @param {MediaStream} stream */
  constructor(stream) {
    super();
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    this.track.onended = () => this.tell("lost", microphoneFault("unplugged"));
    // Of its own, at the device's rate: Firefox connects no microphone to a context of another rate.
    this.context = new AudioContext({ latencyHint: "interactive" });
    /** @type {AudioWorkletNode?} */
    this.node = null;
  }

  async start() {
    const { context } = this;
    await context.audioWorklet.addModule(new URL("./microphone-worklet.js", import.meta.url).href);
    this.node = new AudioWorkletNode(context, "vivavoce-microphone", {
      channelCount: 1,
      channelCountMode: "explicit",
      outputChannelCount: [1],
    });
    this.node.port.onmessage = ({ data }) => this.tell("sound", data);
    context.createMediaStreamSource(this.stream).connect(this.node);
    this.node.connect(context.destination); // it gives silence; what leads nowhere is not run by every browser
    context.resume();
  }

  /** @returns {MicrophoneFacts} */
  get facts() {
    const { echoCancellation, noiseSuppression, autoGainControl, sampleRate } = this.track.getSettings();
    return { label: this.track.label, echoCancellation, noiseSuppression, autoGainControl, sampleRate };
  }

  /** Idempotent. */
  close() {
    this.track.onended = null;
    for (const track of this.stream.getTracks()) track.stop();
    if (this.node) {
      this.node.port.onmessage = null;
      this.node.port.postMessage("end");
    }
    if (this.context.state !== "closed") this.context.close();
  }
}

/**
 * The microphones there are; browsers name them only once one has been allowed.
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId && label)
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

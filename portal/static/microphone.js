/**
 * The viewer's microphone, with the browser's own echo cancellation. It is opened by a click and stays open until it is
 * closed or unplugged.
 *
 * Events: "sound" (every 40 ms), "lost" (detail: a PortalError; the device was unplugged or withdrawn by the browser).
 */

import { PortalError } from "./errors.js";
import { Teller } from "./teller.js";

/**
 * 40 ms of sound. pcm: signed 16-bit samples at 16 kHz; level: RMS, 1 is full scale.
 * @typedef {{pcm: ArrayBuffer, level: number}} MicrophoneSound
 *
 * The settings that the browser really uses, as far as it reports them.
 * @typedef {{label: string, echoCancellation?: boolean | string, noiseSuppression?: boolean, autoGainControl?: boolean,
 *   sampleRate?: number}} MicrophoneFacts
 */

/** Our causes, by the names of the browser's errors. */
const FAULTS = {
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/**
 * Return the error that says why there is no microphone. Its texts are in portal/ui/error_texts.py.
 * @param {"insecure" | "unsupported" | "refused" | "missing" | "busy" | "unplugged"} cause
 */
export function microphoneFault(cause) {
  return new PortalError({ code: `microphone_${cause}`, message: `There is no microphone: ${cause}.` });
}

/**
 * Return the constraints for getUserMedia. `echoCancellation: "all"` asks the browser to cancel everything the machine
 * plays. With `true`, a browser only has to cancel WebRTC tracks, and over the WebSocket the avatar's voice is not one.
 * @param {string} device id; "": the browser's choice
 */
export function constraintsFor(device) {
  return {
    deviceId: device ? { ideal: device } : undefined,
    channelCount: { ideal: 1 },
    echoCancellation: { ideal: /** @type {any} */ ("all") }, // browsers that know only true and false read it as true
    noiseSuppression: { ideal: true },
    autoGainControl: { ideal: true },
  };
}

/** @extends {Teller<{sound: MicrophoneSound, lost: PortalError}>} */
export class Microphone extends Teller {
  /**
   * Open a microphone. Throws a PortalError that names the reason.
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
    // A separate context at the device's rate, because Firefox does not connect a microphone to one of another rate.
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
    this.node.connect(context.destination); // outputs silence; some browsers do not run a node that is not connected
    context.resume();
  }

  /** @returns {MicrophoneFacts} */
  get facts() {
    const { echoCancellation, noiseSuppression, autoGainControl, sampleRate } = this.track.getSettings();
    return { label: this.track.label, echoCancellation, noiseSuppression, autoGainControl, sampleRate };
  }

  /** Close the microphone. Further calls do nothing. */
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
 * Return the available microphones. Browsers reveal them only after the viewer has allowed one.
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId && label)
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

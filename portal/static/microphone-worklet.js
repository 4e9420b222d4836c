/**
 * Turns a microphone's sound into messages, as an AudioWorklet. It posts {pcm, level} every 40 ms, at the rate of the
 * session socket, and ends when it receives a message ("end").
 */

import { LISTEN_RATE_HZ, Resampler } from "./resampler.js";

const BLOCK = LISTEN_RATE_HZ / 25;

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.block = new Int16Array(BLOCK);
    this.count = 0;
    this.power = 0;
    this.ended = false;
    this.port.onmessage = () => (this.ended = true);
  }

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (samples) for (const sample of this.resampler.push(samples)) this.put(sample);
    return !this.ended;
  }

  /** @param {number} sample */
  put(sample) {
    this.power += sample * sample;
    this.block[this.count++] = Math.round(32767 * Math.max(-1, Math.min(1, sample)));
    if (this.count < BLOCK) return;
    const pcm = this.block.buffer;
    this.port.postMessage({ pcm, level: Math.sqrt(this.power / BLOCK) }, [pcm]);
    this.block = new Int16Array(BLOCK);
    this.count = this.power = 0;
  }
}

registerProcessor("vivavoce-microphone", MicrophoneProcessor);

/**
 * Plays a PcmRing as an AudioWorklet. It receives {ptsMs, pcm, speaking}, "hush" or "end", and posts the ring's state
 * about every 10 ms.
 */

import { PcmRing } from "./pcm-ring.js";

const REPORT_EVERY = 4; // render quanta

class PcmPlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new PcmRing(sampleRate);
    this.quanta = 0;
    this.ended = false;
    this.port.onmessage = ({ data }) => {
      if (data === "hush") this.ring.hush();
      else if (data === "end") this.ended = true;
      else this.ring.push(data.ptsMs, data.pcm && new Int16Array(data.pcm), data.speaking);
    };
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, [[left, ...others]]) {
    const { ring } = this;
    const ptsMs = ring.ptsMs;
    ring.pull(left);
    for (const channel of others) channel.set(left);
    if (this.quanta++ % REPORT_EVERY === 0 || ring.onset >= 0) {
      const { playing, bufferedMs, underruns, trimmed, hushes } = ring;
      const onset = ring.onset < 0 ? null : currentTime + ring.onset / sampleRate;
      this.port.postMessage({ ptsMs, at: currentTime, playing, bufferedMs, underruns, trimmed, onset, hushes });
    }
    return !this.ended; // while this is true, the browser keeps this processor alive and spends CPU time on it
  }
}

registerProcessor("vivavoce-pcm", PcmPlayer);

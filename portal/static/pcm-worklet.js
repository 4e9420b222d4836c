/** The ring as an AudioWorklet. In: {ptsMs, pcm, speaking} or "hush". Out: where the clock is, about every 10 ms. */

import { PcmRing } from "./pcm-ring.js";

const REPORT_EVERY = 4; // render quanta

class PcmPlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new PcmRing(sampleRate);
    this.quanta = 0;
    this.port.onmessage = ({ data }) => {
      if (data === "hush") this.ring.hush();
      else this.ring.push(data.ptsMs, data.pcm && new Int16Array(data.pcm), data.speaking);
    };
  }

  process(_inputs, [[left, ...others]]) {
    const { ring } = this;
    const ptsMs = ring.ptsMs;
    ring.pull(left);
    for (const channel of others) channel.set(left);
    if (this.quanta++ % REPORT_EVERY === 0 || ring.onset >= 0) {
      const { playing, bufferedMs, underruns, trimmed } = ring;
      const onset = ring.onset < 0 ? null : currentTime + ring.onset / sampleRate;
      this.port.postMessage({ ptsMs, at: currentTime, playing, bufferedMs, underruns, trimmed, onset });
    }
    return true;
  }
}

registerProcessor("vivavoce-pcm", PcmPlayer);

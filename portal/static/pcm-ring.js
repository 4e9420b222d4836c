/**
 * A ring buffer of samples that knows the media time of each. It runs in an AudioWorklet, or on the page where worklets
 * do not exist. It is the clock of the WebSocket transport: pictures are drawn when their sound is heard.
 */

const MEDIA_RATE_HZ = 48000;
const CAPACITY = 5 * MEDIA_RATE_HZ;
const BLOCK_MS = 40;
// The buffer level that playing starts at. The level then swings between this and one block less. Each underrun adds a
// block.
const START_TARGET_MS = 60;
const MAX_TARGET_MS = 240;
const SLACK_MS = 60; // blocks of silence are dropped when the buffer exceeds the target by more than this
const CALM_MS = 30000; // after this time without an underrun, the target shrinks again
const AUDIBLE = 0.01; // -40 dBFS

export class PcmRing {
  /** @param {number} outputRate samples per second that pull() gives out */
  constructor(outputRate) {
    this.step = MEDIA_RATE_HZ / outputRate;
    this.samples = new Float32Array(CAPACITY);
    this.written = 0; // total samples put in
    this.read = 0; // total samples taken out; fractional when the rates differ
    /** @type {{at: number, ptsMs: number}[]} the counts of `written` at which runs of contiguous media time begin */
    this.marks = [];
    this.playing = false;
    this.targetMs = START_TARGET_MS;
    this.calm = 0;
    this.underruns = 0;
    this.trimmed = 0;
    this.hushes = 0; // how often hush() was called
    this.quietFor = MEDIA_RATE_HZ;
    this.onset = -1; // index in the last pull() at which sound began after silence, or -1
  }

  get bufferedMs() {
    return ((this.written - this.read) * 1000) / MEDIA_RATE_HZ;
  }

  /** Media time, in ms, of the next sample that pull() gives out; null if nothing was put in. */
  get ptsMs() {
    let mark = null;
    for (const candidate of this.marks) {
      if (candidate.at <= this.read) mark = candidate;
    }
    return mark ? mark.ptsMs + ((this.read - mark.at) * 1000) / MEDIA_RATE_HZ : null;
  }

  /**
   * Put a block in.
   * @param {number} ptsMs media time of the block's first sample
   * @param {Int16Array|null} pcm null: 40 ms of silence
   * @param {boolean} speaking false: the block may be dropped or doubled, to keep the delay near its target
   */
  push(ptsMs, pcm, speaking) {
    const length = pcm ? pcm.length : MEDIA_RATE_HZ / 25;
    if (!speaking && this.written === 0) {
      // Blocks are coarser than the target, so the first silence is shortened to reach the target with the next block.
      const kept = this.targetMs - BLOCK_MS;
      this.mark(ptsMs + BLOCK_MS - kept);
      this.put(null, (kept * MEDIA_RATE_HZ) / 1000);
      return;
    }
    if (!speaking && this.playing) {
      if (this.bufferedMs > this.targetMs + SLACK_MS) {
        this.trimmed += 1;
        return;
      }
      // Nearly empty: double a silent block, so that the buffer fills up without a gap in speech.
      if (this.bufferedMs < (this.targetMs - BLOCK_MS) / 2) this.put(null, length);
    }
    // The ring is full, because the output stood still. Skip to the newest sound.
    if (this.written - this.read + length > CAPACITY) {
      this.read = this.written - (this.targetMs * MEDIA_RATE_HZ) / 1000;
      this.trimmed += 1;
    }
    this.mark(ptsMs);
    this.put(pcm, length);
  }

  /** Silence all samples that wait, with a short fade. */
  hush() {
    this.hushes += 1;
    const start = Math.floor(this.read);
    const fade = MEDIA_RATE_HZ / 100;
    for (let i = start; i < this.written; i += 1) {
      this.samples[i % CAPACITY] *= Math.max(0, 1 - (i - start) / fade);
    }
  }

  /**
   * Fill `out` with the samples to be heard next. Linear interpolation converts the rate.
   * @param {Float32Array} out
   */
  pull(out) {
    this.onset = -1;
    if (!this.playing && this.bufferedMs >= this.targetMs) this.playing = true;
    let i = 0;
    for (; this.playing && i < out.length; i += 1) {
      if (this.read + 1 > this.written) {
        this.playing = false;
        this.underruns += 1;
        this.calm = 0;
        this.targetMs = Math.min(this.targetMs + BLOCK_MS, MAX_TARGET_MS);
        break;
      }
      const at = Math.floor(this.read);
      const share = this.read - at;
      const first = this.samples[at % CAPACITY];
      const value = share ? first + share * (this.samples[Math.min(at + 1, this.written - 1) % CAPACITY] - first) : first;
      out[i] = value;
      this.read += this.step;
      if (Math.abs(value) < AUDIBLE) this.quietFor += 1;
      else {
        if (this.quietFor > MEDIA_RATE_HZ / 5 && this.onset < 0) this.onset = i;
        this.quietFor = 0;
      }
    }
    out.fill(0, i);
    this.calm += (1000 * out.length * this.step) / MEDIA_RATE_HZ;
    if (this.calm > CALM_MS) {
      this.calm = 0;
      this.targetMs = Math.max(this.targetMs - 20, START_TARGET_MS);
    }
    while (this.marks.length > 1 && this.marks[1].at <= this.read) this.marks.shift();
  }

  /**
   * Note the media time of the next sample, if it does not follow from the samples before.
   * @param {number} ptsMs
   */
  mark(ptsMs) {
    const last = this.marks[this.marks.length - 1];
    const expected = last && last.ptsMs + ((this.written - last.at) * 1000) / MEDIA_RATE_HZ;
    if (!last || Math.abs(expected - ptsMs) > 0.5) this.marks.push({ at: this.written, ptsMs });
  }

  /**
   * @param {Int16Array?} pcm
   * @param {number} length
   */
  put(pcm, length) {
    for (let i = 0; i < length; i += 1) {
      this.samples[(this.written + i) % CAPACITY] = pcm ? pcm[i] / 32768 : 0;
    }
    this.written += length;
  }
}

/** Brings sound of any sample rate to that of the session socket, in pieces, by a windowed sinc. */

export const LISTEN_RATE_HZ = 16000;
const CROSSINGS = 16; // of zero, to each side of the filter's middle
const CUTOFF = 0.92; // of half the lower rate: what is above would be heard as something else
const STEPS = 64; // of the filter's table, per input sample

export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz = LISTEN_RATE_HZ) {
    this.step = fromHz / toHz; // input samples per output sample
    const stretch = Math.max(1, this.step);
    this.reach = Math.ceil(CROSSINGS * stretch); // input samples to each side that an output sample depends on
    this.filter = filterOf(this.reach, CUTOFF / stretch);
    this.held = new Float32Array(this.reach); // silence before the first sample
    this.at = this.reach; // place in `held` of the next output sample
  }

  /**
   * What can be given so far; the filter holds a millisecond or two back.
   * @param {Float32Array} samples
   * @returns {Float32Array}
   */
  push(samples) {
    const { reach, step } = this;
    const all = new Float32Array(this.held.length + samples.length);
    all.set(this.held);
    all.set(samples, this.held.length);
    const resampled = new Float32Array(Math.max(0, Math.ceil((all.length - reach - this.at) / step)));
    let count = 0;
    for (; this.at + reach < all.length; this.at += step) resampled[count++] = this.valueAt(all, this.at);
    const kept = Math.max(0, Math.floor(this.at) - reach);
    this.held = all.slice(kept);
    this.at -= kept;
    return resampled.subarray(0, count);
  }

  /**
   * @param {Float32Array} samples
   * @param {number} at
   */
  valueAt(samples, at) {
    const { filter, reach } = this;
    let sum = 0;
    for (let index = Math.max(0, Math.ceil(at - reach)); index <= Math.floor(at + reach); index++) {
      const place = Math.abs(index - at) * STEPS;
      const left = Math.floor(place);
      sum += samples[index] * (filter[left] + (place - left) * (filter[left + 1] - filter[left]));
    }
    return sum;
  }
}

/**
 * One half of the filter, STEPS values per input sample.
 * @param {number} reach
 * @param {number} cutoff share of half the input rate
 */
function filterOf(reach, cutoff) {
  const filter = new Float32Array(reach * STEPS + 2);
  for (let place = 0; place <= reach * STEPS; place++) {
    const x = place / STEPS;
    const sinc = place ? Math.sin(Math.PI * x * cutoff) / (Math.PI * x) : cutoff;
    filter[place] = sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / reach));
  }
  return filter;
}

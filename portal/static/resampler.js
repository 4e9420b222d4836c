/** Resamples sound of any rate to the rate of the session socket, piece by piece, with a windowed-sinc filter. */

export const LISTEN_RATE_HZ = 16000;
const CROSSINGS = 16; // zero crossings of the sinc on each side of its middle
const CUTOFF = 0.92; // share of half the lower rate; higher frequencies would alias
const STEPS = 64; // entries of the filter's table per input sample

export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz = LISTEN_RATE_HZ) {
    this.step = fromHz / toHz; // input samples per output sample
    const stretch = Math.max(1, this.step);
    this.reach = Math.ceil(CROSSINGS * stretch); // input samples on each side that an output sample depends on
    this.filter = filterOf(this.reach, CUTOFF / stretch);
    this.held = new Float32Array(this.reach); // silence before the first sample
    this.at = this.reach; // position of the next output sample in `held`
  }

  /**
   * Return the output that is complete so far. The filter holds a millisecond or two back.
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
   * Return the filtered value at a position between samples. The table is interpolated linearly.
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
 * Return one half of the symmetric filter, a sinc with a Hann window, with STEPS values per input sample.
 * @param {number} reach half its length, in input samples
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

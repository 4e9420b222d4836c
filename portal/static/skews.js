/** Keeps the latest skews: by how much sound came after its picture. */

export class Skews {
  #kept = /** @type {number[]} */ ([]);

  /** @param {number} most how many of the latest are kept */
  constructor(most) {
    this.most = most;
  }

  /** @param {number} ms positive when the sound comes after its picture */
  add(ms) {
    this.#kept.push(ms);
    if (this.#kept.length > this.most) this.#kept.shift();
  }

  /** Median, in ms; null if there are none. */
  get medianMs() {
    const sorted = [...this.#kept].sort((a, b) => a - b);
    return sorted.length ? sorted[sorted.length >> 1] : null;
  }
}

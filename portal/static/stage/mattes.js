/** An avatar's mattes: where the person is at each place of its loop, and what is behind. The file: avatars/mattes.py. */

const LENGTH_BYTES = 4;
const AHEAD = 6; // places that are decoded before they are shown: a quarter of a second
const MOST_DECODED = 40;

/**
 * @typedef {{places: number[], lengths: number[], background: number}} Facts
 * @typedef {{facts: Facts, parts: Blob[]}} Parts the last one is the background
 */

/**
 * The parts of mattes.bin. Throws if it is none.
 * @param {ArrayBuffer} data
 * @returns {Parts}
 */
export function partsOf(data) {
  const length = new DataView(data).getUint32(0, true);
  let offset = LENGTH_BYTES + length;
  /** @type {Facts} */
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, LENGTH_BYTES, length)));
  const parts = [...facts.lengths, facts.background].map((bytes) => {
    offset += bytes;
    return new Blob([data.slice(offset - bytes, offset)], { type: "image/jpeg" });
  });
  if (offset !== data.byteLength) throw new Error("The mattes are cut off.");
  return { facts, parts };
}

export class Mattes {
  /** @type {Map<number, ImageBitmap?>} the oldest first; null: being decoded */
  #decoded = new Map();

  /**
   * @param {Parts} parts
   * @param {ImageBitmap} background
   */
  constructor({ facts, parts }, background) {
    this.places = facts.places;
    this.parts = parts;
    this.background = background;
  }

  /**
   * Rejects if they cannot be had.
   * @param {string} address
   */
  static async fetched(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    const parts = partsOf(await answer.arrayBuffer());
    return new Mattes(parts, await createImageBitmap(parts.parts[parts.parts.length - 1]));
  }

  get backgroundFile() {
    return this.parts[this.parts.length - 1];
  }

  /**
   * Whether there is a matte for a place. Those of gestures come after the loop's, and have none.
   * @param {number} place
   */
  has(place) {
    return place < this.places.length;
  }

  /**
   * The matte of a place, once it is decoded; those that come next are, too.
   * @param {number} place
   * @returns {ImageBitmap?}
   */
  at(place) {
    for (let ahead = AHEAD; ahead >= 0; ahead--) this.#decode(this.places[(place + ahead) % this.places.length]);
    return this.#decoded.get(this.places[place]) ?? null;
  }

  close() {
    this.background.close();
    for (const matte of this.#decoded.values()) matte?.close();
    this.#decoded.clear();
  }

  /** @param {number} index */
  async #decode(index) {
    const known = this.#decoded.get(index);
    this.#decoded.delete(index); // it becomes the newest
    this.#decoded.set(index, known ?? null);
    if (known !== undefined) return;
    const [oldest] = this.#decoded;
    if (this.#decoded.size > MOST_DECODED && oldest[1]) {
      oldest[1].close();
      this.#decoded.delete(oldest[0]);
    }
    const matte = await createImageBitmap(this.parts[index]).catch(() => null); // a damaged one: the one before is used
    if (this.#decoded.has(index)) this.#decoded.set(index, matte);
    else matte?.close();
  }
}

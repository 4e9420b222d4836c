/**
 * An avatar's mattes, which say where the person is at each loop position, and the background. avatars/mattes.py
 * describes the file.
 */

const LENGTH_BYTES = 4;
const AHEAD = 6; // loop positions that are decoded in advance: a quarter of a second
const MAX_DECODED = 40;

/**
 * @typedef {{places: number[], lengths: number[], background: number}} Facts
 * @typedef {{facts: Facts, parts: Blob[]}} Parts the last part is the background
 */

/**
 * Return the parts of a file mattes.bin. Throws if the data are not such a file.
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
  /** @type {Map<number, ImageBitmap?>} decoded mattes by index, least recently used first; null: being decoded */
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
   * Fetch the mattes at an address. Rejects if that fails.
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
   * Whether there is a matte for a loop position. Positions of gestures come after the loop's and have none.
   * @param {number} place
   */
  has(place) {
    return place < this.places.length;
  }

  /**
   * Return the matte of a loop position, or null until it is decoded. The next ones start to be decoded, too.
   * @param {number} place
   * @returns {ImageBitmap?}
   */
  at(place) {
    // The wanted matte comes last, so that it is the most recently used and is not dropped.
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
    this.#decoded.delete(index); // set() below makes it the newest
    this.#decoded.set(index, known ?? null);
    if (known !== undefined) return;
    const [oldest] = this.#decoded;
    if (this.#decoded.size > MAX_DECODED && oldest[1]) {
      oldest[1].close();
      this.#decoded.delete(oldest[0]);
    }
    const matte = await createImageBitmap(this.parts[index]).catch(() => null); // damaged: the one before stays in use
    if (this.#decoded.has(index)) this.#decoded.set(index, matte);
    else matte?.close();
  }
}

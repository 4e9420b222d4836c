/**
 * Drive an avatar of a Vivavoce portal from JavaScript: let it speak, ask it questions, and get its pictures and sound.
 * It runs in Node.js 22 and later, Deno, Bun and browsers, and needs no other package.
 *
 *     import { Session } from "./vivavoce-client.js";
 *
 *     const session = await Session.open("http://127.0.0.1:7860", { avatar: "mira" });
 *     await session.finished(await session.say("Hello there."));
 *     await session.close();
 *
 * It uses the portal's session socket, which docs/protocol.md of the portal describes. A page of another website can
 * use it if the portal allows that website (`--allowed-origins`).
 */

/**
 * What a new session should be like. The portal chooses whatever is left out.
 * @typedef {object} Wish
 * @property {string} [avatar]
 * @property {string} [voice]
 * @property {string} [tts]
 * @property {string} [lipsync]
 * @property {number} [speed]
 * @property {string} [prompt]
 * @property {string} [greeting]
 * @property {{role: "user" | "assistant", content: string}[]} [history] what was said in an earlier session
 * @property {Record<string, string>} [identity]
 * @property {boolean} [wait] true: wait in line if all places are taken
 */

/**
 * What to change in a running session. Fields that are left out stay as they are; null: back to the portal's or the
 * avatar's own.
 * @typedef {object} Change
 * @property {string | null} [voice]
 * @property {string | null} [tts]
 * @property {string | null} [lipsync]
 * @property {number | null} [speed]
 * @property {string | null} [prompt]
 */

/**
 * @typedef {object} Options
 * @property {boolean} [media] whether pictures and sound are wanted, true by default; without them only events come
 * @property {Record<string, string>} [headers] HTTP headers of the handshake, e.g. Authorization if the portal has a
 *     login. Browsers do not let scripts set them
 */

/**
 * The portal's answer to opening the session.
 * @typedef {object} Welcome
 * @property {string} session
 * @property {{id: string, name: string}} avatar
 * @property {string[]} gestures
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} sampleRate
 */

/**
 * A picture and its sound, 40 ms long.
 * @typedef {object} Frame
 * @property {number} timeS seconds on the session's media clock
 * @property {boolean} speaking
 * @property {Uint8Array<ArrayBuffer>} jpeg the picture as received; the previous one if none came with this frame
 * @property {Float32Array<ArrayBuffer>} sound 1920 samples, mono at 48 kHz, from -1 to 1
 */

/**
 * A message from the portal, such as {type: "subtitle", text: "..."}.
 * @typedef {{type: string, [field: string]: any}} PortalEvent
 */

export const SAMPLE_RATE_HZ = 48_000;
const FRAMES_BOUND = 50; // most frames that wait for frames(): 2 s. When it is full, the oldest is dropped
const EVENTS_BOUND = 1000; // most events that wait for events(). When it is full, the oldest is dropped
const MAX_WAITING = 4; // most sentences of speak() that wait in the portal at a time. The portal itself takes eight
const LEAD_S = 10; // most sound that is sent ahead of what is heard. The portal refuses more than 30 s
const PIECE_S = 0.5;
const SHORTEST_PIECE_S = 0.02;
const LOOKED_EVERY_MS = 100;
const ANSWERED_WITHIN_MS = 15_000;
const OPENED_WITHIN_MS = 120_000; // long, because the portal may have to load a network first

const HEADER_BYTES = 16; // kind, flags, sequence number, bytes of sound, microseconds on the media clock
const MEDIA_KIND = 1;
const SPEAKING = 1;
const HAS_PICTURE = 2;
const SAMPLES = 1920;
const SOUND_HEADER_BYTES = 8; // kind, flags, sequence number, turn; 16-bit samples follow
const SOUND_KIND = 3;
const SOUND_ENDS = 1;
/** Codes of errors by which the portal refuses a text itself. Other errors belong to a turn that was queued. */
const REFUSALS = ["bad_request", "too_often", "too_large", "session_closed"];
/** Close codes with which a portal ends a session in order; 1012 when the portal itself stops. */
const ENDED = [1000, 1001, 1012];
/** This also is an orderly end. 1008 with another reason is a fault. */
const ENDED_WITH = { code: 1008, reason: "The session has ended." };
const SENTENCE_END = /(?<=[.!?])\s+|(?<=[。！？；\n])\s*/;

/** Thrown when the portal refuses something, or the connection breaks. `code` is for programs, `hint` the remedy. */
export class PortalError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {string} [hint]
   */
  constructor(code, message, hint = "") {
    super(`${message} ${hint}`.trim());
    this.name = "PortalError";
    this.code = code;
    this.hint = hint;
  }
}

const SILENT = new PortalError("connection_lost", "The portal does not answer.", "Open a new session.");

/** A question and its answer, or a text that is spoken as it is. Its fields change while the session goes on. */
export class Turn {
  /** @param {number} number */
  constructor(number) {
    this.number = number;
    /** @type {"queued" | "thinking" | "speaking" | "done" | "interrupted"} */
    this.state = "queued";
    /** The language model's answer so far; empty for a text that is spoken as it is. */
    this.text = "";
    /** @type {PortalError[]} errors that happened during the turn */
    this.errors = [];
  }

  get over() {
    return this.state === "done" || this.state === "interrupted";
  }
}

/**
 * What a SpokenSound needs of its session.
 * @typedef {object} SoundWay
 * @property {(message: ArrayBuffer) => void} send sends a message; throws a PortalError if the session has ended
 * @property {() => number} heardS returns for how many seconds the turn has been heard
 * @property {() => Promise<void>} pause waits a moment, or until the turn or the session has ended
 */

/**
 * A turn that speaks the sound given to write(), beginning with the first piece. Call end() after the last. It is made
 * by Session.openSound(). A turn that gets no sound for about 20 s ends by itself.
 */
export class SpokenSound {
  #way;
  #rest = new Int16Array(); // samples that are still too few for a piece
  #sentS = 0;
  #sequence = 0;
  #hasEnded = false;

  /**
   * Call Session.openSound() instead.
   * @param {Turn} turn
   * @param {number} rateHz
   * @param {SoundWay} way
   */
  constructor(turn, rateHz, way) {
    this.turn = turn;
    this.rateHz = rateHz;
    this.#way = way;
  }

  /**
   * Speak these samples next. Waits while more than 10 s have been sent and not heard yet; resolves when all are sent.
   * Sound for a turn that was interrupted is dropped. Rejects with a PortalError.
   * @param {Int16Array | Float32Array} samples mono; floating point from -1 to 1
   * @returns {Promise<void>}
   */
  async write(samples) {
    const whole = joined(this.#rest, samples);
    const [piece, shortest] = [Math.round(PIECE_S * this.rateHz), SHORTEST_PIECE_S * this.rateHz];
    let place = 0;
    while (whole.length - place >= shortest) {
      const next = whole.subarray(place, place + piece);
      place += next.length;
      await this.#send(next);
    }
    this.#rest = whole.slice(place);
  }

  /** Tell the portal that there is no more sound. Idempotent. Rejects with a PortalError. */
  async end() {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    await this.#send(this.#rest, SOUND_ENDS);
  }

  /**
   * @param {Int16Array} samples
   * @param {number} [flags]
   */
  async #send(samples, flags = 0) {
    while (!this.turn.over && this.#sentS - this.#way.heardS() > LEAD_S) await this.#way.pause();
    if (this.turn.over) return;
    this.#sentS += samples.length / this.rateHz;
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const view = new DataView(new ArrayBuffer(SOUND_HEADER_BYTES + 2 * samples.length));
    view.setUint8(0, SOUND_KIND);
    view.setUint8(1, flags);
    view.setUint16(2, this.#sequence, true);
    view.setUint32(4, this.turn.number, true);
    samples.forEach((sample, place) => view.setInt16(SOUND_HEADER_BYTES + 2 * place, sample, true));
    this.#way.send(view.buffer);
  }
}

/** A session with an avatar. It lasts from Session.open() to close(). */
export class Session {
  /** @type {Welcome} */
  welcome = /** @type {any} */ (null); // open() sets it before it returns the session
  #socket;
  /** @type {PromiseWithResolvers<void>?} resolved by the portal's welcome; null once open() is through */
  #opening = Promise.withResolvers();
  /** @type {Latest<Frame>} */
  #frames = new Latest(FRAMES_BOUND);
  /** @type {Latest<PortalEvent>} */
  #events = new Latest(EVENTS_BOUND);
  /** @type {Map<number, {turn: Turn, ended: PromiseWithResolvers<void>, heardAtMs?: number}>} turns that go on */
  #turns = new Map();
  /** @type {PromiseWithResolvers<Turn>?} the request for a turn that the portal has not answered yet */
  #asked = null;
  /** @type {Promise<unknown>} settles when all earlier requests for a turn are answered */
  #asking = Promise.resolve();
  /** @type {Uint8Array<ArrayBuffer>} the latest picture */
  #jpeg = new Uint8Array();
  /** @type {PortalError?} why the session has ended; null while it goes on */
  #fault = null;

  /**
   * Open a session. Rejects with a PortalError, e.g. if there is no place, avatar or server, or if a login is needed.
   * @param {string} url the portal's, e.g. http://127.0.0.1:7860, or with a path behind a proxy
   * @param {Wish & Options} [options]
   * @returns {Promise<Session>}
   */
  static async open(url, { media = true, headers, ...wish } = {}) {
    const session = new Session(socketTo(url, headers), wish);
    try {
      await session.#opened(wish.wait ? undefined : OPENED_WITHIN_MS);
      if (media) session.#send("media", { use: "websocket" });
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  }

  /**
   * Call Session.open() instead.
   * @private
   * @param {WebSocket} socket
   * @param {Wish} wish
   */
  constructor(socket, wish) {
    this.#socket = socket;
    socket.onopen = () => this.#send("hello", wish);
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.#take(JSON.parse(data));
      else this.#takeMedia(data);
    };
    socket.onclose = ({ code, reason }) => this.#end(broken(code, reason), !isOrderly(code, reason));
    socket.onerror = () => {}; // the event "close" follows and is handled
  }

  /** End the session. Idempotent. */
  async close() {
    this.#end(new PortalError("session_closed", "The session has ended."));
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise((done) => socket.addEventListener("close", done, { once: true }));
    if (socket.readyState === WebSocket.OPEN) socket.send('{"type": "bye"}');
    socket.close();
    await closed;
  }

  /** @param {number} [withinMs] */
  async #opened(withinMs) {
    const opening = this.#opening;
    const late = withinMs && setTimeout(() => opening?.reject(SILENT), withinMs);
    try {
      await opening?.promise;
    } finally {
      clearTimeout(late);
      this.#opening = null;
    }
  }

  /**
   * Speak a text as it is, after what is being said. Resolves when the portal has queued it. Rejects with a
   * PortalError.
   * @param {string} text
   * @returns {Promise<Turn>}
   */
  say(text) {
    return this.#queue("say", { text, mode: "echo" });
  }

  /**
   * Have the language model answer a text. This interrupts what is being said. Rejects with a PortalError.
   * @param {string} text
   * @returns {Promise<Turn>}
   */
  ask(text) {
    return this.#queue("say", { text, mode: "chat" });
  }

  /**
   * Speak a text that comes in pieces, such as the stream of a language model, sentence by sentence. Resolves when the
   * portal has queued the last sentence. Rejects with a PortalError.
   * @param {AsyncIterable<string> | Iterable<string>} pieces
   * @returns {Promise<void>}
   */
  async speak(pieces) {
    /** @type {Turn[]} */
    const turns = [];
    for await (const sentence of sentences(pieces)) {
      const first = turns.length >= MAX_WAITING && turns.shift();
      if (first) await this.finished(first);
      turns.push(await this.say(sentence));
    }
  }

  /**
   * Speak your own sound, after what is being said. Resolves to the turn that takes it. Rejects with a PortalError.
   * @param {number} rateHz sample rate of the sound, 8000 to 48000
   * @returns {Promise<SpokenSound>}
   */
  async openSound(rateHz) {
    const turn = await this.#queue("speak", { rate: rateHz });
    const open = this.#turns.get(turn.number);
    return new SpokenSound(turn, rateHz, {
      send: (message) => this.#sendRaw(message),
      heardS: () => (open?.heardAtMs === undefined ? 0 : (performance.now() - open.heardAtMs) / 1000),
      pause: async () => {
        if (this.#fault) throw this.#fault;
        const { promise, resolve } = Promise.withResolvers();
        const timer = setTimeout(resolve, LOOKED_EVERY_MS);
        await Promise.race([promise, open?.ended.promise]);
        clearTimeout(timer);
      },
    });
  }

  /**
   * Speak a recording, after what is being said. Resolves when all of it is sent. Rejects with a PortalError.
   * @param {Int16Array | Float32Array} samples mono; floating point from -1 to 1
   * @param {number} rateHz sample rate of the recording, 8000 to 48000
   * @returns {Promise<Turn>}
   */
  async play(samples, rateHz) {
    const sound = await this.openSound(rateHz);
    await sound.write(samples);
    await sound.end();
    return sound.turn;
  }

  /**
   * Wait until a turn is done or interrupted. Rejects with a PortalError if the session ends first.
   * @param {Turn} turn
   * @returns {Promise<Turn>}
   */
  async finished(turn) {
    await this.#turns.get(turn.number)?.ended.promise;
    if (!turn.over) throw this.#fault ?? new PortalError("bad_request", "This turn is none of this session's.");
    return turn;
  }

  /** Stop speaking, and drop what waits to be spoken. */
  interrupt() {
    this.#send("interrupt");
  }

  /**
   * Show one of the avatar's gestures (`welcome.gestures`).
   * @param {string | null} [name] null: return to the idle loop
   */
  gesture(name = null) {
    this.#send("gesture", { name });
  }

  /**
   * Continue as another avatar. The event `avatar` reports when it is on show.
   * @param {string} avatar id
   */
  swapAvatar(avatar) {
    this.#send("avatar", { id: avatar });
  }

  /**
   * Continue with another voice, lip-sync or persona. Nothing is interrupted. The event `choice` then says what is in
   * force, and whether anything has changed.
   * @param {Change} wishes
   */
  change(wishes) {
    this.#send("change", wishes);
  }

  /**
   * Iterate over the frames, 25 per second, until the session ends. There can be one reader only. If it is too slow,
   * the oldest frames are dropped. Rejects with a PortalError if the connection breaks.
   * @returns {AsyncIterableIterator<Frame>}
   */
  frames() {
    return this.#frames.all();
  }

  /**
   * Iterate over the portal's messages until the session ends. There can be one reader only. If it is too slow, the
   * oldest messages are dropped. Rejects with a PortalError if the connection breaks.
   * @returns {AsyncIterableIterator<PortalEvent>}
   */
  events() {
    return this.#events.all();
  }

  /**
   * Ask the portal for a turn. Resolves when it is queued.
   * @param {"say" | "speak"} type
   * @param {object} fields
   * @returns {Promise<Turn>}
   */
  #queue(type, fields) {
    // One request at a time: the answer does not say which request it belongs to.
    const before = this.#asking;
    const asking = before.then(() => this.#queueNow(type, fields));
    this.#asking = asking.catch(() => {});
    return asking;
  }

  /**
   * @param {"say" | "speak"} type
   * @param {object} fields
   */
  async #queueNow(type, fields) {
    const asked = (this.#asked = Promise.withResolvers());
    const late = setTimeout(() => asked.reject(SILENT), ANSWERED_WITHIN_MS);
    try {
      this.#send(type, fields);
      return await asked.promise;
    } finally {
      clearTimeout(late);
      this.#asked = null;
    }
  }

  /**
   * @param {string} type
   * @param {object} [fields]
   */
  #send(type, fields) {
    this.#sendRaw(JSON.stringify({ type, ...fields }));
  }

  /** @param {string | ArrayBuffer} message */
  #sendRaw(message) {
    if (this.#fault) throw this.#fault;
    this.#socket.send(message);
  }

  /** @param {ArrayBuffer} data */
  #takeMedia(data) {
    const view = new DataView(data);
    if (view.byteLength < HEADER_BYTES || view.getUint8(0) !== MEDIA_KIND) return;
    const flags = view.getUint8(1);
    const soundBytes = view.getUint32(4, true);
    const timeS = Number(view.getBigInt64(8, true)) / 1e6;
    const pictureAt = HEADER_BYTES + soundBytes;
    if (flags & HAS_PICTURE) this.#jpeg = new Uint8Array(data, pictureAt);
    if (!this.#jpeg.length) return;
    const sound = new Float32Array(SAMPLES);
    for (let place = 0; place < soundBytes / 2; place += 1) {
      sound[place] = view.getInt16(HEADER_BYTES + 2 * place, true) / 32768;
    }
    this.#frames.put({ timeS, speaking: Boolean(flags & SPEAKING), jpeg: this.#jpeg, sound });
  }

  /** @param {PortalEvent} message */
  #take(message) {
    if (!this.welcome) {
      if (message.type === "error") this.#opening?.reject(errorOf(message));
      if (message.type !== "welcome") return;
      this.welcome = /** @type {any} */ (message);
      this.#opening?.resolve();
      return;
    }
    if (message.type === "turn") this.#takeTurn(message.turn, message.state);
    if (message.type === "text") {
      const open = this.#turns.get(message.turn);
      if (open) open.turn.text += message.delta;
    }
    if (message.type === "error") this.#takeError(errorOf(message));
    this.#events.put(message);
  }

  /**
   * @param {number} number
   * @param {Turn["state"]} state
   */
  #takeTurn(number, state) {
    if (state === "queued") {
      const turn = new Turn(number);
      this.#turns.set(number, { turn, ended: Promise.withResolvers() });
      this.#asked?.resolve(turn);
      return;
    }
    const open = this.#turns.get(number);
    if (!open) return;
    open.turn.state = state;
    if (state === "speaking") open.heardAtMs ??= performance.now();
    if (!open.turn.over) return;
    this.#turns.delete(number);
    open.ended.resolve();
  }

  /** @param {PortalError} error */
  #takeError(error) {
    if (REFUSALS.includes(error.code)) {
      this.#asked?.reject(error);
      return;
    }
    const [first] = this.#turns.values(); // turns run in their order, so the error belongs to the oldest
    first?.turn.errors.push(error);
  }

  /**
   * @param {PortalError} fault
   * @param {boolean} [isBroken] whether the connection broke; readers of frames and events then get the fault
   */
  #end(fault, isBroken = false) {
    if (this.#fault) return;
    this.#fault = fault;
    this.#opening?.reject(fault);
    this.#asked?.reject(fault);
    this.#frames.end(isBroken ? fault : null);
    this.#events.end(isBroken ? fault : null);
    for (const { ended } of this.#turns.values()) ended.resolve();
    this.#turns.clear();
  }
}

/**
 * A queue for one reader that keeps only the newest `bound` items.
 * @template Item
 */
class Latest {
  /** @type {Item[]} */
  #items = [];
  #bound;
  #ended = false;
  /** @type {PortalError?} */
  #fault = null;
  #changed = () => {};

  /** @param {number} bound */
  constructor(bound) {
    this.#bound = bound;
  }

  /** @param {Item} item */
  put(item) {
    this.#items.push(item);
    if (this.#items.length > this.#bound) this.#items.shift();
    this.#changed();
  }

  /** @param {PortalError?} fault thrown to the reader after the last item; null: the items just end */
  end(fault) {
    this.#ended = true;
    this.#fault = fault;
    this.#changed();
  }

  /** @returns {AsyncGenerator<Item, undefined, undefined>} */
  async *all() {
    while (true) {
      const item = this.#items.shift();
      if (item !== undefined) yield item;
      else if (this.#fault) throw this.#fault;
      else if (this.#ended) return;
      else await new Promise((changed) => (this.#changed = () => changed(null)));
    }
  }
}

/**
 * @param {string} url
 * @param {Record<string, string>} [headers]
 */
function socketTo(url, headers) {
  const portal = new URL(url);
  if (!["http:", "https:"].includes(portal.protocol)) {
    throw new TypeError(`${url} is no address of a portal; write it like http://127.0.0.1:7860`);
  }
  const scheme = portal.protocol === "https:" ? "wss" : "ws";
  const address = `${scheme}://${portal.host}${portal.pathname.replace(/\/$/, "")}/session`;
  // In browsers the second argument is a list of protocols; Node.js and others take options there as well.
  const socket = headers ? new WebSocket(address, /** @type {any} */ ({ headers })) : new WebSocket(address);
  socket.binaryType = "arraybuffer";
  return socket;
}

/**
 * @param {Int16Array} before
 * @param {Int16Array | Float32Array} samples
 */
function joined(before, samples) {
  const whole = new Int16Array(before.length + samples.length);
  whole.set(before);
  if (samples instanceof Int16Array) whole.set(samples, before.length);
  else samples.forEach((sample, place) => (whole[before.length + place] = coded(sample)));
  return whole;
}

/** @param {number} sample from -1 to 1 */
function coded(sample) {
  return Math.max(-32768, Math.min(32767, sample * 32768));
}

/** @param {AsyncIterable<string> | Iterable<string>} pieces */
async function* sentences(pieces) {
  let rest = "";
  for await (const piece of pieces) {
    const whole = (rest + piece).split(SENTENCE_END);
    rest = whole.pop() ?? "";
    yield* whole.filter((sentence) => sentence.trim());
  }
  if (rest.trim()) yield rest;
}

/** @param {PortalEvent} message */
function errorOf({ code, message, hint }) {
  return new PortalError(String(code ?? ""), String(message ?? ""), String(hint ?? ""));
}

/**
 * Return whether the portal ended the session in order. Otherwise the connection broke.
 * @param {number} code
 * @param {string} reason
 */
function isOrderly(code, reason) {
  return ENDED.includes(code) || (code === ENDED_WITH.code && reason === ENDED_WITH.reason);
}

/**
 * @param {number} code
 * @param {string} reason
 */
function broken(code, reason) {
  const why = reason || `code ${code}`;
  return new PortalError("connection_lost", `There is no connection to the portal (${why}).`, "Open a new session.");
}

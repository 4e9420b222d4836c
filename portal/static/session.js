/**
 * The page's end of the session socket. It opens the session, sends and receives, and reconnects when it breaks.
 *
 * Events: "message" (detail: a JSON message), "media" (detail: ArrayBuffer), "lost" (the socket broke and is being
 * mended), "resumed" (detail: the welcome of the same session), "renewed" (detail: the welcome of a new session, since
 * the old one is gone; its `restored` says whether the conversation goes on where it broke off), "ended" (detail: the
 * error that ended the session).
 */

import { PortalError, errorOf } from "./errors.js";
import { portalUrl } from "./server.js";
import { Teller } from "./teller.js";

/**
 * @typedef {import("./types/messages.d.ts").ClientMessage} ClientMessage
 * @typedef {import("./types/messages.d.ts").Hello} Hello
 * @typedef {import("./types/messages.d.ts").Pong} Pong
 * @typedef {import("./types/messages.d.ts").Remark} Remark
 * @typedef {import("./types/messages.d.ts").ServerMessage} ServerMessage
 * @typedef {import("./types/messages.d.ts").Welcome} Welcome
 */

/**
 * What a session begins with. `history` returns what was said before; it is called each time a new session begins.
 * @typedef {Omit<Hello, "type" | "token" | "history"> & {history?: () => Remark[]}} Wish
 */

const PING_EVERY_MS = 2000;
const SILENT_FOR_MS = 6000; // a socket that leaves a ping unanswered for longer is taken for dead
const LOOK_EVERY_MS = 50;
const OPEN_WITHIN_MS = 15000;
const REASON_WITHIN_MS = 5000; // for asking the server by HTTP why it refused the socket
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;
const GIVE_UP_AFTER_MS = 60000;
const LONGEST_KEEPING_RETRY_MS = 30000;
const LOGIN_ENDED = ["login_needed", "wrong_password"];
const MAX_SOUND_BYTES = 48000; // 1.5 s of sound; the server accepts at most 2 s at once

/**
 * @extends {Teller<{
 *   message: ServerMessage, media: ArrayBuffer, lost: void, resumed: Welcome, renewed: Welcome, ended: PortalError,
 * }>}
 */
export class SessionSocket extends Teller {
  /**
   * @param {string} url ws: or wss: address of the session socket
   * @param {{keep?: boolean, loginAgain?: () => Promise<boolean>}} options keep: open another session whenever one ends
   *     by anything but close(), without limit. loginAgain: called when the login has ended; resolves to whether there
   *     is a new one
   */
  constructor(url, { keep = false, loginAgain = () => Promise.resolve(false) } = {}) {
    super();
    this.url = url;
    this.keep = keep;
    this.loginAgain = loginAgain;
    /** @type {Wish} */
    this.hello = {};
    /** @type {string?} */
    this.token = null;
    this.closed = false;
    /** @type {{at: number, media: number}?} performance.now() in ms and the media time in s then, from the last ping */
    this.clock = null;
    /** @type {WebSocket?} */
    this.socket = null;
    /** @type {WebSocket?} a socket that waits for its welcome */
    this.greeting = null;
    this.heardAt = -Infinity;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.pinger = undefined;
    this.leaving = () => this.send({ type: "bye" });
  }

  /**
   * Open a session. Resolves to its welcome, rejects with a PortalError.
   * @param {Wish} hello
   */
  async open(hello) {
    this.hello = hello;
    const welcome = await this.greetKnown(this.newHello()).catch((error) => {
      // A viewer who was already waiting in line keeps waiting when the server is unreachable for a moment.
      if (!this.isWorthAnother(error) && !(error.code === "unreachable" && this.heardAt > 0)) throw error;
      this.tell("lost");
      return this.greetAgain();
    });
    addEventListener("pagehide", this.leaving);
    return welcome;
  }

  /**
   * Return the hello for a new session, also for one that replaces a lost session. It carries what was said so far.
   * @returns {Hello}
   */
  newHello() {
    const { history, ...hello } = this.hello;
    return { type: "hello", ...hello, history: history?.() };
  }

  /**
   * @param {ClientMessage} message
   * @returns {boolean} false if there is no open socket to send on
   */
  send(message) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /**
   * Send sound of the microphone. Late sound is useless, so it is dropped while the socket is congested.
   * @param {ArrayBuffer} data
   * @returns {boolean} false if the sound was dropped
   */
  sendSound(data) {
    const { socket } = this;
    if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_SOUND_BYTES) return false;
    socket.send(data);
    return true;
  }

  /** End the session now. */
  close() {
    this.send({ type: "bye" });
    this.drop();
  }

  /** Return the time of the server's media clock now, in seconds, or null while it is unknown. */
  mediaNow() {
    return this.clock ? this.clock.media + (performance.now() - this.clock.at) / 1000 : null;
  }

  /** Close the socket without saying goodbye, and stop mending it. */
  drop() {
    this.closed = true;
    removeEventListener("pagehide", this.leaving);
    clearInterval(this.pinger);
    if (this.socket) this.socket.close(1000);
    if (this.greeting) this.greeting.close(1000);
  }

  /**
   * Like greet(), but if the login has ended and the viewer can log in again, greet once more.
   * @param {Hello} hello
   * @returns {Promise<Welcome>}
   */
  async greetKnown(hello) {
    try {
      return await this.greet(hello);
    } catch (thrown) {
      const { code } = /** @type {PortalError} */ (thrown);
      if (!LOGIN_ENDED.includes(code) || !(await this.loginAgain())) throw thrown;
      return this.greet(hello);
    }
  }

  /**
   * Open one socket and say hello. Resolves to the welcome.
   * @param {Hello} hello
   * @returns {Promise<Welcome>}
   */
  greet(hello) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.url);
      this.greeting = socket;
      socket.binaryType = "arraybuffer";
      let welcomed = false;
      const unreachable = () => new PortalError({ code: "unreachable", message: "The server cannot be reached." });
      const patience = setTimeout(() => socket.close(), OPEN_WITHIN_MS);
      // A dead connection may take long to close, so its "close" event is not waited for.
      const giveUp = () => {
        socket.onclose = socket.onmessage = null;
        socket.close();
        clearInterval(this.pinger);
        reject(unreachable());
      };
      socket.onopen = () => {
        clearTimeout(patience);
        socket.send(JSON.stringify(hello));
      };
      socket.onmessage = ({ data }) => {
        // A socket that was replaced by another may still deliver messages.
        if (this.closed || (socket !== this.socket && welcomed)) return;
        this.heardAt = performance.now();
        if (typeof data !== "string") return this.tell("media", data);
        /** @type {ServerMessage} */
        const message = JSON.parse(data);
        if (message.type === "welcome") {
          welcomed = true;
          this.greeting = null;
          this.token = message.token;
          this.socket = socket;
          this.expectSigns(socket, () => this.mend());
          resolve(message);
        } else if (!welcomed && message.type === "error") {
          socket.onclose = null;
          socket.close(1000);
          clearInterval(this.pinger);
          reject(new PortalError(message));
        } else {
          if (message.type === "waiting") this.expectSigns(socket, giveUp);
          this.take(message);
        }
      };
      socket.onclose = () => {
        clearTimeout(patience);
        if (!welcomed) clearInterval(this.pinger);
        if (!welcomed && this.closed) {
          reject(stopped());
        } else if (!welcomed) {
          whyRefused().then((reason) => reject(reason ?? unreachable()));
        } else if (socket === this.socket && !this.closed) this.mend();
      };
    });
  }

  /** @param {ServerMessage} message */
  take(message) {
    if (message.type === "pong") this.setClock(message);
    if (message.type === "error" && message.code === "session_closed") {
      if (this.keep) return this.renew(FIRST_RETRY_MS);
      this.drop();
      this.tell("ended", new PortalError(message));
    } else this.tell("message", message);
  }

  /** @param {Pong} pong */
  setClock({ t, media }) {
    if (media === null) return;
    const now = performance.now();
    this.clock = { at: (t + now) / 2, media }; // the server read its clock about halfway through the round trip
  }

  /**
   * Ping the server regularly, and call onSilence when it no longer answers.
   * @param {WebSocket} socket
   * @param {() => void} onSilence
   */
  expectSigns(socket, onSilence) {
    clearInterval(this.pinger);
    let asked = 0;
    const ping = () => {
      const now = performance.now();
      // A hidden tab's timers may fire minutes apart, so silence counts from the first ping without an answer.
      if (asked && this.heardAt < asked && now - asked > SILENT_FOR_MS) return onSilence();
      if (!asked || this.heardAt >= asked) asked = now;
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "ping", t: now }));
    };
    ping();
    this.pinger = setInterval(ping, PING_EVERY_MS);
  }

  /**
   * Resolves to whether the server says anything within `withinMs` milliseconds.
   * @param {number} withinMs
   * @returns {Promise<boolean>}
   */
  answers(withinMs) {
    if (!this.send({ type: "ping", t: performance.now() })) return Promise.resolve(false);
    const askedAt = performance.now();
    return new Promise((resolve) => {
      const look = () => {
        if (this.heardAt > askedAt) resolve(true);
        else if (this.closed || performance.now() - askedAt > withinMs) resolve(false);
        else setTimeout(look, LOOK_EVERY_MS);
      };
      look();
    });
  }

  /**
   * Leave this session and open a new one with the same wish.
   * @param {number} afterMs
   */
  renew(afterMs) {
    this.send({ type: "bye" });
    this.token = null;
    return this.mend(afterMs);
  }

  /** The socket broke. Come back to the same session, or to a new one if the server no longer has it. */
  async mend(afterMs = 0) {
    clearInterval(this.pinger);
    const broken = this.socket;
    this.socket = null;
    if (broken) broken.close();
    this.tell("lost");
    try {
      if (afterMs) await passedOrOnline(afterMs);
      const welcome = await this.greetAgain();
      this.tell(welcome.resumed ? "resumed" : "renewed", welcome);
    } catch (error) {
      if (this.closed) return;
      this.drop();
      this.tell("ended", /** @type {PortalError} */ (error));
    }
  }

  /** Say hello until the server answers. Gives up after a minute without a sign of the server, unless `keep` is set. */
  async greetAgain() {
    let since = performance.now();
    let wait = FIRST_RETRY_MS;
    while (!this.closed) {
      const triedAt = performance.now();
      // A hidden page must not take a place from other viewers.
      if (this.keep && !this.token) await shown();
      try {
        return await this.greetKnown(this.token ? { type: "hello", token: this.token, wait: true } : this.newHello());
      } catch (thrown) {
        const error = /** @type {PortalError} */ (thrown);
        if (error.code === "unknown_token") {
          this.token = null;
          continue;
        }
        // The server answered this attempt (the viewer was in its line) and was lost again, so patience starts anew.
        if (this.heardAt > triedAt) [since, wait] = [performance.now(), FIRST_RETRY_MS];
        const isPatient = error.code === "unreachable" && performance.now() - since <= GIVE_UP_AFTER_MS;
        if (!isPatient && !this.isWorthAnother(error)) throw error;
      }
      await passedOrOnline(wait);
      wait = Math.min(2 * wait, this.keep ? LONGEST_KEEPING_RETRY_MS : LONGEST_RETRY_MS);
    }
    throw stopped();
  }

  /**
   * Whether to try again after this error. With `keep` that is so without limit, except where the avatar has to be
   * prepared first (`error.job`): then whoever opened the session waits for that job.
   * @param {PortalError} error
   */
  isWorthAnother(error) {
    return this.keep && !this.closed && !error.job;
  }
}

/**
 * Browsers do not say why a socket was refused, so ask the server by HTTP whether the login is still valid. Resolves to
 * null if it is, or if the server cannot be reached.
 * @returns {Promise<PortalError?>}
 */
async function whyRefused() {
  const signal = AbortSignal.timeout(REASON_WITHIN_MS);
  const answer = await fetch(portalUrl("api/me"), { signal }).catch(() => null);
  if (answer?.status !== 401) return null;
  return new PortalError(errorOf(401, await answer.json().catch(() => null)));
}

/**
 * Resolves when the page is visible.
 * @returns {Promise<void>}
 */
function shown() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}

/**
 * Resolves after `ms` milliseconds, or earlier when the browser is online again.
 * @param {number} ms
 * @returns {Promise<void>}
 */
function passedOrOnline(ms) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener("online", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    addEventListener("online", over);
  });
}

export function stopped() {
  return new PortalError({ code: "stopped", message: "The session was stopped." });
}

export function noSession() {
  return new PortalError({ code: "no_session", message: "There is no session.", hint: "Press Start." });
}

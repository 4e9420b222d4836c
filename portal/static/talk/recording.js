/** Records the session: the button, the mark over the picture while recording, and links to the files. */

import { find, make } from "../dom.js";
import { portalUrl, listOf } from "../server.js";
import { bindAsking } from "./asking-button.js";

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").Recorded} Recorded
 */

const LOOK_EVERY_MS = 500; // how often to look for the files of a recording that ended with its session
const LOOKS = 60; // looks before it is taken for lost
const MAX_LINKS = 5; // recordings that are listed; the oldest go first
const LOST = { code: "recording_not_found", message: "The recording was not kept.", hint: "Record again." };

export class RecordingControl {
  /** @type {Texts} */
  #texts = {};
  /** @type {{id: string, name: string, beganAt: number}?} beganAt: ms by performance.now() */
  #running = null;
  /** @type {{id: string, name: string, isThere: boolean}[]} newest first; isThere: its files are ready */
  #ended = [];

  /**
   * @param {ParentNode} root the Talk tab
   * @param {Player} player
   * @param {{began: () => void, fault: (error: ErrorView) => void}} page fault: called with the reason when a recording
   *     has failed or has no signature
   */
  constructor(root, player, page) {
    this.player = player;
    this.page = page;
    this.button = find(root, "#vv-record", HTMLButtonElement);
    this.mark = find(root, ".vv-recording", HTMLElement);
    this.place = find(root, ".vv-recordings", HTMLElement);
    bindAsking(this.button, player, { ask: () => this.#ask(), leave: () => void this.#leave(), fault: page.fault });
    player.on("recording", (recorded) => this.#take(recorded));
  }

  /** @param {boolean} isPossible */
  show(isPossible) {
    this.button.hidden = !isPossible;
  }

  /** @param {Texts} texts */
  speak(texts) {
    this.#texts = texts;
    this.#showLinks();
    this.tick();
  }

  /** Show how long the recording has been running. */
  tick() {
    this.mark.hidden = !this.#running;
    if (!this.#running) return;
    const seconds = Math.floor((performance.now() - this.#running.beganAt) / 1000);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const text = this.#texts.recording.replace("{time}", time);
    if (this.mark.textContent !== text) this.mark.textContent = text;
  }

  #ask() {
    this.player.record(!this.#running);
    return true;
  }

  /** @param {Recorded} recorded */
  #take({ state, id, name, code = "internal", message, hint }) {
    // The files of an earlier recording may become complete while the next one runs.
    const isEarlier = state !== "on" && id && this.#running && id !== this.#running.id;
    if (!isEarlier) this.#run(state === "on" ? { id, name, beganAt: performance.now() } : null);
    if (state === "on") this.page.began();
    if (state === "done") this.#link(id, name).isThere = true;
    if (state === "failed" || message) this.page.fault({ code, message, hint });
    this.#showLinks();
  }

  /**
   * The session has ended, and its recording with it. No event tells when the files are ready, so look for them until
   * they are.
   */
  async #leave() {
    const running = this.#running;
    this.#run(null);
    if (!running) return;
    const link = this.#link(running.id, running.name);
    this.#showLinks();
    for (let look = 0; look < LOOKS && !link.isThere; look += 1) {
      await new Promise((passed) => setTimeout(passed, LOOK_EVERY_MS));
      link.isThere = Boolean(await listOf(addressOf(link.id, "json")));
    }
    if (!link.isThere) {
      this.#ended = this.#ended.filter((one) => one !== link);
      this.page.fault(LOST);
    }
    this.#showLinks();
  }

  /** @param {{id: string, name: string, beganAt: number}?} running */
  #run(running) {
    this.#running = running;
    this.button.disabled = false;
    this.button.setAttribute("aria-pressed", String(running !== null));
    this.tick();
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #link(id, name) {
    const link = { id, name, isThere: false };
    this.#ended = [link, ...this.#ended].slice(0, MAX_LINKS);
    return link;
  }

  #showLinks() {
    this.place.hidden = !this.#ended.length;
    const lines = this.#ended.map(({ id, name, isThere }) => {
      if (!isThere) return make("li", {}, this.#texts.recordingEnds.replace("{name}", () => name));
      /**
       * @param {string} kind
       * @param {string} text
       */
      const link = (kind, text) => {
        return make("a", { href: portalUrl(addressOf(id, kind)), download: `${name}.${kind}` }, text);
      };
      const { recordingVtt, recordingJson } = this.#texts;
      return make("li", {}, link("mp4", `${name}.mp4`), link("vtt", recordingVtt), link("json", recordingJson));
    });
    find(this.place, "ul", HTMLUListElement).replaceChildren(...lines);
  }
}

/**
 * @param {string} id
 * @param {string} kind
 */
function addressOf(id, kind) {
  return `api/recordings/${id}.${kind}`;
}

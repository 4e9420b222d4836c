/** Sends the session to a streaming server: the address field, the button, and the state of the stream. */

import { find } from "../dom.js";
import { bindAsking } from "./asking-button.js";

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("../types/api.d.ts").Texts} Texts
 * @typedef {import("../types/messages.d.ts").Streamed} Streamed
 */

export class StreamingControl {
  /** @type {Texts} */
  #texts = {};
  /** @type {Streamed?} null: the session is not being sent */
  #stream = null;
  #isPossible = false;

  /**
   * @param {ParentNode} panel
   * @param {Player} player
   * @param {{fault: (error: ErrorView) => void, tell: (text: string) => void}} page
   */
  constructor(panel, player, page) {
    this.player = player;
    this.page = page;
    this.place = find(panel, ".vv-stream", HTMLElement);
    this.field = find(this.place, "input", HTMLInputElement);
    this.label = find(this.place, "label", HTMLElement);
    this.button = find(this.place, "button", HTMLButtonElement);
    this.told = find(this.place, ".vv-told", HTMLElement);
    bindAsking(this.button, player, { ask: () => this.#ask(), leave: () => this.#leave(), fault: page.fault });
    player.on("push", (stream) => this.#take(stream));
  }

  /** @param {boolean} isPossible */
  show(isPossible) {
    if (isPossible === this.#isPossible) return;
    this.#isPossible = isPossible;
    this.place.hidden = !isPossible;
  }

  /** @param {Texts} texts */
  speak(texts) {
    this.#texts = texts;
    this.#look();
  }

  #ask() {
    const to = this.#stream ? null : this.field.value.trim();
    if (to === "") {
      this.field.focus();
      return false;
    }
    this.player.order({ type: "push", to });
    return true;
  }

  /** @param {Streamed} stream */
  #take(stream) {
    const before = this.#stream?.state;
    this.#stream = stream.state === "closed" ? null : stream;
    this.button.disabled = false;
    if (this.#stream) this.field.value = ""; // the stream key in it is secret, and others may see this screen
    this.#look();
    if (stream.state !== before && stream.state !== "connecting") this.page.tell(this.told.textContent);
  }

  #leave() {
    this.#stream = null;
    this.button.disabled = false;
    this.#look();
  }

  #look() {
    const { state = "closed", host = "", trouble = "", code = "" } = this.#stream ?? {};
    this.label.hidden = state !== "closed";
    this.button.textContent = state === "closed" ? this.#texts.streamStart : this.#texts.streamStop;
    const text = (this.#texts[`stream.${state}`] ?? "").replace("{host}", () => host);
    const why = this.#texts[`stream.why.${code}`] ?? trouble; // the portal's own words are English
    this.told.textContent = state === "waiting" && why ? `${text} ${why}` : text;
    this.told.title = state === "waiting" ? trouble : "";
    this.place.dataset.state = state;
  }
}

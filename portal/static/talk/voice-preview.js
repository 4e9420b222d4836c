/** The button that plays a short sentence in the chosen voice, or stops it when pressed again. */

import { portalUrl } from "../server.js";

/** @typedef {import("../types/api.d.ts").Texts} Texts */

export class VoicePreview {
  /** @type {HTMLAudioElement?} the preview that is loading or playing; null: none */
  #audio = null;

  /**
   * @param {HTMLButtonElement} button
   * @param {{wished: () => {tts?: string, voice?: string}, language: () => string, texts: () => Texts,
   *     volume: () => number, failed: () => void}} page volume: 0 to 1; failed: the voice could not be heard
   */
  constructor(button, page) {
    this.button = button;
    this.page = page;
    button.onclick = () => (this.#audio ? this.stop() : this.#play());
  }

  /** Stop the preview. That ends its request, so the server stops synthesising it, too. */
  stop() {
    const audio = this.#audio;
    this.#audio = null;
    if (audio) {
      audio.pause();
      audio.removeAttribute("src");
      audio.load(); // ends the request
    }
    this.tell();
  }

  /** Name the button after what it does now, in the page's language. */
  tell() {
    const texts = this.page.texts();
    const told = (this.#audio ? texts.stopVoice : texts.hearVoice) ?? "";
    this.button.setAttribute("aria-pressed", String(this.#audio !== null));
    this.button.title = told;
    this.button.setAttribute("aria-label", told);
  }

  #play() {
    const { tts, voice } = this.page.wished();
    if (!tts) return;
    const asked = new URLSearchParams({ language: this.page.language(), ...(voice && { voice }) });
    const audio = new Audio(portalUrl(`api/backends/tts/${encodeURIComponent(tts)}/preview?${asked}`));
    const isCurrent = () => this.#audio === audio;
    const fail = () => {
      if (!isCurrent()) return;
      this.stop();
      this.page.failed();
    };
    audio.volume = this.page.volume();
    audio.onended = () => isCurrent() && this.stop();
    audio.onerror = fail;
    this.#audio = audio;
    this.tell();
    audio.play().catch(fail);
  }
}

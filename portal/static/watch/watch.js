/**
 * The page for watchers of somebody else's session. It shows its pictures and sound, and the state of the connection.
 */

import { find, translate } from "../dom.js";
import { PortalError, errorText } from "../errors.js";
import { language } from "../page.js";
import { portalUrl } from "../server.js";
import { talk as TEXTS } from "../texts.js";
import { Whep } from "./whep.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
const OVER = "session_not_found";

class WatchPage {
  /** @type {Whep?} */
  #whep = null;
  #pauseMs = FIRST_PAUSE_MS;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.texts = TEXTS[language()];
    this.root = root;
    this.video = find(root, "video", HTMLVideoElement);
    this.status = find(root, ".vv-watch-status", HTMLElement);
    this.sound = find(root, "button", HTMLButtonElement);
    document.documentElement.lang = language();
    translate(root, this.texts);
    this.sound.onclick = () => this.#unmute();
    this.video.onplaying = () => this.#tell("live", "");
    addEventListener("pagehide", () => this.#whep?.close());
    addEventListener("hashchange", () => location.reload());
  }

  async connect() {
    this.#tell("connecting", this.texts["watch.connecting"]);
    const whep = (this.#whep = new Whep(() => this.#later(whep)));
    try {
      await whep.open(portalUrl(`api/watch/${encodeURIComponent(location.hash.slice(1))}/whep`));
      this.#pauseMs = FIRST_PAUSE_MS;
      this.video.srcObject = whep.stream;
      await this.#play();
    } catch (error) {
      this.#refused(whep, error);
    }
  }

  /** Play with sound, or muted with a button for sound: browsers allow no sound before the viewer clicks the page. */
  async #play() {
    try {
      await this.video.play();
    } catch {
      this.video.muted = true;
      this.sound.hidden = false;
      await this.video.play().catch(() => {}); // the connection ended meanwhile, which #later() shows
    }
  }

  #unmute() {
    this.video.muted = false;
    this.sound.hidden = true;
  }

  /**
   * @param {Whep} whep
   * @param {unknown} error
   */
  #refused(whep, error) {
    if (!(error instanceof PortalError)) return this.#later(whep);
    if (error.code !== OVER) return this.#later(whep, errorText(error, this.texts).cause);
    whep.close();
    this.#tell("over", this.texts["watch.over"]);
  }

  /**
   * @param {Whep} whep
   * @param {string} [why]
   */
  #later(whep, why = this.texts["watch.mending"]) {
    if (whep !== this.#whep) return;
    this.#whep = null;
    whep.close();
    this.#tell("waiting", why);
    setTimeout(() => void this.connect(), this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
  }

  /**
   * @param {"connecting" | "live" | "waiting" | "over"} state
   * @param {string} text
   */
  #tell(state, text) {
    this.root.dataset.state = state;
    this.status.textContent = text;
  }
}

void new WatchPage(find(document, "main", HTMLElement)).connect();

/**
 * <vivavoce-avatar>: a live avatar in any page. This is a classic script, not a module, so that any page can load it:
 *
 *   <script src="https://portal.example/embed.js"></script>
 *   <vivavoce-avatar avatar="mira" lang="en" style="width: 360px; height: 480px"></vivavoce-avatar>
 *
 * Its attributes are the parameters of the stage view's address: avatar, voice, tts, lipsync, lang, view, bg, fit,
 * autostart, kiosk, controls, transport, token. They are read when the element is put into the page. The token can be
 * changed later, too: it is the login for the next connection. The event "vivavoce:tokenneeded" asks for a new one and
 * waits ten seconds for it.
 * Methods: start(options), say(text, mode), interrupt(), stop(). Events: "vivavoce:TYPE" with `detail`, TYPE as in the
 * player's events, and "vivavoce:ready". The portal must know the page's origin (its setting `allowed_origins`).
 */
(() => {
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const portal = new URL(".", script.src);
  const PASSED = "avatar voice tts lipsync lang view bg fit autostart kiosk controls transport token".split(" ");

  class VivavoceAvatar extends HTMLElement {
    static observedAttributes = ["token"];
    /** @type {HTMLIFrameElement?} */
    #frame = null;
    /** @type {object[]} commands that wait until the frame is ready */
    #waiting = [];
    #isReady = false;
    #onMessage = (/** @type {MessageEvent} */ event) => this.#take(event);

    connectedCallback() {
      const frame = document.createElement("iframe");
      frame.src = this.#address();
      frame.allow = "autoplay; microphone; fullscreen; picture-in-picture";
      frame.title = this.getAttribute("title") ?? "Vivavoce";
      frame.style.cssText = "border: 0; width: 100%; height: 100%; display: block; color-scheme: normal";
      if (getComputedStyle(this).display === "inline") this.style.display = "block";
      addEventListener("message", this.#onMessage);
      this.#frame = frame;
      this.replaceChildren(frame);
    }

    /**
     * The token has changed. A frame that is not ready may have been refused because of the old token, so it is loaded
     * again.
     * @param {string} _name @param {string?} _old @param {string?} token
     */
    attributeChangedCallback(_name, _old, token) {
      if (this.#isReady) this.#send({ vivavoce: "token", token });
      else if (this.#frame) this.#frame.src = this.#address();
    }

    disconnectedCallback() {
      removeEventListener("message", this.#onMessage);
      this.replaceChildren();
      this.#frame = null;
      this.#isReady = false;
      this.#waiting = [];
    }

    /** @param {object} [options] */
    start(options) {
      this.#send({ vivavoce: "start", options });
    }

    /**
     * @param {string} text
     * @param {"chat" | "echo"} [mode] chat: the avatar answers the text; echo: it reads the text out
     */
    say(text, mode = "chat") {
      this.#send({ vivavoce: "say", text, mode });
    }

    interrupt() {
      this.#send({ vivavoce: "interrupt" });
    }

    stop() {
      this.#send({ vivavoce: "stop" });
    }

    #address() {
      const address = new URL("stage", portal);
      for (const name of PASSED) {
        const value = this.getAttribute(name);
        if (value !== null) address.searchParams.set(name, value);
      }
      return address.href;
    }

    /** @param {object} command */
    #send(command) {
      if (this.#isReady) this.#frame?.contentWindow?.postMessage(command, portal.origin);
      else if (this.#waiting.length < 20) this.#waiting.push(command);
    }

    /** @param {MessageEvent} event */
    #take({ source, origin, data }) {
      if (!this.#frame || source !== this.#frame.contentWindow || origin !== portal.origin) return;
      if (typeof data?.vivavoce !== "string") return;
      if (data.vivavoce === "ready") {
        this.#isReady = true;
        for (const command of this.#waiting.splice(0)) this.#send(command);
      }
      this.dispatchEvent(new CustomEvent(`vivavoce:${data.vivavoce}`, { detail: data.detail }));
    }
  }

  if (!customElements.get("vivavoce-avatar")) customElements.define("vivavoce-avatar", VivavoceAvatar);
})();

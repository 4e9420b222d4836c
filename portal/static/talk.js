/**
 * The Talk tab: binds its markup (portal/ui/talk.py) to a Player, and gives other scripts `window.vivavoce`.
 */

import { Chat } from "./chat.js";
import { told } from "./errors.js";
import { jobDone } from "./job.js";
import { language, make, translate, withCode } from "./page.js";
import { Player } from "./player.js";

const LOOK_EVERY_MS = 100;
const RETRY_AVATARS_MS = 2500;
const MORE_AVATARS_MS = 5000;
const TOAST_MS = 6000;
const FILL_WITHIN = 1.4; // pictures are cropped to the frame if their shapes differ by no more than this factor

/** An address beside the page's own, so that it also works below a proxy's path. */
function beside(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI);
}

/** What the server lists there; null while it cannot be asked. */
async function listOf(path) {
  try {
    const answer = await fetch(beside(path));
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function socketUrl() {
  const url = beside("session");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** The picture of an avatar; of one that has lost it, something in its place. */
function stillOf({ poster }) {
  return beside(poster || "static/logo.svg").href;
}

class VivavoceTalk extends HTMLElement {
  connectedCallback() {
    if (this.player) return;
    const find = (selector) => this.querySelector(selector);
    this.parts = {
      frame: find(".vv-frame"),
      preview: find(".vv-preview"),
      none: find(".vv-preparing"),
      poster: find(".vv-poster"),
      backdrop: find(".vv-backdrop"),
      subtitle: find(".vv-subtitle"),
      state: find(".vv-state"),
      toast: find(".vv-toast"),
      coming: find(".vv-coming"),
      status: find("#vv-status"),
      start: find("#vv-start"),
      stop: find("#vv-stop"),
      interrupt: find("#vv-interrupt"),
      mute: find(".vv-mute"),
      avatars: find(".vv-avatars"),
      settings: find(".vv-settings"),
      lacking: find(".vv-lacking"),
      hello: find(".vv-hello"),
      form: find(".vv-composer"),
      input: find(".vv-composer textarea"),
      echo: find(".vv-echo"),
    };
    this.allTexts = JSON.parse(this.dataset.texts);
    this.catalogue = { tts: [], lipsync: [], defaults: {} };
    this.avatars = [];
    this.isFirstStart = false; // there is no avatar yet, or none any more
    this.making = true; // avatars are being made, as far as is known
    this.isMoreExpected = true; // one of those may still come
    this.returned = []; // what could not be said, on its way back to the text box
    this.cutting = false; // another avatar was asked for while this one spoke
    this.place = 0; // in the line before a full house
    this.opening = null; // promise of the session that is being started
    this.wished = null; // what that session, or the one that goes on, was started with
    this.coming = null; // an avatar that is being prepared for a lip-sync: {avatar, lipsync, share, aborting}
    this.player = new Player(find("#vv-video"), find("#vv-canvas"), socketUrl());
    this.chat = new Chat(find(".vv-log"));
    this.bindControls();
    this.bindPlayer();
    this.setLanguage(language());
    this.onLanguage = ({ detail }) => this.setLanguage(detail);
    document.addEventListener("vivavoce:language", this.onLanguage);
    this.looker = setInterval(() => this.look(), LOOK_EVERY_MS);
    // Coming back to this tab, new avatars may be there.
    this.onShown = new IntersectionObserver(([entry]) => entry.isIntersecting && this.loadAvatars());
    this.onShown.observe(this);
    this.onResized = new ResizeObserver(() => this.fitFrame());
    this.onResized.observe(this.parts.frame);
    announce(this);
  }

  disconnectedCallback() {
    if (this.isConnected || !this.player) return;
    this.stop();
    clearInterval(this.looker);
    clearTimeout(this.retry);
    this.onShown.disconnect();
    this.onResized.disconnect();
    document.removeEventListener("vivavoce:language", this.onLanguage);
    document.removeEventListener("pointerdown", this.onElsewhere);
    document.removeEventListener("keydown", this.onElsewhere);
  }

  get texts() {
    return this.allTexts[this.code];
  }

  // -- what can be chosen

  /** Asked for once, and again for as long as the server cannot tell. */
  async loadCatalogue() {
    if (this.catalogue.lipsync.length) return;
    const catalogue = await listOf("choices.json");
    if (!catalogue || this.catalogue.lipsync.length) return;
    this.catalogue = catalogue;
    this.fillSettings();
    this.chooseAvatar(this.picked || this.catalogue.defaults.avatar);
  }

  /** Looked for again while there is none, and, slowly, while more are being made. */
  async loadAvatars() {
    clearTimeout(this.retry);
    const [avatars] = await Promise.all([listOf("api/avatars"), this.loadCatalogue()]);
    if (avatars) this.showAvatars(avatars);
    const jobs = await listOf("api/jobs?kind=prepare");
    const making = !jobs || jobs.some(({ state }) => state === "queued" || state === "running");
    // Once more when they have ended: the last of them may have come between the two lists.
    const [more, each] = [making || this.making, this.avatars.length ? MORE_AVATARS_MS : RETRY_AVATARS_MS];
    [this.making, this.isMoreExpected] = [making, more];
    this.showState();
    clearTimeout(this.retry); // another look may have begun meanwhile
    if (this.isConnected && (more || !this.avatars.length)) this.retry = setTimeout(() => this.loadAvatars(), each);
  }

  showAvatars(avatars) {
    const known = JSON.stringify(this.avatars) === JSON.stringify(avatars);
    this.avatars = avatars;
    if (this.isFirstStart && avatars.length) this.untoast();
    this.isFirstStart = !avatars.length;
    this.parts.start.disabled = !avatars.length;
    this.showState();
    if (known) return;
    const focused = this.parts.avatars.contains(document.activeElement) && document.activeElement.dataset.id;
    this.parts.avatars.replaceChildren(...avatars.map((avatar) => this.avatarButton(avatar)));
    this.chooseAvatar(this.picked || this.catalogue.defaults.avatar);
    if (focused) this.parts.avatars.querySelector("[tabindex='0']")?.focus();
  }

  avatarButton(avatar) {
    const { id, name } = avatar;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "vv-avatar";
    button.dataset.id = id;
    button.setAttribute("role", "radio");
    button.title = name;
    const face = new Image();
    face.src = stillOf(avatar);
    face.alt = "";
    const label = document.createElement("span");
    label.textContent = name;
    button.append(face, label);
    button.onclick = () => {
      this.picked = id;
      this.chooseAvatar(id);
      this.forgetComing();
      if (this.player.state !== "idle") this.swapAvatar(id);
      else this.opening = null; // what waited for the other avatar waits no more
    };
    return button;
  }

  /** What is being said is cut off by it; the viewer is told so once the other avatar is there. */
  swapAvatar(id) {
    this.cutting = this.talking;
    this.player.swapAvatar(id);
  }

  /** Arrow keys, as in any group of radio buttons. In a session they only move: each choice would cut the answer. */
  moveAmongAvatars(event) {
    const buttons = [...this.parts.avatars.children];
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own: back, forward
    const here = buttons.indexOf(event.target.closest(".vv-avatar"));
    const goes = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: buttons.length - 1,
    };
    if (here < 0 || !(event.key in goes)) return;
    event.preventDefault();
    const there = buttons[(goes[event.key] + buttons.length) % buttons.length];
    for (const button of buttons) button.tabIndex = button === there ? 0 : -1;
    there.focus();
    if (this.player.state === "idle") there.click();
  }

  chooseAvatar(id) {
    const avatar = this.avatars.find((one) => one.id === id) || this.avatars[0];
    if (!avatar) return;
    this.avatarId = avatar.id;
    for (const button of this.parts.avatars.children) {
      const checked = button.dataset.id === avatar.id;
      button.setAttribute("aria-checked", String(checked));
      button.tabIndex = checked ? 0 : -1;
    }
    const { poster, backdrop, preview } = this.parts;
    const still = stillOf(avatar);
    if (poster.src !== still) poster.src = backdrop.src = still;
    poster.alt = avatar.name;
    this.fitFrame();
    const moving = avatar.preview ? beside(avatar.preview).href : "";
    if (preview.dataset.src === moving) return;
    preview.dataset.src = moving;
    preview.classList.remove("vv-on");
    if (!moving) return preview.removeAttribute("src");
    preview.src = moving;
    preview.onplaying = () => preview.classList.add("vv-on");
    preview.play().catch(() => {}); // not allowed or not playable: the poster stays
  }

  fitFrame() {
    const { frame } = this.parts;
    const avatar = this.avatars.find(({ id }) => id === this.avatarId);
    if (!avatar || !frame.clientHeight) return;
    const factor = (avatar.width / avatar.height) * (frame.clientHeight / frame.clientWidth);
    frame.classList.toggle("vv-cover", factor < FILL_WITHIN && factor > 1 / FILL_WITHIN);
  }

  fillSettings() {
    const { defaults } = this.catalogue;
    for (const kind of ["tts", "lipsync"]) {
      const select = this.parts.settings.querySelector(`[name=${kind}]`);
      const chosen = select.value || defaults[kind];
      select.replaceChildren(...this.catalogue[kind].map((backend) => this.backendOption(kind, backend)));
      select.value = chosen;
    }
    this.fillVoices();
    this.fillLacking();
  }

  backendOption(kind, { name, ready }) {
    const label = this.backendName(kind, name);
    const option = new Option(ready ? label : `${label} · ${this.texts.notReady}`, name);
    option.disabled = !ready;
    return option;
  }

  backendName(kind, name) {
    return this.texts[`${kind}.${name}`] || name;
  }

  /** Which choices are not ready here, and what to do about it. */
  fillLacking() {
    const lacking = ["tts", "lipsync"].flatMap((kind) =>
      this.catalogue[kind].filter(({ ready }) => !ready).map((backend) => this.lackingItem(kind, backend)),
    );
    const [summary, list] = this.parts.lacking.children;
    this.parts.lacking.hidden = !lacking.length;
    summary.textContent = this.texts.lacking.replace("{count}", lacking.length);
    list.replaceChildren(...lacking);
  }

  lackingItem(kind, { name, remedy, fetched }) {
    const own = fetched && this.texts["hint.unready"]; // in Chinese; in English the server's sentence is more exact
    const told = own ? own.replaceAll("{backend}", () => name) : remedy;
    return make("li", {}, make("strong", {}, this.backendName(kind, name)), make("p", {}, ...withCode(told)));
  }

  fillVoices() {
    const { settings } = this.parts;
    const tts = this.catalogue.tts.find(({ name }) => name === settings.querySelector("[name=tts]").value);
    const select = settings.querySelector("[name=voice]");
    const chosen = select.value || this.catalogue.defaults.voice || "";
    const voices = tts ? tts.voices : [];
    select.replaceChildren(new Option(this.texts.voiceDefault, ""), ...voices.map((voice) => new Option(voice, voice)));
    select.value = voices.includes(chosen) ? chosen : "";
  }

  // -- controls

  bindControls() {
    const { parts } = this;
    parts.start.onclick = () => {
      this.start().catch(() => {}); // "ended" tells why
      this.takeFocus();
    };
    parts.stop.onclick = () => {
      this.stop();
      parts.start.focus();
    };
    parts.interrupt.onclick = () => {
      this.player.interrupt();
      this.takeFocus();
    };
    parts.avatars.onkeydown = (event) => this.moveAmongAvatars(event);
    parts.mute.onclick = () => {
      this.player.muted = !this.player.muted;
      parts.mute.setAttribute("aria-pressed", String(this.player.muted));
    };
    parts.settings.querySelector("[name=tts]").onchange = () => this.fillVoices();
    parts.settings.onchange = () => this.player.state !== "idle" && this.toast(this.texts.nextStart);
    this.onElsewhere = ({ type, key, target }) => {
      if (!parts.settings.open) return;
      if (type === "keydown" ? key !== "Escape" : parts.settings.contains(target)) return;
      parts.settings.open = false;
      if (type === "keydown") parts.settings.querySelector("summary").focus();
    };
    document.addEventListener("pointerdown", this.onElsewhere);
    document.addEventListener("keydown", this.onElsewhere);
    parts.form.onsubmit = (event) => {
      event.preventDefault();
      this.submit(parts.input.value);
    };
    parts.input.onkeydown = (event) => {
      // In Safari the Enter that ends a composition says so by its keyCode alone.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit(parts.input.value);
    };
    parts.input.oninput = () => this.fitInput();
    for (const chip of this.querySelectorAll(".vv-chip")) chip.onclick = () => this.submit(chip.textContent);
  }

  /** The button that was pressed is about to go. A finger on glass did not ask for a keyboard over the picture. */
  takeFocus() {
    const { stop, input } = this.parts;
    (matchMedia("(pointer: coarse)").matches ? stop : input).focus({ preventScroll: true });
  }

  /** Enter starts the session too: the first message need not wait for a click. */
  async submit(text) {
    const said = text.trim();
    if (!said) return;
    if (this.isFirstStart && this.player.state === "idle") return this.keep(said);
    this.parts.input.value = "";
    this.fitInput();
    const mode = this.parts.echo.checked ? "echo" : "chat";
    const bubble = this.player.state === "live" ? null : this.pend(said);
    try {
      if (bubble) await this.awake();
    } catch {
      return this.giveBack(said, bubble); // "ended" tells why
    }
    try {
      this.say(said, mode, bubble);
    } catch (error) {
      this.chat.note(this.explain(error), "error");
      this.giveBack(said, bubble);
    }
  }

  /** What was said is seen waiting in the chat until there is somebody to hear it. */
  pend(said) {
    this.parts.hello.hidden = true;
    return this.chat.pending(said);
  }

  /** Resolves when there is somebody to hear what was said. */
  async awake() {
    const { state } = this.player;
    // All wait for the same, in their order; also for an avatar that is being prepared for the start.
    await (this.opening || (state === "idle" && this.start()));
    if (this.player.state !== "live") await this.player.live();
  }

  /** What could not be said can be sent again. Messages that waited together come back together, in their order. */
  giveBack(said, bubble) {
    bubble?.remove();
    this.parts.hello.hidden = this.chat.isBegun;
    this.returned.push(said);
    if (this.returned.length === 1) setTimeout(() => this.putBack());
  }

  putBack() {
    const { input } = this.parts;
    input.value = [...this.returned, input.value].filter(Boolean).join("\n");
    this.returned = [];
    this.fitInput();
  }

  /** There is nobody yet to hear it. */
  keep(said) {
    const { input } = this.parts;
    if (!input.value.trim()) input.value = said; // one of the suggestions
    this.fitInput();
    this.toast(this.isMoreExpected ? this.texts.kept : this.texts["status.none"]);
  }

  /** @param {HTMLElement?} bubble in which the text was waiting */
  say(text, mode = "chat", bubble = null) {
    this.player.say(text, mode);
    this.parts.hello.hidden = true;
    this.chat.ask(text, mode, bubble);
  }

  /** Resolves at the first picture. */
  start(options = {}) {
    return this.follow(this.open(options));
  }

  /** It is `opening` until it has come to an end. */
  follow(opening) {
    const over = () => {
      if (this.opening === opening) this.opening = null;
    };
    this.opening = opening;
    opening.then(over, over);
    return opening;
  }

  /** An avatar that lacks what the lip-sync needs of it is prepared first. */
  async open(options) {
    this.forgetComing();
    this.wished = { ...this.wish(), ...options };
    const { wished } = this;
    try {
      await this.player.start(wished);
    } catch (error) {
      if (!error.job) throw error;
      await this.openWhenPrepared(error, wished);
    }
  }

  async openWhenPrepared(error, wished) {
    await this.prepared(error);
    try {
      await this.player.start(wished);
    } catch (again) {
      if (again.job) this.chat.note(this.explain(again), "error"); // once is enough
      throw again;
    }
  }

  /** The server came back without what the lip-sync needs of the avatar: the session goes on when it is made again. */
  reopen(error) {
    this.wished = { ...this.wished, avatar: error.avatar };
    this.picked = error.avatar;
    this.chooseAvatar(error.avatar);
    this.follow(this.openWhenPrepared(error, this.wished)).catch(() => {}); // it has been told
  }

  stop() {
    this.forgetComing();
    this.opening = null;
    this.player.stop();
  }

  /** What is chosen on the page. */
  wish() {
    const wanted = new URLSearchParams(location.search).get("transport");
    const { settings } = this.parts;
    const chosen = (name) => settings.querySelector(`[name=${name}]`).value || undefined;
    return {
      transport: wanted || this.catalogue.defaults.transport || "auto",
      avatar: this.avatarId,
      voice: chosen("voice"),
      tts: chosen("tts"),
      lipsync: chosen("lipsync"),
    };
  }

  /** Resolves when the avatar has been prepared; rejects, after telling why, if it will not be. */
  async prepared({ avatar, lipsync, job }) {
    const coming = { avatar, lipsync, share: 0, aborting: new AbortController() };
    this.forgetComing();
    this.coming = coming;
    this.showState();
    try {
      await jobDone(beside(`api/jobs/${job}`), coming.aborting.signal, (share) => (coming.share = share));
    } catch (error) {
      if (error.code !== "stopped") this.chat.note(this.explain(error), "error");
      throw error;
    } finally {
      if (this.coming === coming) this.forgetComing();
    }
  }

  /** The job goes on, but nothing starts when it is done. */
  forgetComing() {
    if (!this.coming) return;
    this.coming.aborting.abort();
    this.coming = null;
    this.showState();
  }

  fitInput() {
    const { input } = this.parts;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, 140)}px`;
  }

  // -- what the player tells

  bindPlayer() {
    const on = (type, handle) => this.player.addEventListener(type, ({ detail }) => handle(detail));
    on("state", () => {
      this.place = 0;
      this.showState();
    });
    on("firstpicture", ({ transport }) => (this.parts.frame.dataset.media = transport));
    on("turn", (message) => {
      this.chat.turn(message);
      this.showState();
    });
    on("text", (message) => {
      this.parts.hello.hidden = true;
      this.chat.text(message);
    });
    on("notice", (message) => this.chat.note(this.explain(message), "notice"));
    on("error", (message) => {
      if (message.job) return this.swapWhenPrepared(message);
      this.chat.note(this.explain(message), "error");
      if (!this.player.wanted) this.cutting = false;
      this.showChosen();
      if (message.code === "avatar_not_found") this.missAvatar();
    });
    on("fallback", ({ code }) => code !== "forced" && this.toast(this.switched(code)));
    on("avatar", ({ avatar }) => {
      this.showChosen();
      if (this.cutting) this.toast(this.texts.cut.replace("{avatar}", () => avatar.name));
      this.cutting = false;
    });
    on("renewed", () => {
      this.chat.newSession();
      this.showChosen();
      this.toast(this.texts.renewed);
    });
    on("waiting", ({ place }) => {
      this.place = place;
      this.showState();
    });
    on("blocked", () => this.toast(this.texts.blocked));
    on("return", () => this.start().catch(() => {})); // "ended" tells why
    on("ended", (error) => {
      this.parts.frame.dataset.media = "none";
      this.chat.newSession();
      this.forgetComing();
      if (error && error.code !== "stopped" && !error.job) this.chat.note(this.explain(error), "error");
      if (error && error.code === "avatar_not_found") this.missAvatar();
      if (error && error.job && !this.opening) this.reopen(error); // who opens prepares it
    });
  }

  /** Whoever is on show is the choice, unless another is on the way. */
  showChosen() {
    const { session, welcome, wanted } = this.player;
    if (!session || !welcome || wanted || this.coming) return;
    this.picked = welcome.avatar.id;
    this.chooseAvatar(this.picked);
  }

  swapWhenPrepared(message) {
    this.prepared(message).then(
      () => this.swapAvatar(message.avatar),
      () => this.showChosen(), // it has been told
    );
  }

  /** One of the list is gone: whoever is on show is the choice again, and the list is read anew. */
  missAvatar() {
    const { session, welcome } = this.player;
    this.picked = session && welcome ? welcome.avatar.id : null;
    this.chooseAvatar(this.picked || this.catalogue.defaults.avatar);
    this.loadAvatars();
  }

  switched(code) {
    return this.texts.switched.replace("{reason}", this.texts[`reason.${code}`]);
  }

  /** What went wrong, in the language of the page. */
  explain(error) {
    const { cause, remedy, detail } = told(error, this.texts);
    return { code: error.code, message: this.named(cause), hint: remedy, detail };
  }

  /** The server speaks of avatars by their ids; a viewer knows their names. */
  named(message) {
    return this.avatars.reduce((text, { id, name }) => text.replaceAll(`'${id}'`, () => `'${name}'`), message);
  }

  /** Whether something is being said, or about to be. */
  get talking() {
    return ["speaking", "thinking", "queued"].includes(this.player.turn.state);
  }

  showState() {
    const { talking } = this;
    const { state, turn } = this.player;
    const shown = state === "live" ? (talking ? turn.state.replace("queued", "thinking") : "listening") : this.stage;
    this.dataset.state = state;
    this.parts.frame.classList.toggle("vv-none", !this.avatars.length && state === "idle");
    this.parts.none.dataset.t = this.isMoreExpected ? "preparing" : "status.none";
    this.parts.none.textContent = this.texts[this.parts.none.dataset.t];
    this.parts.state.dataset.state = shown;
    this.parts.state.textContent = this.texts[`state.${shown}`];
    const atRest = ["idle", "making", "none"].includes(this.stage);
    this.parts.start.hidden = !atRest;
    this.parts.stop.hidden = atRest;
    this.parts.mute.hidden = state === "idle";
    this.parts.interrupt.hidden = state === "idle";
    this.parts.interrupt.disabled = !(state === "live" && talking);
    this.look();
  }

  /** The player's state, or what it waits for. */
  get stage() {
    if (this.place) return "waiting";
    if (this.player.state !== "idle") return this.player.state;
    if (this.coming) return "preparing";
    if (!this.isFirstStart) return "idle";
    return this.isMoreExpected ? "making" : "none";
  }

  /** What changes by itself: subtitle, status line, and how far a preparation is. */
  look() {
    const { subtitle, status, coming } = this.parts;
    const said = this.player.subtitle;
    if (subtitle.textContent !== said) subtitle.textContent = said;
    const line = this.statusLine();
    if (status.textContent !== line) status.textContent = line;
    coming.hidden = !this.coming;
    if (this.coming) this.lookAt(this.coming);
  }

  lookAt({ avatar, lipsync, share }) {
    const [text, bar] = this.parts.coming.children;
    const { name } = this.avatars.find(({ id }) => id === avatar) || { name: avatar };
    const said = this.texts.preparingFor
      .replace("{avatar}", () => name)
      .replace("{lipsync}", () => this.backendName("lipsync", lipsync));
    if (text.textContent !== said) text.textContent = said;
    bar.value = share;
  }

  statusLine() {
    const { texts } = this;
    const stats = this.player.stats();
    if (this.place) return texts.waiting.replace("{place}", this.place);
    if (stats.state !== "live") return texts[`status.${this.stage}`];
    const transport = texts[`transport.${stats.transport}`];
    const facts = [stats.reasonCode ? `${transport} (${texts[`reason.${stats.reasonCode}`]})` : transport];
    facts.push(`${Math.round(stats.fps)} fps`);
    if (stats.latencyMs !== null) facts.push(`${texts.answeredIn} ${Math.round(stats.latencyMs)} ms`);
    facts.push(texts[`turn.${stats.turnState}`]);
    return facts.join(" · ");
  }

  toast(text) {
    const { toast } = this.parts;
    toast.textContent = text;
    toast.classList.add("vv-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => this.untoast(), TOAST_MS);
  }

  untoast() {
    clearTimeout(this.toastTimer);
    this.parts.toast.classList.remove("vv-on");
  }

  setLanguage(code) {
    this.code = code;
    translate(this, this.texts);
    this.untoast();
    this.fillSettings();
    this.showState();
  }
}

// -- for other scripts

let announce;
const talk = new Promise((resolve) => (announce = resolve));
let shown = null;
talk.then((element) => (shown = element));

const NOTHING_YET = {
  state: "idle",
  transport: null,
  reason: null,
  reasonCode: null,
  fps: 0,
  frames: 0,
  firstFrameMs: null,
  fallbackMs: null,
  avSkewMs: null,
  latencyMs: null,
  turn: 0,
  turnState: "idle",
  session: null,
};

/** The page's player. start() resolves with stats() at the first picture. */
window.vivavoce = {
  stats: () => (shown ? shown.player.stats() : { ...NOTHING_YET }),
  async start(options) {
    await (await talk).start(options);
    return this.stats();
  },
  async say(text, mode) {
    (await talk).say(text, mode);
  },
  async interrupt() {
    (await talk).player.interrupt();
  },
  async stop() {
    (await talk).stop();
  },
  /** Call back with the detail of each event of that type (see player.js). */
  async on(type, callback) {
    (await talk).player.addEventListener(type, ({ detail }) => callback(detail));
  },
};

customElements.define("vivavoce-talk", VivavoceTalk);

/**
 * The Talk tab: binds its markup (portal/ui/talk.py) to a Player, and gives other scripts `window.vivavoce`.
 */

import { Chat } from "./chat.js";
import { told } from "./errors.js";
import { jobDone } from "./job.js";
import { language, make, recall, remember, translate } from "./page.js";
import { Player } from "./player.js";
import { Announcer } from "./talk/announcer.js";
import { AvatarPicker, beside, stillOf } from "./talk/avatar-picker.js";
import { Choices } from "./talk/choices.js";

const CHOSEN = "vivavoce.talk"; // what a viewer has chosen: {avatar, tts, voice, lipsync, muted}
const SHARP_PX = 480; // a moving preview with fewer rows looks worse than the still

const LOOK_EVERY_MS = 100;
const ANNOUNCED = ["connecting", "mending", "waiting", "preparing"]; // stages that a screen reader tells
const WORTH_ANOTHER_TRY = ["language_model_failed", "speech_failed", "too_often"];
const RETRY_AVATARS_MS = 2500;
const MORE_AVATARS_MS = 5000;
const TOAST_MS = 6000;
const FILL_WITHIN = 1.4; // pictures are cropped to the frame if their shapes differ by no more than this factor

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
      hello: find(".vv-hello"),
      bar: find(".vv-chat-bar"),
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
    this.textOnly = false; // no voice speaks what is being answered
    this.cutting = false; // another avatar was asked for while this one spoke
    this.place = 0; // in the line before a full house
    this.opening = null; // promise of the session that is being started
    this.wished = null; // what that session, or the one that goes on, was started with
    this.coming = null; // an avatar that is being prepared for a lip-sync: {avatar, lipsync, share, aborting}
    this.player = new Player(find("#vv-video"), find("#vv-canvas"), socketUrl());
    this.chat = new Chat(find(".vv-log"), {
      again: (text, mode) => this.submit(text, mode),
      edit: (text) => this.edit(text),
    });
    this.chat.restore();
    this.announcer = new Announcer(find(".vv-announcer"));
    this.wishes = recall(CHOSEN, {}); // the viewer's own choices, also of an earlier visit
    this.picked = this.wishes.avatar;
    this.picker = new AvatarPicker(this.parts.avatars, {
      picked: (id) => this.pick(id),
      chooses: () => this.player.state === "idle",
    });
    this.choices = new Choices(this.parts.settings, {
      wished: this.wishes,
      changed: (chosen) => {
        this.keepWish(chosen);
        if (this.player.state !== "idle") this.toast(this.texts.nextStart);
      },
      reachable: async () => (await listOf("online.json"))?.reachable ?? true,
    });
    this.mute(this.wishes.muted === true);
    this.bindControls();
    this.bindPlayer();
    this.setLanguage(language());
    this.onLanguage = ({ detail }) => this.setLanguage(detail);
    document.addEventListener("vivavoce:language", this.onLanguage);
    this.onTalkWith = ({ detail }) => this.pick(detail); // the Avatars tab has sent the viewer here
    document.addEventListener("vivavoce:talk-with", this.onTalkWith);
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
    this.chat.close();
    clearInterval(this.looker);
    clearTimeout(this.retry);
    this.onShown.disconnect();
    this.onResized.disconnect();
    document.removeEventListener("vivavoce:language", this.onLanguage);
    document.removeEventListener("vivavoce:talk-with", this.onTalkWith);
    document.removeEventListener("pointerdown", this.onElsewhere);
    document.removeEventListener("keydown", this.onKey);
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
    this.choices.fill(catalogue, this.texts);
    this.chooseAvatar(this.picked);
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
    this.picker.show(avatars);
    this.chooseAvatar(this.picked);
  }

  /** The viewer chooses an avatar. */
  pick(id) {
    this.keepWish({ avatar: id });
    this.picked = id;
    this.chooseAvatar(id);
    this.forgetComing();
    if (this.player.state !== "idle") this.swapAvatar(id);
    else this.opening = null; // what waited for the other avatar waits no more
  }

  /** What is chosen holds for the next visit too. */
  keepWish(chosen) {
    Object.assign(this.wishes, chosen);
    remember(CHOSEN, JSON.stringify(this.wishes));
  }

  /** What is being said is cut off by it; the viewer is told so once the other avatar is there. */
  swapAvatar(id) {
    this.cutting = this.isTalking;
    this.player.swapAvatar(id);
  }

  /** Show it as the choice; without one, or if it is gone, the portal's own choice. */
  chooseAvatar(id) {
    const known = (wanted) => this.avatars.find((one) => one.id === wanted);
    const avatar = known(id) || known(this.catalogue.defaults.avatar) || this.avatars[0];
    if (!avatar) return;
    this.avatarId = avatar.id;
    this.picker.choose(avatar.id);
    const { poster, backdrop } = this.parts;
    const still = stillOf(avatar);
    if (poster.src !== still) poster.src = backdrop.src = still;
    poster.alt = avatar.name;
    this.fitFrame();
    this.playPreview(avatar.preview ? beside(avatar.preview).href : "");
  }

  /** The still comes to life where that is no worse to look at, and for who does not mind motion. */
  playPreview(moving) {
    const { preview } = this.parts;
    if (preview.dataset.src === moving) return;
    preview.dataset.src = moving;
    preview.classList.remove("vv-on");
    if (!moving || matchMedia("(prefers-reduced-motion: reduce)").matches) return preview.removeAttribute("src");
    preview.src = moving;
    preview.onloadedmetadata = () => {
      if (preview.videoHeight < SHARP_PX) preview.removeAttribute("src");
      else preview.play().catch(() => {}); // not allowed or not playable: the still stays
    };
    preview.onplaying = () => preview.classList.add("vv-on");
  }

  fitFrame() {
    const { frame, poster } = this.parts; // on some screens, pictures have only a part of the frame: the poster's
    const avatar = this.avatars.find(({ id }) => id === this.avatarId);
    if (!avatar || !poster.clientHeight) return;
    const factor = (avatar.width / avatar.height) * (poster.clientHeight / poster.clientWidth);
    frame.classList.toggle("vv-cover", factor < FILL_WITHIN && factor > 1 / FILL_WITHIN);
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
    parts.mute.onclick = () => {
      this.mute(!this.player.muted);
      this.keepWish({ muted: this.player.muted });
    };
    this.onElsewhere = ({ target }) => {
      if (!parts.settings.contains(target)) parts.settings.open = false;
    };
    this.onKey = (event) => event.key === "Escape" && !event.isComposing && this.escape();
    document.addEventListener("pointerdown", this.onElsewhere);
    document.addEventListener("keydown", this.onKey);
    parts.form.onsubmit = (event) => {
      event.preventDefault();
      this.submitTyped();
    };
    parts.input.onkeydown = (event) => {
      // In Safari the Enter that ends a composition says so by its keyCode alone.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submitTyped();
    };
    parts.input.oninput = () => this.fitInput();
    this.querySelector(".vv-new").onclick = () => this.beginAnew();
    this.querySelector(".vv-export").onclick = () => this.saveConversation();
    for (const chip of this.querySelectorAll(".vv-chip")) chip.onclick = () => this.submit(chip.textContent);
  }

  /** What is open is closed; else who speaks is interrupted. */
  escape() {
    const { settings } = this.parts;
    if (settings.open) {
      settings.open = false;
      settings.querySelector("summary").focus();
    } else if (this.isTalking && this.checkVisibility()) this.player.interrupt();
  }

  mute(muted) {
    this.player.muted = muted;
    this.parts.mute.setAttribute("aria-pressed", String(muted));
  }

  /** The button that was pressed is about to go. A finger on glass did not ask for a keyboard over the picture. */
  takeFocus() {
    const { stop, input } = this.parts;
    (matchMedia("(pointer: coarse)").matches ? stop : input).focus({ preventScroll: true });
  }

  submitTyped() {
    const { input } = this.parts;
    const typed = input.value;
    // While there is no avatar, it stays where it is.
    if (!this.isFirstStart || this.player.state !== "idle") input.value = "";
    this.fitInput();
    this.submit(typed);
  }

  /** A question is put back into the text box, to be asked in other words. */
  edit(text) {
    const { input } = this.parts;
    input.value = text;
    this.fitInput();
    input.focus();
  }

  /** Nothing of what was said is known any more, neither here nor to the avatar. */
  beginAnew() {
    const wasOpen = this.player.state !== "idle";
    this.stop();
    this.chat.clear();
    this.showBegun();
    if (wasOpen) this.start().catch(() => {}); // "ended" tells why
    this.takeFocus();
  }

  saveConversation() {
    const text = this.chat.conversation.exported(this.texts.you);
    const link = make("a", { download: `Vivavoce ${new Date().toISOString().slice(0, 10)}.md` });
    link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href)); // the download has begun
  }

  /** The greeting, or what can be done with a conversation. */
  showBegun() {
    this.parts.hello.hidden = this.chat.isBegun;
    this.parts.bar.hidden = !this.chat.isBegun;
  }

  /** Enter starts the session too: the first message need not wait for a click. */
  async submit(text, mode = this.parts.echo.checked ? "echo" : "chat") {
    const said = text.trim();
    if (!said) return;
    if (this.isFirstStart && this.player.state === "idle") return this.keep(said);
    const bubble = this.player.state === "live" ? null : this.pend(said);
    try {
      if (bubble) await this.awake();
    } catch {
      return this.giveBack(said, bubble); // "ended" tells why
    }
    try {
      this.say(said, mode, bubble);
    } catch (error) {
      this.note(error, "error");
      this.giveBack(said, bubble);
    }
  }

  /** What was said is seen waiting in the chat until there is somebody to hear it. */
  pend(said) {
    const bubble = this.chat.pending(said);
    this.showBegun();
    return bubble;
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
    this.chat.take(bubble);
    this.showBegun();
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
    this.chat.ask(text, mode, bubble);
    this.showBegun();
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
    this.showWished(options);
    this.wished = { ...this.wish(), ...options };
    const { wished } = this;
    try {
      await this.player.start(wished);
    } catch (error) {
      if (!error.job) throw error;
      await this.openWhenPrepared(error, wished);
    }
  }

  /** What a script asks for is seen as the choice, for this session. */
  showWished(options) {
    if (options.avatar) {
      this.picked = options.avatar;
      this.chooseAvatar(options.avatar);
    }
    if (options.tts || options.voice || options.lipsync) this.choices.show(options);
  }

  async openWhenPrepared(error, wished) {
    await this.prepared(error);
    try {
      await this.player.start(wished);
    } catch (again) {
      if (again.job) this.note(again, "error"); // once is enough
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
    const transport = wanted || this.catalogue.defaults.transport || "auto";
    const history = () => this.chat.conversation.history();
    return { transport, avatar: this.avatarId, ...this.choices.chosen(), history };
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
      if (error.code !== "stopped") this.note(error, "error");
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
    on("firstpicture", ({ transport }) => {
      this.parts.frame.dataset.media = transport;
      this.announcer.tell(this.texts["state.listening"]);
    });
    on("turn", (message) => {
      const { textOnly } = this;
      const answer = this.chat.turn(message, this.shownName);
      this.showState();
      if (answer && (this.player.muted || this.player.isBlocked || textOnly)) this.announcer.tell(answer); // nobody heard it
      if (answer) this.textOnly = false;
    });
    on("text", (message) => {
      this.chat.text(message, this.shownName);
      this.showBegun();
    });
    on("subtitle", (message) => {
      this.chat.heard(message);
      if (message.spoken === false) this.showTextOnly(message.turn);
    });
    on("notice", (message) => this.note(message, "notice"));
    on("error", (message) => {
      if (message.job) return this.swapWhenPrepared(message);
      this.note(message, "error");
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
    on("blocked", () => this.toast(this.texts.blocked, Infinity));
    on("unblocked", () => this.untoast());
    on("return", () => this.start().catch(() => {})); // "ended" tells why
    on("ended", (error) => {
      this.parts.frame.dataset.media = "none";
      this.chat.newSession();
      this.forgetComing();
      if (error && error.code !== "stopped" && !error.job) this.note(error, "error");
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
    this.chooseAvatar(this.picked);
    this.loadAvatars();
  }

  switched(code) {
    return this.texts.switched.replace("{reason}", this.texts[`reason.${code}`]);
  }

  /** Who is on show, by name. */
  get shownName() {
    return this.player.welcome?.avatar.name ?? "";
  }

  showTextOnly(turn) {
    this.textOnly = true;
    this.chat.textOnly(turn);
  }

  /** A notice or an error is seen in the chat, and told. */
  note(error, kind) {
    const note = this.explain(error);
    this.chat.note(note, kind, WORTH_ANOTHER_TRY.includes(error.code));
    this.showBegun();
    this.announcer.tell(`${note.message} ${note.hint ?? ""}`);
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
  get isTalking() {
    return ["speaking", "thinking", "queued"].includes(this.player.turn.state);
  }

  showState() {
    const { isTalking } = this;
    const { state, turn } = this.player;
    const shown = state === "live" ? (isTalking ? turn.state.replace("queued", "thinking") : "listening") : this.stage;
    this.dataset.state = state;
    this.parts.frame.classList.toggle("vv-none", !this.avatars.length && state === "idle");
    this.parts.none.dataset.t = this.isMoreExpected ? "preparing" : "status.none";
    this.parts.none.textContent = this.texts[this.parts.none.dataset.t];
    this.announcer.hold(state === "live" && turn.state === "speaking");
    if (this.parts.state.dataset.state !== shown && ANNOUNCED.includes(shown)) this.announcer.tell(this.stageLine());
    this.parts.state.dataset.state = shown;
    this.parts.state.textContent = this.texts[`state.${shown}`];
    const atRest = ["idle", "making", "none"].includes(this.stage);
    this.parts.start.hidden = !atRest;
    this.parts.stop.hidden = atRest;
    this.parts.mute.hidden = state === "idle";
    this.parts.interrupt.hidden = state === "idle";
    this.parts.interrupt.disabled = !(state === "live" && isTalking);
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
      .replace("{lipsync}", () => this.choices.nameOf("lipsync", lipsync));
    if (text.textContent !== said) text.textContent = said;
    bar.value = share;
  }

  /** What the page waits for, or that it is the viewer's turn. */
  stageLine() {
    if (this.place) return this.texts.waiting.replace("{place}", this.place);
    if (this.player.state === "live") return this.texts["state.listening"];
    return this.texts[`status.${this.stage}`];
  }

  statusLine() {
    const { texts } = this;
    const stats = this.player.stats();
    if (stats.state !== "live") return this.stageLine();
    const transport = texts[`transport.${stats.transport}`];
    const because = texts.carriedBecause.replace("{transport}", transport);
    const facts = [stats.reasonCode ? because.replace("{reason}", texts[`reason.${stats.reasonCode}`]) : transport];
    facts.push(`${Math.round(stats.fps)} fps`);
    if (stats.latencyMs !== null) facts.push(`${texts.answeredIn} ${Math.round(stats.latencyMs)} ms`);
    facts.push(texts[`turn.${stats.turnState}`]);
    return facts.join(" · ");
  }

  toast(text, forMs = TOAST_MS) {
    const { toast } = this.parts;
    toast.textContent = text;
    this.announcer.tell(text);
    toast.classList.add("vv-on");
    clearTimeout(this.toastTimer);
    if (forMs < Infinity) this.toastTimer = setTimeout(() => this.untoast(), forMs);
  }

  untoast() {
    clearTimeout(this.toastTimer);
    this.parts.toast.classList.remove("vv-on");
  }

  setLanguage(code) {
    this.code = code;
    translate(this, this.texts);
    this.chat.speak(this.texts);
    this.showBegun();
    if (!this.player.isBlocked) this.untoast();
    else this.toast(this.texts.blocked, Infinity);
    this.choices.fill(this.catalogue, this.texts);
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

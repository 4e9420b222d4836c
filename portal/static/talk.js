// @ts-nocheck
/**
 * The Talk tab: binds its markup (portal/ui/talk.py) and its parts (talk/) to a Player, and gives other scripts
 * `window.vivavoce`.
 */

import { Chat } from "./chat.js";
import { make, translate } from "./dom.js";
import { told } from "./errors.js";
import { language, recall, remember } from "./page.js";
import { Player } from "./player.js";
import { beside, listOf } from "./server.js";
import { Announcer } from "./talk/announcer.js";
import { AvatarList } from "./talk/avatar-list.js";
import { AvatarPicker } from "./talk/avatar-picker.js";
import { Choices } from "./talk/choices.js";
import { Composer } from "./talk/composer.js";
import { Controls } from "./talk/controls.js";
import { forScripts } from "./talk/for-scripts.js";
import { Preparation } from "./talk/preparation.js";
import { Stage } from "./talk/stage.js";
import { liveLine } from "./talk/status.js";
import { Toast } from "./talk/toast.js";
import { talk as TEXTS } from "./texts.js";

const CHOSEN = "vivavoce.talk"; // what a viewer has chosen: {avatar, tts, voice, lipsync, muted}

const LOOK_EVERY_MS = 100;
const ANNOUNCED = ["connecting", "mending", "waiting", "preparing"]; // phases that a screen reader tells
const AT_REST = ["idle", "loading", "making", "none"]; // nothing has begun that could be stopped
const WORTH_ANOTHER_TRY = ["language_model_failed", "speech_failed", "too_often"];

function socketUrl() {
  const url = new URL(beside("session"));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

class VivavoceTalk extends HTMLElement {
  connectedCallback() {
    if (this.player) return;
    this.catalogue = { tts: [], lipsync: [], defaults: {} };
    this.asking = null; // promise of the real one
    this.shownList = null; // the avatars that are in the strip
    this.isFirstStart = false; // there is no avatar yet, or none any more
    this.textOnly = false; // no voice speaks what is being answered
    this.cutting = false; // another avatar was asked for while this one spoke
    this.place = 0; // in the line before a full house
    this.opening = null; // promise of the session that is being started
    this.wished = null; // what that session, or the one that goes on, was started with
    this.wishes = recall(CHOSEN); // the viewer's own choices, also of an earlier visit
    this.picked = this.wishes.avatar;
    this.build((selector) => this.querySelector(selector));
    this.mute(this.wishes.muted === true);
    this.bindPage();
    this.bindPlayer();
    this.setLanguage(language());
    this.looker = setInterval(() => this.look(), LOOK_EVERY_MS);
    announce(this);
  }

  build(find) {
    this.status = find("#vv-status");
    this.settings = find(".vv-settings");
    this.hello = find(".vv-hello");
    this.bar = find(".vv-chat-bar");
    this.player = new Player(find("#vv-video"), find("#vv-canvas"), socketUrl());
    this.stage = new Stage(find(".vv-frame"));
    this.toasts = new Toast(find(".vv-toast"));
    this.announcer = new Announcer(find(".vv-announcer"));
    this.preparation = new Preparation(() => this.showState());
    this.chat = new Chat(find(".vv-log"), {
      again: (text, mode) => this.submit(text, mode),
      edit: (text) => this.composer.edit(text),
    });
    this.chat.restore();
    this.composer = new Composer(find(".vv-composer"), {
      typed: (text, mode) => this.submit(text, mode),
      keeps: () => this.isNobodyThere,
    });
    this.controls = new Controls(find(".vv-controls"), {
      start: () => this.begin(),
      stop: () => {
        this.stop();
        this.controls.start.focus();
      },
      interrupt: () => {
        this.player.interrupt();
        this.takeFocus();
      },
      mute: () => {
        this.mute(!this.player.muted);
        this.keepWish({ muted: this.player.muted });
      },
    });
    this.list = new AvatarList(() => this.showAvatars());
    this.picker = new AvatarPicker(find(".vv-avatars"), {
      picked: (id) => this.pick(id),
      chooses: () => this.player.state === "idle",
    });
    this.choices = new Choices(this.settings, {
      wished: this.wishes,
      changed: (chosen) => {
        this.keepWish(chosen);
        if (this.player.state !== "idle") this.toast(this.texts.nextStart);
      },
      reachable: async () => (await listOf("online.json"))?.reachable ?? true,
    });
  }

  disconnectedCallback() {
    if (this.isConnected || !this.player) return;
    this.stop();
    this.chat.close();
    this.list.close();
    this.stage.close();
    clearInterval(this.looker);
    this.onShown.disconnect();
    document.removeEventListener("vivavoce:language", this.onLanguage);
    document.removeEventListener("vivavoce:talk-with", this.onTalkWith);
    document.removeEventListener("pointerdown", this.onElsewhere);
    document.removeEventListener("keydown", this.onKey);
  }

  get texts() {
    return TEXTS[this.code];
  }

  // -- what can be chosen

  /** Asked for once, and again for as long as the server cannot tell. */
  async loadCatalogue() {
    this.asking ||= listOf("choices.json");
    const catalogue = await this.asking;
    if (!catalogue) this.asking = null;
    if (!catalogue || catalogue === this.catalogue) return;
    this.catalogue = catalogue;
    this.choices.fill(catalogue, this.texts);
    this.chooseAvatar(this.picked);
  }

  /** The list was read, or it is known whether more of them are being made. */
  async showAvatars() {
    await this.loadCatalogue(); // who starts, starts with what was chosen
    const avatars = this.list.all;
    if (!this.list.isRead) return this.showState();
    if (this.isFirstStart && avatars.length) this.toasts.hide();
    this.isFirstStart = !avatars.length;
    this.controls.start.disabled = !avatars.length;
    this.showState();
    if (avatars === this.shownList) return;
    this.shownList = avatars;
    this.picker.show(avatars);
    this.chooseAvatar(this.picked);
  }

  /** The viewer chooses an avatar. */
  pick(id) {
    this.keepWish({ avatar: id });
    this.picked = id;
    this.chooseAvatar(id);
    this.preparation.forget();
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
    const avatars = this.list.all;
    const known = (wanted) => avatars.find((one) => one.id === wanted);
    const avatar = known(id) || known(this.catalogue.defaults.avatar) || avatars[0];
    if (!avatar) return;
    this.avatarId = avatar.id;
    this.picker.choose(avatar.id);
    this.stage.showAvatar(avatar);
  }

  // -- controls

  bindPage() {
    const { settings } = this;
    this.onElsewhere = ({ target }) => {
      if (!settings.contains(target)) settings.open = false;
    };
    this.onKey = (event) => event.key === "Escape" && !event.isComposing && this.escape();
    this.onLanguage = ({ detail }) => this.setLanguage(detail);
    this.onTalkWith = ({ detail }) => this.pick(detail); // the Avatars tab has sent the viewer here
    document.addEventListener("pointerdown", this.onElsewhere);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("vivavoce:language", this.onLanguage);
    document.addEventListener("vivavoce:talk-with", this.onTalkWith);
    // Coming back to this tab, new avatars may be there.
    this.onShown = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return this.list.unwatch();
      this.loadCatalogue();
      this.list.watch();
    });
    this.onShown.observe(this);
    this.querySelector(".vv-new").onclick = () => this.beginAnew();
    this.querySelector(".vv-export").onclick = () => this.saveConversation();
    for (const chip of this.querySelectorAll(".vv-chip")) {
      chip.onclick = () => this.submit(chip.textContent, this.composer.mode);
    }
  }

  /** What is open is closed; else who speaks is interrupted. */
  escape() {
    const { settings } = this;
    if (settings.open) {
      settings.open = false;
      settings.querySelector("summary").focus();
    } else if (this.isTalking && this.checkVisibility()) this.player.interrupt();
  }

  mute(muted) {
    this.player.muted = muted;
    this.controls.showMuted(muted);
  }

  /** The button that was pressed is about to go. A finger on glass did not ask for a keyboard over the picture. */
  takeFocus() {
    if (matchMedia("(pointer: coarse)").matches) this.controls.stop.focus({ preventScroll: true });
    else this.composer.focus();
  }

  begin() {
    this.start().catch(() => {}); // "ended" tells why
    this.takeFocus();
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
    const text = this.chat.conversation.exported(this.texts.you, this.texts.speaks);
    const link = make("a", { download: `Vivavoce ${new Date().toISOString().slice(0, 10)}.md` });
    link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href)); // the download has begun
  }

  /** The greeting, or what can be done with a conversation. */
  showBegun() {
    this.hello.hidden = this.chat.isBegun;
    this.bar.hidden = !this.chat.isBegun;
  }

  /** Whether there is no avatar that could hear something, and none that could be started. */
  get isNobodyThere() {
    return this.isFirstStart && this.player.state === "idle";
  }

  /** Enter starts the session too: the first message need not wait for a click. */
  async submit(text, mode) {
    const said = text.trim();
    if (!said) return;
    if (this.isNobodyThere) return this.keep(said);
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

  /** What could not be said can be sent again. */
  giveBack(said, bubble) {
    this.chat.take(bubble);
    this.showBegun();
    this.composer.giveBack(said);
  }

  /** There is nobody yet to hear it; it may be one of the suggestions. */
  keep(said) {
    this.composer.offer(said);
    this.toast(this.list.isMoreExpected ? this.texts.kept : this.texts["status.none"]);
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
    this.preparation.forget();
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
    this.preparation.forget();
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
  async prepared(refusal) {
    try {
      await this.preparation.wait(refusal);
    } catch (error) {
      if (error.code !== "stopped") this.note(error, "error");
      throw error;
    }
  }

  // -- what the player tells

  bindPlayer() {
    const on = (type, handle) => this.player.addEventListener(type, ({ detail }) => handle(detail));
    on("state", () => {
      this.place = 0;
      this.showState();
    });
    on("firstpicture", ({ transport }) => {
      this.stage.showMedia(transport);
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
    on("unblocked", () => this.toasts.hide());
    on("return", () => this.start().catch(() => {})); // "ended" tells why
    on("ended", (error) => {
      this.stage.showMedia("none");
      this.chat.newSession();
      this.preparation.forget();
      if (error && error.code !== "stopped" && !error.job) this.note(error, "error");
      if (error && error.code === "avatar_not_found") this.missAvatar();
      if (error && error.job && !this.opening) this.reopen(error); // who opens prepares it
    });
  }

  /** Whoever is on show is the choice, unless another is on the way. */
  showChosen() {
    const { session, welcome, wanted } = this.player;
    if (!session || !welcome || wanted || this.preparation.coming) return;
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
    this.list.read();
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
    const { code } = error;
    const { cause, remedy, detail } = told(error, this.texts);
    const named = this.named(cause);
    this.chat.note({ code, cause: named, remedy, detail }, kind, WORTH_ANOTHER_TRY.includes(code));
    this.showBegun();
    this.announcer.tell(`${named} ${remedy}`);
  }

  /** The server speaks of avatars by their ids; a viewer knows their names. */
  named(message) {
    return this.list.all.reduce((text, { id, name }) => text.replaceAll(`'${id}'`, () => `'${name}'`), message);
  }

  // -- what is seen

  /** Whether something is being said, or about to be. */
  get isTalking() {
    return ["speaking", "thinking", "queued"].includes(this.player.turn.state);
  }

  showState() {
    const { isTalking, phase, texts } = this;
    const { state, turn } = this.player;
    const isLive = state === "live";
    const shown = isLive ? (isTalking ? turn.state.replace("queued", "thinking") : "listening") : phase;
    this.dataset.state = state;
    const whyNone = { making: texts.preparing, none: texts["status.none"] }[phase] ?? "";
    this.stage.showNone(!this.list.all.length && state === "idle", whyNone);
    this.announcer.hold(isLive && turn.state === "speaking");
    const isOther = this.stage.showState(shown, texts[`state.${shown}`]);
    if (isOther && ANNOUNCED.includes(shown)) this.announcer.tell(this.phaseLine());
    this.controls.show(AT_REST.includes(phase), state !== "idle", isLive && isTalking);
    this.look();
  }

  /** The player's state, or what it waits for. */
  get phase() {
    if (this.place) return "waiting";
    if (this.player.state !== "idle") return this.player.state;
    if (this.preparation.coming) return "preparing";
    if (!this.list.isRead) return "loading";
    if (!this.isFirstStart) return "idle";
    return this.list.isMoreExpected ? "making" : "none";
  }

  /** What changes by itself: subtitle, status line, and how far a preparation is. */
  look() {
    const { coming } = this.preparation;
    const stats = this.player.stats();
    const line = stats.state === "live" ? liveLine(stats, this.texts) : this.phaseLine();
    if (this.status.textContent !== line) this.status.textContent = line;
    this.stage.showSubtitle(this.player.subtitle);
    this.stage.showComing(coming ? this.comingLine(coming) : "", coming?.share ?? 0);
  }

  /** What the page waits for, or that it is the viewer's turn. */
  phaseLine() {
    if (this.place) return this.texts.waiting.replace("{place}", this.place);
    if (this.player.state === "live") return this.texts["state.listening"];
    return this.texts[`status.${this.phase}`];
  }

  comingLine({ avatar, lipsync }) {
    return this.texts.preparingFor
      .replace("{avatar}", () => this.list.nameOf(avatar))
      .replace("{lipsync}", () => this.choices.nameOf("lipsync", lipsync));
  }

  /** Over the picture, and to a screen reader. */
  toast(text, forMs) {
    this.toasts.show(text, forMs);
    this.announcer.tell(text);
  }

  setLanguage(code) {
    this.code = code;
    translate(this, this.texts);
    this.chat.speak(this.texts);
    this.showBegun();
    if (!this.player.isBlocked) this.toasts.hide();
    else this.toast(this.texts.blocked, Infinity);
    this.choices.fill(this.catalogue, this.texts);
    this.showState();
  }
}

let announce;
window.vivavoce = forScripts(new Promise((resolve) => (announce = resolve)));

customElements.define("vivavoce-talk", VivavoceTalk);

/**
 * The Talk tab. It connects its markup (portal/ui/talk.py), its parts (talk/) and a Player, and offers
 * `window.vivavoce` to other scripts.
 */

import { Chat } from "./chat.js";
import { find, translate } from "./dom.js";
import { errorText } from "./errors.js";
import { language } from "./page.js";
import { Player } from "./player.js";
import { portalUrl, listOf } from "./server.js";
import { Announcer } from "./talk/announcer.js";
import { AvatarChoice } from "./talk/avatar-choice.js";
import { AvatarList } from "./talk/avatar-list.js";
import { AvatarPicker } from "./talk/avatar-picker.js";
import { Choices } from "./talk/choices.js";
import { Composer } from "./talk/composer.js";
import { ConnectionPanel } from "./talk/connection.js";
import { Controls } from "./talk/controls.js";
import { ConversationBar } from "./talk/conversation-bar.js";
import { EarsControl } from "./talk/ears.js";
import { forScripts } from "./talk/for-scripts.js";
import { GestureRow } from "./talk/gesture-row.js";
import { News } from "./talk/news.js";
import { Opening } from "./talk/opening.js";
import { Panels } from "./talk/panels.js";
import { PersonaFields } from "./talk/persona.js";
import { Preparation } from "./talk/preparation.js";
import { RecordingControl } from "./talk/recording.js";
import { Speaking } from "./talk/speaking.js";
import { Stage } from "./talk/stage.js";
import { TalkState } from "./talk/state.js";
import { liveLine } from "./talk/status.js";
import { StreamingControl } from "./talk/streaming.js";
import { Toast } from "./talk/toast.js";
import { View } from "./talk/view.js";
import { VoicePreview } from "./talk/voice-preview.js";
import { WatchLink } from "./talk/watch-link.js";
import { Waterfall } from "./talk/waterfall.js";
import { Wishes } from "./talk/wishes.js";
import { talk as TEXTS } from "./texts.js";

/**
 * @typedef {import("./types/player.d.ts").Start} Start
 * @typedef {import("./types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("./types/api.d.ts").Catalogue} Catalogue
 * @typedef {import("./types/api.d.ts").ErrorView} ErrorView
 * @typedef {import("./types/api.d.ts").Language} Language
 */

const LOOK_EVERY_MS = 100;
const ANNOUNCED = ["connecting", "mending", "waiting", "preparing"]; // states that a screen reader announces
const WORTH_ANOTHER_TRY = ["language_model_failed", "speech_failed", "too_often"];

function socketUrl() {
  const url = new URL(portalUrl("session"));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

class TalkTab {
  /** @type {Promise<Catalogue?>?} the request for the list of choices; null before the first one and after a failure */
  #asking = null;
  /** @type {AvatarView[]?} the avatars that the picker shows */
  #inStrip = null;
  #left = new AbortController();

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    this.wishes = new Wishes();
    this.state = new TalkState(() => this.show());
    this.state.picked = this.wishes.now.avatar;
    this.state.texts = TEXTS[language()];
    // Parts that are seen.
    this.status = find(element, "#vv-status", HTMLElement);
    this.settings = find(element, ".vv-settings", HTMLDetailsElement);
    this.stage = new Stage(find(element, ".vv-frame", HTMLElement));
    this.toasts = new Toast(find(element, ".vv-toast", HTMLElement));
    this.announcer = new Announcer(find(element, ".vv-announcer", HTMLElement));
    this.controls = new Controls(find(element, ".vv-controls", HTMLElement), {
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
        this.wishes.keep({ muted: this.player.muted });
      },
    });
    this.gestures = new GestureRow(find(element, ".vv-gestures", HTMLElement), (name) => {
      if (this.state.isLive) this.player.gesture(name);
    });
    this.picker = new AvatarPicker(find(element, ".vv-avatars", HTMLElement), {
      picked: (id) => this.pick(id),
      chooses: () => this.state.session === "idle",
    });
    this.choices = new Choices(this.settings, {
      wished: this.wishes.now,
      changed: (chosen) => {
        this.preview.stop();
        const wished = { ...chosen, ...this.persona.chosen() };
        this.wishes.keep(wished);
        this.player.changes.change(wished);
      },
      reachable: async () => (await listOf("online.json"))?.reachable ?? true,
    });
    this.preview = new VoicePreview(find(this.settings, ".vv-hear", HTMLButtonElement), {
      wished: () => this.choices.chosen(),
      language,
      texts: () => this.state.texts,
      volume: () => this.player.mediaChoice.loudness,
      failed: () => this.toast(this.state.texts.voiceUnheard),
    });
    this.persona = new PersonaFields(this.settings, {
      wished: this.wishes.now,
      avatar: () => this.state.choice,
      kept: ({ name }) => {
        this.wishes.keep(this.persona.chosen());
        this.toast(this.state.texts.personaKept.replace("{avatar}", () => name));
      },
      failed: (error) => this.note(error, "error"),
    });
    this.watchLink = new WatchLink(this.settings, {
      texts: () => this.state.texts,
      toast: (text) => this.toast(text),
    });
    this.waterfall = new Waterfall(find(element, ".vv-timing", HTMLDetailsElement));
    this.connection = new ConnectionPanel(this.settings);
    this.composer = new Composer(find(element, ".vv-composer", HTMLFormElement), {
      typed: (text, mode) => this.speaking.submit(text, mode),
      keeps: () => this.state.isNobodyThere,
    });
    this.chat = new Chat(find(element, ".vv-log", HTMLElement), {
      again: (text, mode) => this.speaking.submit(text, mode),
      edit: (text) => this.composer.edit(text),
    });
    this.chat.restore();
    this.conversationBar = new ConversationBar(element, this.chat, {
      anew: () => this.beginAnew(),
      suggested: (text) => this.speaking.submit(text, this.composer.mode),
      texts: () => this.state.texts,
    });
    // Parts that act: the player, and what works with it.
    this.list = new AvatarList(() => this.takeList());
    const [video, canvas] = [find(element, "#vv-video", HTMLVideoElement), find(element, "#vv-canvas", HTMLCanvasElement)];
    this.player = new Player(video, canvas, socketUrl());
    const ears = this.wishes.now.ears;
    this.ears = new EarsControl(
      element,
      this.player.listening,
      {
        wished: ears && typeof ears === "object" ? ears : {},
        changed: (wish) => this.wishes.keep({ ears: wish }),
        listen: (mode, choice) => this.player.listen(mode, choice),
        isOpen: () => this.state.isLive,
        language,
        fault: (error) => this.note(error, "error"),
      },
      this.#left.signal,
    );
    this.recording = new RecordingControl(element, this.player, {
      began: () => this.toast(this.state.texts.recordingOn),
      fault: (error) => this.note(error, "error"),
    });
    this.streaming = new StreamingControl(this.settings, this.player, {
      fault: (error) => this.note(error, "error"),
      tell: (text) => this.announcer.tell(text),
    });
    this.preparation = new Preparation(() => this.state.learn({ coming: this.preparation.coming }));
    this.opening = new Opening(this.player, this.preparation, {
      wish: () => this.wish(),
      wished: (options) => this.showWished(options),
      note: (error) => this.note(error, "error"),
    });
    this.avatarChoice = new AvatarChoice(this.state, this.player, this.opening, {
      chosen: (avatar) => {
        this.picker.choose(avatar.id);
        this.stage.showAvatar(avatar);
      },
      missed: () => this.list.read(),
    });
    this.speaking = new Speaking(this.state, this, {
      begun: () => this.conversationBar.show(),
      toast: (text) => this.toast(text),
      note: (error) => this.note(error, "error"),
    });
    this.view = new View(this.settings, this.stage.frame, video, {
      wished: this.wishes.now,
      changed: (wish) => this.wishes.keep(wish),
      loud: (volume) => (this.player.volume = volume),
    });
    this.panels = new Panels(this.settings, this.waterfall.panel, this.#left.signal);
    this.mute(this.wishes.now.muted === true);
    this.bindPage();
    this.news = new News(this.state, this, {
      begun: () => this.conversationBar.show(),
      putBack: () => {
        this.choices.putBack(this.player.changes.chosen);
        this.wishes.keep(this.choices.chosen());
      },
      toast: (text, forMs) => this.toast(text, forMs),
      note: (error, kind) => this.note(error, kind),
      start: () => void this.start().catch(() => {}), // "ended" reports the error
    });
    this.setLanguage(language());
    this.looker = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  close() {
    this.stop();
    this.#left.abort();
    this.chat.close();
    this.list.close();
    this.stage.close();
    clearInterval(this.looker);
  }

  // -- choices

  /** Fetch the list of choices, unless that has been done. Failed requests are repeated at the next call. */
  async loadCatalogue() {
    this.#asking ??= listOf("choices.json");
    const catalogue = await this.#asking;
    if (!catalogue) this.#asking = null;
    if (!catalogue || catalogue === this.state.catalogue) return;
    this.state.learn({ catalogue });
    this.choices.fill(catalogue, this.state.texts);
    this.showModel();
    this.avatarChoice.show();
  }

  /** The list of avatars was read, or it became known whether more avatars are being made. */
  async takeList() {
    await this.loadCatalogue(); // first, because Start sends the choices that were made in it
    const { all: avatars, isRead: isListRead, isMoreExpected } = this.list;
    if (!isListRead) return this.state.learn({ isListRead, isMoreExpected });
    if (this.state.isFirstStart && avatars.length) this.toasts.hide();
    this.controls.start.disabled = !avatars.length;
    this.state.learn({ avatars, isListRead, isMoreExpected, isFirstStart: !avatars.length });
    if (avatars === this.#inStrip) return;
    this.#inStrip = avatars;
    this.picker.show(avatars);
    this.avatarChoice.show();
  }

  /**
   * The viewer chooses an avatar.
   * @param {string} id
   */
  pick(id) {
    this.wishes.keep({ avatar: id });
    this.avatarChoice.choose(id);
    this.preparation.forget();
    if (this.state.session !== "idle") this.avatarChoice.swap(id);
    else this.opening.current = null; // gives up an opening that waited for the other avatar
  }

  /**
   * Return what is chosen on the page.
   * @returns {Start}
   */
  wish() {
    const wanted = new URLSearchParams(location.search).get("transport");
    const transport = wanted || this.state.catalogue.defaults.transport || "auto";
    const history = () => this.chat.conversation.history();
    return { transport, avatar: this.state.choice?.id, ...this.choices.chosen(), ...this.persona.chosen(), history };
  }

  /**
   * Show what a script asked for as the choice, for this session.
   * @param {Start} options
   */
  showWished(options) {
    if (options.avatar) this.avatarChoice.choose(options.avatar);
    if (options.tts || options.voice || options.lipsync || options.speed) this.choices.show(options);
  }

  // -- actions of the viewer

  bindPage() {
    const { element } = this;
    const left = this.#left;
    document.addEventListener(
      "keydown",
      (event) => {
        if (event.key === "Escape" && !event.isComposing) this.escape();
      },
      left,
    );
    document.addEventListener("vivavoce:language", ({ detail }) => this.setLanguage(detail), left);
    document.addEventListener("vivavoce:talk-with", ({ detail }) => this.pick(detail), left);
    document.addEventListener("vivavoce:announce", ({ detail }) => this.announcer.tell(detail), left);
    // New avatars may have been made by the time the viewer comes back to this tab.
    const onShown = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return this.list.unwatch();
      this.loadCatalogue();
      this.list.watch();
    });
    onShown.observe(element);
    left.signal.addEventListener("abort", () => onShown.disconnect());
  }

  /** Close what is open, or else interrupt the avatar if it speaks. */
  escape() {
    if (this.panels.close()) return;
    if (this.state.isTalking && this.element.checkVisibility()) this.player.interrupt();
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.player.muted = muted;
    this.controls.showMuted(muted);
  }

  /**
   * The pressed button is about to disappear, so move the focus. On a touch screen it does not go to the text box,
   * since that would open a keyboard over the picture.
   */
  takeFocus() {
    if (matchMedia("(pointer: coarse)").matches) this.controls.stop.focus({ preventScroll: true });
    else this.composer.focus();
  }

  begin() {
    this.start().catch(() => {}); // the event "ended" reports the error
    this.takeFocus();
  }

  /** Begin a new conversation. What was said so far is forgotten here, and the avatar does not know it either. */
  beginAnew() {
    const wasOpen = this.state.session !== "idle";
    this.stop();
    this.chat.clear();
    this.conversationBar.show();
    if (wasOpen) this.start().catch(() => {}); // the event "ended" reports the error
    this.takeFocus();
  }

  /**
   * Open a session. Resolves at the first picture.
   * @param {Start} [options] values that replace what is chosen on the page
   */
  start(options) {
    return this.opening.start(options);
  }

  stop() {
    this.opening.stop();
  }

  /**
   * Switch the microphone on or off. Throws a PortalError.
   * @param {boolean} on
   */
  listen(on) {
    return this.ears.listen(on);
  }

  /**
   * Send a text to the avatar. Throws a PortalError.
   * @param {string} text
   * @param {import("./types/messages.d.ts").Mode} [mode]
   */
  say(text, mode) {
    this.speaking.say(text, mode);
  }

  /** Show which language model answers. */
  showModel() {
    const { catalogue, texts } = this.state;
    const { llm = "", model } = catalogue.defaults;
    const line = llm && texts.answeredBy.replace("{model}", () => model || texts[`llm.${llm}`] || llm);
    find(this.settings, ".vv-model", HTMLElement).textContent = line;
  }

  // -- display and announcements

  /** Show everything that follows from the state. */
  show() {
    const { state } = this;
    const { label, session } = state;
    this.element.dataset.state = session;
    this.stage.showNone(!state.avatars.length && session === "idle", state.whyNone);
    this.announcer.hold(state.isLive && state.turn === "speaking");
    const isOther = this.stage.showState(label, state.texts[`state.${label}`]);
    if (isOther && ANNOUNCED.includes(label)) this.announcer.tell(state.line);
    this.gestures.show(state.isLive ? this.player.gestures : []);
    this.recording.show(state.isLive && state.catalogue.defaults.recording === true);
    this.streaming.show(state.isLive && state.catalogue.defaults.push === true);
    this.watchLink.show(state.isLive ? this.player.watchToken : "");
    this.controls.show(state.isAtRest, session !== "idle", state.isLive && state.isTalking);
    this.look();
  }

  /** Update what changes without an event: the subtitle, the status line and the progress of a preparation. */
  look() {
    const { state } = this;
    const line = state.isLive ? liveLine(this.player.stats(), state.texts) : state.line;
    if (this.status.textContent !== line) this.status.textContent = line;
    this.stage.showSubtitle(this.player.subtitle);
    this.recording.tick();
    this.connection.show(this.player.mediaChoice.connection);
    this.stage.showComing(state.comingLine, state.coming?.share ?? 0);
  }

  /**
   * Show a notice or an error in the chat, and announce it to a screen reader.
   * @param {ErrorView} error
   * @param {"notice" | "error"} kind
   */
  note(error, kind) {
    const { code } = error;
    const { cause, remedy, detail } = errorText(error, this.state.texts);
    const named = this.state.named(cause);
    this.chat.note({ code, cause: named, remedy, detail }, kind, WORTH_ANOTHER_TRY.includes(code));
    this.conversationBar.show();
    this.announcer.tell(`${named} ${remedy}`);
  }

  /**
   * Show a text over the picture, and announce it to a screen reader.
   * @param {string} text
   * @param {number} [forMs]
   */
  toast(text, forMs) {
    this.toasts.show(text, forMs);
    this.announcer.tell(text);
  }

  /** @param {Language} code */
  setLanguage(code) {
    const texts = TEXTS[code];
    translate(this.element, texts);
    this.chat.speak(texts);
    this.waterfall.speak(texts);
    this.connection.speak(texts);
    this.ears.speak(texts);
    this.recording.speak(texts);
    this.streaming.speak(texts);
    this.conversationBar.show();
    if (!this.player.isBlocked) this.toasts.hide();
    else this.toast(texts.blocked, Infinity);
    this.choices.fill(this.state.catalogue, texts);
    this.state.learn({ texts });
    this.preview.tell();
    this.showModel();
  }
}

/** @type {(tab: TalkTab) => void} */
let announce;
/** @type {Promise<TalkTab>} resolves once the tab is on the page */
export const talkTab = new Promise((resolve) => (announce = resolve));
window.vivavoce = forScripts(talkTab);

class VivavoceTalk extends HTMLElement {
  /** @type {TalkTab?} */
  tab = null;

  connectedCallback() {
    if (this.tab) return;
    this.tab = new TalkTab(this);
    announce(this.tab);
  }

  disconnectedCallback() {
    if (!this.isConnected) this.tab?.close();
  }
}

customElements.define("vivavoce-talk", VivavoceTalk);

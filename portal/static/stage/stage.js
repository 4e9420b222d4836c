/**
 * The stage view, as its address asks for it:
 *
 * - avatar, voice, tts, lipsync, transport: of its sessions; left out, the portal chooses
 * - lang: en or zh
 * - view: stage (default), chat or both
 * - bg: what is around the avatar's pictures, and behind the person where that can be told: photo (default: the pictures
 *   keep their background, a blur of it is around), blur, transparent, or a colour such as %2300b140
 * - fit: cover (fill the window, cut off what is over), contain, or auto (default: cover where little is cut off)
 * - autostart=1: begin without a click, mute until the browser allows sound
 * - kiosk=1: whatever ends a session, begin another one
 * - controls=0: no buttons and no state on the picture
 *
 * A portal that is a kiosk has kiosk=1 for all addresses without another.
 *
 * In a frame it takes commands from the page around it, and tells it what happens: see embed.js. Who may frame it is
 * decided by the server (`allowed_origins`). That page is asked for a token when the login has ended.
 */

import { language } from "../page.js";
import { talkTab } from "../talk.js";
import { Cutout } from "./cutout.js";
import { FreshToken } from "./fresh-token.js";
import { withDefaults } from "./wish.js";

/**
 * @typedef {import("../types/player.d.ts").PlayerEvents} PlayerEvents
 * @typedef {{vivavoce?: unknown, text?: unknown, mode?: unknown, options?: unknown}} Command
 */

/** @type {(keyof PlayerEvents)[]} */
const TOLD = [
  "state",
  "firstpicture",
  "turn",
  "text",
  "subtitle",
  "notice",
  "error",
  "latency",
  "blocked",
  "unblocked",
  "ended",
];

const { dataset, style } = document.body;
const asked = withDefaults(new URLSearchParams(location.search), new URLSearchParams(dataset.defaults));
document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
dataset.view = asked.view;
dataset.fit = asked.fit;
if (!asked.controls) dataset.controls = "0";
// Before a session, too, the address decides who is on show, and not what was last chosen on the Talk tab.
talkTab.then(({ avatarChoice }) => avatarChoice.choose(asked.wish.avatar));
if (asked.backdrop) {
  talkTab.then(({ stage, player }) => new Cutout(stage, player));
  dataset.backdrop = asked.backdrop === "blur" ? "blur" : "colour";
  if (asked.backdrop !== "blur") style.setProperty("--vv-backdrop", asked.backdrop);
  // A frame of another colour scheme than the page around it is not transparent.
  if (asked.backdrop === "transparent") document.querySelector("meta[name=color-scheme]")?.remove();
}

/** @param {object} [options] */
function start(options = {}) {
  return window.vivavoce.start({ ...asked.wish, ...options });
}

/** @param {object} [options] */
function begin(options) {
  start(options).catch(() => {}); // "ended" tells why
}

/** @param {Command} command */
function obey({ vivavoce: name, text, mode, options }) {
  const api = window.vivavoce;
  if (name === "start") return begin(typeof options === "object" && options ? options : {});
  if (name === "stop") return void api.stop();
  if (name === "interrupt") return void api.interrupt();
  if (name === "say") api.say(String(text ?? ""), mode === "echo" ? "echo" : "chat").catch(() => {}); // "error" tells why
}

// The button starts what the address asks for, not what was last chosen on the Talk tab.
document.addEventListener(
  "click",
  (event) => {
    if (!(event.target instanceof Element) || !event.target.closest("#vv-start")) return;
    event.stopImmediatePropagation();
    begin();
  },
  true,
);

if (window.parent !== window) {
  const around = window.parent;
  // Whoever may frame us is known to the server and may know what is said; others get no frame.
  /** @param {string} type @param {unknown} detail */
  const tell = (type, detail) => around.postMessage({ vivavoce: type, detail: plain(detail) }, "*");
  const fresh = new FreshToken(() => tell("tokenneeded", null));
  talkTab.then(({ player }) => (player.loginAgain = () => fresh.needed()));
  window.addEventListener("message", ({ source, data }) => {
    if (source !== around || !data || typeof data !== "object") return;
    if (data.vivavoce === "token") void fresh.take(String(data.token ?? ""));
    else obey(data);
  });
  for (const type of TOLD) window.vivavoce.on(type, (detail) => tell(type, detail));
  tell("ready", null);
}

/**
 * What a page around may get: an error as its fields.
 * @param {unknown} detail
 */
function plain(detail) {
  if (!(detail instanceof Error)) return detail ?? null;
  return { ...detail, message: detail.message };
}

if (asked.autostart) begin();

/**
 * The stage view. The parameters of its address:
 *
 * - avatar, voice, tts, lipsync, transport: for its sessions; the portal chooses those that are missing
 * - lang: en or zh
 * - view: stage (default), chat or both
 * - bg: what surrounds the avatar's pictures and, if the avatar has mattes, replaces the background behind the person:
 *   photo (default: the pictures keep their background, surrounded by a blurred copy), blur, transparent, or a colour
 *   such as %2300b140
 * - fit: cover (fill the window and crop the pictures), contain, or auto (default: cover where little is cropped)
 * - autostart=1: begin without a click, muted until the browser allows sound
 * - kiosk=1: begin another session whenever one ends
 * - controls=0: show no buttons and no state on the picture
 *
 * On a portal in kiosk mode, kiosk=1 is the default.
 *
 * In a frame, the view takes commands from the embedding page and tells it what happens (see embed.js). The server
 * decides which pages may embed it (`allowed_origins`). The embedding page is asked for a token when the login has
 * ended.
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
// The address decides which avatar is shown, also before a session, and not the last choice on the Talk tab.
talkTab.then(({ avatarChoice }) => avatarChoice.choose(asked.wish.avatar));
if (asked.backdrop) {
  talkTab.then(({ stage, player }) => new Cutout(stage, player));
  dataset.backdrop = asked.backdrop === "blur" ? "blur" : "colour";
  if (asked.backdrop !== "blur") style.setProperty("--vv-backdrop", asked.backdrop);
  // A frame whose colour scheme differs from that of the embedding page is not transparent.
  if (asked.backdrop === "transparent") document.querySelector("meta[name=color-scheme]")?.remove();
}

/** @param {object} [options] */
function start(options = {}) {
  return window.vivavoce.start({ ...asked.wish, ...options });
}

/** @param {object} [options] */
function begin(options) {
  start(options).catch(() => {}); // the event "ended" reports the error
}

/** @param {Command} command */
function obey({ vivavoce: name, text, mode, options }) {
  const api = window.vivavoce;
  if (name === "start") return begin(typeof options === "object" && options ? options : {});
  if (name === "stop") return void api.stop();
  if (name === "interrupt") return void api.interrupt();
  if (name === "say") api.say(String(text ?? ""), mode === "echo" ? "echo" : "chat").catch(() => {}); // "error" tells why
}

// The Start button uses the choices of the address, not those last made on the Talk tab.
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
  // "*" is safe: the server lets only allowed pages embed this view, and those may know what is said.
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
 * Return a detail in a form that postMessage can pass on: an error becomes an object with its fields.
 * @param {unknown} detail
 */
function plain(detail) {
  if (!(detail instanceof Error)) return detail ?? null;
  return { ...detail, message: detail.message };
}

if (asked.autostart) begin();

import assert from "node:assert/strict";
import { registerHooks } from "node:module";
import test, { beforeEach } from "node:test";

import { place } from "./window.js";

const kept = new Map();
globalThis.localStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
globalThis.customElements = window.customElements;
globalThis.AbortController = window.AbortController; // its signals are the only ones that this EventTarget takes
Object.defineProperty(document, "hidden", { get: () => isHidden, configurable: true });

// The server writes texts.js. These words are the test's own; a browser test reads the real ones.
const WORDS = {
  en: { "ended.done": "“{name}” is ready.", "ended.failed": "“{name}” could not be made.", "ended.look": "Show", "ended.close": "Got it" },
  zh: { "ended.done": "“{name}”已完成。", "ended.failed": "“{name}”制作失败。", "ended.look": "查看", "ended.close": "知道了" },
};
registerHooks({
  resolve: (name, context, next) =>
    name.endsWith("/texts.js")
      ? { url: `data:text/javascript,export const desk = ${encodeURIComponent(JSON.stringify(WORDS))}`, shortCircuit: true }
      : next(name, context),
});

const MARKUP = `<vivavoce-job-notice hidden><span class="vv-notice-words"></span>
  <button class="vv-notice-look"></button><button class="vv-notice-close"></button></vivavoce-job-notice>`;

let jobs = []; // what the server lists
let isHidden = false;
let feed;
let announced;

globalThis.fetch = async () => ({ ok: true, json: async () => jobs });
document.addEventListener("vivavoce:announce", ({ detail }) => announced.push(detail));

beforeEach(async () => {
  ({ feed } = await import("../../../portal/static/jobs-feed.js"));
  await import("../../../portal/static/desk/job-notice.js");
  kept.clear();
  kept.set("vivavoce.language", "en");
  [jobs, announced, isHidden] = [[], [], false];
  document.title = "Vivavoce";
});

/** The server's jobs are these now. */
async function seen(...now) {
  jobs = now;
  await feed.refresh();
}

function job(state, more = {}) {
  return { id: "one", kind: "prepare", name: "Ada", speaker: "", state, ...more };
}

test("whoever asked for an avatar is told when it is ready", async () => {
  const notice = place(MARKUP);
  feed.ordered(job("queued"));
  await seen(job("running"));
  assert.equal(notice.hidden, true);
  await seen(job("done"));
  assert.equal(notice.hidden, false);
  assert.match(notice.textContent, /“Ada” is ready\./);
  assert.deepEqual(announced, ["“Ada” is ready."]);
  notice.querySelector(".vv-notice-close").click();
  await seen(job("done"));
  assert.equal(notice.hidden, true);
});

test("one that could not be made is told too, one that was cancelled and those of others are not", async () => {
  const notice = place(MARKUP);
  feed.ordered(job("queued"));
  await seen(job("failed"));
  assert.match(notice.textContent, /“Ada” could not be made\./);
  notice.querySelector(".vv-notice-close").click();
  feed.ordered(job("queued", { id: "two" }));
  await seen(job("cancelled", { id: "two" }), job("done", { id: "another's" }));
  assert.equal(notice.hidden, true);
});

test("a page that was loaded anew goes on waiting, in the other language too", async () => {
  place(MARKUP);
  feed.ordered(job("queued"));
  document.body.replaceChildren();
  kept.set("vivavoce.language", "zh");
  const notice = place(MARKUP);
  await seen(job("done"));
  assert.match(notice.textContent, /“Ada”已完成。/);
});

test("the title says it while nobody sees the page", async () => {
  place(MARKUP);
  isHidden = true;
  feed.ordered(job("queued"));
  await seen(job("done"));
  assert.equal(document.title, "“Ada” is ready. · Vivavoce");
  isHidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(document.title, "Vivavoce");
});

import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

globalThis.HTMLVideoElement = window.HTMLVideoElement;
globalThis.HTMLImageElement = window.HTMLImageElement;
globalThis.HTMLProgressElement = window.HTMLProgressElement;
globalThis.ResizeObserver = class {
  observe() {}
  disconnect() {}
};
globalThis.matchMedia = () => ({ matches: false });
const { Stage } = await import("../../../portal/static/talk/stage.js");

const MARKUP = `<div><img class="vv-backdrop"><img class="vv-poster"><video class="vv-preview"></video>
  <p class="vv-preparing"></p><span class="vv-state"></span><p class="vv-subtitle"></p>
  <div class="vv-coming"><span></span><progress></progress></div></div>`;

/** How a still avatar is shown whose moving preview has so many rows. */
function shown(rows) {
  const stage = new Stage(place(MARKUP));
  const { preview } = stage;
  const played = { is: false };
  preview.play = () => {
    played.is = true;
    return Promise.resolve();
  };
  Object.defineProperty(preview, "videoHeight", { value: rows });
  stage.showAvatar({ id: "ada", name: "Ada", preview: "api/avatars/ada/preview.mp4", version: "1" });
  preview.onloadedmetadata?.();
  return { still: stage.poster.src, played: played.is };
}

test("the large picture of an avatar is its sharp still, not a small preview that is blown up", () => {
  const { still, played } = shown(320);
  assert.ok(still);
  assert.equal(played, false);
});

test("a preview with enough rows moves", () => {
  assert.equal(shown(512).played, true);
});

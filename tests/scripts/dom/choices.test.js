import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { Choices } = await import("../../../portal/static/talk/choices.js");

const MARKUP = `
  <details>
    <select name="tts"></select><p class="vv-told"></p><select name="voice"></select><select name="lipsync"></select>
    <details class="vv-lacking"><summary></summary><ul></ul></details>
  </details>`;
const TEXTS = { notReady: "not ready", lacking: "{count} not ready", voiceDefault: "usual", unreachable: "away" };
const VISEME = { name: "viseme", ready: true, remedy: "", fetched: false, measuring: false, voices: [], online: [] };
const LARGE = { ...VISEME, name: "large", ready: false, remedy: "Run `launch.py fetch large`.", fetched: true };
const FLASH = { ...VISEME, name: "flash", measuring: true };
const AUTO = { ...VISEME, name: "auto", voices: ["ann", "ben", "net"], online: ["net"] };
const CATALOGUE = { tts: [AUTO], lipsync: [VISEME, LARGE, FLASH], defaults: { tts: "auto", lipsync: "viseme", voice: "" } };

/** The panel with this catalogue; `changes`: what the viewer has chosen, each time. */
function filled({ wished = {}, catalogue = CATALOGUE, reachable = async () => true } = {}) {
  const changes = [];
  const panel = place(MARKUP);
  const choices = new Choices(panel, { wished, changed: (chosen) => changes.push(chosen), reachable });
  choices.fill(catalogue, TEXTS);
  return { panel, choices, changes };
}

function names(panel, menu) {
  return [...panel.querySelector(`[name=${menu}]`).options].map(({ value }) => value);
}

test("backends that only measure are not offered, unless the portal was started with one", () => {
  assert.deepEqual(names(filled().panel, "lipsync"), ["viseme", "large"]);
  const catalogue = { ...CATALOGUE, defaults: { ...CATALOGUE.defaults, lipsync: "flash" } };
  assert.deepEqual(names(filled({ catalogue }).panel, "lipsync"), ["viseme", "large", "flash"]);
});

test("what is not ready is named with its remedy and cannot be chosen", () => {
  const { panel, choices } = filled({ wished: { lipsync: "large" } });
  assert.equal(panel.querySelector("[value=large]").disabled, true);
  assert.equal(choices.chosen().lipsync, "viseme");
  assert.equal(panel.querySelector(".vv-lacking summary").textContent, "1 not ready");
  assert.equal(panel.querySelector(".vv-lacking code").textContent, "launch.py fetch large");
});

test("what was chosen on an earlier visit is chosen again", () => {
  assert.deepEqual(filled({ wished: { voice: "ben" } }).choices.chosen(), { tts: "auto", voice: "ben", lipsync: "viseme" });
});

test("what the server chooses is left out", () => {
  assert.equal(filled().choices.chosen().voice, undefined);
});

test("the viewer's choice is told once, with all three", () => {
  const { panel, changes } = filled();
  const menu = panel.querySelector("[name=voice]");
  menu.value = "ann";
  menu.dispatchEvent(new Event("change", { bubbles: true }));
  assert.deepEqual(changes, [{ tts: "auto", voice: "ann", lipsync: "viseme" }]);
});

test("online voices cannot be chosen while their service is away", async () => {
  const { panel, choices } = filled();
  await choices.look(async () => false);
  assert.equal(panel.querySelector("[value=net]").disabled, true);
  assert.match(panel.querySelector("[value=net]").textContent, /away/);
  await choices.look(async () => true);
  assert.equal(panel.querySelector("[value=net]").disabled, false);
});

import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

const { Choices } = await import("../../../portal/static/talk/choices.js");

const MARKUP = `
  <details>
    <select name="tts"></select><p class="vv-told"></p><select name="voice"></select><select name="lipsync"></select>
    <label class="vv-speed"><input type="range" name="speed" min="0.5" max="2" step="0.05" value="1"><output></output></label>
    <details class="vv-lacking"><summary></summary><ul></ul></details>
  </details>`;
const TEXTS = { notReady: "not ready", lacking: "{count} not ready", voiceDefault: "usual", unreachable: "away", speedTimes: "{times}x", oneSpeed: "fixed" };
const VISEME = { name: "viseme", ready: true, remedy: "", fetched: false, measuring: false, voices: [], online: [], speeds: [1, 1] };
const LARGE = { ...VISEME, name: "large", ready: false, remedy: "Run `launch.py fetch large`.", fetched: true };
const FLASH = { ...VISEME, name: "flash", measuring: true };
const AUTO = { ...VISEME, name: "auto", voices: ["ann", "ben", "net"], online: ["net"], speeds: [0.5, 2] };
const SLOW = { ...VISEME, name: "slow", speeds: [0.7, 1.2] };
const FIXED = { ...VISEME, name: "fixed" };
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
  assert.deepEqual(filled({ wished: { voice: "ben" } }).choices.chosen(), {
    tts: "auto",
    voice: "ben",
    lipsync: "viseme",
    speed: undefined,
  });
});

test("what the server chooses is left out", () => {
  assert.equal(filled().choices.chosen().voice, undefined);
});

test("the viewer's choice is told once, with all three", () => {
  const { panel, changes } = filled();
  const menu = panel.querySelector("[name=voice]");
  menu.value = "ann";
  menu.dispatchEvent(new Event("change", { bubbles: true }));
  assert.deepEqual(changes, [{ tts: "auto", voice: "ann", lipsync: "viseme", speed: undefined }]);
});

test("where the text goes that is spoken is told beside the menu", () => {
  const { panel, choices } = filled();
  const told = () => panel.querySelector(".vv-told").textContent;
  choices.fill({ ...CATALOGUE, tts: [AUTO, FIXED] }, { ...TEXTS, "told.auto": "Text goes to them." });
  assert.equal(told(), "Text goes to them.");
  const menu = panel.querySelector("[name=tts]");
  menu.value = "fixed";
  menu.dispatchEvent(new Event("change", { bubbles: true }));
  assert.equal(told(), "");
});

test("online voices cannot be chosen while their service is away", async () => {
  const { panel, choices } = filled();
  await choices.look(async () => false);
  assert.equal(panel.querySelector("[value=net]").disabled, true);
  assert.match(panel.querySelector("[value=net]").textContent, /away/);
  await choices.look(async () => true);
  assert.equal(panel.querySelector("[value=net]").disabled, false);
});

/** As a person does who moves the slider. */
function slide(panel, value) {
  const slider = panel.querySelector("[name=speed]");
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  slider.dispatchEvent(new Event("change", { bubbles: true }));
}

test("a speed is told as a number, in words beside the slider, and not where it is the portal's own", () => {
  const { panel, choices, changes } = filled();
  slide(panel, "1.25");
  assert.equal(changes[0].speed, 1.25);
  assert.equal(panel.querySelector(".vv-speed output").textContent, "1.25x");
  choices.fill(CATALOGUE, TEXTS);
  assert.equal(choices.chosen().speed, 1.25);
  slide(panel, "1");
  assert.equal(changes[1].speed, undefined);
});

test("the speed of an earlier visit, of a script and of the portal are seen", () => {
  assert.equal(filled({ wished: { speed: 1.5 } }).choices.chosen().speed, 1.5);
  assert.equal(filled({ wished: { speed: "quick" } }).choices.chosen().speed, undefined);
  const { panel, choices } = filled({ catalogue: { ...CATALOGUE, defaults: { ...CATALOGUE.defaults, speed: 1.2 } } });
  assert.equal(panel.querySelector("[name=speed]").value, "1.2");
  choices.show({ speed: 0.8 });
  assert.equal(choices.chosen().speed, 0.8);
});

test("the slider goes as far as the voice, and a voice with one speed says so", () => {
  const catalogue = { ...CATALOGUE, tts: [AUTO, SLOW, FIXED] };
  const { panel, choices } = filled({ catalogue, wished: { speed: 2 } });
  const menu = panel.querySelector("[name=tts]");
  const slider = panel.querySelector("[name=speed]");
  const choose = (name) => {
    menu.value = name;
    menu.dispatchEvent(new Event("change", { bubbles: true }));
  };
  choose("slow");
  assert.deepEqual([slider.min, slider.max], ["0.7", "1.2"]);
  choose("fixed");
  assert.equal(slider.disabled, true);
  assert.equal(choices.chosen().speed, undefined);
  assert.equal(panel.querySelector(".vv-speed output").textContent, "fixed");
  choose("auto");
  assert.equal(choices.chosen().speed, 2);
});

test("what is in force is put back into the menus, the server's own too", () => {
  const { panel, choices } = filled({ wished: { voice: "ben", speed: 1.5 }, catalogue: { ...CATALOGUE, tts: [AUTO, SLOW] } });
  panel.querySelector("[name=tts]").value = "slow";
  choices.putBack({ tts: "auto", voice: "ann", lipsync: "viseme", speed: 0.8 });
  assert.deepEqual(choices.chosen(), { tts: "auto", voice: "ann", lipsync: "viseme", speed: 0.8 });
  choices.putBack({ tts: "auto" });
  assert.deepEqual(choices.chosen(), { tts: "auto", voice: undefined, lipsync: "viseme", speed: undefined });
});

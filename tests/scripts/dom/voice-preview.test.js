import assert from "node:assert/strict";
import test from "node:test";

import { place } from "./window.js";

/** In the place of the browser's: keeps what it was asked for. */
class FakeAudio {
  static made = [];
  loads = 0;
  fails = false;

  constructor(src) {
    this.src = src;
    FakeAudio.made.push(this);
  }

  play() {
    this.isPlaying = true;
    return FakeAudio.fails ? Promise.reject(new Error("no")) : Promise.resolve();
  }

  pause() {
    this.isPlaying = false;
  }

  removeAttribute() {
    this.src = "";
  }

  load() {
    this.loads += 1;
  }
}
globalThis.Audio = FakeAudio;

const { VoicePreview } = await import("../../../portal/static/talk/voice-preview.js");

function shown(wished = { tts: "auto", voice: "ann" }) {
  FakeAudio.made.length = 0;
  FakeAudio.fails = false;
  const button = place("<button></button>");
  const told = { failures: 0 };
  const preview = new VoicePreview(button, {
    wished: () => wished,
    language: () => "zh",
    texts: () => ({ hearVoice: "hear", stopVoice: "stop" }),
    volume: () => 0.5,
    failed: () => (told.failures += 1),
  });
  preview.tell();
  return { button, preview, told };
}

test("the chosen voice is heard, and falls silent when the button is pressed again", () => {
  const { button } = shown();
  assert.equal(button.title, "hear");
  button.click();
  const [audio] = FakeAudio.made;
  assert.match(audio.src, /api\/backends\/tts\/auto\/preview\?language=zh&voice=ann$/);
  assert.equal(audio.volume, 0.5);
  assert.deepEqual([button.title, button.getAttribute("aria-pressed")], ["stop", "true"]);
  button.click();
  assert.deepEqual([audio.isPlaying, audio.src, audio.loads], [false, "", 1]);
  assert.deepEqual([button.title, button.getAttribute("aria-pressed")], ["hear", "false"]);
});

test("at its end the button is as before", () => {
  const { button } = shown({ tts: "auto" });
  button.click();
  FakeAudio.made[0].onended();
  assert.equal(button.getAttribute("aria-pressed"), "false");
  assert.doesNotMatch(FakeAudio.made.at(-1).src, /voice=/);
});

test("what cannot be heard is told once, and not after it was stopped", async () => {
  const { button, preview, told } = shown();
  FakeAudio.fails = true;
  button.click();
  FakeAudio.made[0].onerror();
  await Promise.resolve();
  assert.equal(told.failures, 1);
  button.click();
  preview.stop();
  FakeAudio.made[1].onerror();
  assert.equal(told.failures, 1);
});

test("without a voice there is nothing to hear", () => {
  const { button } = shown({});
  button.click();
  assert.equal(FakeAudio.made.length, 0);
});

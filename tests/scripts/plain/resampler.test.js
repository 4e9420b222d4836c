import assert from "node:assert/strict";
import test from "node:test";

import { LISTEN_RATE_HZ, Resampler } from "../../../portal/static/resampler.js";

const RATES = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000];

/** One second of a tone. */
function tone(rateHz, toneHz) {
  return Float32Array.from({ length: rateHz }, (_, index) => Math.sin((2 * Math.PI * toneHz * index) / rateHz));
}

/** In pieces as an AudioWorklet gives them. */
function resampled(rateHz, samples, piece = 128) {
  const resampler = new Resampler(rateHz);
  const parts = [];
  for (let at = 0; at < samples.length; at += piece) parts.push(...resampler.push(samples.subarray(at, at + piece)));
  return parts;
}

/** RMS of the middle, without the edges. */
function level(samples) {
  const middle = samples.slice(2000, -2000);
  return Math.sqrt(middle.reduce((sum, value) => sum + value * value, 0) / middle.length);
}

for (const rateHz of RATES) {
  test(`a tone of 1 kHz keeps its pitch, level and length from ${rateHz} Hz`, () => {
    const got = resampled(rateHz, tone(rateHz, 1000));
    assert.ok(Math.abs(got.length - LISTEN_RATE_HZ) < 60, `${got.length} samples`);
    assert.ok(Math.abs(level(got) - Math.SQRT1_2) < 0.01, `level ${level(got)}`);
    const off = got.slice(2000, -2000).map((value, index) => value - Math.sin((2 * Math.PI * 1000 * (index + 2000)) / LISTEN_RATE_HZ));
    assert.ok(Math.max(...off.map(Math.abs)) < 0.02);
  });
}

for (const rateHz of [44100, 48000, 96000]) {
  test(`what is above 8 kHz is not heard as something else, from ${rateHz} Hz`, () => {
    assert.ok(level(resampled(rateHz, tone(rateHz, 11000))) < 0.003); // -50 dB
  });
}

test("the pieces do not matter", () => {
  const samples = tone(44100, 700);
  const [small, large] = [resampled(44100, samples, 128), resampled(44100, samples, 4410)];
  assert.equal(small.length, large.length);
  assert.ok(small.every((value, index) => Math.abs(value - large[index]) < 1e-5));
});

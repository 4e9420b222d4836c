import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import "./window.js";

const SECOND_MS = 1000;

let asked; // addresses
let jobs; // what the server lists; null: it is away
let isHidden;
let feed;

beforeEach(async () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  [asked, jobs, isHidden] = [[], [{ id: "one", state: "running" }], false];
  Object.defineProperty(document, "hidden", { get: () => isHidden, configurable: true });
  globalThis.fetch = async (address) => {
    asked.push(address);
    if (!jobs) throw new TypeError("away");
    return { ok: true, json: async () => jobs };
  };
  // Each test has a feed of its own.
  ({ feed } = await import(`../../../portal/static/jobs-feed.js?${Math.random()}`));
});

/** Let answers come in, and time pass. */
async function pass(ms) {
  for (let gone = 0; gone < ms; gone += SECOND_MS) {
    await settled();
    mock.timers.tick(SECOND_MS);
  }
  await settled();
}

async function settled() {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
}

test("whoever watches, the server is asked once a second for all while a job is under way", async () => {
  for (let i = 0; i < 3; i += 1) feed.watch({});
  await pass(10 * SECOND_MS);
  assert.ok(asked.length >= 10 && asked.length <= 14, String(asked.length));
  jobs[0].state = "done";
  await pass(2 * SECOND_MS);
  asked.length = 0;
  await pass(60 * SECOND_MS);
  assert.equal(asked.length, 0);
});

test("a page that nobody sees asks rarely", async () => {
  isHidden = true;
  feed.watch({});
  await settled();
  asked.length = 0;
  await pass(60 * SECOND_MS);
  assert.equal(asked.length, 2);
});

test("while the server is away it is tried again, and the last jobs stay known", async () => {
  feed.watch({});
  await settled();
  const known = feed.jobs;
  jobs = null;
  await pass(SECOND_MS);
  asked.length = 0;
  await pass(10 * SECOND_MS);
  assert.equal(asked.length, 2);
  assert.equal(feed.jobs, known);
});

test("nobody is told anything more once nobody watches", async () => {
  const watcher = {};
  feed.watch(watcher);
  await settled();
  feed.unwatch(watcher);
  await pass(SECOND_MS); // a look was under way
  asked.length = 0;
  await pass(10 * SECOND_MS);
  assert.equal(asked.length, 0);
});

test("a watcher may want to know although no job is under way", async () => {
  jobs = [];
  feed.watch({}, () => true);
  await pass(5 * SECOND_MS);
  assert.ok(asked.length >= 5);
});

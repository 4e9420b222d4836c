/** clients/js/vivavoce-client.js in Node.js, against the portal whose address is in PORTAL. */

import assert from "node:assert/strict";
import test from "node:test";

import { PortalError, SAMPLE_RATE_HZ, Session } from "../../../clients/js/vivavoce-client.js";

const PORTAL = process.env.PORTAL;
const WITHIN = { timeout: 60_000 };
const JPEG_BEGINS = [0xff, 0xd8];

test("what is said is seen and heard", WITHIN, async () => {
  const session = await Session.open(PORTAL, { avatar: "mira" });
  assert.deepEqual([session.welcome.avatar.id, session.welcome.sampleRate], ["mira", SAMPLE_RATE_HZ]);
  const turn = await session.say("Hello there.");
  let loudest = 0;
  const times = [];
  for await (const frame of session.frames()) {
    times.push(frame.timeS);
    assert.deepEqual([...frame.jpeg.slice(0, 2)], JPEG_BEGINS);
    assert.equal(frame.sound.length, 1920);
    loudest = Math.max(loudest, ...frame.sound);
    if (turn.over && loudest > 0.03) break;
  }
  assert.equal(turn.state, "done");
  assert.ok(times.slice(1).every((time, place) => Math.abs(time - times[place] - 0.04) < 1e-6));
  await session.close();
  await session.close();
});

test("an answer is read and interrupted", WITHIN, async () => {
  const session = await Session.open(PORTAL, { avatar: "mira", media: false });
  const turn = await session.ask("One sentence here. ".repeat(12));
  for await (const event of session.events()) {
    if (event.type === "turn" && event.state === "speaking") break;
  }
  assert.match(turn.text, /One sentence here\./);
  const behind = await session.say("And this.");
  session.interrupt();
  assert.equal((await session.finished(turn)).state, "interrupted");
  assert.equal((await session.finished(behind)).state, "interrupted");
  await session.close();
});

test("a stream of words is spoken sentence by sentence", WITHIN, async () => {
  const session = await Session.open(PORTAL, { media: false });
  async function* words() {
    yield* ["It is 3.", "5 kilo", "metres. Two. Thr", "ee. 四。五！", "Six. Seven. Eight. Ni", "ne. And no end"];
  }
  const speaking = session.speak(words());
  const said = [];
  for await (const event of session.events()) {
    if (event.type === "subtitle") said.push(event.text);
    if (said.at(-1) === "And no end" && event.type === "turn" && event.state === "done") break;
  }
  await speaking;
  assert.equal(said.join("|"), "It is 3.5 kilometres.|Two.|Three.|四。|五！|Six.|Seven.|Eight.|Nine.|And no end");
  await session.close();
});

test("refusals name cause and remedy, and the session goes on", WITHIN, async () => {
  const session = await Session.open(PORTAL, { media: false });
  await assert.rejects(session.say(" "), (error) => error instanceof PortalError && error.code === "bad_request");
  await assert.rejects(Session.open(PORTAL, { avatar: "nobody" }), { code: "avatar_not_found" });
  await assert.rejects(Session.open("http://127.0.0.1:1"), { code: "connection_lost" });
  await assert.rejects(Session.open("file:///etc"), TypeError);
  const [first, second] = await Promise.all([session.say("One."), session.say("Two.")]);
  assert.deepEqual([second.number - first.number, (await session.finished(second)).state], [1, "done"]);
  await session.close();
});

test("what waits ends with the session", WITHIN, async () => {
  const session = await Session.open(PORTAL);
  const turn = await session.say("A long text. ".repeat(30));
  const waiting = assert.rejects(session.finished(turn), { code: "session_closed" });
  await session.frames().next();
  await session.close();
  await waiting;
  await assert.rejects(session.say("Too late."), { code: "session_closed" });
  const left = [];
  for await (const event of session.events()) left.push(event.type);
  assert.ok(left.includes("turn"));
});

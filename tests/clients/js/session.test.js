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

test("sound of one's own is spoken, in one piece or in several", WITHIN, async () => {
  const session = await Session.open(PORTAL, { avatar: "mira" });
  const rateHz = 16_000;
  const tone = Float32Array.from({ length: 1.3 * rateHz }, (_, place) => 0.5 * Math.sin(place / 8));
  const turn = await session.play(tone, rateHz);
  const loudness = [];
  for await (const frame of session.frames()) {
    if (frame.speaking) loudness.push(Math.max(...frame.sound));
    else if (turn.over) break;
  }
  assert.equal(turn.state, "done");
  const loud = loudness.filter((one) => one > 0.3 && one < 0.7).length;
  assert.ok(loud > 20 && loud <= 34, `${loud} loud frames of 40 ms`);
  const sound = await session.openSound(rateHz);
  for (let place = 0; place < 100; place += 1) await sound.write(new Int16Array(137));
  session.interrupt();
  assert.equal((await session.finished(sound.turn)).state, "interrupted");
  await sound.write(new Int16Array(20 * rateHz)); // nobody hears it, and nobody waits
  await sound.end();
  await sound.end();
  await assert.rejects(session.play(tone, 4), { code: "bad_request" });
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

test("a session goes on with another speed, and says when it cannot", WITHIN, async () => {
  const session = await Session.open(PORTAL, { media: false });
  const answers = [];
  session.change({ speed: 1.5 });
  session.change({ tts: "nobody's" });
  session.change({ speed: null });
  for await (const event of session.events()) {
    if (event.type === "choice") answers.push([event.changed, event.choice.speed]);
    if (answers.length === 3) break;
  }
  assert.deepEqual(answers, [
    [true, 1.5],
    [false, 1.5],
    [true, 1],
  ]);
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

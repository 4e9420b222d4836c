import assert from "node:assert/strict";
import test from "node:test";
import { setImmediate } from "node:timers/promises";

import { Listening, soundMessage } from "../../../portal/static/listening.js";
import { Teller } from "../../../portal/static/teller.js";

class FakeMicrophone extends Teller {
  track = { kind: "audio" };
  facts = { label: "Fake" };
  isClosed = false;

  close() {
    this.isClosed = true;
  }
}

/** A Listening with what it sent, and the microphones that it opened. */
function house({ opens = async () => {} } = {}) {
  const sent = [];
  const sounds = [];
  const opened = [];
  const tracks = [];
  const room = { isFull: false };
  const listening = new Listening(
    (message) => sent.push(message) > 0,
    (data) => !room.isFull && sounds.push(new DataView(data)) > 0,
    async () => {
      const microphone = new FakeMicrophone();
      opened.push(microphone);
      await opens();
      return microphone;
    },
  );
  return { listening, opened, room, sent, sounds, tracks, peer: { name: "webrtc", sendSound: (track) => tracks.push(track) } };
}

const CHOICE = { device: "", language: "zh" };
const SOUND = () => ({ pcm: new Int16Array(640).fill(1000).buffer, level: 0.1 });

test("open opens the microphone and says so; off closes it", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { listening, opened, sent } = house();
  await listening.set("open", CHOICE);
  assert.deepEqual(sent, [{ type: "listen", mode: "open", language: "zh" }]);
  await listening.set("off");
  context.mock.timers.tick(0);
  assert.deepEqual(sent[1], { type: "listen", mode: "off" });
  assert.ok(opened[0].isClosed);
});

test("the words before the button is let go are heard to their end, and the microphone stays for the next press", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { listening, opened, sent, sounds } = house();
  listening.adopt({ name: "websocket" });
  await listening.set("hold", CHOICE);
  await listening.set("off");
  opened[0].tell("sound", SOUND());
  assert.equal(sounds.length, 1);
  assert.equal(sent.length, 1);
  context.mock.timers.tick(200);
  assert.deepEqual(sent[1], { type: "listen", mode: "off" });
  opened[0].tell("sound", SOUND());
  assert.equal(sounds.length, 1);
  await listening.set("hold", CHOICE);
  assert.equal(opened.length, 1);
  assert.equal(sent[2].mode, "hold");
  await listening.set("off");
  context.mock.timers.tick(200);
  context.mock.timers.tick(20000);
  assert.ok(opened[0].isClosed);
});

test("over WebRTC the end is said later: the sound is on its way for longer than the word that it is the last", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { listening, sent, tracks, peer } = house();
  listening.adopt(peer);
  await listening.set("hold", CHOICE);
  await listening.set("off");
  context.mock.timers.tick(399);
  assert.equal(sent.length, 1);
  assert.ok(tracks.at(-1));
  context.mock.timers.tick(1);
  assert.deepEqual(sent[1], { type: "listen", mode: "off" });
  assert.equal(tracks.at(-1), null);
});

test("who lets go before the browser has given the microphone is not heard", async () => {
  let give = () => {};
  const { listening, opened, sent } = house({ opens: () => new Promise((resolve) => (give = resolve)) });
  const pressing = listening.set("hold", CHOICE);
  listening.set("off");
  give();
  await pressing;
  assert.deepEqual(sent, []);
  listening.drop();
  assert.ok(opened[0].isClosed);
});

test("one microphone is opened, however often it is asked for meanwhile", async () => {
  const { listening, opened, sent } = house({ opens: () => setImmediate() });
  const first = listening.set("hold", CHOICE);
  listening.set("off");
  await Promise.all([first, listening.set("hold", CHOICE)]);
  assert.equal(opened.length, 1);
  assert.equal(sent.at(-1).mode, "hold");
  listening.drop();
});

test("a microphone that cannot be had leaves it off, and the reason is thrown", async () => {
  const fault = new Error("refused");
  const { listening, sent } = house({ opens: () => Promise.reject(fault) });
  await assert.rejects(listening.set("open", CHOICE), fault);
  assert.equal(listening.mode, "off");
  assert.deepEqual(sent, []);
});

test("one that is unplugged in mid-word is told, and the server does not wait for more", async () => {
  const { listening, opened, sent } = house();
  const faults = [];
  listening.on("fault", (fault) => faults.push(fault));
  await listening.set("open", CHOICE);
  opened[0].tell("lost", "unplugged");
  assert.deepEqual(faults, ["unplugged"]);
  assert.deepEqual(sent.at(-1), { type: "listen", mode: "off" });
  assert.equal(listening.mode, "off");
});

test("over WebRTC the track goes out, over the socket the samples, and a change of the two moves it", async () => {
  const { listening, opened, peer, sounds, tracks } = house();
  listening.adopt(peer);
  await listening.set("open", CHOICE);
  assert.equal(tracks.at(-1), opened[0].track);
  opened[0].tell("sound", SOUND());
  assert.equal(sounds.length, 0);
  listening.adopt({ name: "websocket" });
  opened[0].tell("sound", SOUND());
  assert.equal(sounds.length, 1);
  listening.drop();
});

test("a piece that is left out leaves its place", async () => {
  const { listening, opened, room, sounds } = house();
  listening.adopt({ name: "websocket" });
  await listening.set("open", CHOICE);
  opened[0].tell("sound", SOUND());
  room.isFull = true;
  opened[0].tell("sound", SOUND());
  room.isFull = false;
  opened[0].tell("sound", SOUND());
  assert.deepEqual(sounds.map((view) => [view.getUint16(2, true), view.getUint32(4, true)]), [[0, 0], [1, 1280]]);
  listening.drop();
});

test("after the socket was mended the server is told again", async () => {
  const { listening, sent } = house();
  listening.begin();
  assert.deepEqual(sent, []);
  await listening.set("open", CHOICE);
  listening.begin();
  assert.deepEqual(sent.map(({ mode }) => mode), ["open", "open"]);
  listening.drop();
});

test("a message has its kind, its place and its samples", () => {
  const view = new DataView(soundMessage(70000, 2 ** 32 + 5, new Int16Array([1, -2]).buffer));
  assert.equal(view.getUint8(0), 2);
  assert.equal(view.getUint16(2, true), 70000 & 0xffff);
  assert.equal(view.getUint32(4, true), 5);
  assert.deepEqual([view.getInt16(8, true), view.getInt16(10, true), view.byteLength], [1, -2, 12]);
});

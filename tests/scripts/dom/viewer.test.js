import assert from "node:assert/strict";
import test from "node:test";

import "./window.js";

const { Viewer } = await import("../../../portal/static/viewer.js");

function watched() {
  const viewer = new Viewer();
  const told = [];
  for (const type of ["gesture", "look", "online"]) viewer.on(type, () => told.push(type));
  viewer.watch();
  return { viewer, told };
}

const happens = (target, type) => target.dispatchEvent(new window.Event(type, { bubbles: true }));

test("a gesture anywhere on the page, a look at it and a network are told", () => {
  const { viewer, told } = watched();
  for (const type of ["pointerup", "touchend", "click", "keydown"]) happens(document.body, type);
  happens(window, "online");
  assert.deepEqual(told, ["gesture", "gesture", "gesture", "gesture", "online"]);
  viewer.leave();
});

test("only a page that is on show is looked at", () => {
  const { viewer, told } = watched();
  let hidden = true;
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  happens(document, "visibilitychange");
  hidden = false;
  happens(document, "visibilitychange");
  delete document.hidden;
  assert.deepEqual(told, ["look"]);
  viewer.leave();
});

test("watching twice tells once, and nothing is told afterwards", () => {
  const { viewer, told } = watched();
  viewer.watch();
  happens(document.body, "click");
  viewer.leave();
  happens(document.body, "click");
  happens(window, "online");
  assert.deepEqual(told, ["gesture"]);
});

const soon = () => new Promise((passed) => setTimeout(passed));

test("who comes back to a page whose session was ended is told of once", async () => {
  const { viewer, told } = watched();
  viewer.on("return", () => told.push("return"));
  viewer.leave(true);
  happens(document.body, "click");
  happens(document.body, "click");
  await soon();
  happens(document.body, "click");
  await soon();
  assert.deepEqual(told, ["return"]);
});

test("a press that begins a session by itself is no return", async () => {
  const { viewer, told } = watched();
  viewer.on("return", () => told.push("return"));
  viewer.leave(true);
  happens(document.body, "click");
  viewer.watch();
  await soon();
  assert.deepEqual(told, []);
  viewer.leave();
});

test("sound that is in the way is told of when it begins and when it ends", () => {
  const { viewer, told } = watched();
  for (const type of ["blocked", "unblocked"]) viewer.on(type, () => told.push(type));
  viewer.unblock();
  viewer.block();
  viewer.block();
  viewer.unblock();
  viewer.block();
  viewer.leave();
  viewer.unblock();
  assert.deepEqual(told, ["blocked", "unblocked", "blocked"]);
});

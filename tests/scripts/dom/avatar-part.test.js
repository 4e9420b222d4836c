import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";

import "./window.js";

let waiting = []; // requests that the server has not answered

globalThis.XMLHttpRequest = class {
  upload = {};

  open(method, address) {
    Object.assign(this, { method, address });
  }

  send() {
    waiting.push(this);
  }
};

/** The server answers the request that has waited longest, or another one. */
async function answered(answer, number = 0) {
  const [request] = waiting.splice(number, 1);
  Object.assign(request, { status: 200, response: answer });
  request.onloadend();
  request.onload();
  await new Promise(setImmediate);
}

let part;

beforeEach(async () => {
  const { AvatarPart } = await import("../../../portal/static/desk/avatar-part.js");
  waiting = [];
  part = new (class extends AvatarPart {
    filled = [];
    address = ({ id }) => `/api/avatars/${id}/gestures`;
    fill = (_avatar, answer) => this.filled.push(answer);
  })({ t: (key) => key }, "gesture", "a-part");
  part.begin({ id: "ada" }, { title: "", hint: "", own: [], form: document.createElement("form") });
});

test("what is on show stays while nothing has changed", async () => {
  await answered([]);
  part.follow({ id: "ada" }, true);
  await answered([]);
  part.follow({ id: "ada" }, true);
  await answered([{ name: "wave" }]);
  assert.deepEqual(part.filled, [[], [{ name: "wave" }]]);
});

test("what a form has just saved is on show already", async () => {
  await answered({ transcript: "Good morning." });
  part.shows({ transcript: "Good evening." });
  part.follow({ id: "ada" }, true);
  await answered({ transcript: "Good evening." });
  assert.equal(part.filled.length, 1);
});

test("an answer that is overtaken by a later one does not replace it", async () => {
  part.follow({ id: "ada" }, true);
  await answered([{ name: "wave" }], 1);
  await answered([]);
  assert.deepEqual(part.filled, [[{ name: "wave" }]]);
});

test("when the dialog opens again all of it is shown again", async () => {
  await answered([]);
  part.begin({ id: "ada" }, { title: "", hint: "", own: [], form: document.createElement("form") });
  await answered([]);
  assert.equal(part.filled.length, 2);
});

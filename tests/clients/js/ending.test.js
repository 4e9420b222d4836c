/** How sessions of clients/js/vivavoce-client.js end. ENDINGS: as JSON, what tests/clients/endings.py has. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import test from "node:test";

import { Session } from "../../../clients/js/vivavoce-client.js";

/** @type {[code: number, reason: string, isOrderly: boolean][]} */
const ENDINGS = JSON.parse(process.env.ENDINGS);
const WITHIN_MS = 30_000;
const HANDSHAKE = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // of RFC 6455

/**
 * Call use() with the address of a portal whose sessions have one event and then end. Nothing is left open after that,
 * also if use() fails or takes too long: else Node.js would wait for it for ever.
 * @param {Buffer} last the frame with which the portal closes the socket; if it is empty, the connection breaks
 * @param {(url: string) => Promise<void>} use
 */
async function withPortal(last, use) {
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const server = createServer();
  server.on("connection", (socket) => sockets.add(socket));
  server.on("upgrade", (request, socket) => {
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${HANDSHAKE}`).digest("base64");
    socket.on("error", () => {}); // the client may be gone first
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    socket.write(`Sec-WebSocket-Accept: ${key}\r\n\r\n`);
    for (const text of ['{"type": "welcome"}', '{"type": "turn", "turn": 1, "state": "queued"}']) {
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
    }
    socket.end(last);
  });
  try {
    await within(new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(null))));
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    await within(use(`http://127.0.0.1:${port}`));
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

/**
 * Resolves or rejects as the promise does, but after WITHIN_MS at the latest.
 * @param {Promise<unknown>} promise
 */
async function within(promise) {
  let late;
  const deadline = new Promise((_, reject) => {
    late = setTimeout(() => reject(new Error(`Nothing has happened for ${WITHIN_MS} ms.`)), WITHIN_MS);
  });
  try {
    await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(late);
  }
}

/**
 * @param {number} code
 * @param {string} reason
 */
function closing(code, reason) {
  const frame = Buffer.from([0x88, 2 + reason.length, 0, 0, ...Buffer.from(reason)]);
  frame.writeUInt16BE(code, 2);
  return frame;
}

for (const [code, reason, isOrderly] of ENDINGS) {
  const what = isOrderly ? "just ends" : "ends with an error";
  test(`a session whose socket is closed with ${code} "${reason}" ${what}`, () =>
    withPortal(closing(code, reason), async (url) => {
      const session = await Session.open(url, { media: false });
      const events = session.events();
      assert.equal((await events.next()).value?.type, "turn");
      for (const reader of [events, session.frames()]) {
        if (isOrderly) assert.equal((await reader.next()).done, true);
        else await assert.rejects(reader.next(), { code: "connection_lost" });
      }
    }));
}

test("who reads learns that the connection broke", () =>
  withPortal(Buffer.alloc(0), async (url) => {
    const session = await Session.open(url, { media: false });
    const events = session.events();
    assert.equal((await events.next()).value?.type, "turn");
    for (const reader of [events, session.frames()]) await assert.rejects(reader.next(), { code: "connection_lost" });
  }));

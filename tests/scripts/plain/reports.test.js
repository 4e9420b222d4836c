import assert from "node:assert/strict";
import test from "node:test";

import { Reports } from "../../../portal/static/reports.js";

const FACTS = { transport: "webrtc", fps: 25, frames: 250, firstFrameMs: 400, avSkewMs: 3 };

/** A session at which time passes as the test says. */
function seen(context) {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const session = { released: null, seen: null, told: [] };
  const reports = new Reports({
    stats: () => ({ ...FACTS, state: "live" }),
    released: () => session.released,
    seen: () => session.seen,
    send: (message) => session.told.push(message),
  });
  return { reports, session, passes: (ms) => context.mock.timers.tick(ms) };
}

test("every ten seconds the server is told how it goes, until the session ends", (context) => {
  const { reports, session, passes } = seen(context);
  reports.begin();
  passes(10000);
  Object.assign(session, { released: 12.5, seen: 12.3 });
  passes(10000);
  reports.end();
  passes(20000);
  assert.deepEqual(session.told, [
    { type: "stats", ...FACTS, delayMs: null },
    { type: "stats", ...FACTS, delayMs: 200 },
  ]);
});

test("the first picture of a turn is reported once it is seen, and only the first", (context) => {
  const { reports, session, passes } = seen(context);
  Object.assign(session, { released: 5, seen: 4.9 });
  reports.expect({ turn: 1, start: 5 });
  reports.expect({ turn: 1, start: 7 });
  passes(99);
  assert.deepEqual(session.told, []);
  Object.assign(session, { released: 5.15, seen: 5 });
  passes(1);
  passes(10000);
  assert.deepEqual(session.told, [{ type: "seen", turn: 1, delayMs: 150 }]);
});

test("a turn that another has taken the place of is not reported, nor one of a session that is over", (context) => {
  const { reports, session, passes } = seen(context);
  Object.assign(session, { released: 5, seen: 4 });
  reports.expect({ turn: 1, start: 5 });
  reports.expect({ turn: 2, start: 6 });
  Object.assign(session, { released: 7, seen: 6 });
  passes(3000);
  assert.deepEqual(session.told, [{ type: "seen", turn: 2, delayMs: 1000 }]);
  reports.expect({ turn: 3, start: 8 });
  reports.end();
  Object.assign(session, { released: 9, seen: 9 });
  passes(10000);
  reports.forgetTurns();
  reports.expect({ turn: 1, start: 9 });
  assert.deepEqual(session.told.slice(1), [{ type: "seen", turn: 1, delayMs: 0 }]);
});

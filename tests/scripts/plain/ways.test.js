import assert from "node:assert/strict";
import test from "node:test";

import { Ways, waysOf } from "../../../portal/static/ways.js";

const TURN = "turn:turn.example.org:3478?transport=udp";
const TURNS = "turns:turn.example.org";

/** A connection with these servers, whose events a test makes. */
function peer(...urls) {
  return Object.assign(new EventTarget(), { getConfiguration: () => ({ iceServers: urls.length ? [{ urls }] : [] }) });
}

function found(pc, type, more = {}) {
  const candidate = { candidate: "candidate:1", protocol: "udp", type, ...more };
  pc.dispatchEvent(Object.assign(new Event("icecandidate"), { candidate: type && candidate }));
}

function blamed(pc, url, errorCode) {
  pc.dispatchEvent(Object.assign(new Event("icecandidateerror"), { url, errorCode }));
}

/** Statistics of a connection: pairs are [type of our candidate, state, whether it is used, its relayProtocol]. */
function statistics(pairs, address = "203.0.113.7") {
  const reports = [{ type: "remote-candidate", id: "R", address }];
  pairs.forEach(([candidateType, state, isUsed, relayProtocol], at) => {
    reports.push({ type: "local-candidate", id: `L${at}`, protocol: "udp", candidateType, relayProtocol });
    reports.push({ type: "candidate-pair", id: `P${at}`, localCandidateId: `L${at}`, state, currentRoundTripTime: 0.02 });
    if (isUsed) reports.push({ type: "transport", id: "T", selectedCandidatePairId: `P${at}` });
  });
  return new Map(reports.map((one) => [one.id, one]));
}

function standings(ways, media) {
  return Object.fromEntries(waysOf(ways, media, "forced").map(({ way, standing, why }) => [way, why ?? standing]));
}

test("the way that is used is named, with its delay, and another that would work is available", () => {
  const pc = peer(TURN);
  const ways = new Ways(pc);
  ways.read(statistics([["host", "succeeded", true], ["relay", "succeeded", false, "udp"]]));
  const [host] = waysOf(ways, "webrtc", "forced");
  assert.deepEqual(host, { way: "host", standing: "used", roundMs: 20 });
  const expected = { host: "used", srflx: "no_stun", relay_udp: "ready", relay_tcp: "no_turn", websocket: "ready" };
  assert.deepEqual(standings(ways, "webrtc"), expected);
});

test("a relay is told by how the browser reaches it, and a seen address by the router that lends it", () => {
  const ways = new Ways(peer(TURN, TURNS));
  ways.read(statistics([["prflx", "failed"], ["relay", "succeeded", true, "tls"]]));
  const { srflx, relay_tcp } = standings(ways, "webrtc");
  assert.deepEqual([srflx, relay_tcp], ["no_reply", "used"]);
});

test("why there is no relay: refused, out of reach, silent, or nobody named one", () => {
  const pc = peer(TURN, TURNS);
  const ways = new Ways(pc);
  assert.equal(standings(ways, "webrtc").relay_udp, "trying");
  assert.equal(standings(ways, "websocket").relay_udp, "turn_silent");
  blamed(pc, TURN, 701);
  assert.equal(standings(ways, "websocket").relay_udp, "turn_unreachable");
  blamed(pc, TURN, 401);
  blamed(pc, TURN, 701);
  assert.equal(standings(ways, "websocket").relay_udp, "turn_refused");
  blamed(pc, "turns:turn.example.org:5349?transport=tcp", 701);
  assert.equal(standings(ways, "websocket").relay_tcp, "turn_unreachable");
  assert.equal(standings(new Ways(peer()), "webrtc").relay_udp, "no_turn");
});

test("a way of which nothing came back is told with what the server offered", () => {
  const pc = peer();
  const ways = new Ways(pc);
  found(pc, "host");
  ways.read(statistics([["host", "in-progress"]]));
  assert.equal(standings(ways, "webrtc").host, "trying");
  assert.equal(standings(ways, "websocket").host, "no_reply");
  ways.read(statistics([["host", "in-progress"]], "10.0.0.5"));
  assert.equal(standings(ways, "websocket").host, "server_private");
});

test("without a candidate for UDP the browser is at its end once it has looked", () => {
  const pc = peer();
  const ways = new Ways(pc);
  found(pc, "host", { protocol: "tcp" });
  assert.equal(standings(ways, "webrtc").host, "trying");
  found(pc, null);
  assert.equal(standings(ways, "webrtc").host, "no_udp");
});

test("pictures that stopped are told of the way that they came", () => {
  const ways = new Ways(peer());
  ways.read(statistics([["host", "succeeded", true]]));
  assert.deepEqual([standings(ways, "websocket").host, standings(ways, "websocket").websocket], ["stopped", "used"]);
});

test("before a session nothing is said, and where no peer was made it says why", () => {
  assert.deepEqual(waysOf(null, null, "forced"), []);
  assert.equal(standings(null, "websocket").host, "forced");
});

/**
 * Finds out which ways to the server WebRTC has found, which one it took, and why others do not work. It reads only
 * what the browser reports about a connection (candidates, errors, statistics) and sends no requests.
 */

/**
 * A way to the server. host: directly; srflx: directly, from an address that a router translates to (found by STUN);
 * relay_udp, relay_tcp: by a TURN server, reached over UDP, or over TCP or TLS; websocket: the session socket.
 * @typedef {"host" | "srflx" | "relay_udp" | "relay_tcp" | "websocket"} Way
 *
 * ready: it works, but another way is used; trying: nothing is known yet; none: the browser found no such way
 * @typedef {"used" | "ready" | "trying" | "failed" | "none" | "untried"} Standing
 *
 * @typedef {"no_reply" | "server_private" | "no_udp" | "no_stun" | "stun_silent" | "no_turn" | "turn_refused" |
 *   "turn_unreachable" | "turn_silent" | "stopped" | "forced" | "unsupported"} Why
 *
 * roundMs: the round-trip time of the way that is used
 * @typedef {{way: Way, standing: Standing, why?: Why, roundMs?: number}} WayReport
 *
 * The fields that are read of a local candidate, from an event or from the statistics.
 * @typedef {{type?: string | null, candidateType?: string, relayProtocol?: string | null, url?: string | null}} Found
 * @typedef {{state: string, way: Way, roundMs?: number, isUsed: boolean}} Pair
 */

const BY_WEBRTC = /** @type {const} */ (["host", "srflx", "relay_udp", "relay_tcp"]);
const REFUSED = 401; // STUN's error code for a user name or password that is wrong or has expired
const PRIVATE = /^(?:10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|f[cde])/i;
const TCP = /^turns:|transport=tcp/i;

/** The ways of one connection. What it has seen stays known after the connection is closed. */
export class Ways {
  /** @param {RTCPeerConnection} pc one that has not begun to gather candidates */
  constructor(pc) {
    const servers = pc.getConfiguration().iceServers ?? [];
    /** @type {string[]} */
    this.urls = servers.flatMap(({ urls }) => urls);
    /** @type {Set<Way>} the ways of our own candidates */
    this.found = new Set();
    /** @type {Map<string, number>} error codes by the address of a STUN or TURN server */
    this.errors = new Map();
    /** @type {Pair[]} */
    this.pairs = [];
    /** @type {string[]} the addresses of the portal's candidates */
    this.addresses = [];
    this.isGathered = false;
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate) this.isGathered = true;
      else if (candidate.candidate && candidate.protocol === "udp") this.found.add(wayOf(candidate));
    });
    pc.addEventListener("icecandidateerror", ({ url, errorCode }) => this.#blame(url, errorCode));
  }

  /** @param {RTCStatsReport} stats of the connection */
  read(stats) {
    const reports = [...stats.values()];
    const chosen = new Set(reports.map((one) => one.type === "transport" && one.selectedCandidatePairId));
    /** @type {Map<string, Way>} */
    const local = new Map();
    this.addresses = [];
    for (const one of reports) {
      if (one.type === "local-candidate" && one.protocol === "udp") local.set(one.id, wayOf(one));
      else if (one.type === "remote-candidate" && one.address) this.addresses.push(one.address);
    }
    for (const way of local.values()) this.found.add(way);
    this.pairs = reports.flatMap((one) => {
      const way = one.type === "candidate-pair" && local.get(one.localCandidateId);
      if (!way) return [];
      // Firefox has no "transport" report and marks the pair itself as selected.
      const isUsed = chosen.has(one.id) || one.selected === true;
      return { state: one.state, way, isUsed, roundMs: 1000 * (one.currentRoundTripTime ?? NaN) };
    });
  }

  /**
   * Return how each of WebRTC's ways stands.
   * @param {boolean} isOver WebRTC has been given up
   * @returns {WayReport[]}
   */
  report(isOver) {
    const used = this.pairs.find(({ isUsed }) => isUsed);
    return BY_WEBRTC.map((way) => {
      if (used?.way === way) {
        return isOver ? { way, standing: "failed", why: "stopped" } : { way, standing: "used", roundMs: used.roundMs };
      }
      if (!this.found.has(way)) {
        const isLooked = this.isGathered || isOver || used || this.#isLacking(way);
        return isLooked ? { way, standing: "none", why: this.#whyNone(way) } : { way, standing: "trying" };
      }
      const pairs = this.pairs.filter((pair) => pair.way === way);
      if (pairs.some(({ state }) => state === "succeeded")) return { way, standing: "ready" };
      const isDead = (isOver && !used) || (pairs.length > 0 && pairs.every(({ state }) => state === "failed"));
      if (isDead) return { way, standing: "failed", why: this.#isServerHidden ? "server_private" : "no_reply" };
      return { way, standing: used ? "ready" : "trying" };
    });
  }

  /** Whether the server has only private addresses, which cannot be reached from outside its own network. */
  get #isServerHidden() {
    return this.addresses.length > 0 && this.addresses.every((address) => PRIVATE.test(address));
  }

  /**
   * Whether this way needs a STUN or TURN server and none was configured.
   * @param {Way} way
   */
  #isLacking(way) {
    return way !== "host" && !this.#urlsOf(way).length;
  }

  /** @param {Way} way */
  #urlsOf(way) {
    if (way === "srflx") return this.urls.filter((url) => /^stuns?:/i.test(url));
    return this.urls.filter((url) => /^turns?:/i.test(url) && TCP.test(url) === (way === "relay_tcp"));
  }

  /**
   * @param {Way} way
   * @returns {Why}
   */
  #whyNone(way) {
    if (way === "host") return "no_udp";
    const urls = this.#urlsOf(way);
    if (way === "srflx") return urls.length ? "stun_silent" : "no_stun";
    if (!urls.length) return "no_turn";
    const codes = urls.map((url) => this.errors.get(url));
    if (codes.includes(REFUSED)) return "turn_refused";
    return codes.some((code) => code !== undefined) ? "turn_unreachable" : "turn_silent";
  }

  /**
   * Note an error of a STUN or TURN server. A browser may try a server from several of its own addresses. A refusal is
   * an answer of the server, so it is not replaced by a failure to reach it from another address.
   * @param {string} url
   * @param {number} code
   */
  #blame(url, code) {
    const named = this.urls.find((one) => isSame(one, url)) ?? url;
    if (this.errors.get(named) !== REFUSED) this.errors.set(named, code);
  }
}

/**
 * Return the reports of a session's ways that the page shows.
 * @param {Ways?} ways those of its last peer; null: there was none
 * @param {"webrtc" | "websocket" | null} media the media in use; null: none (any more)
 * @param {"forced" | "unsupported"} why why there was no peer
 * @returns {WayReport[]} empty before a session
 */
export function waysOf(ways, media, why) {
  if (!media && !ways) return [];
  /** @type {WayReport[]} */
  const untried = BY_WEBRTC.map((way) => ({ way, standing: "untried", why }));
  const byWebRtc = ways?.report(media !== "webrtc") ?? untried;
  return [...byWebRtc, { way: "websocket", standing: media === "websocket" ? "used" : "ready" }];
}

/**
 * @param {Found} candidate
 * @returns {Way}
 */
function wayOf({ type, candidateType, relayProtocol, url }) {
  const kind = candidateType ?? type;
  if (kind === "host") return "host";
  if (kind !== "relay") return "srflx"; // prflx, too: the peer saw us at an address that we did not know
  return (relayProtocol ? relayProtocol !== "udp" : TCP.test(url ?? "")) ? "relay_tcp" : "relay_udp";
}

/**
 * Whether two addresses mean the same server. Browsers add the default port and transport to an address.
 * @param {string} one
 * @param {string} other
 */
function isSame(one, other) {
  const plain = (/** @type {string} */ url) => {
    const [where, query] = url.toLowerCase().split("?");
    const transport = query ?? (where.startsWith("turns") ? "transport=tcp" : "transport=udp");
    return `${/:\d+$/.test(where) ? where : `${where}:${where.split(":")[0].endsWith("s") ? 5349 : 3478}`}?${transport}`;
  };
  return plain(one) === plain(other);
}

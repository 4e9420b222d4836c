/**
 * Which ways WebRTC has found from this browser to the server, which one it took, and what is known of why another does
 * not work. It looks at what the browser tells of a connection (its candidates, its errors, its statistics) and asks
 * nobody else.
 */

/**
 * From here to the server: without a detour; without one, by an address that a router lends (or is asked for by STUN);
 * by a TURN server that is reached over UDP, or over TCP or TLS; the session socket.
 * @typedef {"host" | "srflx" | "relay_udp" | "relay_tcp" | "websocket"} Way
 *
 * ready: it could be used, and another one is; trying: nothing is known yet; none: the browser found no such way
 * @typedef {"used" | "ready" | "trying" | "failed" | "none" | "untried"} Standing
 *
 * @typedef {"no_reply" | "server_private" | "no_udp" | "no_stun" | "stun_silent" | "no_turn" | "turn_refused" |
 *   "turn_unreachable" | "turn_silent" | "stopped" | "forced" | "unsupported"} Why
 *
 * roundMs: there and back, of the way that is used
 * @typedef {{way: Way, standing: Standing, why?: Why, roundMs?: number}} WayReport
 *
 * What is read of a local candidate, as an event or the statistics tell it.
 * @typedef {{type?: string | null, candidateType?: string, relayProtocol?: string | null, url?: string | null}} Found
 * @typedef {{state: string, way: Way, roundMs?: number, isUsed: boolean}} Pair
 */

const BY_WEBRTC = /** @type {const} */ (["host", "srflx", "relay_udp", "relay_tcp"]);
const REFUSED = 401; // STUN's own code: the name or the password is wrong, or their time is over
const PRIVATE = /^(?:10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|f[cde])/i;
const TCP = /^turns:|transport=tcp/i;

/** One connection's. It keeps what it has seen after the connection is closed. */
export class Ways {
  /** @param {RTCPeerConnection} pc before it looks for candidates */
  constructor(pc) {
    const servers = pc.getConfiguration().iceServers ?? [];
    /** @type {string[]} */
    this.urls = servers.flatMap(({ urls }) => urls);
    /** @type {Set<Way>} of our own candidates */
    this.found = new Set();
    /** @type {Map<string, number>} by the address of a server */
    this.errors = new Map();
    /** @type {Pair[]} */
    this.pairs = [];
    /** @type {string[]} of the server */
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
      // Firefox has no report of the transport, and says it of the pair.
      const isUsed = chosen.has(one.id) || one.selected === true;
      return { state: one.state, way, isUsed, roundMs: 1000 * (one.currentRoundTripTime ?? NaN) };
    });
  }

  /**
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

  /** Whether the server has told nothing but addresses that lead nowhere from outside its own network. */
  get #isServerHidden() {
    return this.addresses.length > 0 && this.addresses.every((address) => PRIVATE.test(address));
  }

  /**
   * Nobody has named a server for this way.
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
   * A browser may try a server from several addresses of its own. That one got an answer says more than that another did
   * not.
   * @param {string} url
   * @param {number} code
   */
  #blame(url, code) {
    const named = this.urls.find((one) => isSame(one, url)) ?? url;
    if (this.errors.get(named) !== REFUSED) this.errors.set(named, code);
  }
}

/**
 * What is shown of a session's ways.
 * @param {Ways?} ways of its last peer; null: there was none
 * @param {"webrtc" | "websocket" | null} media that are used; null: none, or none any more
 * @param {"forced" | "unsupported"} why there was no peer
 * @returns {WayReport[]} none before a session
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
  if (kind !== "relay") return "srflx"; // of a peer that is seen at another address than it knows of (prflx), too
  return (relayProtocol ? relayProtocol !== "udp" : TCP.test(url ?? "")) ? "relay_tcp" : "relay_udp";
}

/**
 * Whether two addresses mean the same server: browsers add what they take for granted.
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

/** Receives a session's pictures and sound by WHEP: one offer over HTTP, with all its candidates, and one answer. */

import { PortalError, errorOf } from "../errors.js";

/** @typedef {import("../types/api.d.ts").ErrorView} ErrorView */

const GATHERED_WITHIN_MS = 2000;

/** One connection. It ends by close(), or when `lost` is called. */
export class Whep {
  #peer = new RTCPeerConnection();
  #resource = "";

  /** @param {() => void} lost called when the connection has ended */
  constructor(lost) {
    this.stream = new MediaStream();
    this.#peer.ontrack = ({ track }) => this.stream.addTrack(track);
    this.#peer.onconnectionstatechange = () => {
      if (["disconnected", "failed", "closed"].includes(this.#peer.connectionState)) lost();
    };
  }

  /**
   * Connect. Resolves when the server has answered. Throws a PortalError if it refuses, or a TypeError if it cannot be
   * reached.
   * @param {string} address
   */
  async open(address) {
    const peer = this.#peer;
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    await peer.setLocalDescription();
    await gathered(peer);
    const headers = { "Content-Type": "application/sdp" };
    const answer = await fetch(address, { method: "POST", headers, body: peer.localDescription?.sdp });
    if (!answer.ok) throw new PortalError(errorOf(answer.status, await answer.json().catch(() => null)));
    this.#resource = new URL(answer.headers.get("Location") ?? "", answer.url).href;
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  /** Close the connection. Further calls do nothing. It also works while the page is being left. */
  close() {
    this.#peer.onconnectionstatechange = null;
    this.#peer.close();
    if (this.#resource) fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#resource = "";
  }
}

/**
 * Resolves when all candidates are gathered, or after a time limit, since candidates cannot be sent later.
 * @param {RTCPeerConnection} peer
 */
async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await new Promise((done) => {
    setTimeout(done, GATHERED_WITHIN_MS); // some STUN servers never answer; the candidates found so far must do
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done(null));
  });
}

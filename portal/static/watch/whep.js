/** Pictures and sound of a session by WHEP: one offer over HTTP, with all its candidates, and an answer. */

import { PortalError, errorOf } from "../errors.js";

/** @typedef {import("../types/api.d.ts").ErrorView} ErrorView */

const GATHERED_WITHIN_MS = 2000;

/** One connection. It is over when `lost` is called, or by close(). */
export class Whep {
  #peer = new RTCPeerConnection();
  #resource = "";

  /** @param {() => void} lost the connection that there was has ended */
  constructor(lost) {
    this.stream = new MediaStream();
    this.#peer.ontrack = ({ track }) => this.stream.addTrack(track);
    this.#peer.onconnectionstatechange = () => {
      if (["disconnected", "failed", "closed"].includes(this.#peer.connectionState)) lost();
    };
  }

  /**
   * Resolves when the server has answered; throws a PortalError if it refuses, TypeError if it cannot be reached.
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

  /** Idempotent. Also while the page goes. */
  close() {
    this.#peer.onconnectionstatechange = null;
    this.#peer.close();
    if (this.#resource) fetch(this.#resource, { method: "DELETE", keepalive: true }).catch(() => {});
    this.#resource = "";
  }
}

/**
 * Candidates cannot be sent later.
 * @param {RTCPeerConnection} peer
 */
async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await new Promise((done) => {
    setTimeout(done, GATHERED_WITHIN_MS); // servers that do not answer; what there is will do
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done(null));
  });
}

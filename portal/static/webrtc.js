/**
 * Pictures and sound over WebRTC.
 *
 * Events: "picture" (each one shown), "failed" (detail: reason code), "blocked" (the browser wants a click before sound),
 * "sound" (first sound after listenForSound()).
 */

const STATS_EVERY_MS = 1000;
const SOUND_POLL_MS = 40;
const AUDIBLE = 1e-4; // mean square; -40 dBFS
const SKEWS_KEPT = 60;
const HUSHED_MS = 400; // longer than the way from the server and the jitter buffer

export class WebRtcMedia extends EventTarget {
  /**
   * @param {HTMLVideoElement} video shows and sounds the media
   * @param {(message: object) => void} send to the session socket
   */
  constructor(video, iceServers, send) {
    super();
    this.name = "webrtc";
    this.video = video;
    this.send = send;
    this.frames = 0;
    this.skews = [];
    this.delayMs = 60; // of the jitter buffer; measured later
    this.closed = false;
    this.stream = new MediaStream();
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  }

  /** Send the offer at once; candidates follow as they are found. */
  async start() {
    const pc = this.pc;
    let usable = 0;
    pc.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      if (this.video.srcObject !== this.stream) this.video.srcObject = this.stream;
      this.video.play().catch(() => this.tell("blocked"));
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed") this.tell("failed", "failed");
    };
    pc.onicecandidate = ({ candidate }) => {
      if (this.closed) return;
      if (candidate && candidate.candidate) {
        // The server speaks UDP only; a relay is reached over whatever its address says.
        if (/ (udp|UDP) /.test(candidate.candidate) || candidate.type === "relay") usable += 1;
        const { sdpMid, sdpMLineIndex } = candidate;
        this.send({ type: "candidate", candidate: candidate.candidate, sdpMid, sdpMLineIndex });
      } else if (!candidate && usable === 0) this.tell("failed", "no_route");
    };
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
    await pc.setLocalDescription(await pc.createOffer());
    if (this.closed) return;
    this.send({ type: "offer", sdp: pc.localDescription.sdp });
    this.watchPictures();
    this.statsTimer = setInterval(() => this.readStats(), STATS_EVERY_MS);
  }

  async answer(sdp) {
    if (!this.closed) await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Media time, in seconds, that is seen and heard now. */
  mediaNow(serverNow) {
    return serverNow === null ? null : serverNow - this.delayMs / 1000;
  }

  /** Median of late, ms: positive when the sound comes after its picture. */
  get skewMs() {
    if (!this.skews.length) return null;
    return [...this.skews].sort((a, b) => a - b)[this.skews.length >> 1];
  }

  set muted(muted) {
    this.video.muted = muted;
  }

  /** Tell "sound" when something is heard. */
  listenForSound() {
    clearInterval(this.soundTimer);
    let before = null;
    this.soundTimer = setInterval(async () => {
      const audio = (await this.inbound()).audio;
      if (!audio || this.closed) return;
      const heard = before && (audio.totalAudioEnergy - before.totalAudioEnergy) /
        Math.max(audio.totalSamplesDuration - before.totalSamplesDuration, 1e-3);
      before = audio;
      if (heard > AUDIBLE) {
        clearInterval(this.soundTimer);
        this.tell("sound");
      }
    }, SOUND_POLL_MS);
  }

  /** Silence at once; what is still on its way is not heard. */
  interrupt() {
    this.sound(false);
    clearTimeout(this.hushed);
    this.hushed = setTimeout(() => this.sound(true), HUSHED_MS);
  }

  /** A new answer begins: nothing of it may be missed. */
  speaking() {
    clearTimeout(this.hushed);
    this.sound(true);
  }

  sound(on) {
    for (const track of this.stream.getAudioTracks()) track.enabled = on;
  }

  close() {
    this.closed = true;
    clearInterval(this.statsTimer);
    clearInterval(this.soundTimer);
    this.pc.close();
    if (this.video.srcObject === this.stream) this.video.srcObject = null;
  }

  watchPictures() {
    const video = this.video;
    let before = null; // the element's count goes on from one session to the next
    const shown = (_now, { presentedFrames }) => {
      if (this.closed) return;
      // Callbacks may be skipped while the page is otherwise still; the count is not.
      before ??= presentedFrames - 1;
      this.frames = presentedFrames - before;
      this.tell("picture");
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  async inbound() {
    const found = {};
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "inbound-rtp") found[report.kind] = report;
    }
    return found;
  }

  async readStats() {
    const { audio, video } = await this.inbound();
    if (!audio || !video || this.closed) return;
    if (audio.estimatedPlayoutTimestamp && video.estimatedPlayoutTimestamp) {
      this.skews.push(video.estimatedPlayoutTimestamp - audio.estimatedPlayoutTimestamp);
      if (this.skews.length > SKEWS_KEPT) this.skews.shift();
    }
    const before = this.before;
    if (before && video.jitterBufferEmittedCount > before.jitterBufferEmittedCount) {
      this.delayMs = (1000 * (video.jitterBufferDelay - before.jitterBufferDelay)) /
        (video.jitterBufferEmittedCount - before.jitterBufferEmittedCount);
    }
    this.before = video;
  }

  tell(type, detail) {
    if (!this.closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * What a viewer would see and hear, measured from outside the player: every sound that reaches a speaker is tapped, and
 * the brightness of the mouth box is read off whatever picture is on show. Loaded before the page's own scripts.
 */
window.probe = { onsets: [], silences: [], sounding: false, flashes: [], pictures: 0, changes: 0 };

const LISTENER = URL.createObjectURL(new Blob([`
  const NOTHING = new Float32Array(128);
  registerProcessor("probe", class extends AudioWorkletProcessor {
    constructor() { super(); this.quiet = sampleRate; this.loud = false; }
    process([[channel = NOTHING]]) { // a source that has ended has no channel, and is silent
      for (let i = 0; i < channel.length; i += 1) {
        const level = Math.abs(channel[i]);
        if (level > 0.03) {
          if (this.quiet > sampleRate * 0.05) this.port.postMessage({ onset: (currentFrame + i) / sampleRate });
          this.quiet = 0;
          this.loud = true;
        } else if (++this.quiet > sampleRate * 0.13 && this.loud) {
          this.loud = false;
          this.port.postMessage({ silence: (currentFrame + i - this.quiet) / sampleRate });
        }
      }
      return true;
    }
  });
`], { type: "text/javascript" }));

const isFirefox = navigator.userAgent.includes("Firefox/");

/** Performance time, ms, of context time 0. Firefox may freeze when it is asked for more: see socket-media.js. */
function offsetMs(context) {
  if (isFirefox) return performance.now() - context.currentTime * 1000;
  const { contextTime, performanceTime } = context.getOutputTimestamp();
  return performanceTime - contextTime * 1000;
}

const connect = AudioNode.prototype.connect;
const listeners = new WeakMap(); // AudioContext -> promise of a listener

function listener(context) {
  if (!listeners.has(context)) {
    listeners.set(context, context.audioWorklet.addModule(LISTENER).then(() => {
      const node = new AudioWorkletNode(context, "probe", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => {
        const offset = offsetMs(context);
        // Times of two messages do not tell which came first: each has its own offset, and a busy page reads late.
        window.probe.sounding = data.onset !== undefined;
        if (data.onset !== undefined) window.probe.onsets.push(data.onset * 1000 + offset);
        else window.probe.silences.push(data.silence * 1000 + offset);
      };
      return node;
    }));
  }
  return listeners.get(context);
}

async function tap(source) {
  connect.call(source, await listener(source.context));
}

AudioNode.prototype.connect = function (target, ...others) {
  if (target === this.context.destination) tap(this);
  return connect.call(this, target, ...others);
};

// WebRTC: the sound that the video element plays.
const srcObject = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
let ears = null;
Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
  ...srcObject,
  set(stream) {
    srcObject.set.call(this, stream);
    if (!stream || stream.heard) return;
    stream.heard = true;
    const listen = (track) => {
      if (track.kind !== "audio") return;
      ears ||= new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
      window.probe.ears = ears;
      tap(new MediaStreamAudioSourceNode(ears, { mediaStream: new MediaStream([track]) }));
    };
    stream.getTracks().forEach(listen);
    const add = stream.addTrack;
    stream.addTrack = (track) => {
      add.call(stream, track);
      listen(track);
    };
  },
});

// The mouth box of the test avatar is the middle of the picture's lower half.
const eye = Object.assign(document.createElement("canvas"), { width: 4, height: 4 }).getContext("2d", {
  willReadFrequently: true,
});
let last = null;

function look(picture, width, height, at) {
  eye.drawImage(picture, width * 0.4, height * 0.65, width * 0.2, height * 0.1, 0, 0, 4, 4);
  const bright = eye.getImageData(1, 1, 1, 1).data[1];
  window.probe.pictures += 1;
  if (last !== null && Math.abs(bright - last) > 60) window.probe.changes += 1;
  if (bright > 160 && last !== null && last <= 160) window.probe.flashes.push(at);
  last = bright;
}

const drawImage = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (picture, ...where) {
  drawImage.call(this, picture, ...where);
  if (this.canvas.id === "vv-canvas") look(this.canvas, this.canvas.width, this.canvas.height, performance.now() + 8);
};

const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (this.id === "vv-video" && !this.watched) {
    this.watched = true;
    const seen = (_now, { expectedDisplayTime }) => {
      if (this.videoWidth) look(this, this.videoWidth, this.videoHeight, expectedDisplayTime);
      this.requestVideoFrameCallback(seen);
    };
    this.requestVideoFrameCallback(seen);
  }
  return play.call(this);
};

/** For each flash the beep nearest to it: ms by which the sound is later. */
window.probe.skews = () =>
  window.probe.flashes
    .map((flash) => window.probe.onsets.map((onset) => onset - flash).sort((a, b) => Math.abs(a) - Math.abs(b))[0])
    .filter((skew) => skew !== undefined && Math.abs(skew) < 95)
    .sort((a, b) => a - b);

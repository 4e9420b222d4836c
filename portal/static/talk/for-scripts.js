/** What other scripts may use: `window.vivavoce`. It is there before the Talk tab is, and waits for it. */

const NOTHING_YET = {
  state: "idle",
  transport: null,
  reason: null,
  reasonCode: null,
  fps: 0,
  frames: 0,
  firstFrameMs: null,
  fallbackMs: null,
  avSkewMs: null,
  latencyMs: null,
  turn: 0,
  turnState: "idle",
  session: null,
};

/**
 * The page's player. start() resolves with stats() at the first picture; on() calls back with the detail of each event
 * of that type (see player.js).
 * @param {Promise<HTMLElement>} talk the element, once it is on the page
 */
export function forScripts(talk) {
  let shown = null;
  talk.then((element) => (shown = element));
  return {
    stats: () => (shown ? shown.player.stats() : { ...NOTHING_YET }),
    async start(options) {
      await (await talk).start(options);
      return this.stats();
    },
    async say(text, mode) {
      (await talk).say(text, mode);
    },
    async interrupt() {
      (await talk).player.interrupt();
    },
    async stop() {
      (await talk).stop();
    },
    async on(type, callback) {
      (await talk).player.addEventListener(type, ({ detail }) => callback(detail));
    },
  };
}

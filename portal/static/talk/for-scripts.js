/**
 * `window.vivavoce`, the interface for other scripts. It exists before the Talk tab does, and its calls wait for the
 * tab.
 */

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/player.d.ts").PlayerEvents} PlayerEvents
 *
 * The part of the Talk tab's element that scripts may use.
 * @typedef {{
 *   player: Player, start: (options?: import("../types/player.d.ts").Start) => Promise<void>, stop: () => void,
 *   say: (text: string, mode?: import("../types/messages.d.ts").Mode) => void, listen: (on: boolean) => Promise<void>,
 * }} Talk
 */

/** @type {ReturnType<Player["stats"]>} */
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
  ears: { mode: "off", state: "off", level: null, microphone: null },
  session: null,
};

/**
 * Return the interface to the page's player. start() resolves to stats() at the first picture. on() calls back with the
 * detail of each event of a type (see player.js). Optional arguments may be null as well.
 * @param {Promise<Talk>} talk resolves to the element when it is on the page
 */
export function forScripts(talk) {
  /** @type {Talk?} */
  let shown = null;
  talk.then((element) => (shown = element));
  return {
    stats: () => (shown ? shown.player.stats() : { ...NOTHING_YET }),
    /** @param {import("../types/player.d.ts").Start | null} [options] */
    async start(options) {
      await (await talk).start(options ?? {});
      return this.stats();
    },
    /**
     * @param {string} text
     * @param {import("../types/messages.d.ts").Mode | null} [mode]
     */
    async say(text, mode) {
      (await talk).say(text, mode ?? undefined);
    },
    /**
     * Open or close the microphone.
     * @param {boolean} on
     */
    async listen(on) {
      await (await talk).listen(on);
    },
    async interrupt() {
      (await talk).player.interrupt();
    },
    /**
     * Show a gesture of the avatar; null: go back to the idle loop.
     * @param {string | null} name
     */
    async gesture(name) {
      (await talk).player.gesture(name);
    },
    async stop() {
      (await talk).stop();
    },
    /**
     * @template {keyof PlayerEvents} Type
     * @param {Type} type
     * @param {(detail: PlayerEvents[Type]) => void} callback
     */
    async on(type, callback) {
      (await talk).player.on(type, callback);
    },
  };
}

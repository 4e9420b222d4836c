/**
 * Drive an avatar of a Vivavoce portal from JavaScript: let it speak, ask it, and get its pictures and sound. For Node.js
 * 22 and later, Deno, Bun and browsers; needs no other package.
 *
 *     import { Session } from "./vivavoce-client.js";
 *
 *     const session = await Session.open("http://127.0.0.1:7860", { avatar: "mira" });
 *     await session.finished(await session.say("Hello there."));
 *     await session.close();
 *
 * It speaks the portal's session socket (docs/protocol.md of the portal). A page of another website may use it where the
 * portal allows that website (`--allowed-origins`).
 */
export type Wish = {
    avatar?: string;
    voice?: string;
    tts?: string;
    lipsync?: string;
    speed?: number;
    prompt?: string;
    greeting?: string;
    /**
     * what was said in an earlier session
     */
    history?: {
        role: "user" | "assistant";
        content: string;
    }[];
    identity?: Record<string, string>;
    /**
     * wait in line if all places are taken
     */
    wait?: boolean;
};
export type Options = {
    /**
     * whether pictures and sound are wanted (true); without them only events come
     */
    media?: boolean;
    /**
     * sent as the connection is made, such as Authorization where the portal has
     * a login. Not in browsers, which let no script do that
     */
    headers?: Record<string, string>;
};
export type Welcome = {
    session: string;
    avatar: {
        id: string;
        name: string;
    };
    gestures: string[];
    width: number;
    height: number;
    fps: number;
    sampleRate: number;
};
export type Frame = {
    /**
     * on the session's media clock
     */
    timeS: number;
    speaking: boolean;
    /**
     * the picture as it came; the last one again if none came with this frame
     */
    jpeg: Uint8Array<ArrayBuffer>;
    /**
     * mono at 48 kHz, -1 to 1, 1920 samples
     */
    sound: Float32Array<ArrayBuffer>;
};
export type PortalEvent = {
    type: string;
    [field: string]: any;
};
/**
 * What a session should be like; the portal chooses whatever is left out.
 * @typedef {object} Wish
 * @property {string} [avatar]
 * @property {string} [voice]
 * @property {string} [tts]
 * @property {string} [lipsync]
 * @property {number} [speed]
 * @property {string} [prompt]
 * @property {string} [greeting]
 * @property {{role: "user" | "assistant", content: string}[]} [history] what was said in an earlier session
 * @property {Record<string, string>} [identity]
 * @property {boolean} [wait] wait in line if all places are taken
 */
/**
 * @typedef {object} Options
 * @property {boolean} [media] whether pictures and sound are wanted (true); without them only events come
 * @property {Record<string, string>} [headers] sent as the connection is made, such as Authorization where the portal has
 *     a login. Not in browsers, which let no script do that
 */
/**
 * What the portal said when the session was opened.
 * @typedef {object} Welcome
 * @property {string} session
 * @property {{id: string, name: string}} avatar
 * @property {string[]} gestures
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {number} sampleRate
 */
/**
 * 40 ms: one picture and its sound.
 * @typedef {object} Frame
 * @property {number} timeS on the session's media clock
 * @property {boolean} speaking
 * @property {Uint8Array<ArrayBuffer>} jpeg the picture as it came; the last one again if none came with this frame
 * @property {Float32Array<ArrayBuffer>} sound mono at 48 kHz, -1 to 1, 1920 samples
 */
/**
 * A message of the portal, such as {type: "subtitle", text: "..."}.
 * @typedef {{type: string, [field: string]: any}} PortalEvent
 */
export declare const SAMPLE_RATE_HZ = 48000;
/** The portal refused something, or the connection broke: `code` for programs, `hint` the remedy. */
export declare class PortalError extends Error {
    code: string;
    hint: string;
    /**
     * @param {string} code
     * @param {string} message
     * @param {string} [hint]
     */
    constructor(code: string, message: string, hint?: string);
}
/** One question and its answer, or one text that is spoken as it is. It changes while the session goes on. */
export declare class Turn {
    number: number;
    /** @type {"queued" | "thinking" | "speaking" | "done" | "interrupted"} */
    state: "queued" | "thinking" | "speaking" | "done" | "interrupted";
    /** What the language model has answered so far; empty for a text that is spoken as it is. */
    text: string;
    /** @type {PortalError[]} what went wrong on the way */
    errors: PortalError[];
    /** @param {number} number */
    constructor(number: number);
    get over(): boolean;
}
/** One session of an avatar, from Session.open() to close(). */
export declare class Session {
    #private;
    /** @type {Welcome} */
    welcome: Welcome;
    /**
     * Rejects with a PortalError: no place, no such avatar, a login is needed, nobody is there.
     * @param {string} url of the portal, e.g. http://127.0.0.1:7860, or below a path of a proxy
     * @param {Wish & Options} [options]
     * @returns {Promise<Session>}
     */
    static open(url: string, { media, headers, ...wish }?: Wish & Options): Promise<Session>;
    /**
     * See Session.open().
     * @private
     * @param {WebSocket} socket
     * @param {Wish} wish
     */
    private constructor();
    /** End the session. Idempotent. */
    close(): Promise<void>;
    /**
     * Speak a text as it is, after what is being said. Resolves when it waits to be spoken; rejects with a PortalError.
     * @param {string} text
     * @returns {Promise<Turn>}
     */
    say(text: string): Promise<Turn>;
    /**
     * Let the language model answer; what is being said is interrupted. Rejects with a PortalError.
     * @param {string} text
     * @returns {Promise<Turn>}
     */
    ask(text: string): Promise<Turn>;
    /**
     * Speak a text that comes in pieces, such as the stream of a language model, sentence by sentence. Resolves when the
     * last sentence waits to be spoken; rejects with a PortalError.
     * @param {AsyncIterable<string> | Iterable<string>} pieces
     * @returns {Promise<void>}
     */
    speak(pieces: AsyncIterable<string> | Iterable<string>): Promise<void>;
    /**
     * Wait until a turn is done or interrupted. Rejects with a PortalError if the session ends before.
     * @param {Turn} turn
     * @returns {Promise<Turn>}
     */
    finished(turn: Turn): Promise<Turn>;
    /** Stop speaking, and forget what waits to be spoken. */
    interrupt(): void;
    /**
     * Show one of the avatar's gestures (`welcome.gestures`).
     * @param {string | null} [name] null: back to the idle loop
     */
    gesture(name?: string | null): void;
    /**
     * Go on as another avatar; the event `avatar` comes when that is done.
     * @param {string} avatar id
     */
    swapAvatar(avatar: string): void;
    /**
     * 25 frames per second until the session ends. For one reader; one that is slower misses the oldest.
     * @returns {AsyncIterableIterator<Frame>}
     */
    frames(): AsyncIterableIterator<Frame>;
    /**
     * The portal's messages until the session ends. For one reader; one that is slower misses the oldest.
     * @returns {AsyncIterableIterator<PortalEvent>}
     */
    events(): AsyncIterableIterator<PortalEvent>;
}

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
export type Change = {
    voice?: string | null;
    tts?: string | null;
    lipsync?: string | null;
    speed?: number | null;
    prompt?: string | null;
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
 * What a running session may go on with. What is left out stays; null: as if it had not been asked for.
 * @typedef {object} Change
 * @property {string | null} [voice]
 * @property {string | null} [tts]
 * @property {string | null} [lipsync]
 * @property {number | null} [speed]
 * @property {string | null} [prompt]
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
export type SoundWay = {
    /**
     * throws a PortalError if the session has ended
     */
    send: (message: ArrayBuffer) => void;
    /**
     * how long the turn has been heard
     */
    heardS: () => number;
    /**
     * a moment, or until the turn or the session has ended
     */
    pause: () => Promise<void>;
};
/**
 * What a SpokenSound needs of its session.
 * @typedef {object} SoundWay
 * @property {(message: ArrayBuffer) => void} send throws a PortalError if the session has ended
 * @property {() => number} heardS how long the turn has been heard
 * @property {() => Promise<void>} pause a moment, or until the turn or the session has ended
 */
/**
 * One turn that speaks what write() gets, from the first piece on; end() says that there is no more. It is made by
 * Session.openSound(). A turn that gets no sound for some 20 s ends by itself.
 */
export declare class SpokenSound {
    #private;
    turn: Turn;
    rateHz: number;
    /**
     * Use Session.openSound().
     * @param {Turn} turn
     * @param {number} rateHz
     * @param {SoundWay} way
     */
    constructor(turn: Turn, rateHz: number, way: SoundWay);
    /**
     * Speak that next. Resolves when it is on its way, which is when no more than 10 s are ahead of what is heard. Sound for
     * a turn that was interrupted is dropped. Rejects with a PortalError.
     * @param {Int16Array | Float32Array} samples mono, the latter from -1 to 1
     * @returns {Promise<void>}
     */
    write(samples: Int16Array | Float32Array): Promise<void>;
    /** That was all. Idempotent. Rejects with a PortalError. */
    end(): Promise<void>;
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
     * Speak sound of your own, after what is being said: write() it to what this resolves with. Rejects with a PortalError.
     * @param {number} rateHz of the sound, 8000 to 48000
     * @returns {Promise<SpokenSound>}
     */
    openSound(rateHz: number): Promise<SpokenSound>;
    /**
     * Speak a recording, after what is being said. Resolves when all of it is on its way; rejects with a PortalError.
     * @param {Int16Array | Float32Array} samples mono, the latter from -1 to 1
     * @param {number} rateHz 8000 to 48000
     * @returns {Promise<Turn>}
     */
    play(samples: Int16Array | Float32Array, rateHz: number): Promise<Turn>;
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
     * Go on with another voice, lip-sync or persona; nothing is interrupted. The event `choice` says what is in force then,
     * and whether anything has changed.
     * @param {Change} wishes
     */
    change(wishes: Change): void;
    /**
     * 25 frames per second until the session ends. For one reader; one that is slower misses the oldest. Rejects with a
     * PortalError if the connection breaks.
     * @returns {AsyncIterableIterator<Frame>}
     */
    frames(): AsyncIterableIterator<Frame>;
    /**
     * The portal's messages until the session ends. For one reader; one that is slower misses the oldest. Rejects with a
     * PortalError if the connection breaks.
     * @returns {AsyncIterableIterator<PortalEvent>}
     */
    events(): AsyncIterableIterator<PortalEvent>;
}

/**
 * Drive an avatar of a Vivavoce portal from JavaScript: let it speak, ask it questions, and get its pictures and sound.
 * It runs in Node.js 22 and later, Deno, Bun and browsers, and needs no other package.
 *
 *     import { Session } from "./vivavoce-client.js";
 *
 *     const session = await Session.open("http://127.0.0.1:7860", { avatar: "mira" });
 *     await session.finished(await session.say("Hello there."));
 *     await session.close();
 *
 * It uses the portal's session socket, which docs/protocol.md of the portal describes. A page of another website can
 * use it if the portal allows that website (`--allowed-origins`).
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
     * true: wait in line if all places are taken
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
     * whether pictures and sound are wanted, true by default; without them only events come
     */
    media?: boolean;
    /**
     * HTTP headers of the handshake, e.g. Authorization if the portal has a
     * login. Browsers do not let scripts set them
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
     * seconds on the session's media clock
     */
    timeS: number;
    speaking: boolean;
    /**
     * the picture as received; the previous one if none came with this frame
     */
    jpeg: Uint8Array<ArrayBuffer>;
    /**
     * 1920 samples, mono at 48 kHz, from -1 to 1
     */
    sound: Float32Array<ArrayBuffer>;
};
export type PortalEvent = {
    type: string;
    [field: string]: any;
};
/**
 * What a new session should be like. The portal chooses whatever is left out.
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
 * @property {boolean} [wait] true: wait in line if all places are taken
 */
/**
 * What to change in a running session. Fields that are left out stay as they are; null: back to the portal's or the
 * avatar's own.
 * @typedef {object} Change
 * @property {string | null} [voice]
 * @property {string | null} [tts]
 * @property {string | null} [lipsync]
 * @property {number | null} [speed]
 * @property {string | null} [prompt]
 */
/**
 * @typedef {object} Options
 * @property {boolean} [media] whether pictures and sound are wanted, true by default; without them only events come
 * @property {Record<string, string>} [headers] HTTP headers of the handshake, e.g. Authorization if the portal has a
 *     login. Browsers do not let scripts set them
 */
/**
 * The portal's answer to opening the session.
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
 * A picture and its sound, 40 ms long.
 * @typedef {object} Frame
 * @property {number} timeS seconds on the session's media clock
 * @property {boolean} speaking
 * @property {Uint8Array<ArrayBuffer>} jpeg the picture as received; the previous one if none came with this frame
 * @property {Float32Array<ArrayBuffer>} sound 1920 samples, mono at 48 kHz, from -1 to 1
 */
/**
 * A message from the portal, such as {type: "subtitle", text: "..."}.
 * @typedef {{type: string, [field: string]: any}} PortalEvent
 */
export declare const SAMPLE_RATE_HZ = 48000;
/** Thrown when the portal refuses something, or the connection breaks. `code` is for programs, `hint` the remedy. */
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
/** A question and its answer, or a text that is spoken as it is. Its fields change while the session goes on. */
export declare class Turn {
    number: number;
    /** @type {"queued" | "thinking" | "speaking" | "done" | "interrupted"} */
    state: "queued" | "thinking" | "speaking" | "done" | "interrupted";
    /** The language model's answer so far; empty for a text that is spoken as it is. */
    text: string;
    /** @type {PortalError[]} errors that happened during the turn */
    errors: PortalError[];
    /** @param {number} number */
    constructor(number: number);
    get over(): boolean;
}
export type SoundWay = {
    /**
     * sends a message; throws a PortalError if the session has ended
     */
    send: (message: ArrayBuffer) => void;
    /**
     * returns for how many seconds the turn has been heard
     */
    heardS: () => number;
    /**
     * waits a moment, or until the turn or the session has ended
     */
    pause: () => Promise<void>;
};
/**
 * What a SpokenSound needs of its session.
 * @typedef {object} SoundWay
 * @property {(message: ArrayBuffer) => void} send sends a message; throws a PortalError if the session has ended
 * @property {() => number} heardS returns for how many seconds the turn has been heard
 * @property {() => Promise<void>} pause waits a moment, or until the turn or the session has ended
 */
/**
 * A turn that speaks the sound given to write(), beginning with the first piece. Call end() after the last. It is made
 * by Session.openSound(). A turn that gets no sound for about 20 s ends by itself.
 */
export declare class SpokenSound {
    #private;
    turn: Turn;
    rateHz: number;
    /**
     * Call Session.openSound() instead.
     * @param {Turn} turn
     * @param {number} rateHz
     * @param {SoundWay} way
     */
    constructor(turn: Turn, rateHz: number, way: SoundWay);
    /**
     * Speak these samples next. Waits while more than 10 s have been sent and not heard yet; resolves when all are sent.
     * Sound for a turn that was interrupted is dropped. Rejects with a PortalError.
     * @param {Int16Array | Float32Array} samples mono; floating point from -1 to 1
     * @returns {Promise<void>}
     */
    write(samples: Int16Array | Float32Array): Promise<void>;
    /** Tell the portal that there is no more sound. Idempotent. Rejects with a PortalError. */
    end(): Promise<void>;
}
/** A session with an avatar. It lasts from Session.open() to close(). */
export declare class Session {
    #private;
    /** @type {Welcome} */
    welcome: Welcome;
    /**
     * Open a session. Rejects with a PortalError, e.g. if there is no place, avatar or server, or if a login is needed.
     * @param {string} url the portal's, e.g. http://127.0.0.1:7860, or with a path behind a proxy
     * @param {Wish & Options} [options]
     * @returns {Promise<Session>}
     */
    static open(url: string, { media, headers, ...wish }?: Wish & Options): Promise<Session>;
    /**
     * Call Session.open() instead.
     * @private
     * @param {WebSocket} socket
     * @param {Wish} wish
     */
    private constructor();
    /** End the session. Idempotent. */
    close(): Promise<void>;
    /**
     * Speak a text as it is, after what is being said. Resolves when the portal has queued it. Rejects with a
     * PortalError.
     * @param {string} text
     * @returns {Promise<Turn>}
     */
    say(text: string): Promise<Turn>;
    /**
     * Have the language model answer a text. This interrupts what is being said. Rejects with a PortalError.
     * @param {string} text
     * @returns {Promise<Turn>}
     */
    ask(text: string): Promise<Turn>;
    /**
     * Speak a text that comes in pieces, such as the stream of a language model, sentence by sentence. Resolves when the
     * portal has queued the last sentence. Rejects with a PortalError.
     * @param {AsyncIterable<string> | Iterable<string>} pieces
     * @returns {Promise<void>}
     */
    speak(pieces: AsyncIterable<string> | Iterable<string>): Promise<void>;
    /**
     * Speak your own sound, after what is being said. Resolves to the turn that takes it. Rejects with a PortalError.
     * @param {number} rateHz sample rate of the sound, 8000 to 48000
     * @returns {Promise<SpokenSound>}
     */
    openSound(rateHz: number): Promise<SpokenSound>;
    /**
     * Speak a recording, after what is being said. Resolves when all of it is sent. Rejects with a PortalError.
     * @param {Int16Array | Float32Array} samples mono; floating point from -1 to 1
     * @param {number} rateHz sample rate of the recording, 8000 to 48000
     * @returns {Promise<Turn>}
     */
    play(samples: Int16Array | Float32Array, rateHz: number): Promise<Turn>;
    /**
     * Wait until a turn is done or interrupted. Rejects with a PortalError if the session ends first.
     * @param {Turn} turn
     * @returns {Promise<Turn>}
     */
    finished(turn: Turn): Promise<Turn>;
    /** Stop speaking, and drop what waits to be spoken. */
    interrupt(): void;
    /**
     * Show one of the avatar's gestures (`welcome.gestures`).
     * @param {string | null} [name] null: return to the idle loop
     */
    gesture(name?: string | null): void;
    /**
     * Continue as another avatar. The event `avatar` reports when it is on show.
     * @param {string} avatar id
     */
    swapAvatar(avatar: string): void;
    /**
     * Continue with another voice, lip-sync or persona. Nothing is interrupted. The event `choice` then says what is in
     * force, and whether anything has changed.
     * @param {Change} wishes
     */
    change(wishes: Change): void;
    /**
     * Iterate over the frames, 25 per second, until the session ends. There can be one reader only. If it is too slow,
     * the oldest frames are dropped. Rejects with a PortalError if the connection breaks.
     * @returns {AsyncIterableIterator<Frame>}
     */
    frames(): AsyncIterableIterator<Frame>;
    /**
     * Iterate over the portal's messages until the session ends. There can be one reader only. If it is too slow, the
     * oldest messages are dropped. Rejects with a PortalError if the connection breaks.
     * @returns {AsyncIterableIterator<PortalEvent>}
     */
    events(): AsyncIterableIterator<PortalEvent>;
}

/** What the page's scripts share beside their modules. */

interface DocumentEventMap {
  /** The viewer chose another language. */
  "vivavoce:language": CustomEvent<"en" | "zh">;
  /** The Avatars tab sends the viewer to the Talk tab, to this avatar. */
  "vivavoce:talk-with": CustomEvent<string>;
  "vivavoce:announce": CustomEvent<string>;
}

interface Window {
  /** For other scripts: portal/static/talk/for-scripts.js. */
  vivavoce: ReturnType<typeof import("../../../portal/static/talk/for-scripts.js").forScripts>;
  DOMPurify: { sanitize(markup: string, options: object): DocumentFragment };
}

// -- where pcm-worklet.js runs: TypeScript describes pages only

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare const sampleRate: number;
declare const currentTime: number;
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

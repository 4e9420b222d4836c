/** The greeting in an empty chat, and afterwards the bar with buttons for the conversation. */

import { find, make } from "../dom.js";

/**
 * @typedef {import("../chat.js").Chat} Chat
 * @typedef {import("../types/api.d.ts").Texts} Texts
 */

export class ConversationBar {
  /**
   * @param {ParentNode} root the Talk tab
   * @param {Chat} chat
   * @param {{anew: () => void, suggested: (text: string) => void, texts: () => Texts}} page anew: forget the
   *     conversation; suggested: one of the greeting's suggestions was pressed
   */
  constructor(root, chat, page) {
    this.chat = chat;
    this.page = page;
    this.hello = find(root, ".vv-hello", HTMLElement);
    this.bar = find(root, ".vv-chat-bar", HTMLElement);
    find(root, ".vv-new", HTMLElement).onclick = () => page.anew();
    find(root, ".vv-export", HTMLElement).onclick = () => this.#save();
    for (const chip of root.querySelectorAll("button.vv-chip")) {
      chip.addEventListener("click", () => page.suggested(chip.textContent ?? ""));
    }
  }

  /** Show the greeting or the bar. Call this when the chat has begun or is empty again. */
  show() {
    this.hello.hidden = this.chat.isBegun;
    this.bar.hidden = !this.chat.isBegun;
  }

  #save() {
    const { speaks, you } = this.page.texts();
    const text = this.chat.conversation.exported(you, speaks);
    const link = make("a", { download: `Vivavoce ${new Date().toISOString().slice(0, 10)}.md` });
    link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href)); // by then the download has begun
  }
}

/** Keeps what was said over a reload of this tab, and for new sessions. It is bounded; the oldest entries go first. */

const KEPT_AS = "vivavoce.conversation";
const MAX_ENTRIES = 200;
const MAX_CHARACTERS = 200000;
const SENT_ENTRIES = 40; // how many of these a new session is told
const SENT_CHARACTERS = 16000; // likewise, in characters of all together

/**
 * @typedef {import("../types/messages.d.ts").Remark} Remark
 *
 * @typedef {Object} Entry
 * @property {"viewer"|"avatar"} who
 * @property {string} text
 * @property {"chat"|"echo"} mode
 * @property {string} name of the avatar
 * @property {boolean} cut true: it was interrupted
 * @property {string} heard the sentences of an answer that were heard
 * @property {number?} played how many characters of a cut answer were spoken, according to the server
 * @property {boolean} textOnly true: no voice could speak it
 */

export class Conversation {
  constructor() {
    this.entries = kept();
  }

  /**
   * Add an entry.
   * @param {Partial<Entry> & Pick<Entry, "who">} entry
   * @returns {Entry} the one that is kept; call save() after changing it
   */
  add(entry) {
    /** @type {Entry} */
    const added = { text: "", mode: "chat", name: "", cut: false, heard: "", played: null, textOnly: false, ...entry };
    this.entries.push(added);
    return added;
  }

  /** @param {Entry} entry */
  remove(entry) {
    this.entries = this.entries.filter((one) => one !== entry);
  }

  clear() {
    this.entries = [];
    this.save();
  }

  save() {
    this.entries = newest(this.entries, MAX_ENTRIES, MAX_CHARACTERS);
    try {
      sessionStorage.setItem(KEPT_AS, JSON.stringify(this.entries));
    } catch {
      // Storage is refused or full, so the conversation lasts only as long as the page.
    }
  }

  /**
   * Return the history for a new session, as the server would remember it: of a cut answer, the part that was heard.
   * @returns {Remark[]}
   */
  history() {
    const asked = this.entries.filter(({ mode }) => mode === "chat");
    return newest(asked, SENT_ENTRIES, SENT_CHARACTERS)
      .map(({ who, text, cut, heard, played }) => {
        const spoken = cut ? (typeof played === "number" ? text.slice(0, played).trim() : heard) : text;
        /** @type {Remark} */
        const remark = who === "viewer" ? { role: "user", content: text } : { role: "assistant", content: spoken };
        return remark;
      })
      .filter(({ content }) => content);
  }

  /**
   * Return the conversation as a Markdown text.
   * @param {string} you name for the viewer
   * @param {string} speaks the language's pattern for a speaker's name, such as "{name}:"
   */
  exported(you, speaks) {
    /** @param {Entry} entry */
    const speaker = ({ who, name }) => speaks.replace("{name}", () => (who === "viewer" ? you : name));
    return this.entries.map((entry) => `**${speaker(entry)}** ${entry.text}\n`).join("\n");
  }
}

/** @returns {Entry[]} */
function kept() {
  try {
    const entries = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "null");
    /** @param {Partial<Entry>?} entry not to be trusted, since other scripts may have written it */
    const isWhole = (entry) => ["viewer", "avatar"].includes(entry?.who ?? "") && typeof entry?.text === "string";
    return Array.isArray(entries) ? entries.filter(isWhole) : [];
  } catch {
    return [];
  }
}

/**
 * Return the last entries, as many as fit.
 * @param {Entry[]} entries
 * @param {number} most
 * @param {number} characters limit for all texts together
 */
function newest(entries, most, characters) {
  let left = characters;
  let from = entries.length;
  while (from > 0 && entries.length - from < most && left >= entries[from - 1].text.length) {
    from -= 1;
    left -= entries[from].text.length;
  }
  return entries.slice(from);
}

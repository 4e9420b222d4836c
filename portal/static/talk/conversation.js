/** What was said, kept over a reload of this tab and told to a new session. Bounded: the oldest goes first. */

const KEPT_AS = "vivavoce.conversation";
const MOST_ENTRIES = 200;
const MOST_CHARACTERS = 200000;
const TOLD_ENTRIES = 40; // of these, a new session is told
const TOLD_CHARACTERS = 16000;

/**
 * @typedef {import("../types/messages.d.ts").Remark} Remark
 *
 * @typedef {Object} Entry
 * @property {"viewer"|"avatar"} who
 * @property {string} text
 * @property {"chat"|"echo"} mode
 * @property {string} name of the avatar
 * @property {boolean} cut it was interrupted
 * @property {string} heard of an answer, what was spoken
 * @property {number?} played of an answer that was cut, how many characters were spoken, as the server says
 * @property {boolean} textOnly no voice could speak it
 */

export class Conversation {
  constructor() {
    this.entries = kept();
  }

  /**
   * @param {Partial<Entry> & Pick<Entry, "who">} entry
   * @returns {Entry} which may be changed; save() then
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
    this.entries = newest(this.entries, MOST_ENTRIES, MOST_CHARACTERS);
    try {
      sessionStorage.setItem(KEPT_AS, JSON.stringify(this.entries));
    } catch {
      // Refused or full: then it lasts as long as the page.
    }
  }

  /**
   * For a new session, as the server would remember it: of what was cut, what was heard.
   * @returns {Remark[]}
   */
  history() {
    const asked = this.entries.filter(({ mode }) => mode === "chat");
    return newest(asked, TOLD_ENTRIES, TOLD_CHARACTERS)
      .map(({ who, text, cut, heard, played }) => {
        const spoken = cut ? (typeof played === "number" ? text.slice(0, played).trim() : heard) : text;
        /** @type {Remark} */
        const remark = who === "viewer" ? { role: "user", content: text } : { role: "assistant", content: spoken };
        return remark;
      })
      .filter(({ content }) => content);
  }

  /**
   * As a text to keep, in markdown.
   * @param {string} you what the viewer is called
   * @param {string} speaks how a language puts a name before what was said: "{name}:"
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
    /** @param {Partial<Entry>?} entry anybody may have written there */
    const isWhole = (entry) => ["viewer", "avatar"].includes(entry?.who ?? "") && typeof entry?.text === "string";
    return Array.isArray(entries) ? entries.filter(isWhole) : [];
  } catch {
    return [];
  }
}

/**
 * The last entries, as many as fit.
 * @param {Entry[]} entries
 * @param {number} most
 * @param {number} characters of all together
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

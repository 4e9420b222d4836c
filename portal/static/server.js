/** Where the server is, and what it lists. */

const PATIENCE_MS = 60_000;

/** @typedef {import("./types/api.d.ts").AvatarView} AvatarView */

/**
 * An address beside the page's own, so that it also works below a proxy's path.
 * @param {string} path
 */
export function beside(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

/**
 * The address of an avatar's picture; of one that has lost it, our logo's.
 * @param {Pick<AvatarView, "poster">} avatar
 */
export function posterOf({ poster }) {
  return beside(poster || "static/logo.svg");
}

/**
 * What the server lists there; null while it cannot be asked.
 * @param {string} path
 * @returns {Promise<any>} `any`: who asks knows what is listed there, and says so
 */
export async function listOf(path) {
  try {
    const answer = await fetch(beside(path), { signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

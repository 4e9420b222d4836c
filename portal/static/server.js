/** Addresses of the server, and the lists that it offers. */

const PATIENCE_MS = 60_000;

/** @typedef {import("./types/api.d.ts").AvatarView} AvatarView */

/**
 * Return an address relative to the page's own, so that it also works below a proxy's path.
 * @param {string} path
 */
export function portalUrl(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

/**
 * Return the address of an avatar's picture, or of our logo if the picture is missing.
 * @param {Pick<AvatarView, "poster">} avatar
 */
export function posterOf({ poster }) {
  return portalUrl(poster || "static/logo.svg");
}

/**
 * Resolves to the JSON at a path, or to null if the server does not answer well.
 * @param {string} path
 * @returns {Promise<any>} `any`: callers know what is listed there, and declare its type
 */
export async function listOf(path) {
  try {
    const answer = await fetch(portalUrl(path), { signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

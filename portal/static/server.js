/** Where the server is, and what it lists. */

const PATIENCE_MS = 60_000;

/** An address beside the page's own, so that it also works below a proxy's path. */
export function beside(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

/** The address of an avatar's picture; of one that has lost it, our logo's. */
export function posterOf({ poster }) {
  return beside(poster || "static/logo.svg");
}

/** What the server lists there; null while it cannot be asked. */
export async function listOf(path) {
  try {
    const answer = await fetch(beside(path), { signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** Reads the address of the stage view, with defaults for what it does not say. */

const VIEWS = ["stage", "chat", "both"];
const SESSION = ["avatar", "voice", "tts", "lipsync", "transport"];
const COLOUR = /^(transparent|#[0-9a-f]{3,8}|[a-z]{3,20})$/i;

/**
 * @param {URLSearchParams} address
 * @param {URLSearchParams} [defaults] of the portal
 */
export function withDefaults(address, defaults = new URLSearchParams()) {
  const query = new URLSearchParams([...address, ...defaults]); // get() returns the first of two values
  /** @param {string} name */
  const isOn = (name) => ["1", "true", ""].includes(query.get(name) ?? "no");
  /** @param {string} name @param {string[]} known the first is the default */
  const oneOf = (name, known) => known.find((value) => value === query.get(name)) ?? known[0];
  /** @type {import("../types/player.d.ts").Start} */
  const wish = Object.fromEntries(SESSION.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
  if (isOn("kiosk")) wish.keep = true;
  const background = query.get("bg") ?? "photo";
  return {
    wish,
    view: oneOf("view", VIEWS),
    fit: oneOf("fit", ["auto", "cover", "contain"]),
    backdrop: background !== "photo" && COLOUR.test(background) ? background : "",
    autostart: isOn("autostart") || isOn("kiosk"),
    controls: !["0", "false"].includes(query.get("controls") ?? "1"),
  };
}

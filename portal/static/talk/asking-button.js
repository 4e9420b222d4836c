/** A button by which the server is asked for something of the session: it waits for the answer. */

import { PortalError } from "../errors.js";

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 */

/**
 * The button is disabled from a press on until the caller, or an error of the session, enables it.
 * @param {HTMLButtonElement} button
 * @param {Player} player
 * @param {object} does
 * @param {() => boolean} does.ask sends the wish; false: there was nothing to ask for
 * @param {() => void} does.leave the session is over, or another one goes on in its place
 * @param {(error: ErrorView) => void} does.fault why nothing could be asked
 */
export function bindAsking(button, player, { ask, leave, fault }) {
  button.onclick = () => {
    try {
      if (ask()) button.disabled = true;
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      fault(error);
    }
  };
  player.on("error", () => (button.disabled = false)); // it may have been refused
  player.on("renewed", leave);
  player.on("ended", leave);
}

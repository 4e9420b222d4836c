/** A button that asks the server for something in the session, and is disabled until the answer comes. */

import { PortalError } from "../errors.js";

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../types/api.d.ts").ErrorView} ErrorView
 */

/**
 * Make a button ask. From a press on it is disabled, until the caller or an error of the session enables it.
 * @param {HTMLButtonElement} button
 * @param {Player} player
 * @param {object} does
 * @param {() => boolean} does.ask sends the request; returns false if there was nothing to ask for
 * @param {() => void} does.leave called when the session is over or was replaced by another one
 * @param {(error: ErrorView) => void} does.fault called with the reason if the request could not be sent
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
  player.on("error", () => (button.disabled = false)); // the request may have been refused
  player.on("renewed", leave);
  player.on("ended", leave);
}

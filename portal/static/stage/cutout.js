/**
 * Shows the avatar without its background. Each picture is drawn again on a separate canvas, cut out with the matte of
 * its loop position. Where that is impossible, the pictures are shown as they are.
 *
 * `data-cutout` of the body says which: "on", or the reason against it: "unknown" (the avatar has no mattes),
 * "no-webgl", "failed" (the mattes could not be fetched). It is empty while they are fetched.
 */

import { make } from "../dom.js";
import { portalUrl } from "../server.js";
import { Mattes } from "./mattes.js";
import { Places } from "./places.js";
import { Scissors } from "./scissors.js";

/**
 * @typedef {import("../player.js").Player} Player
 * @typedef {import("../talk/stage.js").Stage} Stage
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 */

export class Cutout {
  /** @type {Mattes?} the mattes of the chosen avatar */
  #mattes = null;
  /** @type {string | null | undefined} address of the current mattes, or of those being fetched; null: none exist */
  #address = undefined;
  #avatar = "";
  #whyNot = "";
  #backdrop = ""; // an object URL of this page
  #places = new Places();

  /**
   * @param {Stage} stage
   * @param {Player} player
   */
  constructor(stage, player) {
    this.stage = stage;
    this.player = player;
    this.still = make("img", { class: "vv-poster vv-cut", alt: "" });
    this.canvas = make("canvas", { class: "vv-cut" });
    player.mediaChoice.canvas.after(this.still, this.canvas);
    this.scissors = Scissors.on(this.canvas);
    this.canvas.addEventListener("webglcontextlost", () => {
      this.scissors = null;
      this.#show();
    });
    stage.on("avatar", (avatar) => this.#take(avatar));
    player.on("place", (place) => this.#places.learn(place));
    player.on("state", () => this.#follow());
    player.mediaChoice.on("picture", () => this.#draw());
    if (stage.avatar) this.#take(stage.avatar);
    this.#follow();
  }

  /** @param {AvatarView} avatar the one that is chosen now */
  async #take({ id, mattes: address, cutout }) {
    if (address === this.#address) return;
    this.#address = address;
    this.#mattes?.close();
    this.#mattes = null;
    this.#whyNot = address ? "" : "unknown";
    this.#show();
    if (!address || !cutout || !this.scissors) return;
    this.still.src = portalUrl(cutout);
    const mattes = await Mattes.fetched(portalUrl(address)).catch(() => null);
    if (address !== this.#address) return mattes?.close();
    if (mattes) this.#use(mattes, id);
    else this.#whyNot = "failed";
    this.#show();
  }

  /**
   * @param {Mattes} mattes
   * @param {string} id of their avatar
   */
  #use(mattes, id) {
    [this.#mattes, this.#avatar] = [mattes, id];
    this.scissors?.set("background", mattes.background);
    URL.revokeObjectURL(this.#backdrop);
    this.stage.backdrop.src = this.#backdrop = URL.createObjectURL(mattes.backgroundFile);
  }

  /** The player's state has changed: a session begins, is live, or has ended. */
  #follow() {
    if (this.player.state === "connecting") this.#places.forget();
    if (this.player.state !== "idle") this.player.reportPlaces();
    this.canvas.hidden = true;
    this.#show();
  }

  #show() {
    const cuts = this.#mattes !== null && this.scissors !== null;
    document.body.dataset.cutout = cuts ? "on" : this.scissors ? this.#whyNot : "no-webgl";
    this.still.hidden = !this.canvas.hidden;
  }

  /** A picture was shown. Draw it without its background. */
  #draw() {
    const { player, scissors } = this;
    const mattes = this.#mattes;
    const at = player.pictureNow();
    const place = at === null || !mattes ? null : this.#places.at(at, mattes.places.length);
    if (!mattes || !scissors || place === null || !player.media) return;
    const isOther = player.welcome?.avatar.id !== this.#avatar; // the chosen avatar is not shown yet
    const whole = isOther || !mattes.has(place);
    const matte = whole ? null : mattes.at(place);
    if (matte) scissors.set("matte", matte);
    else if (this.canvas.hidden && !whole) return; // the first matte is still being decoded
    const { canvas, video } = player.mediaChoice;
    const source = player.media.name === "webrtc" ? video : canvas;
    const [width, height] = source === video ? [video.videoWidth, video.videoHeight] : [canvas.width, canvas.height];
    if (!width) return;
    scissors.set("picture", source);
    scissors.draw(width, height, whole);
    if (!this.canvas.hidden) return;
    this.canvas.hidden = false;
    this.#show();
  }
}

/** The Avatars tab: upload with progress, a gallery of moving previews, and the details of one avatar. */

import { find, make } from "../dom.js";
import { PortalError } from "../errors.js";
import { centreOnFace } from "../faces.js";
import { isActive } from "../jobs-feed.js";
import { api } from "./api.js";
import { AvatarDetail } from "./avatar-detail.js";
import { DeskForm } from "./desk-form.js";
import { Desk } from "./desk.js";
import { bindDrop } from "./drop.js";
import { Framing } from "./framing.js";
import { JobCards } from "./job-cards.js";
import { movingPicture } from "./moving-picture.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").JobView} JobView
 */

/** Width / height of the pictures in the gallery. desk.css has the same value. */
const CARD_ASPECT = 4 / 5;

/**
 * Whether a file has moving pictures: a clip, or another project's avatar.
 * @param {File} file
 */
const isFilmed = ({ type, name }) => type.startsWith("video/") || /\.zip$/i.test(name);

/** The form that makes an avatar from a photo or clip. */
class UploadForm extends DeskForm {
  #suggested = "";

  /**
   * @param {Desk} desk
   * @param {HTMLFormElement} form
   */
  constructor(desk, form) {
    super(desk, form);
    this.name = find(form, "[name=name]", HTMLInputElement);
    this.consent = find(form, "[name=consent]", HTMLInputElement);
    this.framing = new Framing(find(form, ".vv-framing", HTMLElement));
    this.cutout = find(form, "[name=cutout]", HTMLInputElement);
    this.drop = bindDrop(find(form, ".vv-drop", HTMLElement), (file) => {
      if (file) this.#suggestName(file);
      this.framing.show(file);
      find(form, ".vv-cutout", HTMLElement).hidden = !file || !isFilmed(file);
    });
  }

  /**
   * Prepare the form for another crop or picture of the same person. Uploads are not kept, so the file has to be chosen
   * again.
   * @param {AvatarView} avatar
   */
  beginAgain({ name }) {
    this.name.value = name;
    this.form.scrollIntoView({ block: "center" });
    find(this.form, "[name=file]", HTMLInputElement).focus();
  }

  /** @param {File} file */
  #suggestName(file) {
    if (this.name.value && this.name.value !== this.#suggested) return;
    this.#suggested = file.name.replace(/\.[^.]*$/, "").slice(0, 60);
    this.name.value = this.#suggested;
  }

  async submit() {
    const { desk, form } = this;
    if (!this.drop.file) return desk.tell(this.note, desk.t("chooseFirst"));
    if (!this.consent.checked) return desk.tell(this.note, desk.t("tickFirst"));
    const body = new FormData();
    body.append("file", this.drop.file);
    body.append("name", this.name.value);
    body.append("framing", this.framing.value);
    body.append("consent", "true");
    if (isFilmed(this.drop.file) && this.cutout.checked) body.append("cutout", "true");
    const done = () => {
      this.drop.clear();
      form.reset();
    };
    await this.send("api/avatars", body, { done, words: () => desk.t("make") });
  }
}

/** The existing avatars, as cards, and the dialog with the details of one. */
class Gallery {
  /** @type {AvatarView[]?} null: not loaded yet */
  #avatars = null;
  #shown = "";
  isMissed = false; // whether the last loading failed

  /**
   * @param {Desk} desk
   * @param {UploadForm} upload
   */
  constructor(desk, upload) {
    this.desk = desk;
    this.cards = find(desk, ".vv-gallery", HTMLElement);
    this.empty = find(desk, ".vv-gallery-part .vv-empty", HTMLElement);
    this.gone = find(desk, ".vv-gone", HTMLElement);
    this.detail = new AvatarDetail(desk, find(desk, ".vv-detail", HTMLDialogElement), {
      reload: () => this.load(),
      again: (avatar) => upload.beginAgain(avatar),
      deleted: ({ name }) => desk.tell(this.gone, desk.t("deletedElsewhere", { avatar: name })),
    });
  }

  async load() {
    try {
      this.#avatars = await api("GET", "api/avatars");
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.isMissed = true; // tried again when the feed of jobs has news, which means that the server is back
      return;
    }
    this.isMissed = false;
    this.show();
  }

  show() {
    const avatars = this.#avatars;
    if (!avatars) return;
    this.empty.hidden = avatars.length > 0;
    this.tellEmpty();
    const now = JSON.stringify(avatars);
    if (now === this.#shown) return;
    this.#shown = now;
    this.cards.replaceChildren(...avatars.map((avatar) => this.#card(avatar)));
    this.detail.look(avatars);
  }

  /** Show everything in the other language. */
  translate() {
    this.#shown = "";
    this.show();
    this.detail.close();
  }

  /** Say, while there are no avatars, whether one is being made. */
  tellEmpty() {
    this.empty.textContent = this.desk.noAvatarWords;
  }

  /** @param {AvatarView} avatar */
  #card(avatar) {
    const card = make(
      "button",
      { type: "button", class: "vv-avatar", title: this.desk.t("look"), "data-avatar": avatar.id },
      centreOnFace(movingPicture(avatar), avatar, CARD_ASPECT),
      make("strong", {}, avatar.name),
      make("small", {}, this.desk.t(`kind.${avatar.kind}`)),
    );
    card.onclick = () => {
      this.gone.hidden = true;
      this.detail.open(avatar);
    };
    return card;
  }
}

class VivavoceAvatars extends Desk {
  /** @type {{gallery: Gallery, making: JobCards, failed: JobCards}?} */
  #parts = null;
  #busy = ""; // ids of the jobs that were active at the last look

  build() {
    const upload = new UploadForm(this, find(this, "form", HTMLFormElement));
    this.#parts = {
      gallery: new Gallery(this, upload),
      making: new JobCards(this, find(this, ".vv-making .vv-jobs", HTMLElement)),
      failed: new JobCards(this, find(this, ".vv-failed .vv-jobs", HTMLElement)),
    };
  }

  opened() {
    super.opened();
    this.#parts?.gallery.load();
  }

  translated() {
    this.#parts?.gallery.translate();
  }

  /** @param {JobView[]} jobs */
  show(jobs) {
    if (!this.#parts) return;
    const { gallery, making, failed } = this.#parts;
    const mine = jobs.filter(({ kind }) => kind === "prepare");
    this.#showPart(".vv-making", making, mine.filter(isActive).reverse()); // in the order in which they run
    this.#showPart(".vv-failed", failed, mine.filter(({ state }) => state === "failed"));
    gallery.tellEmpty();
    // When a job has ended, there may be a new avatar or test clip.
    const busy = jobs.filter(isActive).map((job) => job.id).join();
    if (busy !== this.#busy || gallery.isMissed) gallery.load();
    this.#busy = busy;
    gallery.detail.showJobs(jobs);
  }

  /**
   * @param {string} selector
   * @param {JobCards} cards
   * @param {JobView[]} jobs
   */
  #showPart(selector, cards, jobs) {
    cards.show(jobs);
    find(this, selector, HTMLElement).hidden = !jobs.length;
  }
}

customElements.define("vivavoce-avatars", VivavoceAvatars);

// @ts-nocheck
/** The Avatars tab: upload with live progress, gallery of moving previews, a closer look at one avatar. */

import { centreOnFace } from "../faces.js";
import { make, percent } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { beside, posterOf } from "../server.js";
import { api } from "./api.js";
import { Desk, isStillWanted, openTab } from "./desk.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";
import { askingBack, jobFailure } from "./job-parts.js";
import { Framing } from "./framing.js";
import { Networks } from "./networks.js";

/** Overlap of two boxes from which they are of the same face. */
const SAME_FACE = 0.5;
/** Width / height of the pictures in the gallery, as desk.css has it. */
const CARD_ASPECT = 4 / 5;

/** A press on the backdrop closes a dialog; one that began or ended within does not: a text may have been selected. */
function closeBesideIt(dialog) {
  const isBeside = ({ target, clientX, clientY }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const within = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    return target === dialog && !within;
  };
  let beganBeside = false;
  dialog.onpointerdown = (event) => (beganBeside = isBeside(event));
  dialog.onclick = (event) => {
    if (beganBeside && isBeside(event)) dialog.close();
  };
}

/** What the closer look tells of an avatar, but for the networks, which follow by themselves. */
function toldOf({ prepared, networks, ...rest }) {
  return JSON.stringify(rest);
}

class VivavoceAvatars extends Desk {
  build() {
    this.form = this.querySelector("form");
    this.note = this.form.querySelector(".vv-note");
    this.gallery = this.querySelector(".vv-gallery");
    this.empty = this.querySelector(".vv-gallery-part .vv-empty");
    this.gone = this.querySelector(".vv-gone");
    this.detail = this.querySelector(".vv-detail");
    this.making = new JobCards(this, this.querySelector(".vv-making .vv-jobs"));
    this.failed = new JobCards(this, this.querySelector(".vv-failed .vv-jobs"));
    this.framing = new Framing(this.form.querySelector(".vv-framing"));
    this.drop = bindDrop(this.form.querySelector(".vv-drop"), (file) => {
      if (file) this.suggestName(file);
      this.framing.show(file);
    });
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.upload();
    };
    closeBesideIt(this.detail);
    this.networks = new Networks(this);
    this.detail.append(this.networks.element);
    this.detail.onclose = () => this.networks.close();
    this.suggested = "";
    this.avatars = null; // not asked for yet
    this.loaded = "";
    this.busy = "";
  }

  opened() {
    super.opened();
    this.load();
  }

  translated() {
    this.loaded = "";
    this.showGallery();
    if (this.detail.open) this.detail.close();
  }

  // -- upload

  suggestName(file) {
    const { name } = this.form.elements;
    if (name.value && name.value !== this.suggested) return;
    this.suggested = file.name.replace(/\.[^.]*$/, "").slice(0, 60);
    name.value = this.suggested;
  }

  async upload() {
    const { name, consent } = this.form.elements;
    if (!this.drop.file) return this.tell(this.note, this.t("chooseFirst"));
    if (!consent.checked) return this.tell(this.note, this.t("tickFirst"));
    const body = new FormData();
    body.append("file", this.drop.file);
    body.append("name", name.value);
    body.append("framing", this.framing.value);
    body.append("consent", "true");
    const submit = this.form.querySelector("[type=submit]");
    await this.attempt(this.form, async () => {
      await api("POST", "api/avatars", body, (part) => {
        submit.textContent = `${this.t("uploading")} ${percent(part)}`;
      });
      this.drop.clear();
      this.form.reset();
      await feed.refresh();
    });
    submit.textContent = this.t("make");
  }

  // -- jobs

  show(jobs) {
    const mine = jobs.filter(({ kind }) => kind === "prepare");
    this.showPart("making", mine.filter(isActive).reverse()); // in the order of their turns
    this.showPart("failed", mine.filter(({ state }) => state === "failed"));
    this.tellEmpty();
    // A job came to its end: there may be a new avatar, or a test clip of one.
    const busy = jobs.filter(isActive).map((job) => job.id).join();
    if (busy !== this.busy || this.missed) this.load();
    this.busy = busy;
    this.networks.showJobs(jobs);
    this.followTest(jobs);
  }

  showPart(name, jobs) {
    this[name].show(jobs);
    this.querySelector(`.vv-${name}`).hidden = !jobs.length;
  }

  // -- gallery

  async load() {
    try {
      this.avatars = await api("GET", "api/avatars");
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.missed = true; // the feed of jobs tells when the server is back
      return;
    }
    this.missed = false;
    this.showGallery();
  }

  showGallery() {
    if (!this.avatars) return;
    this.empty.hidden = this.avatars.length > 0;
    this.tellEmpty();
    const now = JSON.stringify(this.avatars);
    if (now === this.loaded) return;
    this.loaded = now;
    this.gallery.replaceChildren(...this.avatars.map((avatar) => this.card(avatar)));
    if (this.detail.open) this.look();
  }

  /** While there is none: whether one is on its way. */
  tellEmpty() {
    const making = feed.jobs?.some((job) => job.kind === "prepare" && isActive(job));
    this.empty.textContent = this.t(making ? "galleryMaking" : "galleryEmpty");
  }

  /** Show the open avatar as it is now; it may have been deleted, also by somebody else. */
  look() {
    const { id, name } = this.current;
    const now = this.avatars.find((avatar) => avatar.id === id);
    if (now) {
      // Only what has changed is built anew: a clip may be playing, or a question waiting for its answer.
      if (toldOf(now) !== toldOf(this.current)) this.fillDetail(now);
      this.networks.show(now);
      return;
    }
    this.detail.close();
    if (id !== this.deleted) this.tell(this.gone, this.t("deletedElsewhere", { avatar: name }));
  }

  card(avatar) {
    const card = make(
      "button",
      { type: "button", class: "vv-avatar", title: this.t("look"), "data-avatar": avatar.id },
      centreOnFace(this.moving(avatar), avatar, CARD_ASPECT),
      make("strong", {}, avatar.name),
      make("small", {}, this.t(`kind.${avatar.kind}`)),
    );
    card.onclick = () => {
      this.gone.hidden = true;
      this.fillDetail(avatar);
      this.networks.open(avatar);
      this.detail.showModal();
    };
    return card;
  }

  moving(avatar) {
    const poster = posterOf(avatar);
    if (!avatar.preview || isStillWanted()) return make("img", { src: poster, alt: "" });
    const src = beside(avatar.preview);
    return make("video", { src, poster, muted: true, autoplay: true, loop: true, playsInline: true });
  }

  // -- one avatar

  /** All but the networks, which stay as they are: somebody may be adjusting one. */
  fillDetail(avatar) {
    this.current = avatar;
    const close = make("button", { type: "button", class: "vv-quiet" }, this.t("close"));
    close.onclick = () => this.detail.close();
    const seconds = (avatar.frames / 25).toFixed(1);
    const facts = `${this.t(`kind.${avatar.kind}`)} · ${avatar.width} × ${avatar.height} · ${this.t("pictures", {
      count: avatar.frames,
      seconds,
    })}`;
    const networks = this.networks.element;
    for (const part of [...this.detail.children]) if (part !== networks) part.remove();
    networks.before(
      make("header", {}, this.titleOf(avatar), make("span", { class: "vv-soft" }, facts), close),
      this.uses(avatar),
      make(
        "div",
        { class: "vv-pair" },
        make("figure", {}, this.moving(avatar), make("figcaption", {}, this.t("loop"))),
        make("figure", {}, ...this.testClip(avatar), make("figcaption", {}, this.t("testClip"))),
      ),
      ...this.origin(avatar),
      ...this.report(avatar),
    );
    networks.after(this.deletion(avatar));
  }

  /** The name, and a way to change it in its place. */
  titleOf(avatar) {
    const heading = make("h2", { id: "vv-detail-title" }, avatar.name);
    const rename = make("button", { type: "button", class: "vv-quiet" }, this.t("rename"));
    const place = make("div", { class: "vv-title" }, heading, rename);
    rename.onclick = () => {
      const form = this.renaming(avatar, () => {
        heading.hidden = false;
        place.replaceChildren(heading, rename);
        rename.focus();
      });
      heading.hidden = true; // it still names the dialog
      place.replaceChildren(heading, form);
      form.elements.name.select();
    };
    return place;
  }

  /** `done` is called when the name stays; a new one comes with load(). */
  renaming(avatar, done) {
    const name = make("input", { type: "text", name: "name", maxLength: 60, value: avatar.name, autocomplete: "off" });
    name.setAttribute("aria-label", this.t("namePlaceholder"));
    const keep = make("button", { type: "button", class: "vv-quiet" }, this.t("keepName"));
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const save = make("button", { type: "submit", class: "vv-button" }, this.t("saveName"));
    const form = make("form", { class: "vv-renaming", noValidate: true }, name, save, keep, note);
    keep.onclick = done;
    form.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it would close the whole dialog
      done();
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (name.value.trim() === avatar.name) return done();
      await this.attempt(form, async () => {
        await api("PATCH", `api/avatars/${avatar.id}`, { name: name.value });
        await this.load();
      });
    };
    return form;
  }

  /** What to do with it next. */
  uses(avatar) {
    const button = (key, kind, act) => {
      const element = make("button", { type: "button", class: kind }, this.t(key));
      element.onclick = () => {
        this.detail.close();
        act();
      };
      return element;
    };
    const talk = async () => {
      await openTab("talk");
      document.dispatchEvent(new CustomEvent("vivavoce:talk-with", { detail: avatar.id }));
    };
    const speak = async () => (await openTab("studio"))?.choose(avatar.id);
    return make(
      "div",
      { class: "vv-actions" },
      button("talkWith", "vv-button", talk),
      button("clipOf", "vv-button", speak),
      button("makeAgain", "vv-quiet", () => this.beginAgain(avatar)),
    );
  }

  /** Uploads are not kept: another crop or picture of the same person begins with the file. */
  beginAgain({ name }) {
    this.form.elements.name.value = name;
    this.form.scrollIntoView({ block: "center" });
    this.form.elements.file.focus();
  }

  testClip(avatar) {
    this.test = null;
    if (avatar.test_clip) {
      return [make("video", { src: beside(avatar.test_clip), controls: true, playsInline: true, preload: "metadata" })];
    }
    const button = make("button", { type: "button", class: "vv-button" }, this.t("makeTest"));
    const note = make("div", { class: "vv-soft", role: "status" }, this.t("noTestClip"));
    const test = { job: `test-${avatar.id}`, button, note, shown: "" };
    button.onclick = async () => {
      button.disabled = true;
      try {
        await api("POST", `api/avatars/${avatar.id}/test-clip`);
        note.textContent = this.t("stage.");
        test.shown = null; // also one that fails as the last one did is told
        await feed.refresh();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        note.replaceChildren(...this.explain(error));
        test.shown = ""; // a job that has failed before gives way to what is said now
        button.disabled = false;
      }
    };
    this.test = test;
    if (feed.jobs) this.followTest(feed.jobs);
    return [make("div", { class: "vv-no-test" }, note, button)];
  }

  /** While there is no test clip: how far its job is, or why it came to nothing. The clip itself comes with load(). */
  followTest(jobs) {
    if (!this.test) return;
    const { button, note } = this.test;
    const job = jobs.find(({ id }) => id === this.test.job);
    const shown = job ? `${job.state} ${job.stage}` : "";
    if (shown === this.test.shown) return;
    this.test.shown = shown;
    button.disabled = Boolean(job) && isActive(job);
    note.replaceChildren(...this.testWords(job));
  }

  testWords(job) {
    if (!job || job.state === "done") return [this.t("noTestClip")]; // done without one: its file was removed
    if (isActive(job)) return [this.t(`stage.${job.stage}`)];
    return [this.t(`state.${job.state}`), ...jobFailure(this, job)];
  }

  /** What was said while a peer's avatar was imported. */
  origin({ imported }) {
    if (!imported) return [];
    const { from: peer, pictures, used, doubled, faceless, compared: count, median_iou: overlap } = imported;
    const { networks = [], ignored = 0, crops_of: backend, crops_kept: kept } = imported; // not in older manifests
    const masks = imported.masks_kept ? "importedMasksKept" : "importedLeft";
    const words = [this.t("importedFrom", { peer, count: pictures })];
    if (doubled) words.push(this.t("importedDoubled"));
    if (ignored) words.push(this.t("importedIgnored", { count: ignored }));
    if (used < pictures) words.push(this.t("importedUsed", { used }));
    if (faceless) words.push(this.t("importedFaceless", { peer, count: faceless }));
    if (count) words.push(this.t("importedOverlap", { percent: Math.round(100 * overlap), count }));
    if (count && overlap < SAME_FACE) words.push(this.t("importedLow"));
    if (networks.length) words.push(this.t("importedNetwork"));
    words.push(this.t(masks));
    if (backend) words.push(this.t(kept ? "importedCropsKept" : "importedCropsOurs", { backend }));
    return [make("h3", {}, this.t("imported")), make("p", { class: "vv-origin" }, words.join(" "))];
  }

  /** Its pictures are kept beside the avatars: one whose folder alone was copied here has none. */
  report({ id, report, report_pictures: pictures }) {
    if (!report.frames) return [];
    const words = this.reportWords(report).map((text) => make("p", {}, text));
    const path = (file) => `/api/avatars/${id}/report/${file}`;
    const strip = (report.strip ?? []).filter(({ file }) => pictures.includes(path(file)));
    const seen = [
      this.strip({ ...report, strip }, (file) => beside(path(file))),
      make("p", { class: "vv-soft" }, this.t("faceReportHint")),
    ];
    return [make("h3", {}, this.t("faceReport")), ...words, ...(strip.length ? seen : [])];
  }

  deletion(avatar) {
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const act = async (button) => {
      this.deleted = avatar.id;
      button.disabled = true;
      try {
        await api("DELETE", `api/avatars/${avatar.id}`);
        this.detail.close();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        this.deleted = "";
        this.tell(note, ...this.explain(error));
      }
      button.disabled = false;
      await this.load();
    };
    return make("footer", {}, note, askingBack(this, { ask: "delete", question: "deleteAvatar", act }));
  }
}

customElements.define("vivavoce-avatars", VivavoceAvatars);

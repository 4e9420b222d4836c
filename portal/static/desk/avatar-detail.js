/** The dialog with an avatar's details: facts, actions, gestures, voice sample and networks. */

import { find, make } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { portalUrl } from "../server.js";
import { api } from "./api.js";
import { openTab } from "./desk.js";
import { Gestures } from "./gestures.js";
import { askingBack, jobFailure } from "./job-parts.js";
import { movingPicture } from "./moving-picture.js";
import { Networks } from "./networks.js";
import { VoiceSample } from "./voice-sample.js";

/**
 * @typedef {import("../types/api.d.ts").AvatarView} AvatarView
 * @typedef {import("../types/api.d.ts").FaceReport} FaceReport
 * @typedef {import("../types/api.d.ts").JobView} JobView
 * @typedef {import("./desk.js").Desk} Desk
 */

/** Overlap (intersection over union) from which two boxes count as the same face. */
const SAME_FACE = 0.5;

/**
 * Return a string that changes with everything that fill() shows. Networks, gestures and voice sample are left out,
 * since their sections update themselves.
 * @param {AvatarView} avatar
 */
function fingerprintOf({ prepared, networks, gestures, voice_sample, ...rest }) {
  return JSON.stringify(rest);
}

export class AvatarDetail {
  /** @type {{job: string, button: HTMLButtonElement, note: HTMLElement, shown: string?}?} null: it has a test clip */
  #test = null;
  #deleted = ""; // id of the avatar that was deleted here

  /**
   * @param {Desk} desk
   * @param {HTMLDialogElement} dialog
   * @param {{
   *   reload: () => Promise<void>,
   *   again: (avatar: AvatarView) => void,
   *   deleted: (avatar: AvatarView) => void,
   * }} tab reload: fetch the avatars again; again: make an avatar from another crop or picture of the same person;
   *     deleted: somebody else has deleted the avatar
   */
  constructor(desk, dialog, tab) {
    this.desk = desk;
    this.dialog = dialog;
    this.tab = tab;
    /** @type {AvatarView?} */
    this.current = null;
    this.gestures = new Gestures(desk);
    this.voiceSample = new VoiceSample(desk);
    this.networks = new Networks(desk);
    closeBesideIt(dialog);
    dialog.append(this.gestures.element, this.voiceSample.element, this.networks.element);
    dialog.onclose = () => {
      this.gestures.close();
      this.voiceSample.close();
      this.networks.close();
    };
  }

  /** @param {AvatarView} avatar */
  open(avatar) {
    this.fill(avatar);
    this.gestures.open(avatar);
    this.voiceSample.open(avatar);
    this.networks.open(avatar);
    this.dialog.showModal();
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  /**
   * Show the open avatar as it is now, or close the dialog if it has been deleted, here or by somebody else.
   * @param {AvatarView[]} avatars
   */
  look(avatars) {
    const { current } = this;
    if (!this.dialog.open || !current) return;
    const now = avatars.find(({ id }) => id === current.id);
    if (now) {
      // Rebuild only what has changed, since a clip may be playing, or a question be open.
      if (fingerprintOf(now) !== fingerprintOf(current)) this.fill(now);
      this.gestures.show(now);
      this.voiceSample.show(now);
      this.networks.show(now);
      return;
    }
    this.close();
    if (current.id !== this.#deleted) this.tab.deleted(current);
  }

  /** @param {JobView[]} jobs */
  showJobs(jobs) {
    this.gestures.showJobs(jobs);
    this.voiceSample.showJobs(jobs);
    this.networks.showJobs(jobs);
    this.followTest(jobs);
  }

  /**
   * Fill the dialog, except for gestures, voice sample and networks: somebody may be adding or adjusting one.
   * @param {AvatarView} avatar
   */
  fill(avatar) {
    this.current = avatar;
    this.dialog.classList.toggle("vv-only-looks", !avatar.changeable);
    const close = make("button", { type: "button", class: "vv-quiet" }, this.desk.t("close"));
    close.onclick = () => this.close();
    const seconds = (avatar.frames / 25).toFixed(1);
    const facts = `${this.desk.t(`kind.${avatar.kind}`)} · ${avatar.width} × ${avatar.height} · ${this.desk.t("pictures", {
      count: avatar.frames,
      seconds,
    })}`;
    const [gestures, networks] = [this.gestures.element, this.networks.element];
    const staying = [gestures, this.voiceSample.element, networks];
    for (const part of [...this.dialog.children]) if (!staying.some((one) => one === part)) part.remove();
    gestures.before(
      make("header", {}, this.title(avatar), make("span", { class: "vv-soft" }, facts), close),
      this.uses(avatar),
      ...this.sharing(avatar),
      make(
        "div",
        { class: "vv-pair" },
        make("figure", {}, movingPicture(avatar), make("figcaption", {}, this.desk.t("loop"))),
        make("figure", {}, ...this.testClip(avatar), make("figcaption", {}, this.desk.t("testClip"))),
      ),
      ...this.mouth(avatar),
      ...this.origin(avatar),
      ...this.report(avatar),
    );
    networks.after(this.deletion(avatar));
  }

  /**
   * Make the name, with a button to change it in place.
   * @param {AvatarView} avatar
   */
  title(avatar) {
    const heading = make("h2", { id: "vv-detail-title" }, avatar.name);
    const rename = make("button", { type: "button", class: "vv-quiet" }, this.desk.t("rename"));
    const place = make("div", { class: "vv-title" }, heading, rename);
    rename.onclick = () => {
      const form = this.renaming(avatar, () => {
        heading.hidden = false;
        place.replaceChildren(heading, rename);
        rename.focus();
      });
      heading.hidden = true; // not removed, because it is the dialog's accessible name
      place.replaceChildren(heading, form);
      find(form, "[name=name]", HTMLInputElement).select();
    };
    return place;
  }

  /**
   * @param {AvatarView} avatar
   * @param {() => void} done called if the name stays; a new one is shown by reload()
   */
  renaming(avatar, done) {
    const name = make("input", { type: "text", name: "name", maxLength: 60, value: avatar.name, autocomplete: "off" });
    name.setAttribute("aria-label", this.desk.t("namePlaceholder"));
    const keep = make("button", { type: "button", class: "vv-quiet" }, this.desk.t("keepName"));
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const save = make("button", { type: "submit", class: "vv-button" }, this.desk.t("saveName"));
    const form = make("form", { class: "vv-renaming", noValidate: true }, name, save, keep, note);
    keep.onclick = done;
    form.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // Escape would close the whole dialog
      done();
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (name.value.trim() === avatar.name) return done();
      await this.desk.attempt(form, async () => {
        await api("PATCH", `api/avatars/${avatar.id}`, { name: name.value });
        await this.tab.reload();
      });
    };
    return form;
  }

  /**
   * Make the buttons for what to do with the avatar next.
   * @param {AvatarView} avatar
   */
  uses(avatar) {
    /**
     * @param {string} key
     * @param {string} kind
     * @param {() => void} act
     */
    const button = (key, kind, act) => {
      const element = make("button", { type: "button", class: kind }, this.desk.t(key));
      element.onclick = () => {
        this.close();
        act();
      };
      return element;
    };
    const talk = async () => {
      await openTab("talk");
      document.dispatchEvent(new CustomEvent("vivavoce:talk-with", { detail: avatar.id }));
    };
    const speak = async () => {
      const studio = /** @type {import("./studio.js").VivavoceStudio?} */ (await openTab("studio"));
      studio?.choose(avatar.id);
    };
    return make(
      "div",
      { class: "vv-actions" },
      button("talkWith", "vv-button", talk),
      button("clipOf", "vv-button", speak),
      button("makeAgain", "vv-quiet", () => this.tab.again(avatar)),
    );
  }

  /**
   * Make the line with the owner, and the switch with which owners share the avatar with everybody. It is shown on
   * portals with logins.
   * @param {AvatarView} avatar
   */
  sharing({ id, owner, shared, changeable }) {
    if (!owner) return [];
    const words = make("span", { class: "vv-soft" }, this.desk.t(shared ? "ownedShared" : "ownedBy", { owner }));
    if (!changeable) return [make("div", { class: "vv-sharing" }, words)];
    const tick = make("input", { type: "checkbox", name: "shared", checked: shared });
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const label = make("label", { class: "vv-tick" }, tick, make("span", {}, this.desk.t("shareIt")));
    const place = make("div", { class: "vv-sharing" }, words, label, note);
    tick.onchange = async () => {
      await this.desk.attempt(place, async () => {
        await api("PATCH", `api/avatars/${id}`, { shared: tick.checked });
        await this.tab.reload();
      });
      tick.checked = shared; // matters after a failure; after success, reload() has replaced this box
    };
    return [place];
  }

  /** @param {AvatarView} avatar */
  testClip(avatar) {
    this.#test = null;
    if (avatar.test_clip) {
      const src = portalUrl(avatar.test_clip);
      return [make("video", { src, controls: true, playsInline: true, preload: "metadata" })];
    }
    const button = make("button", { type: "button", class: "vv-button" }, this.desk.t("makeTest"));
    const note = make("div", { class: "vv-soft", role: "status" }, this.desk.t("noTestClip"));
    /** @type {{job: string, button: HTMLButtonElement, note: HTMLElement, shown: string?}} */
    const test = { job: `test-${avatar.id}`, button, note, shown: "" };
    button.onclick = async () => {
      button.disabled = true;
      try {
        await api("POST", `api/avatars/${avatar.id}/test-clip`);
        note.textContent = this.desk.t("stage.");
        test.shown = null; // forces an update, even if this job fails with the same state as the last one
        await feed.refresh();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        note.replaceChildren(...this.desk.explain(error));
        test.shown = ""; // as if no job were shown
        button.disabled = false;
      }
    };
    this.#test = test;
    if (feed.jobs) this.followTest(feed.jobs);
    return [make("div", { class: "vv-no-test" }, note, button)];
  }

  /**
   * Show how far the job of the test clip is, or why it failed. The clip itself is shown by reload().
   * @param {JobView[]} jobs
   */
  followTest(jobs) {
    if (!this.#test) return;
    const { button, note } = this.#test;
    const wanted = this.#test.job;
    const job = jobs.find(({ id }) => id === wanted);
    const shown = job ? `${job.state} ${job.stage}` : "";
    if (shown === this.#test.shown) return;
    this.#test.shown = shown;
    button.disabled = job !== undefined && isActive(job);
    note.replaceChildren(...this.testWords(job));
  }

  /**
   * @param {JobView | undefined} job
   * @returns {(Node | string)[]}
   */
  testWords(job) {
    if (!job || job.state === "done") return [this.desk.t("noTestClip")]; // done, but the clip's file was removed
    if (isActive(job)) return [this.desk.t(`stage.${job.stage}`)];
    return [this.desk.t(`state.${job.state}`), ...jobFailure(this.desk, job)];
  }

  /**
   * Say how the built-in lip-sync draws the mouth and why, with a button for the other way if there is one.
   * @param {AvatarView} avatar
   */
  mouth({ id, mouth, mouth_reason: reason }) {
    const personal = mouth === "personal";
    const why = this.desk.t(personal ? "mouth.personal" : `mouth.${reason}`);
    const parts = [make("h3", {}, this.desk.t("mouth")), make("p", { class: "vv-soft" }, why)];
    if (!personal && reason !== "chosen") return parts;
    const other = make("button", { type: "button", class: "vv-quiet" }, this.desk.t(personal ? "mouthPaint" : "mouthOwn"));
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const place = make("div", { class: "vv-mouth" }, other, note);
    other.onclick = () =>
      this.desk.attempt(place, async () => {
        await api("PATCH", `api/avatars/${id}`, { mouth: personal ? "painted" : "personal" });
        await this.tab.reload();
      });
    return [...parts, place];
  }

  /**
   * Make the notes on the import of another project's avatar.
   * @param {AvatarView} avatar
   */
  origin({ imported }) {
    if (!imported) return [];
    const { from: peer, pictures, used, doubled, faceless, compared: count, median_iou: overlap = 0 } = imported;
    const { networks = [], ignored = 0, crops_of: backend, crops_kept: kept } = imported; // missing in older manifests
    const masks = imported.masks_kept ? "importedMasksKept" : "importedLeft";
    const words = [this.desk.t("importedFrom", { peer, count: pictures })];
    if (doubled) words.push(this.desk.t("importedDoubled"));
    if (ignored) words.push(this.desk.t("importedIgnored", { count: ignored }));
    if (used < pictures) words.push(this.desk.t("importedUsed", { used }));
    if (faceless) words.push(this.desk.t("importedFaceless", { peer, count: faceless }));
    if (count) words.push(this.desk.t("importedOverlap", { percent: Math.round(100 * overlap), count }));
    if (count && overlap < SAME_FACE) words.push(this.desk.t("importedLow"));
    if (networks.length) words.push(this.desk.t("importedNetwork"));
    words.push(this.desk.t(masks));
    if (backend) words.push(this.desk.t(kept ? "importedCropsKept" : "importedCropsOurs", { backend }));
    return [make("h3", {}, this.desk.t("imported")), make("p", { class: "vv-origin" }, words.join(" "))];
  }

  /**
   * Make the face report. Its pictures are stored beside the avatars, so an avatar whose folder alone was copied has
   * none.
   * @param {AvatarView} avatar
   */
  report({ id, report, report_pictures: pictures }) {
    if (!report.frames) return [];
    const words = this.desk.reportWords(report).map((text) => make("p", {}, text));
    /** @param {string} file */
    const path = (file) => `/api/avatars/${id}/report/${file}`;
    const strip = (report.strip ?? []).filter(({ file }) => pictures.includes(path(file)));
    const seen = [
      this.desk.strip({ ...report, strip }, (file) => portalUrl(path(file))),
      make("p", { class: "vv-soft" }, this.desk.t("faceReportHint")),
    ];
    return [make("h3", {}, this.desk.t("faceReport")), ...words, ...(strip.length ? seen : [])];
  }

  /** @param {AvatarView} avatar */
  deletion(avatar) {
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    /** @param {string} path */
    const deleting = (path) => async (/** @type {HTMLButtonElement} */ button) => {
      this.#deleted = avatar.id;
      button.disabled = true;
      try {
        await api("DELETE", path);
        this.close();
      } catch (error) {
        if (!(error instanceof PortalError)) throw error;
        this.#deleted = "";
        this.desk.tell(note, ...this.desk.explain(error));
      }
      button.disabled = false;
      await this.tab.reload();
    };
    const path = `api/avatars/${avatar.id}`;
    return make(
      "footer",
      {},
      note,
      avatar.erasable
        ? askingBack(this.desk, { ask: "erase", question: "eraseAvatar", act: deleting(`${path}/everything`) })
        : "",
      askingBack(this.desk, { ask: "delete", question: "deleteAvatar", act: deleting(path) }),
    );
  }
}

/**
 * Let a click on the backdrop close a dialog. A press that begins or ends inside does not count, since the person may
 * be selecting text.
 * @param {HTMLDialogElement} dialog
 */
function closeBesideIt(dialog) {
  /** @param {MouseEvent} event */
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

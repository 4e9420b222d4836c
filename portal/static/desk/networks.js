/** The networks in the closer look at an avatar: for which it is prepared, and preparing it with chosen parameters. */

import { make, percent, withCode } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { api, jobActions, jobFailure, noticesOf, picture } from "./desk.js";

/** Before the preview is drawn anew: a slider that is being moved asks once. */
const SETTLED_MS = 250;

/** Where sliders end. The number beside each may lie beyond, as far as the server takes it. */
const SLIDERS = {
  bbox_shift: { min: "-50", max: "50", step: "1" },
  extra_margin: { min: "0", max: "100", step: "1" },
  left_cheek_width: { min: "0", max: "256", step: "1" },
  right_cheek_width: { min: "0", max: "256", step: "1" },
  upper_boundary_ratio: { min: "0", max: "0.95", step: "0.01" },
};
const MODES = ["jaw", "raw", "neck"];
const SIDES = ["above", "below", "left", "right"];
const NOT_WHOLE = ["upper_boundary_ratio"];
const OF_THE_JAW = ["left_cheek_width", "right_cheek_width"];

/** Whether a parameter makes a difference beside the others. */
function counts(name, parameters) {
  return parameters.parsing_mode === "jaw" || !OF_THE_JAW.includes(name);
}

/**
 * The section of the dialog: a row a network, those that cannot run here folded together below the others. It stays in
 * its place while the rest of the dialog is filled anew.
 */
export class Networks {
  #rows = [];
  #jobs = [];
  #places = null;

  constructor(desk) {
    this.desk = desk;
    this.element = make("section", { class: "vv-networks" });
  }

  /** Begin with an avatar. What can run here is asked anew each time: weights may have come meanwhile. */
  async open(avatar) {
    this.close();
    this.avatar = avatar;
    const note = make("div", { class: "vv-note", role: "alert", hidden: true });
    const rows = make("div", { class: "vv-jobs" });
    const unready = make("div", { class: "vv-jobs" });
    const folded = make("details", { class: "vv-unready", hidden: true }, make("summary"), unready);
    const hint = make("p", { class: "vv-soft" }, this.desk.t("networksHint"));
    this.element.replaceChildren(make("h3", {}, this.desk.t("networks")), hint, note, rows, folded);
    this.#places = { rows, unready, folded };
    let backends;
    try {
      backends = (await api("GET", "api/backends")).lipsync;
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      return this.desk.tell(note, ...this.desk.explain(error));
    }
    if (!rows.isConnected) return; // it was closed, or another one opened meanwhile
    this.#rows = backends.filter(({ parameters }) => parameters).map((backend) => new NetworkRow(this.desk, backend));
    this.show(this.avatar);
  }

  /** The avatar as it is now. */
  show(avatar) {
    this.avatar = avatar;
    for (const row of this.#rows) row.show(avatar, this.#jobs);
    this.#arrange();
  }

  #arrange() {
    const { rows, unready, folded } = this.#places;
    for (const { element, folded: within } of this.#rows) {
      const place = within ? unready : rows;
      if (element.parentElement !== place) place.append(element);
    }
    const count = unready.children.length;
    folded.hidden = !count;
    folded.firstElementChild.textContent = this.desk.t("unready", { count });
  }

  showJobs(jobs) {
    this.#jobs = jobs;
    if (this.avatar) this.show(this.avatar);
  }

  close() {
    for (const row of this.#rows) row.close();
    this.#rows = [];
    this.element.replaceChildren();
    this.avatar = null;
  }
}

class NetworkRow {
  #shown = "";

  constructor(desk, backend) {
    this.desk = desk;
    this.backend = backend;
    this.state = make("span", { class: "vv-chip" });
    this.prepare = make("button", { type: "button", class: "vv-quiet" }, desk.t("prepare"));
    this.adjust = make("button", { type: "button", class: "vv-quiet", "aria-expanded": "false" }, desk.t("adjust"));
    this.bar = make("progress", { max: 1 });
    this.stage = make("span", { class: "vv-soft" });
    this.progress = make("div", { class: "vv-job-progress" }, this.bar, this.stage);
    this.body = make("div", { class: "vv-job-body" });
    this.note = make("div", { class: "vv-note", role: "alert", hidden: true });
    this.form = new Adjustment(desk, backend, this.note);
    const name = make("strong", {}, desk.t(`lipsync.${backend.name}`));
    this.ofJob = make("span", { class: "vv-actions" });
    const actions = make("span", { class: "vv-actions" }, this.prepare, this.adjust, this.ofJob);
    this.element = make(
      "article",
      { class: "vv-job vv-network", "data-backend": backend.name },
      make("header", {}, name, this.state, actions),
      this.progress,
      this.body,
      this.form.element,
      this.note,
    );
    this.prepare.onclick = () => this.queue({});
    this.adjust.onclick = () => this.unfold(this.form.element.hidden);
    this.form.element.onsubmit = async (event) => {
      event.preventDefault();
      if (!this.form.check()) return;
      await this.queue(this.form.chosen);
      if (!this.note.hidden) return; // it was refused, and the note says why
      this.unfold(false);
      this.adjust.focus();
    };
  }

  show(avatar, jobs) {
    this.avatar = avatar;
    const job = jobs.find(({ avatar: of, backend }) => of === avatar.id && backend === this.backend.name);
    const state = this.#stateWith(job);
    this.element.dataset.state = state;
    this.state.textContent = this.desk.t(`network.${state}`);
    this.state.dataset.state = { making: "running", prepared: "done" }[state] ?? "";
    this.folded = state === "unready" && job?.state !== "failed";
    this.state.hidden = this.folded; // where it lies, it is said of all
    this.#offerUsual();
    this.adjust.hidden = !["making", "prepared", "bare"].includes(state) || !Object.keys(this.backend.parameters).length;
    this.progress.hidden = state !== "making";
    if (state === "making") {
      this.bar.value = job.progress;
      this.stage.textContent = `${this.desk.t(`stage.${job.stage}`)} · ${percent(job.progress)}`;
    }
    // What does not move is built once: a button must not vanish under a finger at each look.
    const shown = JSON.stringify([state, avatar.prepared[this.backend.name], job?.id, job?.state]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.body.replaceChildren(...this.#content(state, job));
    const open = job && (isActive(job) || job.state === "failed");
    this.ofJob.replaceChildren(...(open ? jobActions(this.desk, job) : []));
  }

  close() {
    this.form.close();
  }

  unfold(open) {
    this.adjust.setAttribute("aria-expanded", String(open));
    if (open) this.form.open(this.avatar);
    else this.form.close();
    this.#offerUsual();
  }

  async queue(parameters) {
    await this.desk.attempt(this.element, async () => {
      await api("POST", `api/avatars/${this.avatar.id}/parts`, { backend: this.backend.name, parameters });
      await feed.refresh();
    });
  }

  /** One button to prepare with the usual settings, while no others are being chosen. */
  #offerUsual() {
    this.prepare.hidden = this.element.dataset.state !== "bare" || !this.form.element.hidden;
  }

  #stateWith(job) {
    const { name, ready, own_network: own } = this.backend;
    if (job && isActive(job)) return "making";
    if (!ready) return "unready";
    if (own && !this.avatar.networks.includes(name)) return "lacking";
    return this.avatar.prepared[name] ? "prepared" : "bare";
  }

  #content(state, job) {
    const { name, remedy } = this.backend;
    const content = [];
    const told = (text) => content.push(make("p", { class: "vv-soft" }, ...withCode(text)));
    if (state === "unready") {
      const own = `hint.${state}`; // in Chinese; in English the server's sentence is more exact
      if (this.desk.has(own)) told(this.desk.t(own, { backend: name }));
      else told(remedy);
    }
    if (state === "lacking") told(this.desk.t("lackingNetwork", { avatar: this.avatar.id, backend: name }));
    if (state === "prepared") {
      const settings = this.#settings(this.avatar.prepared[name]);
      if (settings) told(settings);
      if (job?.result) content.push(...noticesOf(this.desk, job.result));
    }
    if (job?.state === "failed") content.push(...jobFailure(this.desk, job));
    return content;
  }

  /** With what it was prepared, as far as that is not usual; nothing where there is nothing to choose. */
  #settings(prepared) {
    const usual = this.backend.parameters;
    if (!Object.keys(usual).length) return "";
    const used = { ...usual, ...prepared };
    const differing = Object.keys(usual).filter((name) => counts(name, used) && String(used[name]) !== String(usual[name]));
    if (!differing.length) return this.desk.t("preparedUsual");
    const words = differing.map((name) => `${this.desk.t(`parameter.${name}`)} ${this.#valueWords(used[name])}`);
    return this.desk.t("preparedWith", { settings: words.join(" · ") });
  }

  #valueWords(value) {
    if (typeof value === "boolean") return this.desk.t(value ? "on" : "off");
    return Array.isArray(value) ? value.join(", ") : String(value);
  }
}

/** The form for the parameters that matter to a backend, beside the picture of what they do. */
class Adjustment {
  /** `note`: where it is told what was refused. */
  constructor(desk, backend, note) {
    this.backend = backend;
    this.note = note;
    this.preview = new Preview(desk);
    this.fields = Object.keys(backend.parameters).map((name) => fieldOf(desk, backend.name, name));
    const reset = make("button", { type: "button", class: "vv-quiet" }, desk.t("resetParameters"));
    const submit = make("button", { type: "submit", class: "vv-button" }, desk.t("prepareWith"));
    this.element = make(
      "form",
      { class: "vv-adjust", noValidate: true, hidden: true },
      this.preview.element,
      make("div", { class: "vv-parameters" }, ...this.fields.map((field) => field.element)),
      make("footer", {}, reset, submit),
    );
    reset.onclick = () => {
      this.#fill(backend.parameters);
      this.#changed();
    };
    this.element.oninput = () => this.#changed();
  }

  /** From what is in use. */
  open(avatar) {
    this.avatar = avatar;
    this.#fill({ ...this.backend.parameters, ...avatar.prepared[this.backend.name] });
    this.element.hidden = false;
    this.#changed(0);
  }

  close() {
    this.element.hidden = true;
    this.preview.close();
  }

  /** Without what neither counts nor makes sense. */
  get chosen() {
    const told = this.fields.filter((field) => !field.element.hidden || !field.wrong());
    return Object.fromEntries(told.map((field) => [field.name, field.value]));
  }

  /** Whether all fields can be sent; else the first that cannot is where the person goes on. What follows is told once. */
  check() {
    this.preview.quiet();
    const wrong = this.#wrong();
    wrong?.focus();
    return !wrong;
  }

  /** Have each field say what is wrong with it; gives the first place. */
  #wrong() {
    const wrong = this.fields.filter(({ element }) => !element.hidden).map((field) => field.wrong());
    return wrong.find(Boolean);
  }

  #fill(parameters) {
    for (const field of this.fields) field.value = parameters[field.name];
  }

  #changed(afterMs = SETTLED_MS) {
    this.note.hidden = true; // it was about other values
    const values = Object.fromEntries(this.fields.map((field) => [field.name, field.value]));
    for (const field of this.fields) field.element.hidden = !counts(field.name, values);
    this.preview.quiet();
    if (this.#wrong()) return;
    const wish = { backend: this.backend.name, parameters: this.chosen };
    this.preview.ask(`api/avatars/${this.avatar.id}/parts/preview`, wish, afterMs);
  }
}

/** The first frame with box and mask. Of several questions the last one's answer is shown. */
class Preview {
  #timer = 0;
  #asking = new AbortController();
  #shown = "";

  constructor(desk) {
    this.desk = desk;
    this.image = make("img", { alt: desk.t("previewAlt") });
    this.fault = make("div", { class: "vv-failure", role: "alert", hidden: true });
    this.element = make("figure", {}, this.image, make("figcaption", {}, desk.t("previewHint")), this.fault);
  }

  ask(path, wish, afterMs) {
    this.#stop();
    const { signal } = this.#asking;
    this.#timer = setTimeout(() => this.#draw(path, wish, signal), afterMs);
  }

  /** Neither ask any more nor tell what was refused. */
  quiet() {
    this.#stop();
    this.fault.hidden = true;
  }

  close() {
    this.#stop();
    this.#show("");
  }

  async #draw(path, wish, signal) {
    let drawn;
    try {
      drawn = await picture(path, wish, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof PortalError)) throw error;
      return this.desk.tell(this.fault, ...this.desk.explain(error));
    }
    if (!signal.aborted) this.#show(URL.createObjectURL(drawn));
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    this.#asking = new AbortController();
  }

  #show(url) {
    URL.revokeObjectURL(this.#shown);
    this.#shown = url;
    this.fault.hidden = true;
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }
}

// -- fields: a name, an element, a value that is read and set, and wrong(): tells what does not fit, gives where

function fieldOf(desk, backend, name) {
  const id = `vv-${backend}-${name}`;
  if (name === "parsing_mode") return new ModeField(desk, id, name);
  if (name === "smooth") return new TickField(desk, id, name);
  return name === "pads" ? new PadsField(desk, id, name) : new NumberField(desk, id, name);
}

function labelOf(desk, id, name) {
  return make("label", { for: id, id: `${id}-label` }, desk.t(`parameter.${name}`), " ", make("code", {}, name));
}

function about(desk, id, name) {
  return make("small", { id: `${id}-about` }, desk.t(`about.${name}`));
}

/** Numbers of one field, with a line that says what fits where one of them does not. */
class Numbers {
  constructor(desk, name, count, attributes = {}) {
    const [min, max] = desk.settings.ranges[name];
    const step = NOT_WHOLE.includes(name) ? "0.01" : "1";
    const limits = { min: String(min), max: String(max), step };
    this.inputs = Array.from({ length: count }, () => make("input", { type: "number", ...limits, ...attributes }));
    this.line = make("small", { class: "vv-fault", role: "alert", hidden: true });
    this.words = desk.t(NOT_WHOLE.includes(name) ? "anyNumber" : "wholeNumber", { min, max });
    this.fits = (value) => value >= min && value <= max && (NOT_WHOLE.includes(name) || Number.isInteger(value));
  }

  /** An empty one does not fit either. */
  wrong() {
    for (const input of this.inputs) input.setAttribute("aria-invalid", String(!this.fits(input.valueAsNumber)));
    const wrong = this.inputs.find(({ valueAsNumber }) => !this.fits(valueAsNumber));
    if (this.line.hidden !== !wrong) {
      this.line.textContent = wrong ? this.words : ""; // changed, so that it is read out
      this.line.hidden = !wrong;
    }
    return wrong;
  }
}

/** A slider, and a number for what lies beyond its ends. */
class NumberField {
  constructor(desk, id, name) {
    this.name = name;
    const described = { "aria-describedby": `${id}-about` };
    this.slider = make("input", { type: "range", ...SLIDERS[name], "aria-labelledby": `${id}-label`, ...described });
    this.numbers = new Numbers(desk, name, 1, { id, ...described });
    [this.number] = this.numbers.inputs;
    const both = make("div", { class: "vv-slide" }, this.slider, this.number);
    const parts = [labelOf(desk, id, name), both, this.numbers.line, about(desk, id, name)];
    this.element = make("div", { class: "vv-parameter" }, ...parts);
    this.slider.oninput = () => (this.number.value = this.slider.value);
    this.number.oninput = () => {
      if (this.number.value) this.slider.value = this.number.value; // an empty one would put it in the middle
    };
  }

  wrong() {
    return this.numbers.wrong();
  }

  get value() {
    return this.number.valueAsNumber;
  }

  set value(value) {
    this.number.value = value;
    this.slider.value = value;
  }
}

class ModeField {
  constructor(desk, id, name) {
    this.name = name;
    const options = MODES.map((mode) => make("option", { value: mode }, desk.t(`mode.${mode}`)));
    this.select = make("select", { id, "aria-describedby": `${id}-about` }, ...options);
    this.element = make("div", { class: "vv-parameter" }, labelOf(desk, id, name), this.select, about(desk, id, name));
  }

  wrong() {}

  get value() {
    return this.select.value;
  }

  set value(value) {
    this.select.value = value;
  }
}

class TickField {
  constructor(desk, id, name) {
    this.name = name;
    this.box = make("input", { type: "checkbox", id, "aria-describedby": `${id}-about` });
    const tick = make("div", { class: "vv-tick" }, this.box, labelOf(desk, id, name));
    this.element = make("div", { class: "vv-parameter" }, tick, about(desk, id, name));
  }

  wrong() {}

  get value() {
    return this.box.checked;
  }

  set value(value) {
    this.box.checked = value;
  }
}

class PadsField {
  constructor(desk, id, name) {
    this.name = name;
    this.numbers = new Numbers(desk, name, SIDES.length);
    const { inputs, line } = this.numbers;
    const labels = SIDES.map((side, i) => make("label", {}, make("span", {}, desk.t(`side.${side}`)), inputs[i]));
    this.element = make(
      "fieldset",
      { class: "vv-parameter", "aria-describedby": `${id}-about` },
      make("legend", {}, desk.t(`parameter.${name}`), " ", make("code", {}, name)),
      make("div", { class: "vv-pads" }, ...labels),
      line,
      about(desk, id, name),
    );
  }

  wrong() {
    return this.numbers.wrong();
  }

  get value() {
    return this.numbers.inputs.map((number) => number.valueAsNumber);
  }

  set value(value) {
    this.numbers.inputs.forEach((number, i) => (number.value = value[i]));
  }
}

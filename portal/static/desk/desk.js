/** What the Avatars, Studio and Jobs tabs share: the API, the words, and how a job looks. */

import { make, percent, translate } from "../dom.js";
import { PortalError, errorOf, explained } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { language } from "../page.js";
import { beside } from "../server.js";
import { desk as TEXTS } from "../texts.js";

const TAB_WITHIN_MS = 5000;
const SILENCE_MS = 60_000; // without a byte in either direction: nobody answers any more

/** Open a tab of the page: "talk", "avatars", "studio" or "jobs". Gives its element: what was never open is built first. */
export async function openTab(name) {
  document.querySelector(`#vv-tabs [data-tab-id="${name}"]`)?.click();
  const deadline = performance.now() + TAB_WITHIN_MS;
  while (!document.querySelector(`vivavoce-${name}`) && performance.now() < deadline) {
    await new Promise((drawn) => requestAnimationFrame(drawn));
  }
  return document.querySelector(`vivavoce-${name}`);
}

/** Whether moving pictures wait until they are asked for. */
export function isStillWanted() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

const JSON_TYPE = "application/json";

/**
 * One request of the HTTP API; a body that is no form goes as JSON. `sent` is called with 0..1 while the body goes up.
 * Throws PortalError.
 */
export function api(method, path, body, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, beside(path));
    request.responseType = "json";
    const silent = new Silence(() => request.abort());
    request.onerror = request.onabort = () => reject(unreachable());
    request.onprogress = () => silent.broken();
    request.onloadend = () => silent.over();
    request.onload = () => {
      if (request.status < 400) resolve(request.response);
      else reject(refused(request.status, request.response));
    };
    request.upload.onprogress = ({ loaded, total }) => {
      silent.broken();
      sent?.(total ? loaded / total : 0);
    };
    const form = body === undefined || body instanceof FormData;
    if (!form) request.setRequestHeader("Content-Type", JSON_TYPE);
    request.send(form ? body : JSON.stringify(body));
  });
}

/** Calls `then` once nothing has been heard for SILENCE_MS. */
class Silence {
  constructor(then) {
    this.then = then;
    this.broken();
  }

  broken() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.then, SILENCE_MS);
  }

  over() {
    clearTimeout(this.timer);
  }
}

/** A picture that the API draws, as a Blob. Throws PortalError. */
export async function picture(path, body, signal) {
  const headers = { "Content-Type": JSON_TYPE };
  const request = fetch(beside(path), { method: "POST", headers, body: JSON.stringify(body), signal });
  const answer = await request.catch(() => Promise.reject(unreachable()));
  if (answer.ok) return answer.blob();
  throw refused(answer.status, await answer.json().catch(() => null));
}

function unreachable() {
  return new PortalError({ code: "unreachable" });
}

function refused(status, answer) {
  return new PortalError(errorOf(status, answer));
}

/** Base of the tabs' elements. Subclasses have build(), show(jobs) and, if they like, translated(). */
export class Desk extends HTMLElement {
  connectedCallback() {
    if (this.settings) return;
    this.settings = JSON.parse(this.dataset.settings);
    this.build();
    this.setLanguage(language());
    this.onLanguage = ({ detail }) => this.setLanguage(detail);
    this.onJobs = () => this.show(feed.jobs);
    document.addEventListener("vivavoce:language", this.onLanguage);
    feed.addEventListener("jobs", this.onJobs);
    this.onVisible = new IntersectionObserver(([entry]) => {
      this.inView = entry.isIntersecting;
      if (this.inView) this.opened();
      else feed.unwatch(this);
    });
    this.onVisible.observe(this);
    // Back from another window, where something may have been made or deleted.
    this.onReturn = () => this.inView && !document.hidden && this.opened();
    addEventListener("focus", this.onReturn);
    document.addEventListener("visibilitychange", this.onReturn);
    for (const button of this.querySelectorAll("[type=submit]")) button.disabled = false; // from now on they do something
  }

  disconnectedCallback() {
    if (this.isConnected || !this.settings) return;
    this.onVisible.disconnect();
    removeEventListener("focus", this.onReturn);
    document.removeEventListener("visibilitychange", this.onReturn);
    feed.unwatch(this);
    feed.removeEventListener("jobs", this.onJobs);
    document.removeEventListener("vivavoce:language", this.onLanguage);
    this.settings = null;
  }

  /** The tab came into view. */
  opened() {
    feed.watch(this);
  }

  translated() {}

  setLanguage(code) {
    this.code = code;
    translate(this, TEXTS[code]);
    for (const told of this.querySelectorAll(".vv-note, .vv-gone")) told.hidden = true; // it is in the other language
    this.translated();
    if (feed.jobs) this.show(feed.jobs);
  }

  /** A text by its key, with {values} filled in. */
  t(key, values = {}) {
    const text = TEXTS[this.code][key] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  has(key) {
    return key in TEXTS[this.code];
  }

  duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return this.code === "zh" ? `${whole} 秒` : `${whole} s`;
    const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
    return this.code === "zh" ? `${minutes} 分 ${rest} 秒` : `${minutes} min ${rest} s`;
  }

  clock(seconds) {
    const when = new Date(seconds * 1000);
    const today = when.toDateString() === new Date().toDateString();
    const time = { hour: "2-digit", minute: "2-digit" };
    const style = today ? time : { ...time, month: "short", day: "numeric" };
    return when.toLocaleString(this.code === "zh" ? "zh-CN" : "en-GB", style);
  }

  /** What a job is called: as the person called it, but for those that the server asked for by itself. */
  jobName({ id, name, speaker }) {
    return speaker && id.startsWith("test-") ? this.t("testOf", { avatar: speaker }) : name;
  }

  /** Cause and remedy, as elements. */
  explain(error) {
    return explained(error, TEXTS[this.code]);
  }

  /** Do something that may fail, with the buttons of `form` off and what went wrong told in its note. */
  async attempt(form, action) {
    const note = form.querySelector(".vv-note");
    const buttons = form.querySelectorAll("button");
    note.hidden = true;
    for (const button of buttons) button.disabled = true;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.tell(note, ...this.explain(error));
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  tell(note, ...content) {
    note.replaceChildren(...content);
    note.hidden = false;
  }

  /** The strip of a face report: pictures with what was seen in each. `base` is the address of its files. */
  strip(report, urls) {
    const figures = (report.strip ?? []).map((seen, index) => {
      const words = [this.t(`face.${seen.status}`)];
      if (report.frames > 1) words.unshift(`${(seen.frame / 25).toFixed(1)} s`);
      if (!seen.used && seen.status === "ok") words.push(this.t("face.unused"));
      const picture = make("img", { src: urls(seen.file, index), alt: words.join(", "), loading: "lazy" });
      return make("figure", { "data-status": seen.status }, picture, make("figcaption", {}, words.join(" · ")));
    });
    return make("div", { class: "vv-strip" }, ...figures);
  }

  /** A face report in a few words. */
  reportWords(report) {
    if (!report.frames) return [];
    const concerns = (report.concerns ?? []).map((one) => this.t(`concern.${one}`)); // of older avatars none is known
    if (report.frames === 1) {
      if (report.counts.ok && concerns.length) return concerns;
      return [report.counts.ok ? this.t("oneGood") : this.t(`face.${report.runs[0][0]}`), ...concerns];
    }
    const words = [this.t("goodCount", { good: report.counts.ok, count: report.frames })];
    const [from, to] = report.used;
    if (to > from) words.push(this.t("usedPart", { from: (from / 25).toFixed(1), to: (to / 25).toFixed(1) }));
    return [...words, ...concerns];
  }
}

/** A drop zone: shows what was chosen and refuses nothing, the server knows better. */
export function bindDrop(zone, changed) {
  const input = zone.querySelector("input");
  const chosen = zone.querySelector(".vv-drop-chosen");
  let shown = "";
  const show = () => {
    const file = input.files[0];
    URL.revokeObjectURL(shown);
    chosen.replaceChildren();
    if (file) {
      shown = URL.createObjectURL(file);
      chosen.append(...preview(file, shown), make("span", {}, file.name));
    }
    chosen.hidden = !file;
    zone.querySelector(".vv-drop-empty").hidden = Boolean(file);
    changed?.(file);
  };
  input.onchange = show;
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("vv-over", kind === "dragover");
    });
  }
  zone.addEventListener("drop", ({ dataTransfer }) => {
    if (!dataTransfer.files.length) return;
    const one = new DataTransfer();
    one.items.add(dataTransfer.files[0]);
    input.files = one.files;
    show();
  });
  return {
    get file() {
      return input.files[0];
    },
    clear() {
      input.value = "";
      show();
    },
  };
}

function preview(file, url) {
  if (file.type.startsWith("image/")) return [make("img", { src: url, alt: "" })];
  if (file.type.startsWith("video/")) {
    return [make("video", { src: url, muted: true, autoplay: true, loop: true, playsInline: true })];
  }
  return file.type.startsWith("audio/") ? [make("audio", { src: url, controls: true })] : [];
}

/** Cards of jobs, kept in step with the feed; a card stays the same element as long as its job is there. */
export class JobCards {
  #cards = new Map();

  constructor(desk, container) {
    this.desk = desk;
    this.container = container;
  }

  show(jobs) {
    const wanted = new Set(jobs.map((job) => job.id));
    for (const [id, card] of this.#cards) {
      if (wanted.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
    }
    jobs.forEach((job, place) => {
      const card = this.#cards.get(job.id) ?? new JobCard(this.desk);
      this.#cards.set(job.id, card);
      card.show(job);
      if (this.container.children[place] !== card.element) {
        this.container.insertBefore(card.element, this.container.children[place] ?? null);
      }
    });
  }
}

class JobCard {
  #shown = "";

  constructor(desk) {
    this.desk = desk;
    this.name = make("strong");
    this.state = make("span", { class: "vv-chip" });
    this.bar = make("progress", { max: 1 });
    this.stage = make("span", { class: "vv-soft" });
    this.actions = make("span", { class: "vv-actions" });
    this.body = make("div", { class: "vv-job-body" });
    this.element = make(
      "article",
      { class: "vv-job" },
      make("header", {}, this.name, this.state, this.actions),
      make("div", { class: "vv-job-progress" }, this.bar, this.stage),
      this.body,
    );
  }

  show(job) {
    this.element.dataset.state = job.state;
    this.name.textContent = this.desk.jobName(job);
    this.state.textContent = this.desk.t(`state.${job.state}`);
    this.state.dataset.state = job.state;
    this.bar.value = job.progress;
    this.stage.textContent = `${this.desk.t(`stage.${job.stage}`)} · ${percent(job.progress)}`;
    this.bar.parentElement.hidden = !isActive(job);
    // What does not move is built once: a clip that plays must not start again at each look.
    const shown = JSON.stringify([this.desk.code, job.state, job.gone]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.actions.replaceChildren(...jobActions(this.desk, job));
    this.body.replaceChildren(...this.#content(job));
  }

  #content(job) {
    if (job.state === "failed" || job.state === "cancelled") return jobFailure(this.desk, job);
    if (job.state !== "done" || job.kind !== "clip") return [];
    const url = beside(job.result.clip);
    return [
      make("video", { src: url, controls: true, playsInline: true, preload: "metadata" }),
      ...noticesOf(this.desk, job.result),
      make("a", { class: "vv-button", href: url, download: job.file_name }, this.desk.t("download")),
    ];
  }
}

/** What a job that was done has to say all the same. */
export function noticesOf(desk, { notices = [], notice_codes: codes = [] }) {
  return notices.map((message, place) =>
    make("p", { class: "vv-warning" }, ...desk.explain({ code: codes[place] ?? "notice", message })),
  );
}

/** Cause, remedy and, when it was the face, the strip of pictures; and why it cannot be tried again, if so. */
export function jobFailure(desk, job) {
  const report = job.error?.report; // one that was cancelled has no error
  return [
    job.error && make("div", { class: "vv-failure" }, ...desk.explain(job.error)),
    report && desk.strip(report, (file) => beside(`api/avatars/${job.avatar}/report/${file}`)),
    job.gone && make("p", { class: "vv-soft" }, desk.t(`gone.${job.gone}`)),
  ].filter(Boolean);
}

/** Buttons for what can be done with a job now, and where it is told why that was refused. */
export function jobActions(desk, job) {
  const note = make("div", { class: "vv-note", role: "alert", hidden: true });
  const act = (method, path) => async (element) => {
    element.disabled = true;
    note.hidden = true;
    try {
      await api(method, path);
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      desk.tell(note, ...desk.explain(error));
    }
    await feed.refresh();
    element.disabled = false; // where it is still there, it can be pressed again
  };
  const path = `api/jobs/${job.id}`;
  const button = (key, method, at) => {
    const element = make("button", { type: "button", class: "vv-quiet" }, desk.t(key));
    element.onclick = () => act(method, at)(element);
    return element;
  };
  if (isActive(job)) return [button("cancel", "DELETE", path), note];
  if (job.state === "done" && job.kind === "clip") {
    return [askingBack(desk, { ask: "forget", question: "forgetClip", act: act("DELETE", path) }), note];
  }
  const forget = button("forget", "DELETE", path);
  return job.retryable ? [button("retry", "POST", `${path}/retry`), forget, note] : [forget, note];
}

/**
 * A button that asks back before it does what cannot be undone. `ask`, `question`: keys of texts; `act` is called with
 * the button that was pressed.
 */
export function askingBack(desk, { ask, question, act }) {
  const button = (key, kind) => make("button", { type: "button", class: kind }, desk.t(key));
  const first = button(ask, "vv-quiet vv-danger");
  const [sure, keep] = [button("deleteSure", "vv-button vv-danger"), button("keep", "vv-quiet")];
  const place = make("span", { class: "vv-actions vv-asking" }, first);
  first.onclick = () => {
    place.replaceChildren(make("span", {}, desk.t(question)), sure, keep);
    keep.focus();
  };
  keep.onclick = () => {
    place.replaceChildren(first);
    first.focus();
  };
  sure.onclick = () => act(sure);
  return place;
}

// @ts-nocheck
/** The Studio tab: an avatar speaks a text or a recording; the clip is made as a job and comes back as an MP4. */

import { centreOnFace } from "../faces.js";
import { make, percent } from "../dom.js";
import { PortalError } from "../errors.js";
import { feed, isActive } from "../jobs-feed.js";
import { posterOf } from "../server.js";
import { api } from "./api.js";
import { Desk } from "./desk.js";
import { bindDrop } from "./drop.js";
import { JobCards } from "./job-cards.js";

class VivavoceStudio extends Desk {
  build() {
    this.form = this.querySelector("form");
    this.note = this.form.querySelector(".vv-note");
    this.speakers = this.querySelector(".vv-speakers > div");
    this.cards = new JobCards(this, this.querySelector(".vv-jobs"));
    this.drop = bindDrop(this.form.querySelector(".vv-drop"));
    this.avatars = "";
    this.wanted = "";
    this.fillVoices();
    this.speakers.onchange = () => (this.wanted = "");
    for (const choice of this.form.elements.source) choice.onchange = () => this.chooseSource();
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.order();
    };
  }

  opened() {
    super.opened();
    this.load();
  }

  translated() {
    this.form.elements.voice.options[0].textContent = this.t("voiceDefault");
  }

  fillVoices() {
    const select = this.form.elements.voice;
    select.append(make("option", { value: "" }), ...this.settings.voices.map((voice) => make("option", { value: voice }, voice)));
    select.parentElement.hidden = this.settings.voices.length < 2;
  }

  chooseSource() {
    const text = this.form.elements.source.value === "text";
    this.querySelector(".vv-from-text").hidden = !text;
    this.querySelector(".vv-from-audio").hidden = text;
  }

  // -- who speaks

  async load() {
    let avatars;
    try {
      avatars = await api("GET", "api/avatars");
    } catch (error) {
      if (!(error instanceof PortalError)) throw error;
      this.missed = true; // the feed of jobs tells when the server is back
      return;
    }
    this.missed = false;
    const now = JSON.stringify(avatars);
    if (now === this.avatars) return;
    this.avatars = now;
    const chosen = this.wanted || new FormData(this.form).get("avatar");
    this.speakers.replaceChildren(...avatars.map((avatar) => this.speaker(avatar)));
    const first = avatars.find((avatar) => avatar.id === chosen) ?? avatars[0];
    if (first) this.speakers.querySelector(`[value="${first.id}"]`).checked = true;
  }

  /** An avatar whose details were open is to speak. */
  choose(id) {
    this.wanted = id;
    const radio = this.speakers.querySelector(`[value="${id}"]`);
    if (radio) radio.checked = true; // else it is, once the list has it
    this.form.elements.text.focus();
  }

  speaker(avatar) {
    const picture = centreOnFace(make("img", { src: posterOf(avatar), alt: "" }), avatar);
    const radio = make("input", { type: "radio", name: "avatar", value: avatar.id });
    return make("label", {}, radio, picture, make("span", {}, avatar.name));
  }

  // -- ordering

  async order() {
    const { source, text, voice } = this.form.elements;
    const avatar = new FormData(this.form).get("avatar");
    const speaks = source.value === "text";
    if (!avatar) return this.tell(this.note, this.t("avatarFirst"));
    if (speaks && !text.value.trim()) return this.tell(this.note, this.t("textFirst"));
    if (!speaks && !this.drop.file) return this.tell(this.note, this.t("audioFirst"));
    const body = new FormData();
    body.append("avatar", avatar);
    if (speaks) {
      body.append("text", text.value);
      body.append("voice", voice.value);
    } else {
      body.append("audio", this.drop.file);
      body.append("name", this.drop.file.name);
    }
    const submit = this.form.querySelector("[type=submit]");
    await this.attempt(this.form, async () => {
      await api("POST", "api/clips", body, (part) => {
        if (!speaks) submit.textContent = `${this.t("uploading")} ${percent(part)}`;
      });
      text.value = "";
      this.drop.clear();
      await feed.refresh();
    });
    submit.textContent = this.t("makeClip");
  }

  // -- clips

  show(jobs) {
    const clips = jobs.filter((job) => job.kind === "clip" && !job.id.startsWith("test-"));
    this.cards.show(clips);
    this.querySelector(".vv-clips .vv-empty").hidden = clips.length > 0;
    const making = jobs.filter((job) => job.kind === "prepare" && isActive(job)).length;
    if (making !== this.making || this.missed) this.load();
    this.making = making;
  }
}

customElements.define("vivavoce-studio", VivavoceStudio);

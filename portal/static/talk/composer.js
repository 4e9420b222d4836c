/** The text box: what is typed goes out of it, and what could not be said comes back. */

const TALLEST_PX = 140;

export class Composer {
  /**
   * @param {HTMLFormElement} form
   * @param {{typed: (text: string, mode: "chat"|"echo") => void, keeps: () => boolean}} page typed: Enter, or Send;
   *     keeps: whether it stays in the box, as there is nobody who could hear it
   */
  constructor(form, { typed, keeps }) {
    this.input = form.querySelector("textarea");
    this.echo = form.querySelector(".vv-echo");
    this.typed = typed;
    this.keeps = keeps;
    this.returned = []; // what could not be said, on its way back
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.input.onkeydown = (event) => {
      // In Safari the Enter that ends a composition says so by its keyCode alone.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    };
    this.input.oninput = () => this.fit();
  }

  /** Whether texts are asked, or said as they are. */
  get mode() {
    return this.echo.checked ? "echo" : "chat";
  }

  submit() {
    const text = this.input.value;
    if (!this.keeps()) this.put("");
    this.typed(text, this.mode);
  }

  /** A question, to be asked in other words. */
  edit(text) {
    this.put(text);
    this.input.focus();
  }

  /** A text that nobody can hear yet; what somebody is writing is not overwritten by it. */
  offer(text) {
    if (!this.input.value.trim()) this.put(text);
  }

  /** Texts that waited together come back together, in their order, ahead of the draft. */
  giveBack(text) {
    this.returned.push(text);
    if (this.returned.length > 1) return;
    setTimeout(() => this.put([...this.returned.splice(0), this.input.value].filter(Boolean).join("\n")));
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  put(text) {
    this.input.value = text;
    this.fit();
  }

  fit() {
    const { input } = this;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight, TALLEST_PX)}px`;
  }
}

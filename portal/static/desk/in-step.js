/**
 * @typedef {import("../types/api.d.ts").JobView} JobView
 *
 * What shows one job. Its element stays the same as long as the job exists.
 * @typedef {{element: Element, show: (job: JobView) => void}} Shown
 */

/** Keeps the children of an element in step with the feed of jobs. */
export class InStep {
  /** @type {Map<string, Shown>} */
  #shown = new Map();

  /**
   * @param {Element} container
   * @param {(job: JobView) => Shown} shownBy makes what shows a new job
   */
  constructor(container, shownBy) {
    this.container = container;
    this.shownBy = shownBy;
  }

  /** @param {JobView[]} jobs in the order to show them in */
  show(jobs) {
    const wanted = new Set(jobs.map(({ id }) => id));
    for (const [id, { element }] of this.#shown) {
      if (wanted.has(id)) continue;
      element.remove();
      this.#shown.delete(id);
    }
    jobs.forEach((job, place) => {
      const shown = this.#shown.get(job.id) ?? this.shownBy(job);
      this.#shown.set(job.id, shown);
      shown.show(job);
      const there = this.container.children[place];
      if (there !== shown.element) this.container.insertBefore(shown.element, there ?? null);
    });
  }
}

/**
 * Base of classes that tell events. Each event carries a `detail`; `Events` gives the detail's type by the event's
 * type.
 * @template {Record<string, any>} Events `any`: each class has details of its own shapes
 */
export class Teller extends EventTarget {
  /**
   * @template {keyof Events & string} Type
   * @param {Type} type
   * @param {(detail: Events[Type]) => void} callback
   * @param {AddEventListenerOptions} [options]
   */
  on(type, callback, options) {
    this.addEventListener(type, (event) => callback(/** @type {CustomEvent} */ (event).detail), options);
  }

  /**
   * @template {keyof Events & string} Type
   * @param {Type} type
   * @param {Events[Type]} [detail]
   */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

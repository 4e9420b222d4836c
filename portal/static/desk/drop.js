import { find, make } from "../dom.js";

/**
 * Make a drop zone work. It shows the chosen file and accepts any, since the server decides what is usable.
 * @param {HTMLElement} zone
 * @param {(file: File | undefined) => void} [changed]
 */
export function bindDrop(zone, changed) {
  const input = find(zone, "input", HTMLInputElement);
  const chosen = find(zone, ".vv-drop-chosen", HTMLElement);
  let shown = "";
  const show = () => {
    const file = input.files?.[0];
    URL.revokeObjectURL(shown);
    chosen.replaceChildren();
    if (file) {
      shown = URL.createObjectURL(file);
      chosen.append(...preview(file, shown), make("span", {}, file.name));
    }
    chosen.hidden = !file;
    find(zone, ".vv-drop-empty", HTMLElement).hidden = Boolean(file);
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
    if (!dataTransfer?.files.length) return;
    const one = new DataTransfer();
    one.items.add(dataTransfer.files[0]);
    input.files = one.files;
    show();
  });
  if (input.files?.length) show(); // chosen before this script ran, or kept by the browser over a reload
  return {
    get file() {
      return input.files?.[0];
    },
    clear() {
      input.value = "";
      show();
    },
  };
}

/**
 * @param {File} file
 * @param {string} url of its contents
 */
function preview(file, url) {
  if (file.type.startsWith("image/")) return [make("img", { src: url, alt: "" })];
  if (file.type.startsWith("video/")) {
    return [make("video", { src: url, muted: true, autoplay: true, loop: true, playsInline: true })];
  }
  return file.type.startsWith("audio/") ? [make("audio", { src: url, controls: true })] : [];
}

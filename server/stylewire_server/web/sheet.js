// The contact sheet: the photo in every style of the gallery.

import { Problem, stylize } from "./api.js";
import { contactSheet, save, show } from "./pictures.js";

const SIDE = 256; // The side that the network was trained at.
const AT_A_TIME = 2; // Few requests at one time, because others use the queue too.

const get = (id) => document.getElementById(id);
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Open the sheet for a picture; `choose` gets the style that the reader picks. */
export async function openSheet(picture, styles, options, choose) {
  const dialog = get("sheet-dialog");
  const list = get("sheet");
  const stop = new AbortController();
  const [width, height] = picture.sizeAt(SIDE);
  const entries = styles.map((style) => ({ ...style, blob: null, ...cell(style) }));
  list.replaceChildren(...entries.map(({ item }) => item));
  list.style.setProperty("--ratio", width / height);
  for (const { button, source } of entries) {
    button.addEventListener("click", () => {
      dialog.close();
      choose(source);
    });
  }
  get("sheet-save").disabled = true;
  get("sheet-save").onclick = async () => {
    const made = entries.filter(({ blob }) => blob);
    save(await contactSheet(made, width / height), `${picture.name} in ${made.length} styles.jpg`);
  };
  dialog.addEventListener("close", () => stop.abort(), { once: true });
  dialog.showModal();

  const content = await picture.fileAt(width, height);
  const waiting = [...entries];
  let failed = 0;
  const tell = () => {
    const made = entries.filter(({ blob }) => blob).length;
    get("sheet-status").textContent = `${made} of ${entries.length} made${failed ? `, ${failed} failed` : ""}. Pick one to use its style.`;
  };
  const work = async () => {
    while (waiting.length && !stop.signal.aborted) {
      const entry = waiting.shift();
      try {
        const styled = [{ source: entry.source, weight: 1 }];
        const result = await stylize(content, styled, { ...options, fit: "native", encoding: "jpeg" }, stop.signal);
        entry.blob = result.blob;
        await show(entry.image, result.blob);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof Problem && error.retryAfter !== null) {
          waiting.unshift(entry);
          await wait(error.retryAfter);
        } else {
          failed += 1;
          entry.caption.textContent = `${entry.label}: ${error.message}`;
        }
      }
      tell();
    }
  };
  tell();
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  get("sheet-save").disabled = entries.every(({ blob }) => !blob);
}

function cell({ label }) {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const item = make("li", {});
  const button = make("button", { type: "button" });
  const frame = make("span", { className: "picture" });
  const image = make("img", { alt: "" });
  const caption = make("span", { textContent: label });
  frame.append(image);
  button.append(frame, caption);
  item.append(button);
  return { item, button, image, caption };
}

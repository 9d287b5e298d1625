// The photo before and after, with the slider that moves the border between them.

import { show } from "./pictures.js";

const get = (id) => document.getElementById(id);

get("split").addEventListener("input", () => moveTo(get("split").value));

/** Move the slider; 0 shows only the result, 100 only the photo. */
function moveTo(percent) {
  get("compare").style.setProperty("--split", `${percent}%`);
  get("split").setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
}

/** Show a new photo, on both sides until its first result comes. */
export async function showPhoto(file, width, height) {
  get("compare").style.setProperty("--ratio", width / height);
  await Promise.all([show(get("before"), file), show(get("after"), file)]);
  get("placeholder").hidden = true;
  get("compare").hidden = false;
}

/** Show a result. */
export async function showResult(blob) {
  await show(get("after"), blob);
  get("glow").src = get("after").src;
  get("glow").hidden = false;
}

let timer = 0;
let tick = 0;

/** Show a progress bar after `delay` milliseconds, because most work is done by then; `seconds` is the estimate. */
export function working(text, seconds = 0, delay = 350) {
  done();
  timer = setTimeout(() => {
    const started = performance.now() - delay;
    const bar = get("progress");
    const step = () => {
      const spent = (performance.now() - started) / 1000;
      const left = Math.ceil(seconds - spent);
      // The server does not report progress, so the estimate comes from earlier pictures of this size.
      if (seconds > 1 && left > 0) {
        bar.max = 1;
        bar.value = spent / seconds;
      } else {
        bar.removeAttribute("value");
      }
      get("working-text").textContent = seconds > 1 && left > 0 ? `${text}, about ${left} s left` : text;
    };
    step();
    tick = setInterval(step, 200);
    get("working").hidden = false;
  }, delay);
}

/** Hide the progress bar. */
export function done() {
  clearTimeout(timer);
  clearInterval(tick);
  get("working").hidden = true;
}

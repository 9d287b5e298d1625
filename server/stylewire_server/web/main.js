// The state of the page: the photo, the styles, the settings, and the pictures made from them.

import { Latest, Problem, describeModel, hasToken, listStyles, stylize, useToken } from "./api.js";
import { prepareCamera } from "./camera.js";
import { done, showPhoto, showResult, working } from "./compare.js";
import { Gallery } from "./gallery.js";
import { Picture, save } from "./pictures.js";
import { openSheet } from "./sheet.js";

const get = (id) => document.getElementById(id);

/** Wait some seconds, or until the signal is aborted. */
const wait = (seconds, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, seconds * 1000);
  signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

const MAX_RETRIES = 8;
const MAX_PAUSE = 15; // seconds; for a longer pause the page shows the error and does not retry
const MIN_PAUSE = 0.4; // seconds; each further pause is 1.5 times as long
const LARGE_PICTURE = 1_500_000; // pixels; a larger picture takes seconds

let photo = null; // the Picture to stylize
let result = null; // the latest {blob, width, height, …}
let limits = { max_pixels: 4_194_304, max_encoded_bytes: 2 ** 24, max_decode_pixels: 50_000_000, max_size: 0 };
let perPixel = 0; // milliseconds of the server, by the last picture

const latest = new Latest();
const gallery = new Gallery((how) => refresh(how));

// ---- messages ----

function showMessage(message, action = null, label = "Try again") {
  get("message-text").textContent = message;
  get("message-action").hidden = !action;
  get("message-action").textContent = label;
  get("message-action").onclick = () => {
    hideMessage();
    action();
  };
  get("message").hidden = false;
}

function hideMessage() {
  get("message").hidden = true;
}

/** Show an error, with an action if the user can do something about it. */
function tell(error, again) {
  if (error.name === "AbortError") return;
  if (error.status === 401) askForToken(error, again);
  else if (error instanceof Problem && error.status && error.status < 500 && error.status !== 429) showMessage(error.message);
  else showMessage(error.message, again);
}

function askForToken(error, again) {
  // Call a token wrong only if one was sent.
  get("token-why").textContent = hasToken() ? `It refused the token: ${error.facts.detail}.` : "";
  const dialog = get("token-dialog");
  get("token-form").onsubmit = () => {
    useToken(get("token").value);
    get("token").value = "";
    hideMessage();
    again();
  };
  if (!dialog.open) dialog.showModal();
  showMessage(error.message, () => askForToken(error, again), "Enter the token");
}

/** Run a request, and repeat it while the server asks for a retry. */
async function withRetries(request, signal, superseded = () => false) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request();
    } catch (error) {
      const pause = error instanceof Problem ? error.retryAfter : null;
      if (pause === null || pause > MAX_PAUSE || attempt > MAX_RETRIES || signal?.aborted || superseded()) throw error;
      showMessage(`${error.message} The page tries again in a moment.`);
      await wait(Math.max(pause, MIN_PAUSE * 1.5 ** attempt), signal);
      if (signal?.aborted || superseded()) throw new DOMException("a newer request is waiting", "AbortError");
    }
  }
}

// ---- the picture ----

function settings() {
  return { strength: Number(get("strength").value) / 100, preserve_color: get("keep").checked };
}

/** Make the picture with the present settings. */
function refresh({ now = false } = {}) {
  if (!photo || !gallery.blend.length) return;
  busy(true);
  latest.ask(async (signal, superseded) => {
    const picture = photo;
    const [width, height] = picture.sizeAt(Number(get("size").value), limits.max_pixels);
    const styles = gallery.blend;
    const options = { ...settings(), fit: "native", encoding: "jpeg", quality: 92 };
    working(width * height > LARGE_PICTURE ? `Computing ${megapixels(width * height)}` : "Computing", estimate(width * height));
    try {
      const content = await picture.fileAt(width, height);
      const made = await withRetries(() => stylize(content, styles, options, signal), signal, superseded);
      if (picture !== photo) return;
      result = made;
      perPixel = (made.milliseconds - (made.stages.queue ?? 0)) / (width * height);
      hideMessage();
      await showResult(made.blob);
      report(made);
    } catch (error) {
      tell(error, () => refresh({ now: true }));
    } finally {
      done();
      settled();
      if (!superseded()) busy(false);
    }
  }, { now });
}

const megapixels = (pixels) => `${(pixels / 1e6).toFixed(1)} megapixels`;
const estimate = (pixels) => (perPixel * pixels) / 1000;

let announcement = 0;

function report({ width, height, milliseconds, stages }) {
  get("facts").textContent = `${width} × ${height} px in ${Math.round(milliseconds)} ms`;
  const parts = Object.entries(stages).map(([name, time]) => `${name} ${time.toFixed(1)} ms`);
  get("facts").title = `On the server: ${parts.join(", ")}`;
  // Screen readers announce the status. Wait a moment, so that not every step of a slider is announced.
  clearTimeout(announcement);
  announcement = setTimeout(() => { get("status").textContent = `Picture made in style ${gallery.title}.`; }, 700);
}

/** Show assistive technology and tests whether a newer picture is still to come (`aria-busy`). */
function busy(whether) {
  get("stage").setAttribute("aria-busy", whether);
}

/** Enable the buttons that can be used now. */
function settled() {
  for (const id of ["download", "download-full"]) get(id).disabled = !result;
  get("sheet-open").disabled = !photo || !gallery.all.length;
}

/** Use a photo as the content. */
async function usePhoto(file, name) {
  busy(true);
  try {
    const picture = await Picture.read(file, name);
    const shorter = Math.min(picture.width, picture.height);
    if (limits.min_side && shorter < limits.min_side) {
      throw new Error(`The picture is ${picture.width} × ${picture.height} px; each side must be at least ${limits.min_side} px.`);
    }
    photo = picture;
    result = null;
    get("facts").textContent = "";
    hideMessage();
    settled();
    const [width, height] = picture.sizeAt(1080);
    await showPhoto(await picture.fileAt(width, height), picture.width, picture.height);
    refresh({ now: true });
  } catch (error) {
    busy(false);
    showMessage(error.message);
  }
}

/** Use the user's own picture as a style. */
async function useStyle(file) {
  try {
    await gallery.addOwn(await Picture.read(file));
    settled();
  } catch (error) {
    showMessage(error.message);
  }
}

// ---- downloads ----

const fileName = (kind) => `${photo.name} - ${gallery.title}${kind}.jpg`;

get("download").addEventListener("click", () => save(result.blob, fileName("")));

get("download-full").addEventListener("click", async () => {
  const picture = photo;
  const side = Number(get("size").value);
  const options = { ...settings(), encoding: "jpeg", quality: 95 };
  let content;
  if (side) {
    // The network computes at the working size, and the result has the size of the photo.
    Object.assign(options, { fit: "keep", size: side, full_size: true });
    content = await picture.original(limits);
  } else {
    options.fit = "native";
    content = await picture.fileAt(...picture.sizeAt(0, limits.max_pixels));
  }
  get("download-full").disabled = true;
  working(`Computing ${megapixels(Math.min(picture.pixels, limits.max_pixels))}`, estimate(Math.min(picture.pixels, limits.max_pixels)), 0);
  try {
    const made = await withRetries(() => stylize(content, gallery.blend, options));
    hideMessage();
    save(made.blob, fileName(`, ${made.width}x${made.height}`));
    get("status").textContent = `Saved a picture of ${made.width} × ${made.height} px.`;
  } catch (error) {
    tell(error, () => get("download-full").click());
  } finally {
    done();
    settled();
  }
});

get("sheet-open").addEventListener("click", () => {
  openSheet(photo, gallery.all, settings(), (source) => gallery.chooseSource(source)).catch((error) => tell(error, () => {}));
});

// ---- input: choose, drop, paste, camera, examples ----

function onFile(id, use) {
  get(id).addEventListener("change", () => {
    if (get(id).files[0]) use(get(id).files[0]);
    get(id).value = "";
  });
}

onFile("choose", usePhoto);
onFile("own", useStyle);
prepareCamera(usePhoto, showMessage);

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => useExample(button.dataset.example));
}

async function useExample(name) {
  const answer = await fetch(`web/examples/${name}.jpg`);
  if (answer.ok) await usePhoto(await answer.blob(), name);
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (file) usePhoto(file, file.name);
});

const zone = (event) => (get("panel").contains(event.target) ? get("panel") : get("stage"));
let depth = 0; // of the elements that the pointer has entered while it drags

document.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  depth += 1;
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) endDrag();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  for (const each of [get("panel"), get("stage")]) each.classList.toggle("drop-here", each === zone(event));
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  endDrag();
  const [file] = event.dataTransfer.files;
  if (!file) return;
  if (zone(event) === get("panel")) useStyle(file);
  else usePhoto(file, file.name);
});

function endDrag() {
  depth = 0;
  document.body.classList.remove("dragging");
  for (const each of [get("panel"), get("stage")]) each.classList.remove("drop-here");
}

// ---- settings ----

get("strength").addEventListener("input", () => {
  get("strength-out").textContent = `${get("strength").value} %`;
  get("strength").style.setProperty("--fill", `${get("strength").value}%`);
  refresh();
});
get("strength").style.setProperty("--fill", "100%");
get("size").addEventListener("change", () => refresh({ now: true }));
get("keep").addEventListener("change", () => refresh({ now: true }));
get("message-close").addEventListener("click", hideMessage);
for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// ---- start ----

async function start() {
  try {
    const [model, styles] = await withRetries(() => Promise.all([describeModel(), listStyles()]));
    limits = model.limits;
    get("model").textContent = `stylewire ${model.version}, ${model.edition} model in ${model.precision} on ${model.engine}`;
    hideMessage();
    gallery.addNamed(styles);
    settled();
    if (!styles.length) showMessage("This server has no named styles yet. Drop a picture on the panel to use it as a style.");
    refresh({ now: true });
  } catch (error) {
    tell(error, start);
  }
}

await Promise.all([photo ?? useExample("chelsea"), start()]);

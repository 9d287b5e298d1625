// Requests to the server: the token, error messages, and a queue in which the latest request wins.

let token = sessionStorage.getItem("stylewire-token") ?? "";

/** Keep the token for this tab, and send it with every request from now on. */
export function useToken(value) {
  token = value.trim();
  sessionStorage.setItem("stylewire-token", token);
}

export const hasToken = () => token !== "";

/** The failure of a request, at the server or on the way to it. */
export class Problem extends Error {
  /**
   * @param {string} message One sentence for the reader.
   * @param {number} status The HTTP status; 0 when there was no answer.
   * @param {object} facts The problem document (RFC 9457).
   */
  constructor(message, status, facts = {}) {
    super(message);
    this.status = status;
    this.facts = facts;
  }

  /** Seconds after which a retry makes sense; null if a retry is useless. */
  get retryAfter() {
    if (this.status !== 429 && this.status !== 503) return null;
    return this.facts.retry_after ?? 1;
  }
}

/** Fetch a path of the API; throw a Problem for anything but success. */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. Is it still running?", 0);
  }
  if (answer.ok) return answer;
  const facts = await answer.json().catch(() => ({}));
  throw new Problem(inWords(answer.status, facts), answer.status, facts);
}

function inWords(status, facts) {
  const detail = facts.detail ?? `The server answered with status ${status}.`;
  switch (status) {
    case 401: return "The server asks for a token.";
    case 429: return `The server is busy: ${detail}.`;
    case 503: return `The server is not ready: ${detail}.`;
    case 500: return `Something went wrong on the server. Its log has more under the request id ${facts.request_id}.`;
    default: return `${detail.charAt(0).toUpperCase()}${detail.slice(1)}.`;
  }
}

/** All named styles, as {name, thumbnail (a data URI), origin, …}. */
export async function listStyles() {
  const styles = [];
  let page = "";
  do {
    const answer = await call(`v1/styles?thumbnails=inline&page_size=200&page_token=${encodeURIComponent(page)}`);
    const found = await answer.json();
    styles.push(...found.styles);
    page = found.next_page_token;
  } while (page);
  return styles;
}

export const describeModel = async () => (await call("v1/model")).json();

/**
 * Stylize a picture.
 *
 * @param {Blob} content A JPEG, PNG or WebP file.
 * @param {{source: string|Blob, weight: number}[]} styles Names or files.
 * @param {Object<string, string|number|boolean>} options Fields of the form.
 * @param {AbortSignal} signal Closes the connection, and so cancels the job on the server.
 */
export async function stylize(content, styles, options, signal) {
  const form = new FormData();
  form.append("content", content, "content");
  for (const { source, weight } of styles) {
    if (typeof source === "string") form.append("style", source);
    else form.append("style", source, "style");
    form.append("weight", weight);
  }
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  const started = performance.now();
  const answer = await call("v1/stylize", { method: "POST", body: form, signal });
  const blob = await answer.blob();
  return {
    blob,
    width: Number(answer.headers.get("Image-Width")),
    height: Number(answer.headers.get("Image-Height")),
    stages: stages(answer.headers.get("Server-Timing") ?? ""),
    milliseconds: performance.now() - started,
  };
}

/** Parse "queue;dur=0.1, decode;dur=2" into {queue: 0.1, decode: 2}. */
function stages(timing) {
  const found = [...timing.matchAll(/([\w-]+);dur=([\d.]+)/g)];
  return Object.fromEntries(found.map(([, name, milliseconds]) => [name, Number(milliseconds)]));
}

const MIN_RUN_MS = 400;

/**
 * A queue for one request at a time, in which the latest request wins.
 *
 * While a slider moves, requests come faster than answers. A running request that is younger than MIN_RUN_MS may
 * finish, so that the picture follows the slider; an older one is cancelled. Only the newest waiting request is kept.
 */
export class Latest {
  #next = null;
  #running = null;
  #started = 0;

  /** Run `job(signal)` as soon as possible, in place of every earlier job. */
  ask(job, { now = false } = {}) {
    this.#next = job;
    if (this.#running && (now || performance.now() - this.#started > MIN_RUN_MS)) this.#running.abort();
    if (!this.#running) this.#run();
  }

  async #run() {
    while (this.#next) {
      const job = this.#next;
      this.#next = null;
      this.#running = new AbortController();
      this.#started = performance.now();
      try {
        await job(this.#running.signal, () => this.#next !== null);
      } catch (error) {
        if (error.name !== "AbortError") throw error;
      } finally {
        this.#running = null;
      }
    }
  }
}

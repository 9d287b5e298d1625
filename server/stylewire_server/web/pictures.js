// Pictures in the browser: read, made smaller, saved.

const READABLE_BY_SERVER = new Set(["image/jpeg", "image/png", "image/webp"]);
const QUALITY = 0.92;

/** A picture that the reader has given. */
export class Picture {
  #files = new Map();

  constructor(file, bitmap, name) {
    this.file = file;
    this.bitmap = bitmap;
    this.name = name;
    this.width = bitmap.width;
    this.height = bitmap.height;
  }

  /** Read a file; throw an Error with a message for the reader. */
  static async read(file, name = file.name || "picture") {
    try {
      // Upright, as its EXIF orientation says.
      return new Picture(file, await createImageBitmap(file), name.replace(/\.[a-z0-9]+$/i, ""));
    } catch {
      throw new Error(`This browser cannot read “${name}” as a picture. Use a JPEG, PNG or WebP file.`);
    }
  }

  get pixels() {
    return this.width * this.height;
  }

  /**
   * Width and height at which the shorter side has `side` pixels; the picture's own for 0.
   *
   * A small picture is enlarged up to twice: the strokes of a style have a size of their own, and grow coarse on it.
   */
  sizeAt(side, mostPixels = Infinity) {
    const wanted = side ? Math.min(2, side / Math.min(this.width, this.height)) : 1;
    const scale = Math.min(wanted, Math.sqrt(mostPixels / this.pixels));
    const shorten = scale * scale * this.pixels > mostPixels - 1 ? Math.floor : Math.round;
    return [Math.max(1, shorten(this.width * scale)), Math.max(1, shorten(this.height * scale))];
  }

  /** A JPEG file of that size; made once. */
  async fileAt(width, height) {
    const key = `${width}x${height}`;
    if (!this.#files.has(key)) this.#files.set(key, draw(this.bitmap, width, height).then((it) => toFile(it)));
    return this.#files.get(key);
  }

  /** The file as it came where the server can read it within its limits, else a JPEG file as large as may be. */
  async original(limits) {
    const small = this.file.size <= limits.max_encoded_bytes && this.pixels <= limits.max_decode_pixels;
    if (small && READABLE_BY_SERVER.has(this.file.type)) return this.file;
    return this.fileAt(...this.sizeAt(0, limits.max_decode_pixels));
  }
}

async function draw(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#fff"; // What is transparent becomes white, as on the server.
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

/** A canvas as a JPEG file. */
export function toFile(canvas) {
  return new Promise((resolve, reject) => {
    const give = (blob) => (blob ? resolve(blob) : reject(new Error("The browser cannot make a picture of this size.")));
    canvas.toBlob(give, "image/jpeg", QUALITY);
  });
}

/** Show a file in an <img>, and let go of the one that was there. Resolves when it can be seen. */
export async function show(image, blob) {
  const old = image.src;
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } catch {
    // Replaced by a newer one before it was ready.
  }
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

/** Save a file under a name. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Pictures with captions on one sheet, as a JPEG file. */
export async function contactSheet(entries, ratio) {
  const columns = Math.min(entries.length, Math.ceil(Math.sqrt(entries.length * 1.4)));
  const [cell, gap, caption] = [320, 16, 34];
  const tall = Math.round(cell / ratio);
  const rows = Math.ceil(entries.length / columns);
  const canvas = document.createElement("canvas");
  canvas.width = columns * (cell + gap) + gap;
  canvas.height = rows * (tall + caption + gap) + gap;
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#222";
  pen.font = "16px system-ui, sans-serif";
  pen.textAlign = "center";
  for (const [index, { blob, label }] of entries.entries()) {
    const left = gap + (index % columns) * (cell + gap);
    const top = gap + Math.floor(index / columns) * (tall + caption + gap);
    pen.drawImage(await createImageBitmap(blob), left, top, cell, tall);
    pen.fillText(label, left + cell / 2, top + tall + 23, cell);
  }
  return toFile(canvas);
}

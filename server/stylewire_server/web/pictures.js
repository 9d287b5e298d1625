// Pictures in the browser: reading, shrinking and saving.

const READABLE_BY_SERVER = new Set(["image/jpeg", "image/png", "image/webp"]);
const JPEG_QUALITY = 0.92;

/** A picture from the user. */
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
      // createImageBitmap applies the EXIF orientation.
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
  sizeAt(side, maxPixels = Infinity) {
    const wanted = side ? Math.min(2, side / Math.min(this.width, this.height)) : 1;
    const scale = Math.min(wanted, Math.sqrt(maxPixels / this.pixels));
    const shorten = scale * scale * this.pixels > maxPixels - 1 ? Math.floor : Math.round;
    return [Math.max(1, shorten(this.width * scale)), Math.max(1, shorten(this.height * scale))];
  }

  /** Return a JPEG file of that size, which is made only once. */
  async fileAt(width, height) {
    const key = `${width}x${height}`;
    if (!this.#files.has(key)) this.#files.set(key, draw(this.bitmap, width, height).then((it) => toFile(it)));
    return this.#files.get(key);
  }

  /** Return the original file if the server can read it within its limits, else a JPEG file of the maximum size. */
  async original(limits) {
    const small = this.file.size <= limits.max_encoded_bytes && this.pixels <= limits.max_decode_pixels;
    if (small && READABLE_BY_SERVER.has(this.file.type)) return this.file;
    return this.fileAt(...this.sizeAt(0, limits.max_decode_pixels));
  }
}

async function draw(bitmap, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff"; // Transparent parts become white, as on the server.
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

/** Convert a canvas to a JPEG file. */
export function toFile(canvas) {
  return new Promise((resolve, reject) => {
    const give = (blob) => (blob ? resolve(blob) : reject(new Error("The browser cannot make a picture of this size.")));
    canvas.toBlob(give, "image/jpeg", JPEG_QUALITY);
  });
}

/** Show a file in an <img>, and free the old one. Resolves when the file is visible. */
export async function show(image, blob) {
  const old = image.src;
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } catch {
    // A newer file replaced this one before it was decoded.
  }
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

/** Save a file under a name. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Draw pictures with captions on one sheet, and return it as a JPEG file. */
export async function contactSheet(entries, ratio) {
  const columns = Math.min(entries.length, Math.ceil(Math.sqrt(entries.length * 1.4)));
  const [cell, gap, caption] = [320, 16, 34];
  const tall = Math.round(cell / ratio);
  const rows = Math.ceil(entries.length / columns);
  const canvas = document.createElement("canvas");
  canvas.width = columns * (cell + gap) + gap;
  canvas.height = rows * (tall + caption + gap) + gap;
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#222";
  context.font = "16px system-ui, sans-serif";
  context.textAlign = "center";
  for (const [index, { blob, label }] of entries.entries()) {
    const left = gap + (index % columns) * (cell + gap);
    const top = gap + Math.floor(index / columns) * (tall + caption + gap);
    context.drawImage(await createImageBitmap(blob), left, top, cell, tall);
    context.fillText(label, left + cell / 2, top + tall + 23, cell);
  }
  return toFile(canvas);
}

// The styles: two slots, a blend between them, and the gallery to fill them from.

const FIRST_STYLE = /(^|\/)waves$/; // the style to start with, if the server has it, because its effect is easy to see

const get = (id) => document.getElementById(id);

/** Return "Starry night" for "gallery/starry-night". */
export function label(name) {
  const plain = name.replace(/^.*\//, "").replaceAll("-", " ");
  return plain.charAt(0).toUpperCase() + plain.slice(1);
}

/** The available styles and the chosen ones. It calls `changed` after each change. */
export class Gallery {
  #styles = new Map(); // key -> {source, label, thumbnail}
  #chosen = [null, null];
  #changed;

  constructor(changed) {
    this.#changed = changed;
    get("styles").addEventListener("change", (event) => {
      if (event.target.name === "style") this.choose(event.target.value);
    });
    for (const slot of document.querySelectorAll("input[name=slot]")) {
      slot.addEventListener("change", () => this.#showChosen());
    }
    get("mix").addEventListener("input", () => {
      this.#showChosen();
      this.#changed();
    });
    get("unblend").addEventListener("click", () => {
      this.#chosen[1] = null;
      document.querySelector("input[name=slot][value='0']").checked = true;
      document.querySelector("input[name=slot][value='0']").focus();
      this.#showChosen();
      this.#changed({ now: true });
    });
  }

  /** All styles, as {source, label, thumbnail}. */
  get all() {
    return [...this.#styles.values()];
  }

  /** The chosen styles and their weights; empty before the first is chosen. */
  get blend() {
    const [first, second] = this.#chosen.map((key) => this.#styles.get(key));
    if (!first) return [];
    if (!second) return [{ source: first.source, weight: 1 }];
    const share = Number(get("mix").value) / 100;
    const both = [{ source: first.source, weight: 1 - share }, { source: second.source, weight: share }];
    // Weights must be above 0, so a style with weight 0 is left out.
    return both.filter(({ weight }) => weight > 0);
  }

  /** The names of the chosen styles, for the name of a file. */
  get title() {
    return this.#chosen.filter(Boolean).map((key) => this.#styles.get(key).label).join(" and ");
  }

  /** Add the server's styles. */
  addNamed(styles) {
    for (const style of styles) this.#add(style.name, style.name, label(style.name), style.thumbnail, style.origin);
    if (!this.#chosen[0] && styles.length) this.#chosen[0] = (styles.find(({ name }) => FIRST_STYLE.test(name)) ?? styles[0]).name;
    this.#showChosen();
    // In a narrow window the gallery is a strip, and the chosen style may be outside the visible part.
    const tile = get("styles").querySelector("input:checked")?.parentElement;
    if (tile) get("styles").scrollLeft = tile.offsetLeft - get("styles").clientWidth / 2;
  }

  /** Add a picture of the reader's own, first in the gallery, and choose it. */
  async addOwn(picture) {
    const file = await picture.fileAt(...picture.sizeAt(512));
    const key = `own ${this.#styles.size}`;
    this.#add(key, file, picture.name, URL.createObjectURL(file), "Your own picture", true);
    this.choose(key);
    get("styles").querySelector(`input[value="${key}"]`).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Put a style into the slot that is being filled. */
  choose(key) {
    const slot = Number(document.querySelector("input[name=slot]:checked").value);
    this.#chosen[slot] = key;
    if (slot === 1 && !this.#chosen[0]) this.#chosen = [key, null];
    this.#showChosen();
    this.#changed({ now: true });
  }

  /** Choose a style by its source: a name or a file. */
  chooseSource(source) {
    for (const [key, style] of this.#styles) if (style.source === source) this.choose(key);
  }

  #add(key, source, name, thumbnail, origin, first = false) {
    if (this.#styles.has(key)) return;
    this.#styles.set(key, { source, label: name, thumbnail });
    const tile = document.createElement("label");
    tile.className = "tile";
    tile.title = origin ? `${name}: ${origin}` : name;
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: key });
    const art = Object.assign(document.createElement("span"), { className: "art" });
    art.append(Object.assign(document.createElement("img"), { src: thumbnail, alt: "", loading: "lazy" }));
    tile.append(input, art, Object.assign(document.createElement("span"), { className: "tile-name", textContent: name }));
    if (first) get("own").after(tile);
    else get("styles").append(tile);
  }

  #showChosen() {
    const slot = Number(document.querySelector("input[name=slot]:checked").value);
    const input = [...get("styles").querySelectorAll("input[name=style]")];
    for (const each of input) each.checked = each.value === this.#chosen[slot];
    for (const [index, key] of this.#chosen.entries()) {
      const style = this.#styles.get(key);
      const image = get(`slot-${index}`);
      image.hidden = !style;
      if (style) image.src = style.thumbnail;
      get(`slot-name-${index}`).textContent = style?.label ?? (index ? "Second style" : "Style");
    }
    const blended = this.#chosen[1] !== null;
    get("slot-plus").hidden = blended;
    get("unblend").hidden = !blended;
    const mix = get("mix");
    mix.disabled = !blended;
    mix.style.setProperty("--fill", `${mix.value}%`);
    const share = Number(mix.value);
    get("mix-out").textContent = blended ? `${100 - share} : ${share}` : "one style";
  }
}

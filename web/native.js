// @ts-check
/**
 * The workshop: what `fastnst web --native` lets the page start on this machine, with progress.
 */

import { UserError } from "./network.js";

/**
 * @typedef {import("./main.js").NetworkEntry} NetworkEntry
 *
 * @typedef {object} Page what the workshop needs of the page
 * @property {(words: string, kind?: "status" | "alarm") => void} say
 * @property {() => {style: string, strength: number, inputNoise: number, keepColors: boolean}} settings
 * @property {(network: NetworkEntry) => Promise<void>} addNetwork
 *
 * @typedef {"film" | "picture" | "train"} Kind
 * @typedef {{job?: string, kind?: Kind, share?: number, words?: string, done?: string, error?: string, file?: string, result?: string,
 *   style?: string, upload?: string, have?: number}} Told
 */

/** Bytes of a file that are sent at a time. */
const PART = 4 << 20;

/**
 * The WebSocket's address from the page's: #native=PORT&token=TOKEN.
 * @param {string} hash
 */
export function nativeAddress(hash) {
  const said = new URLSearchParams(hash.slice(1));
  return `ws://${location.hostname}:${said.get("native")}/?token=${encodeURIComponent(said.get("token") ?? "")}`;
}

/** @type {Record<Kind, {title: string, words: string, button: string, accept: string}>} */
const KINDS = {
  train: {
    title: "Learn a painting",
    words: "It becomes a style of its own, and the camera is seen in it.",
    button: "Choose a painting…",
    accept: "image/*",
  },
  film: {
    title: "Stylize a film",
    words: "Whole, at its own size, with its sound, in the style that is chosen.",
    button: "Choose a film…",
    accept: "video/*,.mkv",
  },
  picture: {
    title: "Stylize a picture",
    words: "At its own size, however large, in the style that is chosen. Good and best refine it with the style's painting: seconds, minutes.",
    button: "Choose a picture…",
    accept: "image/*",
  },
};

/** The page's part for work of minutes. */
export class Workshop {
  /**
   * @param {HTMLElement} place
   * @param {string} address of the WebSocket
   * @param {Page} page
   */
  constructor(place, address, page) {
    this.page = page;
    this.address = address;
    /** @type {((told: Told) => void) | null} */ this.answer = null;
    /** @type {Promise<WebSocket> | null} */ this.socket = null;
    this.list = Object.assign(document.createElement("ul"), { className: "jobs" });
    this.minutes = choice("Minutes to learn", ["1", "5", "20", "60"]);
    this.quality = choice("Quality", ["draft", "good", "best"]);
    for (const kind of /** @type {Kind[]} */ (Object.keys(KINDS))) place.append(this.offer(kind));
    place.append(this.list);
  }

  /** @param {Kind} kind */
  offer(kind) {
    const { title, words, button } = KINDS[kind];
    const section = Object.assign(document.createElement("div"), { className: "control offer" });
    const heading = Object.assign(document.createElement("h3"), { textContent: title });
    const note = Object.assign(document.createElement("p"), { className: "note", textContent: words });
    const start = Object.assign(document.createElement("button"), { type: "button", textContent: button, className: "wide" });
    start.addEventListener("click", () => this.begin(kind).catch((error) => this.page.say(error.message, "alarm")));
    const asked = { train: [this.minutes.label], picture: [this.quality.label], film: [] }[kind];
    section.append(heading, note, ...asked, start);
    return section;
  }

  /** @param {Kind} kind */
  async begin(kind) {
    await this.start(kind, await chooseFile(KINDS[kind].accept));
  }

  /**
   * Send a file and begin the work.
   * @param {Kind} kind
   * @param {File} file
   */
  async start(kind, file) {
    const item = this.list.appendChild(document.createElement("li"));
    try {
      const upload = await this.upload(file, item);
      const asked = { seconds: 60 * Number(this.minutes.select.value), quality: this.quality.select.value };
      const request = { do: "start", kind, upload, name: file.name, ...asked, ...this.page.settings() };
      const socket = await this.connect();
      this.current = item;
      this.answer = (told) => this.failed(item, told.error ?? "it was not understood");
      socket.send(JSON.stringify(request));
    } catch (error) {
      this.failed(item, error instanceof Error ? error.message : String(error));
    }
  }

  /** @returns {Promise<WebSocket>} */
  connect() {
    return (this.socket ??= new Promise((resolve, reject) => {
      const socket = new WebSocket(this.address);
      socket.onopen = () => resolve(socket);
      socket.onerror = () => {
        this.socket = null;
        reject(new UserError("fastnst on this machine does not answer; start fastnst web --native anew"));
      };
      socket.onclose = () => (this.socket = null);
      socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    }));
  }

  /** @param {Told} told */
  hear(told) {
    if (told.job === undefined) {
      this.answer?.(told);
      return;
    }
    const item = this.current ?? this.list.appendChild(document.createElement("li"));
    if (told.error !== undefined) this.failed(item, told.error);
    else if (told.done !== undefined) void this.done(item, told);
    else this.progress(item, told);
  }

  /**
   * @param {File} file
   * @param {HTMLElement} item
   * @returns {Promise<string>} its number
   */
  async upload(file, item) {
    const { upload } = await this.ask(JSON.stringify({ do: "upload", name: file.name, size: file.size }));
    for (let sent = 0; sent < file.size; sent += PART) {
      const part = new Uint8Array(await file.slice(sent, sent + PART).arrayBuffer());
      const { withLine } = await import("./native-painter.js");
      await this.ask(withLine(JSON.stringify({ do: "part", upload }), part));
      this.progress(item, { share: sent / file.size, words: `${file.name}: handing it over` });
    }
    return /** @type {string} */ (upload);
  }

  /**
   * @param {string | Uint8Array<ArrayBuffer>} message
   * @returns {Promise<Told>}
   */
  async ask(message) {
    const socket = await this.connect();
    const told = await new Promise((/** @type {(told: Told) => void} */ resolve) => {
      this.answer = resolve;
      socket.send(message);
    });
    if (told.error !== undefined) throw new UserError(told.error);
    return told;
  }

  /**
   * @param {HTMLElement} item
   * @param {Told} told
   */
  progress(item, { share = 0, words = "", job }) {
    let bar = item.querySelector("progress");
    if (!bar) {
      bar = Object.assign(document.createElement("progress"), { max: 1 });
      bar.setAttribute("aria-label", "Progress");
      const stop = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Stop" });
      stop.addEventListener("click", async () => (await this.connect()).send(JSON.stringify({ do: "stop" })));
      item.replaceChildren(document.createElement("p"), bar, stop);
    }
    bar.value = share;
    const [line] = item.children;
    line.textContent = `${Math.round(100 * share)} %, ${words}`;
    item.querySelector("button")?.toggleAttribute("hidden", job === undefined);
  }

  /**
   * @param {HTMLElement} item
   * @param {Told} told
   */
  async done(item, told) {
    const line = document.createElement("p");
    line.textContent = `Done: ${told.done}. `;
    if (told.result) line.append(Object.assign(document.createElement("a"), { href: told.result, download: told.file, textContent: told.file }));
    item.replaceChildren(line);
    this.page.say(`Done: ${told.done}.`);
    if (told.style) {
      const title = told.style.replaceAll(/[_-]/g, " ").replace(/^./, (letter) => letter.toUpperCase());
      const style = { name: told.style, title, thumbnail: "" };
      await this.page.addNetwork({ name: told.style, title, file: "", styles: [style], strength: false });
    }
  }

  /**
   * @param {HTMLElement} item
   * @param {string} words
   */
  failed(item, words) {
    item.replaceChildren(Object.assign(document.createElement("p"), { className: "failed", textContent: `Not done: ${words}` }));
    this.page.say(`Not done: ${words}`);
  }
}

/**
 * @param {string} title
 * @param {string[]} values
 */
function choice(title, values) {
  const label = Object.assign(document.createElement("label"), { textContent: title });
  const select = document.createElement("select");
  select.append(...values.map((value) => new Option(value, value)));
  label.append(select);
  return { label, select };
}

/**
 * @param {string} accept
 * @returns {Promise<File>}
 */
function chooseFile(accept) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept });
  return new Promise((resolve) => {
    input.addEventListener("change", () => input.files?.[0] && resolve(input.files[0]));
    input.click();
  });
}

// @ts-check
/**
 * The page: what the controls say goes into the next picture, and the next picture onto the canvas.
 */

import { Engine, EngineLost } from "./engine.js";
import { UserError } from "./network.js";
import { Recorder, saveSnapshot } from "./recorder.js";
import { SizeKeeper, strokeSize, withLongSide } from "./size.js";
import { fromBitmap, openCamera, openFilm, openPicture } from "./sources.js";

/**
 * @typedef {import("./sources.js").Source} Source
 * @typedef {import("./worker.js").Painted} Painted
 * @typedef {{width: number, height: number}} Size
 *
 * @typedef {object} StyleEntry
 * @property {string} name
 * @property {string} title
 * @property {string} thumbnail address; empty: none
 *
 * @typedef {object} NetworkEntry
 * @property {string} name
 * @property {string} title
 * @property {string | ArrayBuffer} file address or content
 * @property {StyleEntry[]} styles
 * @property {boolean} strength
 *
 * @typedef {{network: NetworkEntry, place: number, title: string}} Choice one style of one network
 * @typedef {{version: string, networks: NetworkEntry[], samples: {title: string, file: string}[], first: string}} Site
 */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
const $ = (id) => /** @type {T} */ (document.getElementById(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ ($(id));
const select = (/** @type {string} */ id) => /** @type {HTMLSelectElement} */ ($(id));

const canvas = /** @type {HTMLCanvasElement} */ ($("canvas"));
const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
const asked = new URLSearchParams(location.search);

/** Pixels that a still picture or a snapshot is painted at, at most: memory of phones ends beyond. */
const MOST_PIXELS = 2 ** 22;
/** Levels of noise that the slider reaches at least. */
const MOST_NOISE = 24;
/** Choices of stroke size on the slider: a quarter of a doubling each. */
const strokeOf = (/** @type {number} */ step) => 2 ** (step / 4);

const state = {
  /** @type {Choice[]} */ choices: [],
  chosen: 0,
  /** @type {Source | null} */ source: null,
  /** @type {Source | null} camera or film behind a frozen picture */ behind: null,
  split: false,
  mirror: false,
  figures: true,
  facing: "user",
  /** @type {Painted & Size | null} */ last: null,
  /** the picture or the controls changed since the last painting */ stale: true,
  opening: false,
  /** @type {Record<string, number>} ms of the last picture */ stages: {},
  /** pictures since the page was opened */ painted: 0,
  /** @type {number[]} times at which pictures were shown, ms */ shown: [],
  /** @type {(() => void) | null} */ wake: null,
};

const engine = new Engine(
  {
    engine: /** @type {any} */ (asked.get("engine")) ?? "auto",
    threads: Number(asked.get("threads") ?? 0),
    native: "",
  },
  (words) => {
    say(words, "alarm");
    touch();
  },
);
const recorder = new Recorder();
let keeper = new SizeKeeper(20);

/** What tests and curious people reach from the console. */
Object.assign(window, { fastnst: { engine, state, keeper: () => keeper, tracks: () => state.source?.tracks() ?? [] } });

// ---------------------------------------------------------------- what is said

/**
 * @param {string} words
 * @param {"status" | "alarm"} [kind] alarm: shown until it is closed
 */
function say(words, kind = "status") {
  if (kind === "alarm") {
    $("notice-words").textContent = words;
    $("notice").hidden = false;
  } else $("status").textContent = words;
}

function hush() {
  $("notice").hidden = true;
}

/**
 * Show an error of a user's or of ours.
 * @param {unknown} error
 */
function complain(error) {
  if (error instanceof EngineLost) return; // the engine has said so
  say(error instanceof UserError ? error.message : `Something went wrong: ${error instanceof Error ? error.message : error}`, "alarm");
  if (!(error instanceof UserError)) console.error(error);
}

/** @param {string} words empty: done */
function busy(words) {
  $("loading").hidden = !words;
  $("loading-words").textContent = words;
}

// ---------------------------------------------------------------- the loop

/** Something changed: paint again, also where the picture stands still. */
function touch() {
  state.stale = true;
  state.wake?.();
}

async function run() {
  for (;;) {
    const { source } = state;
    if (!source || state.opening || !engine.network || (!source.live && !state.stale) || document.hidden) {
      await new Promise((/** @type {(value?: any) => void} */ resolve) => {
        state.wake = resolve;
        setTimeout(resolve, 250);
      });
      continue;
    }
    const began = performance.now();
    try {
      state.stale = false;
      await paintNewest(source);
    } catch (error) {
      complain(error);
      await pause(300);
      state.stale = true;
      if (!(error instanceof EngineLost)) {
        if (!source.live) state.stale = false;
        await pause(700);
      }
    }
    const rest = 1000 / fps() - (performance.now() - began) - 2;
    if (source.live && rest > 0) await pause(rest); // also for 0 ms, a timer would take 4
  }
}

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
const fps = () => Number(select("fps").value);

/** @param {Source} source */
async function paintNewest(source) {
  await source.fresh();
  const size = paintingSize(source);
  const full = source.live ? null : larger(source.size, size, select("size").value === "0");
  const began = performance.now();
  const frame = await source.frame();
  const captured = performance.now();
  const painted = await engine.paint({ frame, ...size, full, conditions: conditions(), keepColors: input("keep-colors").checked });
  if (source !== state.source) {
    painted.frame.close();
    painted.picture.close();
    return;
  }
  const returned = performance.now();
  forget();
  state.last = { ...painted, ...size };
  state.painted++;
  compose(canvas, pen, painted, !source.live || state.split || recorder.running);
  const now = performance.now();
  const inWorker = Object.values(painted.stages).reduce((sum, ms) => sum + ms, 0);
  state.stages = { capture: captured - began, ...painted.stages, handing: returned - captured - inWorker, show: now - returned };
  const elapsed = now - began;
  if (source.live && !document.hidden) keeper.note(elapsed * stroke() ** 2, performance.now() / 1000);
  report(source, elapsed);
}

function forget() {
  state.last?.frame.close();
  state.last?.picture.close();
  state.last = null;
}

const stroke = () => strokeOf(input("stroke").valueAsNumber);

/**
 * The size to paint at: what the frames a second allow, as asked, or what a still picture's strokes want; divided by
 * the size of the strokes.
 * @param {Source} source
 * @returns {Size}
 */
function paintingSize(source) {
  const fixed = Number(select("size").value);
  if (fixed) return withinMemory(scaled(withLongSide(source.size, fixed), 1 / stroke()));
  if (!source.live) return stillSize(source);
  keeper.fit(source.size);
  return withinMemory(scaled(keeper.size, 1 / stroke()));
}

/** @param {Source} source */
const stillSize = (source) => withinMemory(strokeSize(source.size, stroke()));

/**
 * A picture's own size, where it is painted at a smaller one.
 * @param {Size} own
 * @param {Size} size
 * @param {boolean} detail whether its detail may be painted, too, at a larger size than that
 */
const larger = (own, size, detail) => (own.width * own.height > size.width * size.height ? { ...own, detail } : null);

/**
 * @param {Size} size
 * @param {number} by
 * @returns {Size}
 */
function scaled(size, by) {
  if (by === 1) return size;
  const side = (/** @type {number} */ pixels) => Math.max(32, Math.round((pixels * by) / 8) * 8);
  return { width: side(size.width), height: side(size.height) };
}

/** @param {Size} size */
function withinMemory(size) {
  const pixels = size.width * size.height;
  return pixels <= MOST_PIXELS ? size : scaled(size, Math.sqrt(MOST_PIXELS / pixels) * 0.99);
}

/** What the network is told beside the picture. */
function conditions() {
  const choice = state.choices[state.chosen];
  const count = choice.network.styles.length;
  const strength = input("strength").valueAsNumber / 100;
  // Where the network itself paints less strongly, it gets less noise.
  const inputNoise = input("input-noise").valueAsNumber * (engine.opened?.contract.strength ? Math.min(strength, 1) : 1);
  if (count === 1) return { weights: null, strength, inputNoise };
  const weights = new Array(count).fill(0);
  const other = Number(select("mix").value);
  const share = other < 0 ? 0 : input("share").valueAsNumber / 100;
  weights[choice.place] += 1 - share;
  if (share) weights[other] += share;
  return { weights, strength, inputNoise };
}

/** Long side below which pictures that move are enlarged here: the browser's own enlarging shows their pixels. */
const SMALL = 320;

/**
 * The size to show a picture at: the photo's, or the painting's in the photo's shape, since enlarging each picture of
 * many takes longer than painting some.
 * @param {Pick<Painted, "picture" | "frame">} painted
 * @param {boolean} full
 * @returns {Size}
 */
function shownSize({ picture, frame }, full) {
  const photo = "displayWidth" in frame ? { width: frame.displayWidth, height: frame.displayHeight } : frame;
  const long = Math.max(picture.width, picture.height);
  const scale = full ? 1 : Math.min(1, ((long < SMALL ? 2 : 1) * long) / Math.max(photo.width, photo.height));
  return { width: Math.round(photo.width * scale), height: Math.round(photo.height * scale) };
}

/**
 * Lay the painting over the photo.
 * @param {HTMLCanvasElement} target
 * @param {CanvasRenderingContext2D} brush its context
 * @param {Pick<Painted, "picture" | "frame">} painted
 * @param {boolean} [full] at the photo's size, whatever size was painted
 */
function compose(target, brush, painted, full = true) {
  const { picture, frame } = painted;
  const { width, height } = shownSize(painted, full);
  if (target.width !== width || target.height !== height) Object.assign(target, { width, height });
  const strength = input("strength").valueAsNumber / 100;
  const laidOver = engine.opened?.contract.strength ? 1 : Math.min(strength, 1);
  brush.imageSmoothingQuality = width > picture.width ? "high" : "low";
  brush.save();
  if (state.mirror) brush.setTransform(-1, 0, 0, 1, width, 0);
  if (laidOver < 1) brush.drawImage(frame, 0, 0, width, height);
  brush.globalAlpha = laidOver;
  brush.drawImage(picture, 0, 0, width, height);
  brush.globalAlpha = 1;
  if (state.split) drawOriginal(brush, frame, width, height);
  brush.restore();
}

/**
 * The original in the left half, with a line between.
 * @param {CanvasRenderingContext2D} brush
 * @param {VideoFrame | ImageBitmap} frame
 * @param {number} width
 * @param {number} height
 */
function drawOriginal(brush, frame, width, height) {
  const left = state.mirror ? width / 2 : 0;
  brush.beginPath();
  brush.rect(left, 0, width / 2, height);
  brush.clip();
  brush.drawImage(frame, 0, 0, width, height);
  brush.resetTransform();
  brush.fillStyle = "#fff";
  brush.fillRect(width / 2 - Math.max(1, width / 600), 0, Math.max(1, width / 600), height);
}

/**
 * Say how fast it goes.
 * @param {Source} source
 * @param {number} elapsed ms
 */
function report(source, elapsed) {
  const now = performance.now();
  state.shown = [...state.shown.filter((time) => now - time < 2000), now];
  const { width, height } = /** @type {Painted & Size} */ (state.last);
  const rate = state.shown.length > 1 ? (state.shown.length - 1) / ((now - state.shown[0]) / 1000) : 0;
  const speed = source.live ? `${rate.toFixed(rate < 10 ? 1 : 0)} fps · ` : "";
  const figures = `${speed}${elapsed.toFixed(0)} ms · ${width} × ${height} · ${engine.opened?.words ?? ""}`;
  $("figures").textContent = state.figures ? figures : "";
  for (const [stage, ms] of Object.entries(state.stages)) $(`ms-${stage}`).textContent = ms.toFixed(1);
  if (recorder.running) {
    const seconds = Math.floor(recorder.seconds);
    $("recording-time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

function describe() {
  const choice = state.choices[state.chosen];
  const what = state.source?.name ?? "Nothing";
  canvas.setAttribute("aria-label", `${what}, painted in the style ${choice?.title ?? ""}`);
}

// ---------------------------------------------------------------- sources

/**
 * Paint something else from now on.
 * @param {Source} source
 */
function show(source) {
  state.behind?.close();
  state.behind = null;
  state.source?.close();
  state.source = source;
  state.mirror = source.mirrored;
  state.shown = [];
  pressed("mirror-button", state.mirror);
  pressed("freeze-button", false);
  $("freeze-button").toggleAttribute("disabled", !source.live);
  cameraShown(source.name === "Your camera");
  describe();
  touch();
}

/** @param {boolean} on */
function cameraShown(on) {
  const [icon, label] = on ? ["#i-stop", "Stop camera"] : ["#i-video", "Start camera"];
  $("camera-button").querySelector("use")?.setAttribute("href", icon);
  const words = $("camera-button").querySelector(".label");
  if (words) words.textContent = label;
  $("flip-button").hidden = !on || navigator.maxTouchPoints === 0;
}

async function startCamera() {
  busy("Starting the camera…");
  try {
    const source = await openCamera(state.facing, (words) => {
      say(words, "alarm");
      void stopCamera();
    });
    hush();
    show(source);
    say("The camera is on.");
  } catch (error) {
    complain(error);
  } finally {
    busy("");
  }
}

/** The last picture stays. */
async function stopCamera() {
  if (recorder.running) toggleRecording();
  await still();
  state.behind?.close();
  state.behind = null;
  $("freeze-button").toggleAttribute("disabled", true);
  pressed("freeze-button", false);
  cameraShown(false);
}

/** Put the last frame in the place of what moves. */
async function still() {
  if (!state.last || !state.source?.live) return;
  const { source, mirror } = state;
  const bitmap = await createImageBitmap(state.last.frame);
  state.behind = source;
  state.source = fromBitmap(bitmap, source.name, mirror);
  touch();
}

async function toggleFreeze() {
  if (state.behind) {
    state.source?.close();
    state.source = state.behind;
    state.behind = null;
  } else if (state.source?.live) await still();
  pressed("freeze-button", state.behind !== null);
  say(state.behind ? "Frozen." : "Going on.");
  touch();
}

/** @param {File | Blob & {name?: string}} file */
async function openFile(file) {
  const name = file.name ?? "The picture";
  try {
    if (/\.onnx$/i.test(name)) await addOwnStyle(name, await file.arrayBuffer());
    else if (file.type.startsWith("video/")) show(await openFilm(file, name));
    else if (file.type.startsWith("image/")) show(await openPicture(file, name));
    else throw new UserError(`${name} is neither a picture, a film nor an .onnx file.`);
    hush();
  } catch (error) {
    complain(error);
  }
}

/** @param {{title: string, file: string}} sample */
async function openSample(sample) {
  const response = await fetch(sample.file).catch(() => null);
  if (!response?.ok) return say(`${sample.title} could not be loaded; check the connection.`, "alarm");
  show(await openPicture(await response.blob(), sample.title));
}

// ---------------------------------------------------------------- styles

/**
 * Add the styles of a network to those to choose from.
 * @param {NetworkEntry} network
 * @returns {number} place of the first
 */
function addNetwork(network) {
  const first = state.choices.length;
  network.styles.forEach((style, place) => {
    const known = state.choices.some(({ title }) => title === style.title);
    const title = known ? `${style.title}, ${network.title}` : style.title;
    state.choices.push({ network, place, title });
    $("styles").append(card(title, style.thumbnail, state.choices.length - 1));
  });
  return first;
}

/**
 * @param {string} title
 * @param {string} thumbnail address; empty: none
 * @param {number} number
 */
function card(title, thumbnail, number) {
  const label = document.createElement("label");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: String(number) });
  radio.addEventListener("change", () => choose(number));
  const picture = Object.assign(document.createElement("img"), { alt: "", width: 160, height: 120, loading: "lazy" });
  if (thumbnail) picture.src = thumbnail;
  const words = Object.assign(document.createElement("span"), { textContent: title });
  label.append(radio, picture, words);
  return label;
}

/**
 * Paint in another style from now on.
 * @param {number} number
 */
async function choose(number) {
  const before = state.chosen;
  const choice = state.choices[number];
  state.chosen = number;
  check(number);
  const network = { key: choice.network.name, source: choice.network.file, name: choice.network.title };
  if (engine.network?.key !== network.key || !engine.opened) {
    state.opening = true;
    const slow = setTimeout(() => busy(`Loading ${choice.network.title}…`), 250);
    try {
      await engine.open(network);
    } catch (error) {
      if (engine.network) {
        state.chosen = before;
        check(before);
      }
      complain(error);
      throw error;
    } finally {
      clearTimeout(slow);
      busy("");
      state.opening = false;
    }
    keeper.restart();
  }
  fitControls();
  describe();
  say(`Style ${choice.title}.`);
  touch();
}

/** @param {number} number */
function check(number) {
  const radio = /** @type {HTMLInputElement | undefined} */ ($("styles").querySelectorAll("input")[number]);
  if (!radio) return;
  radio.checked = true;
  radio.closest("label")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** Offer what the network takes: its strength, and the other styles that it knows. */
function fitControls() {
  const { network, place } = state.choices[state.chosen];
  const most = network.strength ? "150" : "100";
  if (input("strength").max !== most) input("strength").max = most;
  fitNoise(network.name);
  $("mix-control").hidden = network.styles.length < 2;
  const kept = select("mix").dataset.network === network.name ? Number(select("mix").value) : -1;
  const options = network.styles.map((style, other) => new Option(style.title, String(other)));
  select("mix").replaceChildren(new Option("nothing", "-1"), ...options.filter((_, other) => other !== place));
  select("mix").dataset.network = network.name;
  select("mix").value = String(kept === place ? -1 : kept);
  showValues();
  const { words, note } = engine.opened ?? { words: "nothing yet", note: "" };
  $("engine-words").textContent = `It runs on ${words}${note && `: ${note}`}.`;
}

/**
 * Another network gets as much noise as it was trained with.
 * @param {string} network
 */
function fitNoise(network) {
  const slider = input("input-noise");
  if (slider.dataset.network === network || !engine.opened) return;
  const own = engine.opened.contract.inputNoise;
  slider.max = String(Math.max(MOST_NOISE, own));
  slider.valueAsNumber = own;
  slider.dataset.network = network;
}

/**
 * @param {string} name of the file
 * @param {ArrayBuffer} content
 */
async function addOwnStyle(name, content) {
  const title = name.replace(/\.onnx$/i, "");
  const key = `own ${state.choices.length} ${title}`;
  const earlier = engine.network;
  state.opening = true;
  busy(`Opening ${name}…`);
  try {
    const opened = await engine.open({ key, source: content, name });
    const { styles, strength } = opened.contract;
    const entries = styles.map((style) => ({ name: style, title: styles.length > 1 ? style : title, thumbnail: "" }));
    const network = { name: key, title, file: content, styles: entries, strength };
    const first = addNetwork(network);
    await paintThumbnails(network, first);
    await choose(first);
  } catch (error) {
    if (earlier && !engine.opened) await engine.open(earlier);
    throw error;
  } finally {
    state.opening = false;
    busy("");
    touch();
  }
}

/**
 * @param {NetworkEntry} network
 * @param {number} first
 */
async function paintThumbnails(network, first) {
  const small = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
  const images = $("styles").querySelectorAll("img");
  const count = network.styles.length;
  for (let place = 0; place < count; place++) {
    const frame = await createImageBitmap(canvas, { resizeWidth: 160, resizeHeight: 120 });
    const weights = count > 1 ? network.styles.map((_, other) => Number(other === place)) : null;
    const conditions = { weights, strength: 1, inputNoise: engine.opened?.contract.inputNoise ?? 0 };
    const painted = await engine.paint({ frame, width: 160, height: 120, full: null, conditions, keepColors: false });
    small.getContext("2d")?.drawImage(painted.picture, 0, 0);
    painted.picture.close();
    painted.frame.close();
    images[first + place].src = small.toDataURL("image/jpeg", 0.85);
  }
}

// ---------------------------------------------------------------- keeping pictures

function fileName() {
  const { title } = state.choices[state.chosen];
  const stamp = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
  return `fastnst-${title.toLowerCase().replace(/[^\w]+/g, "-")}-${stamp}`;
}

/** Paint what is shown once more, as `fastnst stylize` does it, and save it. */
async function snapshot() {
  const { source } = state;
  if (!source || state.opening) return;
  state.opening = true; // the loop waits
  busy("Painting the snapshot…");
  try {
    const frame = state.last && source.live ? await createImageBitmap(state.last.frame) : await source.frame();
    const size = stillSize(source);
    const how = { full: larger(source.size, size, true), conditions: conditions(), keepColors: input("keep-colors").checked };
    const painted = await engine.paint({ frame, ...size, ...how });
    const large = document.createElement("canvas");
    compose(large, /** @type {CanvasRenderingContext2D} */ (large.getContext("2d", { alpha: false })), painted);
    painted.picture.close();
    painted.frame.close();
    await saveSnapshot(large, fileName());
    say("Snapshot saved.");
  } catch (error) {
    complain(error);
  } finally {
    state.opening = false;
    busy("");
    touch();
  }
}

function toggleRecording() {
  try {
    if (recorder.running) recorder.stop();
    else {
      if (state.last) compose(canvas, pen, state.last); // the film has one size from its first frame on
      recorder.start(canvas, state.source?.sound() ?? [], fileName(), say);
    }
  } catch (error) {
    complain(error);
  }
  pressed("record-button", recorder.running);
  $("recording").hidden = !recorder.running;
  if (recorder.running) say("Recording.");
}

// ---------------------------------------------------------------- controls

/**
 * @param {string} id
 * @param {boolean} on
 */
function pressed(id, on) {
  $(id).setAttribute("aria-pressed", String(on));
}

function showValues() {
  $("strength-value").textContent = `${input("strength").value} %`;
  $("share-value").textContent = `${input("share").value} %`;
  $("stroke-value").textContent = `× ${stroke().toFixed(2).replace(/\.?0+$/, "")}`;
  $("input-noise-value").textContent = `${input("input-noise").value} levels`;
  const mixing = select("mix").value !== "-1";
  input("share").disabled = !mixing;
}

/**
 * Move a slider as a key does.
 * @param {string} id
 * @param {number} by
 */
function nudge(id, by) {
  input(id).valueAsNumber += by;
  input(id).dispatchEvent(new Event("input", { bubbles: true }));
}

const THEMES = ["system", "light", "dark"];

/** @param {string} theme */
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme-label").textContent = `Theme: ${theme}`;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // private windows may refuse
  }
}

/** @type {Record<string, () => unknown>} */
const KEYS = {
  n: () => choose((state.chosen + 1) % state.choices.length),
  p: () => choose((state.chosen + state.choices.length - 1) % state.choices.length),
  "+": () => nudge("strength", 10),
  "-": () => nudge("strength", -10),
  ".": () => nudge("share", 10),
  ",": () => nudge("share", -10),
  c: () => $("keep-colors").click(),
  o: () => $("split-button").click(),
  s: () => snapshot(),
  r: () => toggleRecording(),
  z: () => toggleFreeze(),
  m: () => $("mirror-button").click(),
  f: () => $("full-button").click(),
  i: () => (state.figures = !state.figures),
  h: () => $("keys-button").click(),
  "?": () => $("keys-button").click(),
};

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (!input("use-keys").checked || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.matches("select, input:not([type=radio], [type=checkbox], [type=range]), textarea") || target.closest("dialog")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  Promise.resolve(act()).catch(() => {});
}

function listen() {
  const on = (/** @type {string} */ id, /** @type {() => unknown} */ act) => $(id).addEventListener("click", () => act());
  on("camera-button", () => (state.source?.name === "Your camera" && (state.source.live || state.behind) ? stopCamera() : startCamera()));
  on("flip-button", () => {
    state.facing = state.facing === "user" ? "environment" : "user";
    return startCamera();
  });
  on("open-button", () => chooseFile("image/*,video/*,.onnx"));
  on("own-button", () => chooseFile(".onnx"));
  on("snapshot-button", snapshot);
  on("record-button", toggleRecording);
  on("freeze-button", toggleFreeze);
  on("full-button", () => (document.fullscreenElement ? document.exitFullscreen() : $("frame").requestFullscreen?.()));
  on("notice-close", hush);
  on("keys-button", () => /** @type {HTMLDialogElement} */ ($("keys")).showModal());
  on("theme-button", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3]));
  for (const name of /** @type {const} */ (["split", "mirror"])) {
    on(`${name}-button`, () => {
      state[name] = !state[name];
      pressed(`${name}-button`, state[name]);
      touch();
    });
  }
  for (const id of ["strength", "share", "stroke", "input-noise", "mix", "keep-colors", "size"]) {
    $(id).addEventListener("input", () => {
      showValues();
      touch();
    });
  }
  $("fps").addEventListener("input", () => (keeper = new SizeKeeper(fps())));
  $("engine").addEventListener("input", changeEngine);
  input("file").addEventListener("change", async () => {
    for (const file of input("file").files ?? []) await openFile(file);
    input("file").value = "";
  });
  addEventListener("keydown", onKey);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    for (const file of event.dataTransfer?.files ?? []) await openFile(file);
  });
  document.addEventListener("paste", async (event) => {
    for (const file of event.clipboardData?.files ?? []) await openFile(file);
  });
  document.addEventListener("visibilitychange", touch);
}

async function changeEngine() {
  state.opening = true;
  busy("Changing the engine…");
  try {
    await engine.change({ engine: /** @type {any} */ (select("engine").value) });
    keeper.restart();
    fitControls();
  } catch (error) {
    complain(error);
  } finally {
    state.opening = false;
    busy("");
    touch();
  }
}

/** @param {string} accept */
function chooseFile(accept) {
  input("file").accept = accept;
  input("file").click();
}

// ---------------------------------------------------------------- the beginning

async function begin() {
  setTheme(savedTheme());
  select("fps").value = asked.get("fps") ?? "20";
  select("size").value = asked.get("size") ?? "0";
  select("engine").value = engine.setup.engine;
  keeper = new SizeKeeper(fps());
  listen();
  await isolate();
  const response = await fetch("styles.json").catch(() => null);
  if (!response?.ok) throw new UserError("The list of styles could not be loaded; check the connection and load the page anew.");
  /** @type {Site} */ const site = await response.json();
  site.networks.forEach(addNetwork);
  await connect();
  const wanted = asked.get("style") ?? site.first;
  const [network, style] = wanted.split("@");
  const found = state.choices.findIndex(({ network: { name, styles }, place }) => name === network && (!style || styles[place].name === style));
  showSamples(site.samples);
  const sample = site.samples[0];
  await Promise.all([sample && openSample(sample), choose(Math.max(0, found))]);
  void run();
}

/** Thumbnails of the sample pictures are the pictures themselves: they are small, and kept for visits offline. */
function showSamples(/** @type {Site["samples"]} */ samples) {
  $("samples-section").hidden = !samples.length;
  for (const sample of samples) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const picture = Object.assign(document.createElement("img"), { src: sample.file, alt: "", loading: "lazy" });
    button.append(picture, sample.title);
    button.addEventListener("click", () => openSample(sample));
    $("samples").append(button);
  }
}

function savedTheme() {
  try {
    const theme = localStorage.getItem("theme") ?? "system";
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return "system";
  }
}

/** Keep the page for visits without a network; where the host sends no headers for threads, load once more with them. */
async function isolate() {
  if (!("serviceWorker" in navigator) || asked.has("no-worker")) return;
  const registered = await navigator.serviceWorker.register("sw.js").catch(() => null);
  if (registered) await Promise.race([controlled(), pause(4000)]);
  if (self.crossOriginIsolated || !window.isSecureContext) return;
  await Promise.race([navigator.serviceWorker.ready, pause(4000)]);
  if (!sessionStorage.getItem("isolating") && (await navigator.serviceWorker.getRegistration())?.active) {
    sessionStorage.setItem("isolating", "1"); // once: some browsers never are
    location.reload();
    await new Promise(() => {});
  }
}

/** Wait for the service worker: it keeps only what is loaded after it has taken the page over. */
async function controlled() {
  if (navigator.serviceWorker.controller) return;
  await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
}

/** What is chosen, as the command line writes it: gallery@munch:0.7,monet:0.3. */
function styleInWords() {
  const { network } = state.choices[state.chosen];
  const { weights } = conditions();
  const mix = weights?.map((/** @type {number} */ share, /** @type {number} */ place) => share && `${network.styles[place].name}:${share}`);
  return mix ? `${network.name}@${mix.filter(Boolean).join(",")}` : network.name;
}

/** Where `fastnst web --native` opened the page, offer this machine's own runtime. */
async function connect() {
  if (!location.hash.includes("native=")) return;
  const { Workshop, nativeAddress } = await import("./native.js");
  const address = nativeAddress(location.hash);
  engine.setup.native = address;
  $("engine-native").hidden = false;
  if (!asked.has("engine")) {
    engine.setup.engine = "native";
    select("engine").value = "native";
  }
  engine.restart();
  $("workshop").hidden = false;
  const workshop = new Workshop($("workshop-body"), address, {
    say,
    settings: () => ({
      style: styleInWords(),
      strength: input("strength").valueAsNumber / 100,
      inputNoise: input("input-noise").valueAsNumber,
      keepColors: input("keep-colors").checked,
    }),
    addNetwork: async (network) => {
      const first = addNetwork(network);
      await choose(first);
      await paintThumbnails(network, first);
    },
  });
  Object.assign(window, { workshop });
}

begin().catch((error) => {
  busy("");
  complain(error);
});

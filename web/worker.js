// @ts-check
/**
 * Where networks run: onnxruntime-web on WebGPU or in WebAssembly, or the machine's own runtime behind `--native`.
 *
 * The page sends what it wants painted and gets an ImageBitmap back. WebGPU is believed only after it has painted a
 * picture like WebAssembly's, each network anew.
 */

import { GpuPainter } from "./gpu.js";
import { paintLarge } from "./large.js";
import { UserError, readContract, readMetadata } from "./network.js";
import { OnnxPainter, canvasOf } from "./painters.js";
import { largestDifference } from "./pixels.js";

/**
 * @typedef {import("./network.js").Contract} Contract
 * @typedef {"auto" | "webgpu" | "wasm" | "native"} EngineName
 * @typedef {{weights: number[] | null, strength: number, inputNoise: number}} Conditions
 * @typedef {{copy: number, prepare: number, network: number, finish: number}} Stages milliseconds
 *
 * @typedef {object} Setup
 * @property {EngineName} engine
 * @property {number} threads 0: as many as suit the machine
 * @property {string} native address of the WebSocket of `--native`, or empty
 *
 * @typedef {object} Opened
 * @property {Contract} contract
 * @property {"webgpu" | "wasm" | "native"} backend what runs it
 * @property {number} threads
 * @property {string} words what runs it
 * @property {string} note why not something faster; empty where there is nothing to say
 *
 * @typedef {object} PaintJob
 * @property {string} key of an opened network
 * @property {VideoFrame | ImageBitmap} frame handed back with the result
 * @property {number} width to paint at
 * @property {number} height
 * @property {Conditions} conditions
 * @property {boolean} keepColors
 * @property {import("./large.js").Full | null} full larger than to paint at: lay the painting over the frame at this size
 *
 * @typedef {object} Painted
 * @property {ImageBitmap} picture
 * @property {VideoFrame | ImageBitmap} frame
 * @property {Stages} stages
 *
 * @typedef {object} Painter
 * @property {Opened} opened
 * @property {(job: PaintJob) => Promise<{picture: ImageBitmap, stages: Stages}>} paint
 * @property {() => Promise<void>} close
 *
 * @typedef {{id: number, type: "setup", setup: Setup} | {id: number, type: "open", key: string, source: string | ArrayBuffer, name: string}
 *   | {id: number, type: "paint", job: PaintJob} | {id: number, type: "lose"}} Request
 */

/** Where onnxruntime-web lies: a folder for each version, so that none is mistaken for another in a cache. */
const RUNTIME = "./runtime/1.30.0/";
/** Levels of 255 that WebGPU may differ from WebAssembly by. */
const TOLERANCE = 2;
/** Networks that stay open. */
const KEPT = 3;
const TEST_SIZE = { width: 96, height: 80 };

/** @type {Setup} */
let setup = { engine: "auto", threads: 0, native: "" };
/** @type {Promise<{ort: typeof import("onnxruntime-common"), gpu: boolean, note: string}> | null} */
let runtime = null;
/** @type {Map<string, Painter>} */
const painters = new Map();
/** @type {Promise<unknown>} */
let queue = Promise.resolve();

addEventListener("message", (/** @type {MessageEvent<Request>} */ { data }) => {
  queue = queue.then(() => answer(data));
});

/** @param {Request} request */
async function answer(request) {
  try {
    const [result, transfer] = await handle(request);
    postMessage({ id: request.id, result }, { transfer });
  } catch (error) {
    const transfer = request.type === "paint" ? [request.job.frame] : [];
    const frame = request.type === "paint" ? request.job.frame : null;
    const words = error instanceof Error ? error.message : String(error);
    postMessage({ id: request.id, error: words, ours: error instanceof UserError, frame }, { transfer });
  }
}

/**
 * @param {Request} request
 * @returns {Promise<[unknown, Transferable[]]>}
 */
async function handle(request) {
  if (request.type === "setup") {
    setup = request.setup;
    return [null, []];
  }
  if (request.type === "open") return [await open(request.key, request.source, request.name), []];
  if (request.type === "lose") {
    const device = await (await runtime)?.ort.env.webgpu.device;
    device?.destroy();
    return [null, []];
  }
  const { job } = request;
  const painter = painters.get(job.key);
  if (!painter) throw new Error(`${job.key} is not open`);
  const { picture, stages } = await (job.full ? paintLarge(painter, job, job.full) : painter.paint(job));
  return [{ picture, frame: job.frame, stages }, [picture, job.frame]];
}

/**
 * Open a network, or give the one that is open already.
 * @param {string} key
 * @param {string | ArrayBuffer} source address or content
 * @param {string} name for messages
 * @returns {Promise<Opened>}
 */
async function open(key, source, name) {
  const known = painters.get(key);
  if (known) {
    painters.delete(key);
    painters.set(key, known);
    return known.opened;
  }
  const bytes = typeof source !== "string" ? new Uint8Array(source) : source ? await load(source, name) : new Uint8Array();
  const painter = await openPainter(bytes, name, key);
  painters.set(key, painter);
  for (const [oldest, other] of painters) {
    if (painters.size <= KEPT) break;
    painters.delete(oldest);
    await other.close();
  }
  return painter.opened;
}

/**
 * @param {string} address
 * @param {string} name
 */
async function load(address, name) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) throw new UserError(`${name} could not be loaded; check the connection and try again`);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} name
 * @param {string} key
 * @returns {Promise<Painter>}
 */
async function openPainter(bytes, name, key) {
  if (setup.engine === "native") {
    const { NativePainter } = await import("./native-painter.js");
    return NativePainter.open(setup.native, bytes, key);
  }
  /** @type {Record<string, string>} */
  let metadata;
  try {
    metadata = readMetadata(bytes);
  } catch (error) {
    throw new UserError(`${name} ${error instanceof Error ? error.message : error}`);
  }
  const { ort, gpu, note } = await (runtime ??= loadRuntime());
  const threads = ort.env.wasm.numThreads ?? 1;
  const onCpu = await create(ort, bytes, "wasm", name);
  let contract;
  try {
    contract = readContract(metadata, /** @type {any} */ (onCpu.inputMetadata), onCpu.outputNames);
  } catch (error) {
    await onCpu.release();
    throw new UserError(`${name} ${error instanceof Error ? error.message : error}`);
  }
  const cpuWords = `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}`;
  /** @type {Opened} */
  const opened = { contract, backend: "wasm", threads, words: cpuWords, note };
  const painter = new OnnxPainter(ort, onCpu, opened);
  if (!gpu) return painter;
  const trial = await tryWebGpu(ort, bytes, painter);
  if (typeof trial === "string") return new OnnxPainter(ort, onCpu, { ...opened, note: trial });
  await painter.close();
  return trial;
}

/**
 * @param {typeof import("onnxruntime-common")} ort
 * @param {Uint8Array} bytes
 * @param {"wasm" | "webgpu"} provider
 * @param {string} name
 * @param {"cpu" | "gpu-buffer"} output where the result is put
 */
async function create(ort, bytes, provider, name, output = "cpu") {
  /** @type {import("onnxruntime-common").InferenceSession.SessionOptions} */
  const options = { executionProviders: [provider], logSeverityLevel: 3, preferredOutputLocation: output };
  try {
    return await ort.InferenceSession.create(bytes, options);
  } catch (error) {
    const words = String(error instanceof Error ? error.message : error).split("\n")[0].slice(0, 200);
    throw new UserError(`${name} is not an ONNX network that this page can run (${words})`);
  }
}

/**
 * Open a network on WebGPU and hold a picture of it against WebAssembly's.
 * @param {typeof import("onnxruntime-common")} ort
 * @param {Uint8Array} bytes
 * @param {OnnxPainter} reference
 * @returns {Promise<Painter | string>} or why not
 */
async function tryWebGpu(ort, bytes, reference) {
  const { contract } = reference.opened;
  if (contract.layout === "nhwc-uint8") return "WebGPU wants fastnst export --layout web of this file";
  const frame = await testPicture();
  const weights = contract.mixes ? contract.styles.map((_, place) => (place ? 0 : 1)) : null;
  const job = { key: "", frame, ...TEST_SIZE, conditions: { weights, strength: 1, inputNoise: contract.inputNoise }, keepColors: false, full: null };
  try {
    const session = await create(ort, bytes, "webgpu", "it", "gpu-buffer");
    const opened = /** @type {Opened} */ ({ contract, backend: "webgpu", threads: 0, words: "WebGPU", note: "" });
    const painter = await GpuPainter.open(ort, session, opened);
    const difference = largestDifference(await levels(reference, job), await levels(painter, job));
    if (difference <= TOLERANCE) return painter;
    await painter.close();
    return `WebGPU paints differently here, by ${difference} levels of 255`;
  } catch (error) {
    return `WebGPU failed: ${String(error instanceof Error ? error.message : error).slice(0, 160)}`;
  } finally {
    frame.close();
  }
}

/**
 * @param {Painter} painter
 * @param {PaintJob} job
 */
async function levels(painter, job) {
  const { picture } = await painter.paint(job);
  const pen = canvasOf(job.width, job.height);
  pen.drawImage(picture, 0, 0);
  picture.close();
  return pen.getImageData(0, 0, job.width, job.height).data;
}

/** Colors that change softly, and noise, the same every time. */
function testPicture() {
  const { width, height } = TEST_SIZE;
  const image = new ImageData(width, height);
  for (let y = 0, at = 0, seed = 1; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      seed = (seed * 16807) % 2147483647;
      const noise = (seed % 41) - 20;
      image.data[at] = 127 + 90 * Math.sin(y / 9) + noise;
      image.data[at + 1] = 127 + 90 * Math.cos(x / 7) + noise;
      image.data[at + 2] = 127 + 90 * Math.sin((x + y) / 23) + noise;
      image.data[at + 3] = 255;
    }
  }
  return createImageBitmap(image);
}

/** Load onnxruntime-web: the build with WebGPU only where there is a GPU for it. */
async function loadRuntime() {
  const [gpu, note] = setup.engine === "wasm" ? [false, ""] : await findGpu();
  const build = !gpu ? "wasm" : "Suspending" in WebAssembly ? "jspi" : "webgpu";
  /** @type {typeof import("onnxruntime-common")} */
  const ort = await import(`${RUNTIME}ort.${build}.min.mjs`).catch(() => {
    throw new UserError("onnxruntime-web could not be loaded; check the connection and load the page anew");
  });
  ort.env.wasm.wasmPaths = new URL(RUNTIME, import.meta.url).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? setup.threads || suitableThreads() : 1;
  ort.env.logLevel = "error";
  if (gpu) ort.env.webgpu.powerPreference = "high-performance";
  return { ort, gpu, note };
}

function suitableThreads() {
  const processors = navigator.hardwareConcurrency || 1;
  return processors <= 4 ? processors : Math.min(8, Math.ceil(processors / 2));
}

/**
 * Whether there is a GPU worth a trial, and otherwise why not.
 * @returns {Promise<[boolean, string]>}
 */
async function findGpu() {
  if (!navigator.gpu) return [false, "this browser has no WebGPU"];
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return [false, "no GPU for WebGPU was found"];
  const software = adapter.info?.isFallbackAdapter || adapter.info?.architecture === "swiftshader";
  if (software && setup.engine !== "webgpu") return [false, "WebGPU would run in software"];
  return [true, ""];
}

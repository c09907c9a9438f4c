// @ts-check
/**
 * Painting with an open network where pixels pass through the processor. On a GPU without: gpu.js.
 */

import { inputNoise } from "./noise.js";
import { addAlpha, fromPlanes, keepColors, padded, toBytes, toPlanes } from "./pixels.js";

/**
 * @typedef {import("./network.js").Contract} Contract
 * @typedef {import("./worker.js").Conditions} Conditions
 * @typedef {import("./worker.js").Opened} Opened
 * @typedef {import("./worker.js").PaintJob} PaintJob
 * @typedef {import("./worker.js").Stages} Stages
 */

/**
 * @param {number} width
 * @param {number} height
 */
export function canvasOf(width, height) {
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true, alpha: false });
  if (!pen) throw new Error("this browser gives workers no canvas");
  return pen;
}

/** A network in WebAssembly. */
export class OnnxPainter {
  /**
   * @param {typeof import("onnxruntime-common")} ort
   * @param {import("onnxruntime-common").InferenceSession} session
   * @param {Opened} opened
   */
  constructor(ort, session, opened) {
    this.ort = ort;
    this.session = session;
    this.opened = opened;
    this.pixels = new PixelCanvas();
    this.planes = new Float32Array(0);
  }

  /** @param {PaintJob} job */
  paint(job) {
    return this.pixels.paint(job, (photo, painted) => this.run(photo, painted, job));
  }

  /**
   * @param {Uint8ClampedArray<ArrayBuffer>} photo
   * @param {Uint8ClampedArray} painted written
   * @param {PaintJob} job
   */
  async run(photo, painted, { width, height, conditions }) {
    const { Tensor } = this.ort;
    const { layout, least, stride } = this.opened.contract;
    const noise = await inputNoise(conditions.inputNoise);
    const started = performance.now();
    const [columns, rows] = [padded(width, least, stride), padded(height, least, stride)];
    const shape = [1, 3, rows.length, columns.length];
    const bytes = layout === "nhwc-uint8";
    const values = bytes ? new Uint8Array(3 * width * height) : this.room(3 * rows.length * columns.length);
    if (values instanceof Uint8Array) toBytes(photo, width, noise, values);
    else toPlanes(photo, width, columns, rows, noise, values);
    /** @type {Record<string, import("onnxruntime-common").Tensor>} */
    const feeds = { ...conditionFeeds(this.ort, this.opened.contract, conditions) };
    feeds.frame = bytes ? new Tensor("uint8", values, [1, height, width, 3]) : new Tensor("float32", values, shape);
    const prepared = performance.now();
    const { stylized } = await this.session.run(feeds);
    const ran = performance.now();
    if (bytes) addAlpha(/** @type {Uint8Array} */ (stylized.data), painted);
    else {
      const planes = /** @type {Float32Array} */ (stylized.data);
      fromPlanes(planes, columns.length, rows.length, width, height, painted);
    }
    stylized.dispose();
    return { prepare: prepared - started, network: ran - prepared, finish: performance.now() - ran };
  }

  /** @param {number} length */
  room(length) {
    if (this.planes.length !== length) this.planes = new Float32Array(length);
    return this.planes;
  }

  close() {
    return this.session.release();
  }
}

/** @param {VideoFrame | ImageBitmap} frame */
const widthOf = (frame) => ("displayWidth" in frame ? frame.displayWidth : frame.width);

/** What painters share that take pixels: reading a frame, the photo's colors, and the way back. */
export class PixelCanvas {
  constructor() {
    this.pen = canvasOf(1, 1);
    this.way = canvasOf(1, 1);
  }

  /**
   * @param {PaintJob} job
   * @param {(photo: Uint8ClampedArray<ArrayBuffer>, painted: Uint8ClampedArray) => Promise<Omit<Stages, "copy">>} run
   */
  async paint(job, run) {
    const { frame, width, height } = job;
    const started = performance.now();
    const { canvas } = this.pen;
    if (canvas.width !== width || canvas.height !== height) {
      this.pen = canvasOf(width, height);
      this.way = canvasOf(width, height);
    }
    // Four pixels for each are enough where a side is at most halved, and take a third of the time.
    this.pen.imageSmoothingQuality = widthOf(frame) <= 2 * width ? "low" : "medium";
    this.pen.drawImage(frame, 0, 0, width, height);
    const photo = this.pen.getImageData(0, 0, width, height);
    const copied = performance.now();
    const painted = new ImageData(width, height);
    const stages = await run(photo.data, painted.data);
    const before = performance.now();
    if (job.keepColors) keepColors(painted.data, photo.data);
    this.way.putImageData(painted, 0, 0);
    const picture = this.way.canvas.transferToImageBitmap();
    const finish = stages.finish + performance.now() - before;
    return { picture, stages: { ...stages, copy: copied - started, finish } };
  }
}

/**
 * The inputs beside the frame.
 * @param {typeof import("onnxruntime-common")} ort
 * @param {Contract} contract
 * @param {Conditions} conditions
 */
export function conditionFeeds({ Tensor }, contract, { weights, strength }) {
  /** @type {Record<string, import("onnxruntime-common").Tensor>} */
  const feeds = {};
  if (contract.mixes) {
    const shares = weights ?? contract.styles.map(() => 1 / contract.styles.length);
    feeds.style_weights = new Tensor("float32", Float32Array.from(shares), [shares.length]);
  }
  if (contract.strength) feeds.strength = new Tensor("float32", Float32Array.of(strength), [1]);
  return feeds;
}

// @ts-check
/**
 * The page's side of the worker: one picture at a time, and a new worker where the old one failed.
 */

import { UserError } from "./network.js";

/**
 * @typedef {import("./worker.js").Setup} Setup
 * @typedef {import("./worker.js").Opened} Opened
 * @typedef {import("./worker.js").PaintJob} PaintJob
 * @typedef {import("./worker.js").Painted} Painted
 * @typedef {{key: string, source: string | ArrayBuffer, name: string}} NetworkSource
 * @typedef {{resolve: (value: any) => void, reject: (error: Error) => void}} Waiting
 */

/** The worker ended: out of memory, a lost GPU, a crash of the browser's. A new one takes over. */
export class EngineLost extends Error {}

/** Safari on iPhone and iPad ends a page after some 500 runs (microsoft/onnxruntime#27584): a new worker before that. */
const RUNS_ON_IOS = 400;

export class Engine {
  /**
   * @param {Setup} setup
   * @param {(words: string) => void} tell called where a new worker took over
   */
  constructor(setup, tell) {
    this.setup = setup;
    this.tell = tell;
    this.losses = 0;
    this.runs = 0;
    this.runsLeft = isIos() ? RUNS_ON_IOS : Infinity;
    this.next = 1;
    /** @type {Map<number, Waiting>} */ this.waiting = new Map();
    /** @type {NetworkSource | null} */ this.network = null;
    /** @type {Opened | null} */ this.opened = null;
    this.worker = this.start();
  }

  /** @returns {Worker} */
  start() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }) => {
      if (data.lost) this.lose(data.lost);
      else this.settle(data);
    });
    worker.addEventListener("error", (event) => this.lose(event.message || "it could not be started"));
    worker.postMessage({ id: 0, type: "setup", setup: this.setup });
    return worker;
  }

  /** @param {{id: number, result?: any, error?: string, ours?: boolean}} answer */
  settle(answer) {
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.result);
    else if (answer.ours) waiting?.reject(new UserError(answer.error));
    else {
      waiting?.reject(new EngineLost(answer.error));
      this.lose(answer.error);
    }
  }

  /**
   * Begin a new worker; after a second loss within it without WebGPU.
   * @param {string} why
   */
  lose(why) {
    this.losses++;
    if (this.losses >= 2) this.setup.engine = "wasm";
    this.restart();
    this.tell(`The engine stopped (${why.slice(0, 160)}) and was started anew.`);
  }

  restart() {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new EngineLost("the engine was started anew"));
    this.waiting.clear();
    this.opened = null;
    this.runs = 0;
    this.worker = this.start();
  }

  /** @param {Partial<Setup>} change */
  async change(change) {
    this.setup = { ...this.setup, ...change };
    this.losses = 0;
    this.restart();
    if (this.network) await this.open(this.network);
  }

  /**
   * @param {object} request
   * @param {Transferable[]} [transfer]
   * @returns {Promise<any>}
   */
  ask(request, transfer = []) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...request }, transfer);
    });
  }

  /**
   * Open a network; it paints from now on.
   * @param {NetworkSource} network
   * @returns {Promise<Opened>}
   */
  async open(network) {
    /** @type {Opened} */
    const opened = await this.ask({ type: "open", ...network });
    this.network = network;
    this.opened = opened;
    return opened;
  }

  /**
   * Paint one picture with the network that is open.
   * @param {Omit<PaintJob, "key">} job
   * @returns {Promise<Painted>}
   */
  async paint(job) {
    if (this.runs++ >= this.runsLeft) this.restart();
    if (!this.network) throw new Error("no network is open");
    if (!this.opened) await this.open(this.network);
    const whole = { ...job, key: this.network.key };
    return this.ask({ type: "paint", job: whole }, [job.frame]);
  }

  /** Lose the GPU on purpose, to see what happens. */
  loseDevice() {
    return this.ask({ type: "lose" });
  }
}

function isIos() {
  const touch = navigator.maxTouchPoints > 1;
  return /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && touch);
}

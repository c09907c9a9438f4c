// @ts-check
/**
 * Painting with the machine's own runtime, which `fastnst web --native` offers through a WebSocket.
 *
 * A frame goes as one binary message: a line of JSON, a line end, RGB bytes; the answer is RGB bytes, or a line of JSON
 * that says what went wrong.
 */

import { UserError } from "./network.js";
import { PixelCanvas } from "./painters.js";
import { SILENCE } from "./noise.js";
import { addAlpha, toBytes } from "./pixels.js";

/**
 * @typedef {import("./network.js").Contract} Contract
 * @typedef {import("./worker.js").Opened} Opened
 * @typedef {import("./worker.js").PaintJob} PaintJob
 */

/** @type {Contract} */
const NOTHING = { layout: "nhwc-uint8", stride: 1, least: 1, styles: [""], mixes: false, strength: false, inputNoise: 0, style: "" };

export class NativePainter {
  /**
   * @param {string} address of the WebSocket
   * @param {Uint8Array<ArrayBuffer>} bytes of the ONNX file, sent where the server does not know the name
   * @param {string} name of the network
   */
  static async open(address, bytes, name) {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new UserError("fastnst on this machine does not answer; start fastnst web --native anew"));
    });
    const painter = new NativePainter(socket);
    const request = JSON.stringify({ do: "open", network: name });
    let answer = JSON.parse(await painter.ask(request));
    if (answer.unknown) answer = JSON.parse(await painter.ask(withLine(request, bytes)));
    if (answer.error) throw new UserError(answer.error);
    Object.assign(painter.opened, answer);
    return painter;
  }

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    this.pixels = new PixelCanvas();
    /** @type {Opened} */
    this.opened = { contract: NOTHING, backend: "native", threads: 0, words: "", note: "" };
  }

  /**
   * @param {string | Uint8Array<ArrayBuffer>} message
   * @returns {Promise<any>}
   */
  ask(message) {
    return new Promise((resolve, reject) => {
      const { socket } = this;
      if (socket.readyState !== WebSocket.OPEN) throw new UserError("the connection to fastnst on this machine ended");
      socket.onmessage = ({ data }) => resolve(data);
      socket.onclose = () => reject(new UserError("The connection to fastnst on this machine ended; start fastnst web --native anew."));
      socket.send(message);
    });
  }

  /** @param {PaintJob} job */
  paint(job) {
    return this.pixels.paint(job, async (photo, painted) => {
      const started = performance.now();
      const { width, height, conditions } = job;
      const pixels = new Uint8Array(3 * width * height);
      toBytes(photo, width, SILENCE, pixels); // the noise is added on the other side
      const message = withLine(JSON.stringify({ do: "paint", width, height, ...conditions }), pixels);
      const prepared = performance.now();
      const answer = await this.ask(message);
      if (typeof answer === "string") throw new UserError(JSON.parse(answer).error);
      const ran = performance.now();
      addAlpha(new Uint8Array(answer), painted);
      return { prepare: prepared - started, network: ran - prepared, finish: performance.now() - ran };
    });
  }

  async close() {
    this.socket.onclose = null;
    this.socket.close();
  }
}

/**
 * A binary message: a line of JSON, a line end, and bytes.
 * @param {string} line
 * @param {Uint8Array} bytes
 */
export function withLine(line, bytes) {
  const head = new TextEncoder().encode(`${line}\n`);
  const message = new Uint8Array(head.length + bytes.length);
  message.set(head);
  message.set(bytes, head.length);
  return message;
}

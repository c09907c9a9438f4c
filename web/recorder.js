// @ts-check
/**
 * Keeping what is shown: snapshots and films of the canvas, saved by the browser like any download.
 */

import { UserError } from "./network.js";

/** Kinds of film that browsers may write, best first: what most programs open. */
const KINDS = ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/mp4", "video/webm;codecs=vp9,opus", "video/webm"];

/**
 * Save a picture as PNG.
 * @param {HTMLCanvasElement} canvas
 * @param {string} name without an ending
 */
export async function saveSnapshot(canvas, name) {
  const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ resolve) => canvas.toBlob(resolve));
  if (!blob) throw new UserError("The picture is too large for this browser to save.");
  save(blob, `${name}.png`);
}

/** A film of a canvas, from `start` to `stop`. */
export class Recorder {
  constructor() {
    /** @type {MediaRecorder | null} */ this.recorder = null;
    this.began = 0;
  }

  get running() {
    return this.recorder !== null;
  }

  /** Seconds so far. */
  get seconds() {
    return this.running ? (performance.now() - this.began) / 1000 : 0;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {MediaStreamTrack[]} sound
   * @param {string} name without an ending
   * @param {(words: string, kind?: "alarm") => void} onEnd called when it is saved, or is empty
   */
  start(canvas, sound, name, onEnd) {
    if (!("MediaRecorder" in window)) throw new UserError("This browser cannot record.");
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const stream = canvas.captureStream();
    sound.forEach((track) => stream.addTrack(track));
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 8_000_000 });
    /** @type {Blob[]} */ const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    recorder.addEventListener("stop", () => {
      stream.getVideoTracks().forEach((track) => track.stop());
      const film = new Blob(parts, { type: recorder.mimeType });
      if (!film.size) return onEnd("Nothing was recorded: no picture came in this time. Record for longer.", "alarm");
      const file = `${name}.${recorder.mimeType.includes("mp4") ? "mp4" : "webm"}`;
      save(film, file);
      onEnd(`Recording saved: ${file}.`);
    });
    recorder.start(1000);
    this.recorder = recorder;
    this.began = performance.now();
  }

  stop() {
    this.recorder?.stop();
    this.recorder = null;
  }
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

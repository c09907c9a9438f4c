// @ts-check
/**
 * The smooth noise that pictures get on their way into a network, so that flat parts become strokes: the tile of
 * fastnst/io/noise.py, which Python writes beside the page, and the same arithmetic.
 */

import { UserError } from "./network.js";

/** Side of the tile, which begins in a picture's upper left corner and repeats: a power of two. */
export const TILE = 1024;
/** So many of the tile's whole numbers are one standard deviation. */
const UNITS = 32;

/** No noise. */
export const SILENCE = new Int16Array(TILE * TILE);

/** @type {Promise<Int8Array> | null} */
let tile = null;
let latest = { levels: 0, noise: SILENCE };

/**
 * What is added to each pixel's channels, whole levels of 255.
 * @param {number} levels standard deviation of the noise
 * @returns {Promise<Int16Array<ArrayBuffer>>} (TILE, TILE)
 */
export async function inputNoise(levels) {
  if (!levels) return SILENCE;
  if (latest.levels === levels) return latest.noise;
  const units = await (tile ??= load());
  latest = { levels, noise: Int16Array.from(units, (value) => Math.floor(value * (levels / UNITS) + 0.5)) };
  return latest.noise;
}

async function load() {
  const response = await fetch(new URL("./noise.bin", import.meta.url)).catch(() => null);
  if (response?.ok) return new Int8Array(await response.arrayBuffer());
  tile = null;
  throw new UserError("The noise of the network's input could not be loaded; check the connection and try again.");
}

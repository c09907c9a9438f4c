// @ts-check
/**
 * Pixels between a canvas and a network: RGBA bytes, row by row, and what the network's layout takes.
 *
 * Sides that the network does not take as they are get extended below and to the right, as an exported file does it
 * itself: up to its smallest side by repeating the edge, then by reflection to a multiple of its stride.
 */

import { MAX_NOISE } from "./network.js";
import { TILE } from "./noise.js";

/** Place in a row or a column of the tile of noise. */
const WITHIN = TILE - 1;
/** Largest of the noise's values: its tile holds four standard deviations at most. */
const LARGEST = 4 * MAX_NOISE;
/** Levels, cut off at 0 and 255, by their sum with noise + LARGEST: looked up in a third of the time that comparing takes. */
const CUT_OFF = Float32Array.from({ length: 256 + 2 * LARGEST }, (_, place) => Math.max(0, Math.min(255, place - LARGEST)));

/**
 * For each place of a padded side, the place that it is taken from.
 * @param {number} side pixels
 * @param {number} least smallest side
 * @param {number} stride what the result is a multiple of
 * @returns {Int32Array}
 */
export function padded(side, least, stride) {
  const extended = Math.max(side, least);
  const whole = Math.ceil(extended / stride) * stride;
  const reflected = (/** @type {number} */ place) => (place < extended ? place : 2 * (extended - 1) - place);
  return Int32Array.from({ length: whole }, (_, place) => Math.min(reflected(place), side - 1));
}

/**
 * A number for each pixel, red its lowest byte.
 * @param {Uint8ClampedArray<ArrayBuffer>} rgba
 */
const pixelsOf = (rgba) => new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);

/**
 * RGBA bytes to planes of floats, 0 to 255, with noise.
 * @param {Uint8ClampedArray<ArrayBuffer>} rgba (height, width, 4)
 * @param {number} width
 * @param {Int32Array} columns from `padded`
 * @param {Int32Array} rows from `padded`
 * @param {Int16Array} noise from `inputNoise`
 * @param {Float32Array} planes (3, rows, columns), written
 */
export function toPlanes(rgba, width, columns, rows, noise, planes) {
  const area = columns.length * rows.length;
  const pixels = pixelsOf(rgba);
  for (let y = 0, to = 0; y < rows.length; y++) {
    const row = rows[y] * width;
    const noiseRow = (rows[y] & WITHIN) * TILE;
    for (let x = 0; x < columns.length; x++, to++) {
      const pixel = pixels[row + columns[x]];
      const more = noise[noiseRow + (columns[x] & WITHIN)] + LARGEST;
      planes[to] = CUT_OFF[(pixel & 255) + more];
      planes[to + area] = CUT_OFF[((pixel >> 8) & 255) + more];
      planes[to + 2 * area] = CUT_OFF[((pixel >> 16) & 255) + more];
    }
  }
}

/**
 * Planes of floats to RGBA bytes, rounded and cropped.
 * @param {Float32Array} planes (3, rows, columns)
 * @param {number} columns
 * @param {number} rows
 * @param {number} width of the result, at most columns
 * @param {number} height of the result, at most rows
 * @param {Uint8ClampedArray} rgba (height, width, 4), written
 */
export function fromPlanes(planes, columns, rows, width, height, rgba) {
  const area = columns * rows;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = y * columns; x < width; x++, from++, to += 4) {
      rgba[to] = planes[from]; // clamped and rounded by the array itself
      rgba[to + 1] = planes[from + area];
      rgba[to + 2] = planes[from + 2 * area];
      rgba[to + 3] = 255;
    }
  }
}

/**
 * RGBA bytes to RGB bytes with noise.
 * @param {Uint8ClampedArray<ArrayBuffer>} rgba (height, width, 4)
 * @param {number} width
 * @param {Int16Array} noise from `inputNoise`
 * @param {Uint8Array} rgb (height, width, 3), written
 */
export function toBytes(rgba, width, noise, rgb) {
  const pixels = pixelsOf(rgba);
  for (let y = 0, from = 0, to = 0; to < rgb.length; y++) {
    const noiseRow = (y & WITHIN) * TILE;
    for (let x = 0; x < width; x++, from++, to += 3) {
      const pixel = pixels[from];
      const more = noise[noiseRow + (x & WITHIN)] + LARGEST;
      rgb[to] = CUT_OFF[(pixel & 255) + more];
      rgb[to + 1] = CUT_OFF[((pixel >> 8) & 255) + more];
      rgb[to + 2] = CUT_OFF[((pixel >> 16) & 255) + more];
    }
  }
}

/**
 * @param {Uint8Array} rgb
 * @param {Uint8ClampedArray} rgba written, opaque
 */
export function addAlpha(rgb, rgba) {
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from];
    rgba[to + 1] = rgb[from + 1];
    rgba[to + 2] = rgb[from + 2];
    rgba[to + 3] = 255;
  }
}

/**
 * Give the photo's colors the painted brightness, in place: fastnst's `keep_colors` (Y of BT.601, all three channels of
 * the photo moved by the difference, cut off at 0 and 255).
 * @param {Uint8ClampedArray} painted RGBA, changed
 * @param {Uint8ClampedArray} photo RGBA of the same size
 */
export function keepColors(painted, photo) {
  for (let at = 0; at < painted.length; at += 4) {
    const change = luma(painted, at) - luma(photo, at);
    painted[at] = photo[at] + change;
    painted[at + 1] = photo[at + 1] + change;
    painted[at + 2] = photo[at + 2] + change;
  }
}

/**
 * Y of BT.601 as Pillow computes it, a whole number.
 * @param {Uint8ClampedArray} rgba
 * @param {number} at
 */
function luma(rgba, at) {
  return (rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471 + 0x8000) >> 16;
}

/**
 * Largest difference of two arrays; infinite where they differ in length or hold what is no number.
 * @param {ArrayLike<number>} one
 * @param {ArrayLike<number>} other
 */
export function largestDifference(one, other) {
  if (one.length !== other.length) return Infinity;
  let largest = 0;
  for (let at = 0; at < one.length; at++) {
    const difference = Math.abs(one[at] - other[at]);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}

// @ts-check
/**
 * The size at which the network paints, found so that it keeps up with the frame rate asked for: fastnst/webcam/size.py
 * in JavaScript, with the same numbers.
 */

/** @typedef {{width: number, height: number}} Size pixels */

const SMALLEST = 160;
const STEP = 16;
const BUDGET = 0.9;
const AIM = 0.8;
const WINDOW = 8;
const [URGENT, URGENT_WINDOW] = [1.5, 3];
const [REST_S, LONGEST_REST_S] = [2, 60];
const MISTAKE_S = 10;

const area = (/** @type {Size} */ size) => size.width * size.height;

/**
 * Sizes to choose from, smallest first: sides multiples of 16, the long one from 160; `full` is last.
 * @param {Size} full
 * @returns {Size[]}
 */
export function sizesBelow(full) {
  const [long, short] = [Math.max(full.width, full.height), Math.min(full.width, full.height)];
  const sizes = [];
  for (let side = SMALLEST; side < long; side += STEP) {
    const other = Math.max(STEP, Math.round((side * short) / long / STEP) * STEP);
    sizes.push(full.width < full.height ? { width: other, height: side } : { width: side, height: other });
  }
  return [...sizes, full];
}

/**
 * A size of the same shape with another long side, each side a multiple of 16; not enlarged.
 * @param {Size} full
 * @param {number} long
 * @returns {Size}
 */
export function withLongSide(full, long) {
  const scale = Math.min(1, long / Math.max(full.width, full.height));
  if (scale === 1) return full;
  const side = (/** @type {number} */ pixels) => Math.max(STEP, Math.round((pixels * scale) / STEP) * STEP);
  return { width: side(full.width), height: side(full.height) };
}

/** Long side that a picture is painted at, at most, and short side that it is not painted below: fastnst's `--stroke auto`. */
const [STROKE_SIDE, SHORTEST] = [1024, 256];

/**
 * The size to paint a picture at that does not move, so that its strokes are as large in it as in one of 1024 pixels.
 * @param {Size} full
 * @param {number} stroke larger strokes than that, or smaller ones
 * @returns {Size}
 */
export function strokeSize(full, stroke) {
  const [long, short] = [Math.max(full.width, full.height), Math.min(full.width, full.height)];
  const reduction = stroke * Math.max(1, Math.min(long / STROKE_SIDE, short / SHORTEST));
  if (reduction === 1) return full;
  return fitLongSide(full, Math.max(1, roundEven(long / reduction)));
}

/** @param {Size} size */
export const longSide = (size) => Math.max(size.width, size.height);

/**
 * The same shape with another long side, as Python rounds it.
 * @param {Size} full
 * @param {number} long
 * @returns {Size}
 */
export function fitLongSide(full, long) {
  const scale = long / longSide(full);
  const side = (/** @type {number} */ pixels) => Math.max(1, roundEven(pixels * scale));
  return { width: side(full.width), height: side(full.height) };
}

/** @param {number} value */
function roundEven(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}

/** Chooses the size from how long each picture took. */
export class SizeKeeper {
  /** @param {number} fps frames a second that are wanted */
  constructor(fps) {
    this.budget = (1000 / fps) * BUDGET;
    /** @type {Size} */ this.size = { width: 0, height: 0 };
    /** @type {Size[]} */ this.sizes = [];
    /** @type {number[]} */ this.times = [];
    this.skip = 0;
    this.rest = REST_S;
    this.mayGrow = this.grew = -Infinity;
    this.full = "";
  }

  /**
   * Take note of the size of the pictures to paint.
   * @param {Size} full
   */
  fit(full) {
    const name = `${full.width}x${full.height}`;
    if (name === this.full) return;
    this.full = name;
    this.sizes = sizesBelow(full);
    const wanted = Math.max(this.size.width, this.size.height);
    const fitting = this.sizes.filter((size) => Math.max(size.width, size.height) <= wanted);
    this.size = fitting.at(-1) ?? this.sizes[0];
    this.restart();
  }

  /** Forget what was measured, because another network paints from now on. */
  restart() {
    this.times = [];
    this.skip = 1;
    this.mayGrow = -Infinity;
  }

  /**
   * Take note of how long a picture of this size took, and choose the next one's size.
   * @param {number} ms
   * @param {number} now seconds
   */
  note(ms, now) {
    if (this.skip) {
      this.skip--;
      return;
    }
    this.times = [...this.times, ms].slice(-WINDOW);
    const whole = this.times.length === WINDOW;
    const [typical, recent] = [median(this.times), median(this.times.slice(-URGENT_WINDOW))];
    if (whole && typical > this.budget) this.shrink(typical, now);
    else if (this.times.length >= URGENT_WINDOW && recent > URGENT * this.budget) this.shrink(recent, now);
    else if (whole && now >= this.mayGrow) this.grow(typical, now);
  }

  /**
   * @param {number} typical
   * @param {number} now
   */
  shrink(typical, now) {
    const smaller = this.sizes.filter((size) => area(size) < area(this.size));
    if (!smaller.length) {
      this.times = [];
      return;
    }
    this.rest = now - this.grew < MISTAKE_S ? Math.min(2 * this.rest, LONGEST_REST_S) : REST_S;
    const fitting = smaller.filter((size) => area(size) <= this.affordable(typical));
    this.change(fitting.at(-1) ?? smaller[0], now);
  }

  /**
   * @param {number} typical
   * @param {number} now
   */
  grow(typical, now) {
    const most = this.affordable(typical);
    const larger = this.sizes.filter((size) => area(size) > area(this.size) && area(size) <= most).at(-1);
    if (larger) {
      this.grew = now;
      this.change(larger, now);
    }
  }

  /** @param {number} typical */
  affordable(typical) {
    return (area(this.size) * AIM * this.budget) / Math.max(typical, 1e-3);
  }

  /**
   * @param {Size} size
   * @param {number} now
   */
  change(size, now) {
    this.size = size;
    this.times = [];
    this.skip = 1;
    this.mayGrow = now + this.rest;
  }
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// @ts-check
/**
 * Large pictures as `fastnst stylize` paints them: as large as one of 1024 pixels would be, so that strokes keep their
 * size in the picture; what painting changed is enlarged and added to the photo. Of what is much larger than that, the
 * detail is painted, too, by painting the result once more (StylePipeline in fastnst/inference/pipeline.py).
 */

import { canvasOf } from "./painters.js";
import { keepColors } from "./pixels.js";
import { fitLongSide, longSide } from "./size.js";

/**
 * @typedef {import("./size.js").Size} Size
 * @typedef {import("./worker.js").PaintJob} PaintJob
 * @typedef {import("./worker.js").Painter} Painter
 * @typedef {import("./worker.js").Stages} Stages
 * @typedef {Uint8ClampedArray<ArrayBuffer>} Pixels RGBA, row by row
 * @typedef {{width: number, height: number, detail: boolean}} Full a picture's own size, and whether its detail may be painted
 */

/** Detail is painted where a picture is so many times as long as what was painted, */
const DETAIL_FROM = 1.5;
/** and at this long side at most: half of what `stylize` takes, which paints in tiles where memory is short. */
const DETAIL_SIDE = 2048;

/**
 * Paint a picture smaller than it is.
 * @param {Painter} painter
 * @param {PaintJob} job whose size is that to paint at
 * @param {Full} full
 */
export async function paintLarge(painter, job, full) {
  const started = performance.now();
  const stages = { copy: 0, prepare: 0, network: 0, finish: 0 };
  const paint = (/** @type {Pixels} */ pixels, /** @type {Size} */ size) => paintPixels(painter, job, pixels, size, stages);
  const pen = canvasOf(full.width, full.height);
  pen.drawImage(job.frame, 0, 0, full.width, full.height);
  const photo = pen.getImageData(0, 0, full.width, full.height).data;
  const less = { width: job.width, height: job.height };
  const given = reduced(photo, full, less);
  const laid = withChange(photo, full, given, await paint(given, less), less);
  const side = Math.min(DETAIL_SIDE, longSide(full));
  const painted = full.detail && side >= DETAIL_FROM * longSide(less) ? await withDetail(paint, photo, laid, full, less, side) : laid;
  if (job.keepColors) keepColors(painted, photo);
  pen.putImageData(new ImageData(painted, full.width, full.height), 0, 0);
  const picture = pen.canvas.transferToImageBitmap();
  const others = Object.values(stages).reduce((sum, ms) => sum + ms, 0);
  return { picture, stages: { ...stages, finish: stages.finish + performance.now() - started - others } };
}

/**
 * Paint once more over what was painted smaller and laid over the photo; only what is finer than the first strokes is
 * taken from that.
 * @param {(pixels: Pixels, size: Size) => Promise<Pixels>} paint
 * @param {Pixels} photo
 * @param {Pixels} laid
 * @param {Size} full their size
 * @param {Size} less what was painted at first
 * @param {number} side long side to paint at now
 */
async function withDetail(paint, photo, laid, full, less, side) {
  const size = fitLongSide(full, side);
  const coarse = fitLongSide(size, Math.floor(longSide(less) / 2));
  const before = reduced(laid, full, size);
  const again = await paint(before, size);
  const painted = withChange(again, size, reduced(again, size, coarse), reduced(before, size, coarse), coarse);
  return before === laid ? painted : withChange(photo, full, reduced(photo, full, size), painted, size);
}

/**
 * @param {Painter} painter
 * @param {PaintJob} job
 * @param {Pixels} pixels
 * @param {Size} size
 * @param {Stages} stages added to
 */
async function paintPixels(painter, job, pixels, size, stages) {
  const frame = await createImageBitmap(new ImageData(pixels, size.width, size.height));
  const painted = await painter.paint({ ...job, width: size.width, height: size.height, frame, keepColors: false });
  for (const stage of /** @type {(keyof Stages)[]} */ (Object.keys(stages))) stages[stage] += painted.stages[stage];
  const levels = levelsOf(painted.picture, size);
  frame.close();
  painted.picture.close();
  return levels;
}

/**
 * @param {ImageBitmap} picture
 * @param {Size} size its own
 */
function levelsOf(picture, { width, height }) {
  const pen = canvasOf(width, height);
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, width, height).data;
}

/**
 * A picture at a smaller size, each pixel the mean of its area: OpenCV's INTER_AREA with its roundings, for a network
 * turns one level more or less in a flat part into several.
 * @param {Pixels} rgba
 * @param {Size} size of rgba
 * @param {Size} less the smaller size
 * @returns {Pixels}
 */
export function reduced(rgba, size, less) {
  if (less.width === size.width && less.height === size.height) return rgba;
  const [across, down] = [areas(size.width, less.width), areas(size.height, less.height)];
  const result = new Uint8ClampedArray(4 * less.width * less.height).fill(255);
  const [sums, means] = [new Float32Array(3 * less.width), new Float32Array(3 * less.width)];
  // Half a level is rounded to the even one; OpenCV rounds the mean of 2 x 2 pixels up.
  const up = size.width === 2 * less.width && size.height === 2 * less.height ? 1e-3 : 0;
  down.forEach(({ first, shares }, y) => {
    sums.fill(0);
    shares.forEach((share, row) => {
      narrow(means, rgba, 4 * (first + row) * size.width, across);
      for (let at = 0; at < sums.length; at++) sums[at] += Math.fround(share * means[at]);
    });
    for (let x = 0, from = 0, to = 4 * y * less.width; x < less.width; x++, from += 3, to += 4) {
      for (let channel = 0; channel < 3; channel++) result[to + channel] = sums[from + channel] + up;
    }
  });
  return result;
}

/**
 * The means of one row.
 * @param {Float32Array} means (width, 3), written
 * @param {Pixels} rgba
 * @param {number} start of the row
 * @param {Area[]} across
 */
function narrow(means, rgba, start, across) {
  means.fill(0);
  for (let x = 0, to = 0; x < across.length; x++, to += 3) {
    const { first, shares } = across[x];
    for (let column = 0, from = start + 4 * first; column < shares.length; column++, from += 4) {
      const share = shares[column];
      means[to] += Math.fround(share * rgba[from]);
      means[to + 1] += Math.fround(share * rgba[from + 1]);
      means[to + 2] += Math.fround(share * rgba[from + 2]);
    }
  }
}

/**
 * @typedef {{first: number, shares: Float32Array}} Area first place that is covered, and how much each counts
 *
 * The places of a side that each place of a smaller one covers.
 * @param {number} side pixels
 * @param {number} less pixels
 * @returns {Area[]}
 */
function areas(side, less) {
  const scale = side / less;
  return Array.from({ length: less }, (_, place) => {
    const [begin, end] = [place * scale, Math.min(side, (place + 1) * scale)];
    const first = Math.floor(begin);
    const covered = (/** @type {number} */ at) => Math.min(end, at + 1) - Math.max(begin, at);
    const parts = Array.from({ length: Math.ceil(end) - first }, (_, offset) => covered(first + offset));
    // OpenCV leaves out what covers less than a thousandth of a pixel.
    return { first, shares: Float32Array.from(parts, (part) => (part > 1e-3 ? part / scale : 0)) };
  });
}

/**
 * The photo with what painting changed in a smaller one, enlarged: fastnst's `add_change`.
 * @param {Pixels} photo
 * @param {Size} size of the photo
 * @param {Pixels} given the photo as it was painted
 * @param {Pixels} painted
 * @param {Size} less of these two
 * @returns {Pixels}
 */
export function withChange(photo, size, given, painted, less) {
  if (given === photo) return painted; // of the same size
  const [across, down] = [cubic(less.width, size.width), cubic(less.height, size.height)];
  const changes = new Float32Array(3 * size.width * less.height);
  for (let y = 0; y < less.height; y++) widen(changes, 3 * y * size.width, given, painted, 4 * y * less.width, across);
  const laid = new Uint8ClampedArray(photo);
  const line = 3 * size.width;
  for (let y = 0, to = 0; y < size.height; y++) {
    const [first, second, third, fourth] = down.places.subarray(4 * y, 4 * y + 4).map((place) => place * line);
    const [a, b, c, d] = down.shares.subarray(4 * y, 4 * y + 4);
    for (let x = 0, at = 0; x < size.width; x++, to += 4) {
      for (let channel = 0; channel < 3; channel++, at++) {
        const change = a * changes[first + at] + b * changes[second + at] + c * changes[third + at] + d * changes[fourth + at];
        laid[to + channel] += Math.round(change);
      }
    }
  }
  return laid;
}

/**
 * One row of changes, enlarged across.
 * @param {Float32Array} changes (rows, width, 3), written
 * @param {number} to where
 * @param {Pixels} given
 * @param {Pixels} painted
 * @param {number} from where their row begins
 * @param {Taps} across
 */
function widen(changes, to, given, painted, from, { places, shares }) {
  for (let x = 0; x < places.length; x += 4) {
    for (let channel = 0; channel < 3; channel++, to++) {
      let sum = 0;
      for (let tap = x; tap < x + 4; tap++) {
        const at = from + 4 * places[tap] + channel;
        sum += shares[tap] * (painted[at] - given[at]);
      }
      changes[to] = sum;
    }
  }
}

/**
 * @typedef {{places: Int32Array, shares: Float32Array}} Taps four for each place
 *
 * The four places that each place of an enlarged side is made of: OpenCV's INTER_CUBIC, the edge repeated.
 * @param {number} side pixels
 * @param {number} more pixels
 * @returns {Taps}
 */
function cubic(side, more) {
  const [places, shares] = [new Int32Array(4 * more), new Float32Array(4 * more)];
  for (let place = 0; place < more; place++) {
    const at = ((place + 0.5) * side) / more - 0.5;
    const whole = Math.floor(at);
    for (let tap = 0; tap < 4; tap++) {
      places[4 * place + tap] = Math.max(0, Math.min(side - 1, whole - 1 + tap));
      shares[4 * place + tap] = weight(Math.abs(at - (whole - 1 + tap)));
    }
  }
  return { places, shares };
}

/** @param {number} distance in pixels of the smaller side */
function weight(distance) {
  const a = -0.75;
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance ** 2 + 1;
  return distance < 2 ? ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a : 0;
}

// @ts-check
/**
 * What an ONNX file says of itself, read without running it, and the check that it is one of fastnst's.
 *
 * The contract is in exports/README.md. onnxruntime-web does not hand out a file's metadata, so the few fields that
 * matter are read from its protobuf here (onnx.proto: ModelProto.metadata_props is field 14).
 */

/** An error that a user can cause; its message says what was given and what was expected. */
export class UserError extends Error {}

/** @typedef {"web" | "nchw-float" | "nhwc-uint8"} Layout */

/**
 * @typedef {object} Contract
 * @property {Layout} layout
 * @property {number} stride what both sides must be multiples of
 * @property {number} least smallest side that the network takes as it is
 * @property {string[]} styles names of the styles that it knows, one at least
 * @property {boolean} mixes it has the input style_weights
 * @property {boolean} strength it has the input strength
 * @property {number} inputNoise standard deviation of the noise that it expects on its input, levels of 255
 * @property {string} style the name that it gives itself
 */

const METADATA = 14;
const NEWEST_FORMAT = 2;
/** Largest standard deviation of the noise on a network's input, levels of 255. */
export const MAX_NOISE = 64;

/**
 * Read the metadata of an ONNX file.
 * @param {Uint8Array} bytes the whole file
 * @returns {Record<string, string>}
 */
export function readMetadata(bytes) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const [field, content] of fields(bytes)) {
    if (field !== METADATA || !(content instanceof Uint8Array)) continue;
    const entry = new Map(fields(content));
    found[text(entry.get(1))] = text(entry.get(2));
  }
  return found;
}

/**
 * The fields of a protobuf message: numbers, or bytes of what has a length.
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, number | Uint8Array]>}
 */
function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      if (place >= bytes.length || shift > 2 ** 63) throw new UserError("is not an ONNX file, or is damaged");
      const byte = bytes[place++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const key = varint();
    const [field, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) yield [field, varint()];
    else if (kind === 2) {
      const length = varint();
      if (place + length > bytes.length) throw new UserError("is not an ONNX file, or is cut short");
      yield [field, bytes.subarray(place, place + length)];
      place += length;
    } else if (kind === 1) place += 8;
    else if (kind === 5) place += 4;
    else throw new UserError("is not an ONNX file, or is damaged");
  }
}

/** @param {number | Uint8Array | undefined} value */
function text(value) {
  return value instanceof Uint8Array ? new TextDecoder().decode(value).slice(0, 500) : "";
}

/**
 * @typedef {object} Port
 * @property {string} name
 * @property {string} [type]
 * @property {readonly (number | string)[]} [shape]
 */

/**
 * Check a network's inputs and metadata against the contract.
 * @param {Record<string, string>} metadata
 * @param {readonly Port[]} inputs
 * @param {readonly string[]} outputs
 * @returns {Contract}
 */
export function readContract(metadata, inputs, outputs) {
  const format = metadata["fastnst_format"] ?? String(NEWEST_FORMAT);
  if (!(Number(format) <= NEWEST_FORMAT)) {
    throw new UserError(`has format ${format}; this page reads format ${NEWEST_FORMAT}. Get a newer page`);
  }
  const ports = new Map(inputs.map((port) => [port.name, port]));
  const layout = layoutOf(ports.get("frame"), metadata);
  const others = inputs.filter((port) => !["frame", "style_weights", "strength"].includes(port.name));
  if (layout === null || !outputs.includes("stylized") || others.length) {
    const taken = inputs.map((port) => `${port.name} ${port.type ?? ""}`).join(", ");
    throw new UserError(
      `is an ONNX network, but not one of fastnst's: it takes ${taken || "nothing"} and gives ${outputs.join(", ")}; ` +
        "expected frame and stylized, as fastnst train and fastnst export write them",
    );
  }
  const names = (metadata["styles"] ?? "").split(",").map((name) => name.trim());
  const count = Number(ports.get("style_weights")?.shape?.[0] ?? 1);
  const own = metadata["style"] ?? "style";
  const numbered = Array.from({ length: count }, (_, place) => String(place + 1));
  const styles = count === 1 ? [own] : names.length === count ? names : numbered;
  const stride = layout === "web" ? Number(metadata["stride"] ?? 8) : 1;
  const least = layout === "web" ? 64 : 1;
  const mixes = ports.has("style_weights");
  const expected = expectedNoise(metadata["input_noise"] ?? "0");
  return { layout, stride, least, styles, mixes, strength: ports.has("strength"), inputNoise: expected, style: own };
}

/** @param {string} written */
function expectedNoise(written) {
  const levels = Number(written);
  if (levels >= 0 && levels <= MAX_NOISE) return levels;
  throw new UserError(`has the input_noise ${written}; expected levels, 0 to ${MAX_NOISE}`);
}

/**
 * @param {Port | undefined} frame
 * @param {Record<string, string>} metadata
 * @returns {Layout | null}
 */
function layoutOf(frame, metadata) {
  const shape = frame?.shape ?? [];
  if (!frame || shape.length !== 4) return null;
  if (frame.type === "uint8" && shape[3] === 3) return "nhwc-uint8";
  if (frame.type !== "float32" || shape[1] !== 3) return null;
  return metadata["layout"] === "web" ? "web" : "nchw-float";
}

// @ts-check
/**
 * Painting on WebGPU without reading back: frame -> texture -> buffer -> network -> buffer -> canvas.
 */

import { SILENCE, TILE, inputNoise } from "./noise.js";
import { conditionFeeds } from "./painters.js";

/**
 * @typedef {import("./worker.js").Opened} Opened
 * @typedef {import("./worker.js").PaintJob} PaintJob
 */

const SIZES = `
struct Sizes {
  width: u32, height: u32,    // of the picture
  columns: u32, rows: u32,    // of the planes
  least: u32, keep_colors: u32,
  taps: u32, unused: u32,
}`;

// The photo reduced to the size to paint at, the mean of taps x taps samples for each pixel in whole levels, and the
// planes of the same with noise. Padded as pixels.js does it.
const PREPARE = `${SIZES}
@group(0) @binding(0) var photo: texture_2d<f32>;
@group(0) @binding(1) var between: sampler;
@group(0) @binding(2) var<storage, read_write> planes: array<f32>;
@group(0) @binding(3) var<storage, read_write> kept: array<u32>;
@group(0) @binding(4) var<storage, read> noise: array<i32>;
@group(0) @binding(5) var<uniform> sizes: Sizes;

fn source(place: u32, side: u32) -> u32 {
  let extended = max(side, sizes.least);
  let inside = select(2 * (extended - 1) - place, place, place < extended);
  return min(inside, side - 1);
}

@compute @workgroup_size(8, 8)
fn prepare(@builtin(global_invocation_id) at: vec3u) {
  if (at.x >= sizes.columns || at.y >= sizes.rows) { return; }
  let size = vec2f(f32(sizes.width), f32(sizes.height));
  let pixel = vec2u(source(at.x, sizes.width), source(at.y, sizes.height));
  var sum = vec3f(0);
  for (var y = 0u; y < sizes.taps; y++) {
    for (var x = 0u; x < sizes.taps; x++) {
      let inside = (vec2f(f32(x), f32(y)) + 0.5) / f32(sizes.taps);
      sum += textureSampleLevel(photo, between, (vec2f(pixel) + inside) / size, 0).rgb;
    }
  }
  let whole = vec3u(255 * sum / f32(sizes.taps * sizes.taps) + 0.5);
  let more = noise[(pixel.y % TILE) * TILE + pixel.x % TILE];
  let level = vec3f(clamp(vec3i(whole) + more, vec3i(0), vec3i(255)));
  let area = sizes.columns * sizes.rows;
  let place = at.y * sizes.columns + at.x;
  kept[place] = whole.r | (whole.g << 8) | (whole.b << 16);
  planes[place] = level.r;
  planes[place + area] = level.g;
  planes[place + 2 * area] = level.b;
}`.replaceAll("TILE", `${TILE}u`);

// Planes as pixels, with the photo's colors where they are kept, as keepColors in pixels.js.
const FINISH = `${SIZES}
@group(0) @binding(0) var<storage, read> painted: array<f32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
@group(0) @binding(2) var<uniform> sizes: Sizes;

@vertex
fn corner(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(f32(index & 1) * 4 - 1, f32(index >> 1) * 4 - 1, 0, 1);
}

fn luma(level: vec3f) -> f32 {
  let whole = vec3u(level + 0.5);
  return f32((whole.r * 19595 + whole.g * 38470 + whole.b * 7471 + 32768) >> 16);
}

@fragment
fn finish(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let area = sizes.columns * sizes.rows;
  let place = u32(at.y) * sizes.columns + u32(at.x);
  var level = vec3f(painted[place], painted[place + area], painted[place + 2 * area]);
  if (sizes.keep_colors == 1) {
    let own = vec3f((vec3u(kept[place]) >> vec3u(0, 8, 16)) & vec3u(255));
    level = own + luma(level) - luma(own);
  }
  return vec4f(level / 255, 1);
}`;

/** A network on WebGPU. */
export class GpuPainter {
  /**
   * @param {typeof import("onnxruntime-common")} ort
   * @param {import("onnxruntime-common").InferenceSession} session
   * @param {Opened} opened
   */
  static async open(ort, session, opened) {
    const device = /** @type {GPUDevice} */ (await ort.env.webgpu.device);
    const painter = new GpuPainter(ort, session, opened, device);
    void device.lost.then(({ message }) => {
      // With its last session, onnxruntime-web gives the device back.
      if (!painter.closed) postMessage({ lost: message || "the GPU was lost" });
    });
    return painter;
  }

  /**
   * @param {typeof import("onnxruntime-common")} ort
   * @param {import("onnxruntime-common").InferenceSession} session
   * @param {Opened} opened
   * @param {GPUDevice} device
   */
  constructor(ort, session, opened, device) {
    this.ort = ort;
    this.session = session;
    this.opened = opened;
    this.device = device;
    this.format = navigator.gpu.getPreferredCanvasFormat();
    const preparing = device.createShaderModule({ code: PREPARE });
    const finishing = device.createShaderModule({ code: FINISH });
    this.prepare = device.createComputePipeline({ layout: "auto", compute: { module: preparing } });
    this.finish = device.createRenderPipeline({
      layout: "auto",
      vertex: { module: finishing },
      fragment: { module: finishing, targets: [{ format: this.format }] },
    });
    this.between = device.createSampler({ magFilter: "linear", minFilter: "linear" });
    this.sizes = device.createBuffer({ size: 32, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.noise = device.createBuffer({ size: 4 * TILE * TILE, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    /** What is in that buffer, zeros at first. */ this.noiseThere = SILENCE;
    this.canvas = new OffscreenCanvas(1, 1);
    this.closed = false;
    /** @type {GPUTexture | null} */ this.texture = null;
    /** @type {GPUBuffer | null} */ this.planes = null;
    /** @type {GPUBuffer | null} */ this.kept = null;
  }

  /** @param {PaintJob} job */
  async paint({ frame, width, height, conditions, keepColors }) {
    const { least, stride } = this.opened.contract;
    const [columns, rows] = [width, height].map((side) => Math.ceil(Math.max(side, least) / stride) * stride);
    await this.useNoise(conditions.inputNoise);
    const started = performance.now();
    const texture = this.copy(frame);
    const copied = performance.now();
    const taps = Math.max(1, Math.ceil(texture.width / width), Math.ceil(texture.height / height));
    const sizes = [width, height, columns, rows, least, Number(keepColors), Math.min(taps, 8), 0];
    this.device.queue.writeBuffer(this.sizes, 0, Uint32Array.from(sizes));
    const planes = (this.planes = this.room(this.planes, 3 * 4 * columns * rows));
    const kept = (this.kept = this.room(this.kept, 4 * columns * rows));
    this.fill(texture, planes, kept, columns, rows);
    const frameTensor = this.ort.Tensor.fromGpuBuffer(planes, { dataType: "float32", dims: [1, 3, rows, columns] });
    const feeds = { ...conditionFeeds(this.ort, this.opened.contract, conditions), frame: frameTensor };
    const prepared = performance.now();
    const { stylized } = await this.session.run(feeds);
    await this.device.queue.onSubmittedWorkDone();
    const ran = performance.now();
    const picture = this.show(/** @type {GPUBuffer} */ (stylized.gpuBuffer), kept, width, height);
    stylized.dispose();
    const stages = { copy: copied - started, prepare: prepared - copied, network: ran - prepared };
    return { picture, stages: { ...stages, finish: performance.now() - ran } };
  }

  /**
   * Put a frame into a texture of its own size.
   * @param {VideoFrame | ImageBitmap} frame
   */
  copy(frame) {
    const [width, height] =
      frame instanceof ImageBitmap ? [frame.width, frame.height] : [frame.displayWidth, frame.displayHeight];
    if (this.texture?.width !== width || this.texture.height !== height) {
      this.texture?.destroy();
      const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT;
      this.texture = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
    }
    this.device.queue.copyExternalImageToTexture({ source: frame }, { texture: this.texture }, [width, height]);
    return this.texture;
  }

  /** @param {number} levels */
  async useNoise(levels) {
    const noise = await inputNoise(levels);
    if (noise !== this.noiseThere) this.device.queue.writeBuffer(this.noise, 0, Int32Array.from(noise));
    this.noiseThere = noise;
  }

  /**
   * A buffer of so many bytes: the one there is, where it fits.
   * @param {GPUBuffer | null} there
   * @param {number} bytes
   */
  room(there, bytes) {
    const size = Math.ceil(bytes / 16) * 16;
    if (there?.size === size) return there;
    there?.destroy();
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.device.createBuffer({ size, usage });
  }

  /**
   * @param {GPUTexture} texture
   * @param {GPUBuffer} planes
   * @param {GPUBuffer} kept
   * @param {number} columns
   * @param {number} rows
   */
  fill(texture, planes, kept, columns, rows) {
    const buffers = [planes, kept, this.noise, this.sizes].map((buffer) => ({ buffer }));
    const entries = [texture.createView(), this.between, ...buffers];
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.prepare);
    pass.setBindGroup(0, this.bind(this.prepare, entries));
    pass.dispatchWorkgroups(Math.ceil(columns / 8), Math.ceil(rows / 8));
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  /**
   * @param {GPUBuffer} painted
   * @param {GPUBuffer} kept
   * @param {number} width
   * @param {number} height
   */
  show(painted, kept, width, height) {
    Object.assign(this.canvas, { width, height });
    const context = /** @type {GPUCanvasContext} */ (this.canvas.getContext("webgpu"));
    context.configure({ device: this.device, format: this.format, alphaMode: "opaque" });
    const encoder = this.device.createCommandEncoder();
    const view = context.getCurrentTexture().createView();
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    pass.setPipeline(this.finish);
    const entries = [{ buffer: painted }, { buffer: kept }, { buffer: this.sizes }];
    pass.setBindGroup(0, this.bind(this.finish, entries));
    pass.draw(3);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
    return this.canvas.transferToImageBitmap();
  }

  /**
   * @param {GPUComputePipeline | GPURenderPipeline} pipeline
   * @param {GPUBindingResource[]} resources
   */
  bind(pipeline, resources) {
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  }

  async close() {
    this.closed = true;
    this.texture?.destroy();
    for (const buffer of [this.planes, this.kept, this.noise, this.sizes]) buffer?.destroy();
    await this.session.release();
  }
}

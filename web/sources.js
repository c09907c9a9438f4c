// @ts-check
/**
 * Where pictures come from: a camera, a film, a picture. Each gives frames when asked, the newest that there is.
 */

import { UserError } from "./network.js";

/**
 * @typedef {object} Source
 * @property {boolean} live frames change by themselves
 * @property {boolean} mirrored shown as in a mirror
 * @property {string} name in words
 * @property {{width: number, height: number}} size pixels
 * @property {() => Promise<void>} fresh waits until there is a frame that was not taken yet
 * @property {() => Promise<VideoFrame | ImageBitmap>} frame the newest frame; the caller closes it
 * @property {() => MediaStreamTrack[]} sound
 * @property {() => MediaStreamTrack[]} tracks of a camera
 * @property {() => void} close
 */

/** Longest side that a picture is taken at; memory of phones ends beyond. */
const LONGEST_PICTURE = 2048;

/** What goes wrong with cameras, by the names of the browser's errors. */
const CAMERA_WORDS = {
  NotAllowedError:
    "The camera may not be used. Allow it for this page in the address bar (and for the browser in the system's settings), then start it again.",
  NotFoundError: "No camera was found. Connect one, then start it again; or open a picture or a film.",
  NotReadableError: "The camera is in use by another program, or the system refuses it. Close the other program, then start it again.",
  OverconstrainedError: "The camera has no such size. Start it again, or choose another camera.",
};

/**
 * Start a camera.
 * @param {string} facing user or environment
 * @param {(words: string) => void} onEnd called when the camera is taken away
 * @returns {Promise<Source>}
 */
export async function openCamera(facing, onEnd) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new UserError("This page gets no camera: browsers give it to https:// and to localhost only.");
  }
  const video = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false }).catch((error) => {
    const name = /** @type {keyof typeof CAMERA_WORDS} */ (error.name);
    throw new UserError(CAMERA_WORDS[name] ?? `The camera could not be started (${error.message}).`);
  });
  const element = newVideo();
  element.srcObject = stream;
  await element.play();
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => onEnd("The camera was taken away. Connect it again, then start it."));
  const close = () => stream.getTracks().forEach((each) => each.stop());
  const tracks = () => stream.getVideoTracks();
  return fromVideo(element, { name: "Your camera", mirrored: facing === "user", sound: () => [], tracks, close });
}

/**
 * Play a film.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<Source>}
 */
export async function openFilm(file, name) {
  const element = newVideo();
  const address = URL.createObjectURL(file);
  element.src = address;
  element.loop = true;
  try {
    await element.play();
  } catch {
    URL.revokeObjectURL(address);
    throw new UserError(`${name} is no film that this browser plays; expected MP4, WebM or what else it knows.`);
  }
  const close = () => {
    element.pause();
    URL.revokeObjectURL(address);
  };
  const sound = () => /** @type {any} */ (element).captureStream?.().getAudioTracks() ?? [];
  return fromVideo(element, { name, mirrored: false, sound, tracks: () => [], close });
}

/**
 * Open a picture.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<Source>}
 */
export async function openPicture(file, name) {
  const whole = await createImageBitmap(file).catch(() => {
    throw new UserError(`${name} is no picture that this browser can read; expected JPEG, PNG, WebP or the like.`);
  });
  const longest = Math.max(whole.width, whole.height);
  if (longest <= LONGEST_PICTURE) return fromBitmap(whole, name);
  const scale = LONGEST_PICTURE / longest;
  const size = { width: Math.round(whole.width * scale), height: Math.round(whole.height * scale) };
  return fromBitmap(await resized(whole, size), name);
}

/**
 * A picture that stands still.
 * @param {ImageBitmap} bitmap closed with the source
 * @param {string} name
 * @param {boolean} [mirrored]
 * @returns {Source}
 */
export function fromBitmap(bitmap, name, mirrored = false) {
  const size = { width: bitmap.width, height: bitmap.height };
  const frame = () => createImageBitmap(bitmap);
  const close = () => bitmap.close();
  return { live: false, mirrored, name, size, fresh: async () => {}, frame, sound: () => [], tracks: () => [], close };
}

/**
 * @param {ImageBitmap} bitmap closed
 * @param {{width: number, height: number}} size
 */
async function resized(bitmap, { width, height }) {
  const options = { resizeWidth: width, resizeHeight: height, resizeQuality: /** @type {const} */ ("high") };
  const smaller = await createImageBitmap(bitmap, options);
  bitmap.close();
  return smaller;
}

/**
 * @param {HTMLVideoElement} element that plays
 * @param {Pick<Source, "name" | "mirrored" | "sound" | "tracks" | "close">} rest
 * @returns {Source}
 */
function fromVideo(element, { name, mirrored, sound, tracks, close }) {
  return {
    live: true,
    mirrored,
    name,
    get size() {
      return { width: element.videoWidth, height: element.videoHeight };
    },
    fresh: newFrames(element),
    frame: async () => ("VideoFrame" in self ? new VideoFrame(element) : createImageBitmap(element)),
    sound,
    tracks,
    close: () => {
      close();
      element.srcObject = null;
      element.removeAttribute("src");
    },
  };
}

/**
 * Waits until a video shows a frame that was not taken yet; at most 200 ms.
 * @param {HTMLVideoElement} element
 * @returns {() => Promise<void>}
 */
function newFrames(element) {
  if (!("requestVideoFrameCallback" in element)) return async () => {};
  let arrived = true;
  /** @type {(() => void) | null} */ let wake = null;
  const note = () => {
    arrived = true;
    wake?.();
    element.requestVideoFrameCallback(note);
  };
  element.requestVideoFrameCallback(note);
  return async () => {
    if (!arrived) {
      await new Promise((/** @type {(value?: any) => void} */ resolve) => {
        wake = resolve;
        setTimeout(resolve, 200);
      });
    }
    arrived = false;
    wake = null;
  };
}

function newVideo() {
  const element = document.createElement("video");
  Object.assign(element, { muted: true, playsInline: true });
  return element;
}

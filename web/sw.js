// @ts-check
/// <reference lib="webworker" />
/**
 * The page's service worker: it keeps all files for visits without a network, and adds the headers that threads need
 * where the host does not send them (what coi-serviceworker is for).
 *
 * A site's version is in styles.json; files of another version are dropped. onnxruntime-web's are large and have
 * versions of their own: only the build that this browser loads is kept.
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const CACHE = "fastnst-page";
const LARGE = "fastnst-runtime";
/** What the page begins with; the rest is kept as it is asked for. */
const FIRST = ["./", "styles.json", "style.css", "main.js", "worker.js", "engine.js", "network.js", "painters.js"];
const MORE = ["gpu.js", "pixels.js", "noise.js", "large.js", "size.js", "sources.js", "recorder.js", "native.js", "native-painter.js"];
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

worker.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll([...FIRST, ...MORE, "noise.bin", "icon.svg", "manifest.webmanifest"]))
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || address.origin !== worker.location.origin) return;
  if (address.pathname.includes("/results/")) return;
  const stays = /\/(runtime|styles|samples)\//.test(address.pathname);
  event.respondWith((stays ? fromCache(event.request) : fromNetwork(event.request)).then(isolated));
});

/**
 * Large files: what is kept, else the network's.
 * @param {Request} request
 */
async function fromCache(request) {
  return (await caches.match(request, { ignoreSearch: true })) ?? fromNetwork(request);
}

/**
 * Small files: the network's, else what is kept.
 * @param {Request} request
 */
async function fromNetwork(request) {
  try {
    const response = await fetch(request);
    if (response.ok && response.status === 200) await keep(request, response.clone());
    return response;
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

/**
 * @param {Request} request
 * @param {Response} response
 */
async function keep(request, response) {
  if (request.url.endsWith("/styles.json")) await dropOthers(await response.clone().json());
  const cache = await caches.open(request.url.includes("/runtime/") ? LARGE : CACHE);
  await cache.put(request.url.split(/[?#]/)[0], response).catch(() => {}); // no room: it works without
}

/**
 * Drop styles and samples of another version of the site.
 * @param {{version: string}} site
 */
async function dropOthers({ version }) {
  const kept = await caches.match("styles.json");
  const before = kept ? (await kept.json()).version : version;
  if (before === version) return;
  const cache = await caches.open(CACHE);
  for (const request of await cache.keys()) {
    if (/\/(styles|samples)\//.test(request.url)) await cache.delete(request);
  }
}

/**
 * The same response with the headers that make a page cross-origin isolated.
 * @param {Response} response
 */
function isolated(response) {
  if (response.status === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

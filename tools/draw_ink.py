"""Draws data/style/ink.jpg: a pen drawing of data/content/harbour.jpg on cream paper; run it where data/ is."""

import cv2, numpy as np
from PIL import Image

rng = np.random.default_rng(7)
src = cv2.imread("data/content/harbour.jpg")
S = 2
W, H = 1800, 1350
img = cv2.resize(src, (W, H), interpolation=cv2.INTER_CUBIC)
lab = cv2.cvtColor(img, cv2.COLOR_BGR2LAB).astype(np.float32)
L = lab[..., 0] / 255
L = cv2.bilateralFilter(L, 9, 0.08, 9)
clahe = cv2.createCLAHE(2.0, (6, 6))
Lc = clahe.apply((L * 255).astype(np.uint8)).astype(np.float32) / 255
tone = 0.5 * L + 0.5 * Lc
lo, hi = np.percentile(tone, [2, 90])
tone = np.clip((tone - lo) / (hi - lo), 0, 1)
dark = 0.70 * (1 - tone) ** 1.25  # wanted share of ink
dark = cv2.GaussianBlur(dark, (0, 0), 2)


# orientation field
def field(sig):
    g = cv2.GaussianBlur(L, (0, 0), 2)
    gx = cv2.Sobel(g, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(g, cv2.CV_32F, 0, 1)
    xx, xy, yy = [cv2.GaussianBlur(v, (0, 0), sig) for v in (gx * gx, gx * gy, gy * gy)]
    ang = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    coh = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1e-6)
    mag = np.sqrt(xx + yy)
    return ang, coh, mag


a1, coh, mag = field(10)
a2, coh2, _ = field(40)


# slow own direction where the picture has none
def smooth(sig, amp):
    n = cv2.GaussianBlur(rng.standard_normal((H // 8, W // 8)).astype(np.float32), (0, 0), sig / 8)
    n /= n.std()
    return cv2.resize(n, (W, H)) * amp


base = np.deg2rad(-35) + smooth(160, 0.5)
conf = np.clip((mag - 0.004) / 0.02, 0, 1) * np.clip(coh * 1.5, 0, 1)


def mix(a, b, w):
    return 0.5 * np.arctan2((1 - w) * np.sin(2 * b) + w * np.sin(2 * a), (1 - w) * np.cos(2 * b) + w * np.cos(2 * a))


ang = mix(a1, mix(a2, base, np.clip(coh2, 0, 1) * 0.6), conf)
up = 4
canvas = np.zeros((H, W), np.float32)  # ink, 0..1


def stroke(x, y, length, width, turn, ink, wob):
    pts = []
    for sgn in (1, -1):
        px, py = x, y
        part = []
        d0 = None
        for i in range(int(length / 2 / 3)):
            xi, yi = int(px), int(py)
            if not (0 <= xi < W and 0 <= yi < H):
                break
            a = ang[yi, xi] + turn
            dx, dy = np.cos(a) * sgn, np.sin(a) * sgn
            if d0 is not None and dx * d0[0] + dy * d0[1] < 0:
                dx, dy = -dx, -dy
            d0 = (dx, dy)
            part.append((px, py))
            px += 3 * dx
            py += 3 * dy
            if dark[yi, xi] < 0.02 + 0.35 * dark0:
                break
        pts = part[::-1] + pts if sgn == 1 else pts + part[1:]
    if len(pts) < 4:
        return False
    p = np.array(pts)
    n = len(p)
    t = np.linspace(0, 1, n)
    p += np.stack([np.interp(t, np.linspace(0, 1, 5), rng.normal(0, wob, 5)) for _ in range(2)], 1)
    w = (
        width
        * (0.35 + 0.65 * np.sin(np.pi * np.clip(t * 0.9 + 0.06, 0, 1)) ** 0.6)
        * (1 + 0.15 * np.interp(t, np.linspace(0, 1, 6), rng.normal(0, 1, 6)))
    )
    x0, y0 = np.floor(p.min(0) - 6).astype(int)
    x1, y1 = np.ceil(p.max(0) + 6).astype(int)
    x0, y0 = max(x0, 0), max(y0, 0)
    x1, y1 = min(x1, W), min(y1, H)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return False
    m = np.zeros(((y1 - y0), (x1 - x0)), np.uint8)
    q = ((p - [x0, y0]) * 16).astype(np.int32)
    big = np.zeros(((y1 - y0) * 2, (x1 - x0) * 2), np.uint8)
    q = ((p - [x0, y0]) * 2 * 16).astype(np.int32)
    for i in range(n - 1):
        cv2.line(big, tuple(q[i]), tuple(q[i + 1]), 255, max(1, int(round(2 * w[i]))), cv2.LINE_AA, 4)
    m = cv2.resize(big, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA).astype(np.float32) / 255 * ink
    c = canvas[y0:y1, x0:x1]
    np.maximum(c, c + m * (1 - c), out=c)
    return True


def near(x, y, r):
    return canvas[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1].mean()


passes = [
    (0.0, 14, 46, 2.6, 26000, 7),
    (np.deg2rad(62), 12, 36, 2.2, 22000, 7),
    (np.deg2rad(-50), 10, 28, 2.0, 22000, 6),
    (np.deg2rad(20), 6, 18, 1.7, 26000, 5),
]
cut = [0.03, 0.22, 0.36, 0.5]
for (turn, lmin, lmax, w, n, r), c in zip(passes, cut):
    ys, xs = rng.integers(0, H, n), rng.integers(0, W, n)
    drawn = 0
    for x, y in zip(xs, ys):
        d = dark[y, x]
        if d < c:
            continue
        dark0 = d
        want = d - near(x, y, r)
        if want < 0.07 * (0.5 + d):
            continue
        k = 0.55 + 0.6 * min(1, d * 1.3)
        if stroke(
            float(x),
            float(y),
            rng.uniform(lmin, lmax) * 2.2,
            w * k * rng.uniform(0.8, 1.25),
            turn + rng.normal(0, 0.10),
            rng.uniform(0.82, 1.0),
            0.7,
        ):
            drawn += 1
    print(turn, drawn, canvas.mean(), dark.mean(), flush=True)
# outlines
g = cv2.GaussianBlur(L, (0, 0), 2.2)
g2 = cv2.GaussianBlur(L, (0, 0), 3.6)
dog = g - 0.985 * g2
e = np.clip((0.012 - (dog - 0.012)) / 0.02, 0, 1)
edge = cv2.Canny((cv2.GaussianBlur(L, (0, 0), 2) * 255).astype(np.uint8), 22, 55)
ys, xs = np.nonzero(edge)
order = rng.permutation(len(ys))
ang0 = ang
ang = a1 if False else field(3)[0]
done = np.zeros((H, W), bool)
dark_keep = dark
dark = np.ones_like(dark)
dark0 = 0
cnt = 0
for i in order:
    x, y = xs[i], ys[i]
    if done[y, x]:
        continue
    stroke(
        float(x),
        float(y),
        rng.uniform(24, 90),
        rng.uniform(1.3, 2.6) * (0.7 + min(1, mag[y, x] * 12)),
        rng.normal(0, 0.04),
        0.97,
        1.0,
    )
    done[max(0, y - 13) : y + 14, max(0, x - 13) : x + 14] = True
    cnt += 1
print("outlines", cnt)
dark = dark_keep
ang = ang0
# dots in the light
for _ in range(9000):
    x, y = rng.integers(4, W - 4), rng.integers(4, H - 4)
    if 0.012 < dark[y, x] < 0.10 and near(x, y, 8) < dark[y, x]:
        cv2.circle(
            canvas,
            (int(x * 16), int(y * 16)),
            int(rng.uniform(0.7, 1.5) * 16),
            float(rng.uniform(0.6, 0.95)),
            -1,
            cv2.LINE_AA,
            4,
        )
# ink and paper
paper = np.array([214, 232, 241], np.float32) / 255
ink = np.array([38, 30, 33], np.float32) / 255
tooth = smooth(8, 1) * 0.5 + rng.standard_normal((H, W)).astype(np.float32) * 0.5
tooth = cv2.GaussianBlur(tooth, (0, 0), 0.8)
pool = 1 - 0.10 * np.clip(smooth(60, 1), -1, 1)
c = np.clip(cv2.GaussianBlur(canvas, (0, 0), 0.6) * (0.97 + 0.05 * tooth) * pool, 0, 1)[..., None]
out = (paper * (1 + 0.012 * tooth[..., None] + 0.010 * smooth(300, 1)[..., None])) * (1 - c) + ink * c
out = cv2.resize(np.clip(out * 255, 0, 255).astype(np.uint8), (1400, 1050), interpolation=cv2.INTER_AREA)
Image.fromarray(out[..., ::-1]).save("data/style/ink.jpg", quality=88, optimize=True, subsampling=0)

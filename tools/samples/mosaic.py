"""Style picture: a peacock in stone and glass, thousands of cut tesserae with grout between them."""

import cv2
import numpy as np

from samples.noise import Array, blend, fbm2, grid, smoothstep
from samples.pixels import blur, shrink, srgb
from samples.tesserae import Stones, cells, edge_distance, relax, scatter

STONE = 0.0132  # side of a stone, in picture heights
FAN = (0.5, 0.70)  # where the feathers meet
EYES = ((0.190, 9, 0.022), (0.257, 11, 0.028), (0.329, 14, 0.032), (0.383, 17, 0.020))  # rows: radius, count, size
FLOWERS = (  # x, y, size, colour of the petals
    (0.16, 0.80, 0.062, "c2372e"),
    (0.84, 0.80, 0.062, "d9642c"),
    (0.30, 0.865, 0.040, "f0e3c0"),
    (0.70, 0.865, 0.040, "c94a6a"),
    (0.15, 0.17, 0.058, "a32f3a"),
    (0.85, 0.17, 0.058, "a32f3a"),
)
LIGHT = np.array([-0.55, -0.60, 0.58], np.float32)


class Drawing:
    """The cartoon under the mosaic: colours (H, W, 3) and the number of each closed region (H, W)."""

    def __init__(self, height: int, width: int) -> None:
        self.x, self.y = grid(height, width)
        self.colour = np.zeros((height, width, 3), np.float32)
        self.region = np.zeros((height, width), np.int32)
        self.gold = np.zeros((height, width), np.float32)
        self._count = 0

    def fill(self, mask: Array, colour: Array, gold: float = 0.0) -> None:
        """Paint a new region over what is there; the colour is (3,) or (H, W, 3)."""
        self._count += 1
        self.colour[mask] = np.broadcast_to(colour, self.colour.shape)[mask]
        self.region[mask], self.gold[mask] = self._count, gold

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Array:
        """Return the level (H, W) of an ellipse: below 1 inside."""
        dx, dy = self.x - cx, self.y - cy
        c, s = np.cos(turn), np.sin(turn)
        level: Array = np.hypot((c * dx + s * dy) / rx, (c * dy - s * dx) / ry)
        return level


def render(size: tuple[int, int], supersample: int = 2) -> Array:
    """Return the mosaic, (H, W, 3) linear light, of size (height, width)."""
    rng = np.random.default_rng(8)
    drawing = _draw(size[0] * supersample, size[1] * supersample)
    turn = _turns(drawing.region)
    coarse = (slice(None, None, supersample), slice(None, None, supersample))
    stones = scatter(drawing.region[coarse], turn[coarse], STONE * size[0], rng)
    stones = relax(stones, drawing.region[coarse], turn[coarse], rounds=14)
    stones = Stones(stones.centres * supersample + supersample / 2, stones.turn, stones.region)
    labels = cells(stones, drawing.region)
    return shrink(_light(drawing, stones, labels, rng), size)


def _draw(height: int, width: int) -> Drawing:
    d = Drawing(height, width)
    _ground(d)
    _fan(d)
    _body(d)
    _flowers(d)
    _border(d)
    return d


def _ground(d: Drawing) -> None:
    """Golden sky in rings around the bird, a sloping meadow below."""
    x, y = d.x, d.y
    away = np.hypot(x - FAN[0], y - FAN[1])
    sky = blend(srgb("f2dfae"), srgb("d79a3a"), smoothstep(0.35, 0.8, away + 0.08 * fbm2(x * 6, y * 6, 3, 1)))
    d.fill(y >= 0, sky, gold=0.55)
    for ring in (0.475, 0.60):
        d.fill(np.abs(away - ring) < 0.010, srgb("b4562f"))
    _vine(d)
    meadow = y > 0.80 + 0.02 * np.sin(9 * x) + 0.02 * np.cos(4 * x)
    d.fill(meadow, blend(srgb("2f5b38"), srgb("8fa04a"), (0.5 + fbm2(x * 8, y * 16, 3, 2)).clip(0, 1)))
    d.fill(y > 0.885 + 0.012 * np.sin(14 * x + 1), blend(srgb("7c3a24"), srgb("c9824a"), (y * 9) % 1))


def _vine(d: Drawing) -> None:
    """A winding stem with leaves and berries along an arch between the two bands."""
    away = np.hypot(d.x - FAN[0], d.y - FAN[1])
    angle = np.arctan2(d.x - FAN[0], FAN[1] - d.y)
    d.fill(np.abs(away - 0.5375 - 0.016 * np.sin(angle * 34)) < 0.0055, srgb("3d5a26"))
    for number, turn in enumerate(np.arange(-1.25, 1.26, np.pi / 34)):
        side = 1 if number % 2 else -1
        cx, cy = (FAN[0] + np.sin(turn) * (0.5375 + 0.026 * side), FAN[1] - np.cos(turn) * (0.5375 + 0.026 * side))
        leaf = d.ellipse(cx, cy, 0.013, 0.024, turn + 0.9 * side)
        d.fill(leaf < 1, blend(srgb("2f7a3c"), srgb("8fb04a"), leaf.clip(0, 1)))
        bx, by = FAN[0] + np.sin(turn) * (0.5375 - 0.024 * side), FAN[1] - np.cos(turn) * (0.5375 - 0.024 * side)
        d.fill(d.ellipse(bx, by, 0.0095, 0.0095) < 1, srgb("a3243a"))


def _fan(d: Drawing) -> None:
    """The spread tail: barbs in green and teal, and four rows of eyes."""
    dx, dy = d.x - FAN[0], d.y - FAN[1]
    away, angle = np.hypot(dx, dy), np.arctan2(dx, -dy)
    reach = 0.418 + 0.010 * np.cos(angle * 26)
    inside = (away < reach) & (np.abs(angle) < 1.85)
    barbs = (angle * 13 / np.pi) % 1
    green = blend(srgb("0c3336"), srgb("3a9a68"), (0.5 + 0.5 * np.sin(angle * 52)) * smoothstep(0.1, 0.5, away))
    d.fill(inside, green)
    d.fill(inside & (np.abs(barbs - 0.5) < 0.06), srgb("b98b2f"), gold=0.5)
    d.fill(inside & (away > reach - 0.022), blend(srgb("c7a03c"), srgb("5fae6d"), barbs), gold=0.4)
    for row, (radius, count, eye) in enumerate(EYES):
        for place in range(count):
            turn = (place + 0.5 - count / 2) * (3.56 / count)
            if row < 3 and abs(turn) < 0.2 + 0.1 * (row < 2):
                continue  # the neck and the crest are there
            _eye(d, FAN[0] + radius * np.sin(turn), FAN[1] - radius * np.cos(turn), radius=eye, turn=turn, row=row)


def _eye(d: Drawing, cx: float, cy: float, *, radius: float, turn: float, row: int) -> None:
    rings = (("d9b64a", 1.0), ("8a4a1f", 0.80), ("2fa7a0", 0.62), ("1c2f8f", 0.40))
    for number, (colour, share) in enumerate(rings):
        if row == 3 and number == 1:
            continue
        level = d.ellipse(cx, cy, radius * share, radius * share * 1.22, turn)
        d.fill(level < 1, srgb(colour) * (1.15 - 0.3 * level[..., None]), gold=0.7 if number == 0 else 0.2)


def _body(d: Drawing) -> None:
    """Breast, neck and head in blues, from broad to narrow along an S-shaped line."""
    t = np.linspace(0, 1, 60)
    line_x = 0.5 + 0.030 * np.sin(t * 4.4) - 0.012 * t
    line_y = 0.785 - 0.37 * t
    thick = 0.062 * (1 - smoothstep(0.10, 0.72, t)) + 0.027 + 0.012 * np.exp(-(((t - 0.97) / 0.06) ** 2))
    level = np.full(d.x.shape, np.inf, np.float32)
    for cx, cy, r in zip(line_x, line_y, thick, strict=True):
        level = np.minimum(level, np.hypot(d.x - cx, d.y - cy) / r)
    scales = 0.5 + 0.5 * np.sin(d.x * 150) * np.sin(d.y * 130)
    blue = blend(srgb("12309a"), srgb("2f9fd0"), (0.25 + 0.5 * scales + 0.5 * (0.52 - d.x) * 6).clip(0, 1))
    d.fill(level < 1.14, srgb("e9dba6"))
    d.fill(level < 1, blend(blue, srgb("0b1650"), smoothstep(0.6, 1.0, level)))
    for number, base in enumerate(np.arange(0.66, 0.86, 0.032)):  # rows of breast feathers
        drop = base + 0.10 * (d.x - 0.505) ** 2 / 0.01 + 0.004 * np.cos(d.x * 220)
        row = (np.abs(d.y - drop) < 0.0055) & (level < 0.86)
        d.fill(row, srgb("7fd0d8", "58b08a")[number % 2])
    head_x, head_y = float(line_x[-1]), float(line_y[-1])
    beak = (d.x < head_x - 0.028) & (np.abs(d.y - head_y - 0.008) < 0.016 * (d.x - head_x + 0.085) / 0.055)
    d.fill(beak & (d.x > head_x - 0.085), srgb("e2b04a"), gold=0.5)
    d.fill(d.ellipse(head_x - 0.008, head_y, 0.024, 0.013) < 1, srgb("f5efdc"))
    d.fill(d.ellipse(head_x - 0.010, head_y, 0.009, 0.009) < 1, srgb("120d12"))
    for number in range(5):
        turn = (number - 2) * 0.30
        for share in np.linspace(0.5, 1, 2):
            top_x, top_y = head_x + 0.105 * share * np.sin(turn), head_y - 0.02 - 0.09 * share * np.cos(turn)
            size = 0.008 if share < 1 else 0.0145
            d.fill(
                d.ellipse(top_x, top_y, size, size * 1.5, turn) < 1, srgb("e8c24a", "1a6fb0")[int(share == 1)], gold=0.4
            )
    for side in (-1, 1):
        leg = (np.abs(d.x - 0.5 - side * 0.030) < 0.006) & (d.y > 0.855) & (d.y < 0.905)
        d.fill(leg, srgb("caa04a"))


def _flowers(d: Drawing) -> None:
    """Rosettes with leaves in the meadow and stars in the upper corners."""
    for cx, cy, size, petal in FLOWERS:
        dx, dy = d.x - cx, d.y - cy
        away, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        if cy > 0.5:
            d.fill((np.abs(dx + 0.01 * np.sin(60 * dy)) < 0.007) & (dy > 0) & (d.y < 0.92), srgb("1f4a2c"))
        leaf = away < size * (1.25 + 0.28 * np.cos(angle * 4 + np.pi))
        d.fill(leaf, blend(srgb("1f5a34"), srgb("6f9a4a"), (away / size - 0.6).clip(0, 1)))
        bloom = away < size * (0.88 + 0.14 * np.cos(angle * 6))
        d.fill(bloom, blend(srgb(petal), srgb(petal) * 0.45, 0.5 + 0.5 * np.cos(angle * 6 + np.pi)))
        d.fill(away < size * 0.52, blend(srgb("f4d9a0"), srgb(petal), smoothstep(0.2, 0.5, away / size)))
        d.fill(away < size * 0.24, srgb("e9b83a"), gold=0.8)


def _border(d: Drawing) -> None:
    """A frame: lines of cream and gold, and a chain of lozenges on dark blue."""
    edge = np.minimum(np.minimum(d.x, d.x.max() - d.x), np.minimum(d.y, 1 - d.y))
    along = np.where(np.minimum(d.x, d.x.max() - d.x) < np.minimum(d.y, 1 - d.y), d.y, d.x)
    d.fill(edge < 0.082, srgb("efe0b8"))
    d.fill(edge < 0.069, srgb("8f2f24"))
    d.fill(edge < 0.056, srgb("16245c"))
    step = 1 / 17
    local = np.abs((along / step) % 1 - 0.5) * step
    lozenge = local * 0.85 + np.abs(edge - 0.034)
    for limit, colour, gold in ((0.0205, "d9b04a", 0.8), (0.0135, "2b8f8a", 0.1), (0.007, "f3e7c6", 0.0)):
        d.fill((lozenge < limit) & (edge < 0.056), srgb(colour), gold)
    d.fill(edge < 0.0125, srgb("c9993a"), gold=0.7)


def _turns(regions: Array) -> Array:
    """Direction of the rows (H, W) in radians: along the nearest drawn edge."""
    edge = np.ones(regions.shape, np.uint8)
    edge[:, 1:][regions[:, 1:] != regions[:, :-1]] = 0
    edge[1:][regions[1:] != regions[:-1]] = 0
    distance = blur(cv2.distanceTransform(edge, cv2.DIST_L2, 5), regions.shape[0] / 300)
    dy, dx = np.gradient(distance)
    # Averaged as doubled angles, since opposite gradients mean the same rows.
    doubled = 4 * np.arctan2(dy, dx)
    sigma = regions.shape[0] / 170
    return np.arctan2(blur(np.sin(doubled), sigma), blur(np.cos(doubled), sigma)) / 4


def _light(drawing: Drawing, stones: Stones, labels: Array, rng: np.random.Generator) -> Array:
    """Colour, bevel, tilt and wear of every stone, (H, W, 3)."""
    height, width = labels.shape
    x, y = drawing.x, drawing.y
    rows, columns = (
        stones.centres[:, 1].astype(int).clip(0, height - 1),
        stones.centres[:, 0].astype(int).clip(0, width - 1),
    )
    count, safe = len(rows), np.maximum(labels, 0)
    colours = drawing.colour[rows, columns] * np.exp(rng.normal(0, 0.20, (count, 1)) + rng.normal(0, 0.06, (count, 3)))
    colours = np.where(
        rng.uniform(0, 1, (count, 1)) < 0.06, colours * 0.5 + 0.5 * colours.mean(1, keepdims=True) + 0.05, colours
    )
    colour = colours.astype(np.float32)[safe]
    veins = fbm2(x * 130 + 9 * np.sin(safe * 2.1), y * 130 + 9 * np.cos(safe * 1.3), 3, seed=41)
    colour = colour * (1 + 0.35 * veins)[..., None]

    scale = height / 1536
    inset = edge_distance(labels) / scale + 1.6 * fbm2(x * 90, y * 90, 2, seed=43)
    top = smoothstep(1.2, 4.6, inset) + 0.07 * fbm2(x * 200, y * 200, 2, seed=44)
    dy, dx = np.gradient(blur(top, 1.0 * scale) * 3.6 * scale)
    tilt = rng.normal(0, 0.10, (count, 2)).astype(np.float32)[safe]
    normal = np.stack([-dx + tilt[..., 0], -dy + tilt[..., 1], np.ones_like(dx)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    diffuse = np.clip(normal @ LIGHT, 0, None) / LIGHT[2]
    half = (LIGHT + np.array([0, 0, 1], np.float32)) / np.linalg.norm(LIGHT + np.array([0, 0, 1], np.float32))
    shine = np.clip(normal @ half, 0, 1)
    gold = drawing.gold[rows, columns][safe]
    lit = colour * (0.30 + 0.72 * diffuse)[..., None]
    lit += (0.22 * shine**60 + gold * 0.55 * shine**14 * (diffuse - 0.75).clip(0, 1))[..., None] * srgb("fff0c8")

    grout = srgb("6b5f52") * (0.55 + 0.5 * fbm2(x * 160, y * 160, 3, seed=45) + 0.25)[..., None]
    lit = blend(grout, lit, smoothstep(0.8, 2.4, inset) * (labels >= 0))
    sweep = 1.08 - 0.30 * np.hypot(x - 0.35, y - 0.3) + 0.10 * fbm2(x * 2.5, y * 2.5, 3, seed=46)
    result: Array = lit * sweep[..., None]
    return result

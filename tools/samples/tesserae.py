"""Cut stones for a mosaic: oriented square cells that follow a direction field and never cross a drawn edge.

Method: Hausner, "Simulating decorative mosaics" (SIGGRAPH 2001): a centroidal Voronoi diagram whose distance
is the larger of the two coordinates in a turned frame. Differs from Hausner: cells come from jump flooding
(Rong and Tan, 2006), and a stone may only cover pixels of the region that its centre lies in.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array


@dataclass
class Stones:
    """Centres (N, 2) as x, y in pixels, turn (N,) in radians and the region (N,) each stone belongs to."""

    centres: Array
    turn: Array
    region: Array


def scatter(regions: Array, turn: Array, side: float, rng: np.random.Generator) -> Stones:
    """Place stones on a jittered grid of the given side (pixels) over regions (H, W)."""
    height, width = regions.shape
    y, x = np.mgrid[side / 2 : height : side, side / 2 : width : side]
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-0.45 * side, 0.45 * side, (x.size, 2))
    return _read(centres.astype(np.float32), regions, turn)


def relax(stones: Stones, regions: Array, turn: Array, rounds: int) -> Stones:
    """Move every stone to the middle of its cell a few times (Lloyd), so that the stones line up."""
    for _ in range(rounds):
        labels = cells(stones, regions)
        kept = labels >= 0
        index = labels[kept]
        rows, columns = np.nonzero(kept)
        count = np.bincount(index, minlength=len(stones.centres))
        x = np.bincount(index, columns, len(count)) / np.maximum(count, 1)
        y = np.bincount(index, rows, len(count)) / np.maximum(count, 1)
        alive = count > 0
        moved = np.stack([x, y], axis=1)[alive].astype(np.float32)
        # The middle of a bent cell may lie outside its region; then the stone stays where it was.
        stones = _read(moved, regions, turn, stones, alive)
    return stones


def _read(
    centres: Array, regions: Array, turn: Array, before: Stones | None = None, alive: Array | None = None
) -> Stones:
    height, width = regions.shape
    columns = centres[:, 0].astype(np.int32).clip(0, width - 1)
    rows = centres[:, 1].astype(np.int32).clip(0, height - 1)
    region = regions[rows, columns]
    if before is not None and alive is not None:
        strayed = region != before.region[alive]
        centres = np.where(strayed[:, None], before.centres[alive], centres)
        columns = centres[:, 0].astype(np.int32).clip(0, width - 1)
        rows = centres[:, 1].astype(np.int32).clip(0, height - 1)
        region = regions[rows, columns]
    return Stones(centres, turn[rows, columns], region)


def cells(stones: Stones, regions: Array) -> Array:
    """Return for each pixel (H, W) the number of the nearest stone of its region, or -1."""
    height, width = regions.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    labels = np.full((height, width), -1, np.int32)
    columns = stones.centres[:, 0].astype(np.int32).clip(0, width - 1)
    rows = stones.centres[:, 1].astype(np.int32).clip(0, height - 1)
    labels[rows, columns] = np.arange(len(rows))
    best = np.where(labels >= 0, 0, np.float32(1e9)).astype(np.float32)
    cosine, sine = np.cos(stones.turn).astype(np.float32), np.sin(stones.turn).astype(np.float32)
    for step in (reach for reach in (64, 32, 16, 8, 4, 2, 1, 1) if reach < min(height, width)):
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                candidate = _shift(labels, dy, dx)
                dist_x, dist_y = x - stones.centres[candidate, 0], y - stones.centres[candidate, 1]
                c, s = cosine[candidate], sine[candidate]
                across, along = np.abs(c * dist_x + s * dist_y), np.abs(c * dist_y - s * dist_x)
                # A little of the smaller coordinate keeps the cells in one piece.
                distance = np.maximum(across, along) + 0.05 * np.minimum(across, along)
                better = (candidate >= 0) & (distance < best) & (stones.region[candidate] == regions)
                labels[better], best[better] = candidate[better], distance[better]
    return labels


def _shift(labels: Array, dy: int, dx: int) -> Array:
    height, width = labels.shape
    moved = np.full_like(labels, -1)
    moved[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)] = labels[
        max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)
    ]
    return moved


def edge_distance(labels: Array) -> Array:
    """Distance in pixels (H, W) from each pixel to the edge of its stone; 0 on edges and where no stone lies."""
    edge = labels < 0
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)

"""Choosing what to keep between passes: memory and disk against computing again."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from fastnst.tiling.passes import Pass, Passes, norm_levels
from fastnst.tiling.tileable import Tileable

MAP_BYTES = 2
"""Feature maps are kept in float16."""

# Seconds as in passes.py.
_MEMORY_BYTE_S = 1 / 4e9
_DISK_BYTE_S = 1 / 0.2e9
# The halo's share of the work is counted for tiles of this side.
_USUAL_TILE = 256


@dataclass
class TilingPlan:
    """Passes, and what keeping maps costs."""

    passes: list[Pass]
    in_memory: frozenset[str] = frozenset()
    """Maps that find room in memory; the others go to disk."""

    memory: float = 0.0
    """Bytes of maps in memory at the fullest moment."""

    disk: float = 0.0
    """Bytes of maps on disk at the fullest moment."""

    elapsed_s: float = 0.0
    """Estimated, for comparing plans."""

    def last_reads(self) -> dict[str, int]:
        """Number of the pass after which each map is not needed any more."""
        return {name: number for number, each in enumerate(self.passes) for name in each.reads}


def make_plan(network: Tileable, pixels: int, room: float, disk: float, *, measured: bool = False) -> TilingPlan:
    """Find a cheap plan.

    Args:
        network: what is to be painted.
        pixels: of the picture.
        room: bytes of memory for maps.
        disk: bytes of disk for maps that find no room in memory.
        measured: all statistics are known; a single pass paints.

    Returns:
        The cheapest plan that changing one choice at a time, or two, finds. It keeps nothing where there is no room.
    """
    passes = Passes(network, [] if measured else norm_levels(network))
    candidates = passes.candidates()
    sizes = {name: network.density[name] * pixels * MAP_BYTES for name in candidates}

    def price(kept: frozenset[str]) -> TilingPlan:
        return _price(passes.keeping(kept), sizes, pixels, room, disk)

    singles = [frozenset([name]) for name in candidates]
    everything = price(frozenset(candidates))
    if everything.disk == 0:
        return _improve(price, frozenset(candidates), [singles])
    pairs = [frozenset(pair) for pair in combinations(candidates, 2)]
    plans = [_improve(price, frozenset(start), [singles, pairs]) for start in (candidates, [])]
    return min(plans, key=lambda plan: plan.elapsed_s)


def _improve(
    price: Callable[[frozenset[str]], TilingPlan], kept: frozenset[str], changes: Sequence[Sequence[frozenset[str]]]
) -> TilingPlan:
    """Try the first changes as long as one of them helps, then the next ones, then the first again."""
    best = price(kept)
    improved = True
    while improved:
        improved = False
        for kind in changes:
            for change in kind:
                other = price(kept ^ change)
                if other.elapsed_s < best.elapsed_s:
                    kept, best, improved = kept ^ change, other, True
            if improved:
                break
    return best


def _price(passes: list[Pass], sizes: dict[str, float], pixels: int, room: float, disk: float) -> TilingPlan:
    """Find a place for the maps that the passes keep, and estimate the time."""
    plan = TilingPlan(passes)
    last = plan.last_reads()
    in_memory: set[str] = set()
    on_disk: set[str] = set()
    for number, each in enumerate(passes):
        # Bands of a map that is read for the last time go while the bands of new ones come.
        staying = sum(sizes[name] for name in in_memory if last[name] > number)
        going = sum(sizes[name] for name in in_memory if last[name] == number)
        coming = 0.0
        for name in each.writes:
            if staying + max(going, coming + sizes[name]) <= room:
                coming += sizes[name]
                in_memory.add(name)
            else:
                on_disk.add(name)
        plan.memory = max(plan.memory, staying + max(going, coming))
        plan.disk = max(plan.disk, sum(sizes[name] for name in on_disk if last[name] >= number))
        plan.elapsed_s += each.work * _with_halo(each) * pixels
        for name in (*each.reads, *each.writes):
            plan.elapsed_s += sizes.get(name, 0.0) * (_DISK_BYTE_S if name in on_disk else _MEMORY_BYTE_S)
    plan.in_memory = frozenset(in_memory)
    if plan.disk > disk:
        plan.elapsed_s = math.inf
    return plan


def _with_halo(each: Pass) -> float:
    rows, columns = each.halo
    return (1 + 2 * rows / _USUAL_TILE) * (1 + 2 * columns / _USUAL_TILE)

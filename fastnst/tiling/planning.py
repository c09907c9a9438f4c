"""Passes over a picture, and which maps are kept between them: memory and disk against computing again.

A normalisation needs the statistics of its whole input before anything behind it can be computed. So a picture is
painted in one pass for each layer of normalisations that wait for each other, and one that paints. A pass starts from
feature maps that earlier passes kept, or from the frame.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil

from onnx import NodeProto

from fastnst.tiling.geometry import walk
from fastnst.tiling.surgery import Norm, fullest
from fastnst.tiling.tileable import Tileable

# Seconds on two cores of a server of 2023; only their ratios to each other and to the costs of keeping maps matter.
_MAC_S = 1 / 60e9
_NUMBER_S = 0.5e-9  # for each number that a node writes


@dataclass(frozen=True)
class Pass:
    """One pass over all tiles of a picture."""

    nodes: tuple[NodeProto, ...]
    norms: tuple[Norm, ...]
    """Normalizations whose statistics it measures; none in the pass that stylizes."""

    reads: tuple[str, ...]
    """Maps it starts from; "frame" is the picture."""

    writes: tuple[str, ...]
    """Maps it keeps for later passes."""

    halo: tuple[int, int]
    """Rows and columns of the picture that a tile needs beyond its own, whole cells."""

    work: float
    """Seconds per pixel of the picture, without halo, on the machine that the constants are of."""

    live: float
    """Numbers held at once at the fullest moment, per pixel of a tile with its halo."""


def norm_levels(network: Tileable) -> list[tuple[Norm, ...]]:
    """Normalisations in the order in which they can be measured, those of one level in the same pass."""
    level: dict[str, int] = {}
    levels: dict[int, list[Norm]] = {}
    norms = {norm.node.output[0]: norm for norm in network.graph.norms}
    for node in network.graph.nodes:
        depth = max((level.get(name, 0) for name in node.input), default=0)
        if node.output[0] in norms:
            levels.setdefault(depth, []).append(norms[node.output[0]])
            depth += 1
        level.update(dict.fromkeys(node.output, depth))
    return [tuple(levels[depth]) for depth in sorted(levels)]


class Passes:
    """The passes of one network, for any choice of maps to keep."""

    def __init__(self, network: Tileable, levels: Sequence[tuple[Norm, ...]]) -> None:
        """Prepare; `levels` are the normalisations to measure, level by level."""
        self._network = network
        self._norms = [*levels, ()]
        # Reading a protobuf's fields is slow, and planning does it thousands of times.
        self._ends = [(tuple(node.input), tuple(node.output)) for node in network.graph.nodes]
        self._drafts: dict[tuple[int, frozenset[str]], _Draft] = {}
        self._described: dict[tuple[int, frozenset[str], frozenset[str]], Pass] = {}

    def candidates(self) -> list[str]:
        """Values worth keeping: what normalisations take, and what more than one node takes."""
        if len(self._norms) == 1:
            return []
        takers: dict[str, int] = {}
        for inputs, _ in self._ends:
            for name in set(inputs):
                takers[name] = takers.get(name, 0) + 1
        sources = {norm.source for norm in self._network.graph.norms}
        return [
            name
            for name in self._network.extents
            if name != "frame" and (name in sources or takers.get(name, 0) > 1) and self._network.covers_picture(name)
        ]

    def keeping(self, kept: frozenset[str]) -> list[Pass]:
        """The passes when the maps in `kept` are kept from where they come up to where they are last needed."""
        known = frozenset(["frame"])
        drafts = []
        for number in range(len(self._norms)):
            draft = self._draft(number, known)
            drafts.append(draft)
            known |= draft.made & kept
        passes: list[Pass] = []
        read_later: frozenset[str] = frozenset()
        for number, draft in reversed(list(enumerate(drafts))):
            passes.append(self._describe(number, draft, draft.made & kept & read_later))
            read_later |= draft.reads
        return passes[::-1]

    def _draft(self, number: int, known: frozenset[str]) -> "_Draft":
        if (number, known) not in self._drafts:
            targets = {norm.source for norm in self._norms[number]} or {"stylized"}
            wanted, chosen = targets - known, []
            for index in reversed(range(len(self._ends))):
                inputs, outputs = self._ends[index]
                if not wanted.isdisjoint(outputs):
                    chosen.append(index)
                    wanted.update(name for name in inputs if name not in known)
            made = frozenset(name for index in chosen for name in self._ends[index][1])
            reads = known & (targets | {name for index in chosen for name in self._ends[index][0]})
            self._drafts[number, known] = _Draft(tuple(chosen[::-1]), reads, made)
        return self._drafts[number, known]

    def _describe(self, number: int, draft: "_Draft", writes: frozenset[str]) -> Pass:
        key = (number, draft.reads, writes)
        if key not in self._described:
            nodes = [self._network.graph.nodes[index] for index in draft.nodes]
            self._described[key] = _describe(self._network, nodes, self._norms[number], draft.reads, writes)
        return self._described[key]


@dataclass(frozen=True)
class _Draft:
    nodes: tuple[int, ...]
    reads: frozenset[str]
    made: frozenset[str]


def _describe(
    network: Tileable,
    nodes: Sequence[NodeProto],
    norms: tuple[Norm, ...],
    reads: Collection[str],
    writes: Collection[str],
) -> Pass:
    rows_and_columns = {name: network.extents[name] for name in reads}
    known = {
        name: (replace(rows, margin=0), replace(columns, margin=0))
        for name, (rows, columns) in rows_and_columns.items()
    }
    extents = walk(nodes, known, network.around)
    results = [*writes, *(norm.source for norm in norms)] or ["stylized"]
    halo = tuple(
        ceil(max(extents[name][axis].margin * extents[name][axis].scale for name in results) / cell) * cell
        for axis, cell in enumerate(network.cell)
    )
    numbers = sum(network.density.get(name, 0.0) for node in nodes for name in node.output)
    work = sum(network.macs(node) for node in nodes) * _MAC_S + numbers * _NUMBER_S
    live = fullest(network.density, nodes, results)
    return Pass(tuple(nodes), norms, tuple(sorted(reads)), tuple(sorted(writes)), (halo[0], halo[1]), work, live)


MAP_BYTES = 2
"""Feature maps are kept in float16."""

# Seconds as above.
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


def make_plan(network: Tileable, pixels: int, room: float, disk: float) -> TilingPlan:
    """Find a cheap plan for so many pixels: the cheapest that changing one choice at a time, or two, finds.

    `room` and `disk` are bytes of memory for maps, and of disk for those that find no room there; without any it keeps
    nothing.
    """
    passes = Passes(network, norm_levels(network))
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

"""Tables on comparisons of the fast and the exact method: speed, loss, and where one matches the other."""

from collections.abc import Sequence
from statistics import fmean

from fastnst.report.blocks import Cell, Column, Row, Table, mean_interval
from fastnst.research.comparison.comparison import TABLE_STEPS, Comparison, Judged, shown_steps

_LEAST_FOR_INTERVAL = 4


def speed_table(comparisons: Sequence[Comparison]) -> Table:
    """Seconds and speed-up by size, as table 1 of Johnson et al. (2016); means over photos."""
    rows = []
    for size in sizes_of(comparisons):
        chosen = at_size(comparisons, size)
        cells: list[Cell] = [_timed(chosen, steps) for steps in TABLE_STEPS]
        cells += [in_words(fmean(c.step_s for c in chosen)), in_words(fmean(c.fast_s for c in chosen))]
        cells += [f"{fmean(c.speed_up(steps) for c in chosen):,.0f}x" for steps in TABLE_STEPS]
        height, width = chosen[0].content.shape[:2]
        rows.append(Row(f"{width} x {height}" if len(chosen) == 1 else f"long side {size} px", cells))
    return Table(
        [
            *(Column(title=f"exact ({n})", meaning=f"Seconds of {n} exact steps.") for n in TABLE_STEPS),
            Column(title="1 step", meaning="Median seconds of one exact step."),
            Column(title="fast", meaning="Median seconds of the network for one picture."),
            *(Column(title=f"speed-up ({n})", meaning=f"Seconds of {n} exact steps over fast.") for n in TABLE_STEPS),
        ],
        rows,
        corner="size",
        caption="As table 1 of Johnson et al. (2016). ~ stands before steps that were not run: the median step times "
        "their number.",
    )


def loss_table(comparisons: Sequence[Comparison], with_smoothness: bool = False) -> Table:
    """Losses of the photo itself, the fast picture and the exact ones at one size; means over photos."""
    names = {"total": "total", "content": "content", "style": "style"}
    names |= {"total_variation": "total variation"} if with_smoothness else {}
    rows: list[Row] = []

    def add(label: str, losses: list[Judged], seconds: str | None, baseline: bool = False) -> None:
        cells: list[Cell] = [_mean([getattr(each, name) for each in losses]) for name in names]
        rows.append(Row(label, [*cells, seconds], baseline))

    add("the photo itself", [c.content_losses for c in comparisons], None, baseline=True)
    add("fast", [c.fast_losses for c in comparisons], in_words(fmean(c.fast_s for c in comparisons)))
    for step in shown_steps(comparisons[0].curve[-1].step):
        points = [point for c in comparisons if (point := c.at(step)) is not None]
        add(f"exact ({step})", [p.losses for p in points], in_words(fmean(p.elapsed_s for p in points)))
    return Table(
        [*(Column(title=title, better="lower") for title in names.values()), Column(title="time")],
        rows,
        corner=f"at {comparisons[0].size} px",
        caption=f"Mean over {counted(len(comparisons), 'photo')}"
        + (" with 95 % interval." if len(comparisons) >= _LEAST_FOR_INTERVAL else ".")
        + " Total is the weighted sum that both methods lower.",
    )


def match_table(comparisons: Sequence[Comparison]) -> Table:
    """For each photo and size, the exact step that first matches the fast network."""
    rows = []
    for c in comparisons:
        found, last = c.matched, c.curve[-1]
        step: Cell = found.step if found else f"> {last.step}"
        seconds = in_words(found.elapsed_s) if found else f"> {in_words(last.elapsed_s)}"
        ratio = f"{found.elapsed_s / c.fast_s:,.0f}x" if found else f"> {last.elapsed_s / c.fast_s:,.0f}x"
        gap = f"{c.fast_losses.total / last.losses.total - 1:+.0%}"
        rows.append(Row(f"{c.photo}, {c.size} px", [c.fast_losses.total, step, seconds, ratio, gap]))
    return Table(
        [
            Column(title="fast total"),
            Column(
                title="matched at step",
                meaning="First exact step whose best picture has no higher total; judged at least every twentieth "
                "part. Johnson et al. (2016, 4.1) report 50 to 100.",
            ),
            Column(title="after"),
            Column(title="times fast", meaning="Seconds to match over seconds of the network."),
            Column(title="above the last", meaning="How far the fast total is above the exact method's last one."),
        ],
        rows,
        corner="first match",
    )


def sizes_of(comparisons: Sequence[Comparison]) -> list[int]:
    """All sizes, ascending."""
    return sorted({comparison.size for comparison in comparisons})


def at_size(comparisons: Sequence[Comparison], size: int) -> list[Comparison]:
    """The comparisons at one size."""
    return [comparison for comparison in comparisons if comparison.size == size]


def in_words(seconds: float) -> str:
    """12 ms; 0.52 s; 12.3 s; 214 s."""
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def counted(count: int, noun: str) -> str:
    """1 photo; 3 photos."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _timed(comparisons: Sequence[Comparison], steps: int) -> str:
    measured = all(comparison.at(steps) for comparison in comparisons)
    return f"{'' if measured else '~'}{in_words(fmean(c.exact_s(steps) for c in comparisons))}"


def _mean(values: Sequence[float]) -> Cell:
    """Mean with its interval, or alone where so few values tell nothing of the spread."""
    return mean_interval(values) if len(values) >= _LEAST_FOR_INTERVAL else fmean(values)

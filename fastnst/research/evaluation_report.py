"""An evaluation as a report: tables, plot, verdicts, pictures, and all of it as data.

Verdicts are what the figures bear out: that a network is worth its time, passes the acceptance gate, or beats another.
What a style must reach before it is shipped stands here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastnst.io.images import Frame, resize_long_side
from fastnst.metrics.perceptual import STYLE_SIZE
from fastnst.report.blocks import Column, Facts, Heading, PictureGrid, Plot, Row, Table, Text, Verdict, Verdicts
from fastnst.report.report import MARKERS, Report, Theme, crop_detail, draw_plot, thumbnail
from fastnst.research.evaluate import MATCHED, PLAIN, Evaluated, Evaluation
from fastnst.research.judge import APPEARANCE, ARTIFACTS, PERCEPTUAL, SECOND_OPINION, SIMILARITY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from dataclasses import dataclass
from itertools import combinations

from fastnst.metrics.appearance import OCTAVES
from fastnst.report.blocks import paired_interval


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of the means over photos; keys of the measures are those of `judge.MEASURES`.

    Those of the losses and of artifacts hold at long side 512, those of the appearance at every size.
    """

    style: float = 0.20
    """More, and the painting's colors and strokes are not there."""

    centred_share: float = 0.5
    """Centred figure as a share of the recolored photo's: half its distance must go into real texture."""

    border: float = 2.0
    """Lines along the edges; photos, and stylized pictures whose edges were cut off, read 0.5 to 1.3."""

    grid: float = 0.02
    """Grid energy; photographs and paintings read below 0.01, visible checkerboards above 0.05."""

    blobs: float = 0.005
    """Half a per cent of dead or saturated picture."""

    contrast: tuple[float, float] = (0.85, 1.15)
    """Paler than the painting, or harsher."""

    chroma: tuple[float, float] = (0.85, 1.2)
    """Grayer than the painting, or gaudier."""

    octaves: tuple[float, float] = (0.8, 1.25)
    """Each band from 2 to 32 px: strokes of that size are missing, or are noise. 64 px is the photo's composition."""

    tones: float = 0.7
    """Fewer, and the picture falls into two or three masses."""

    relief: float = 0.002
    """More, and the picture looks embossed; networks that people like read 0.0006 or less."""

    pattern: float = 3.0
    """Median over photos; more, and corduroy or a grid is seen at 1:1."""


THRESHOLDS = Thresholds()


def check_gate(
    means: Mapping[str, float], matched: Mapping[str, float], thresholds: Thresholds = THRESHOLDS
) -> list[str]:
    """Compare a style's means, by measure, and those of the photo with the painting's colors with the thresholds.

    Returns one sentence for each threshold that is missed, with both numbers; none for a style that may be shipped.
    """
    limits = {name: getattr(thresholds, name) for name in ("style", "border", "grid", "blobs")}
    limits["centred"] = thresholds.centred_share * matched["centred"]
    return _too_high(means, limits) + check_appearance(means, thresholds)


def check_appearance(means: Mapping[str, float], thresholds: Thresholds = THRESHOLDS) -> list[str]:
    """Compare the figures of the appearance alone with the thresholds, as at sizes other than 512.

    Returns one sentence for each threshold that is missed.
    """
    ranges = {"contrast": thresholds.contrast, "chroma": thresholds.chroma}
    ranges |= {f"octave_{size}": thresholds.octaves for size in OCTAVES[:-1]}
    missed = [
        f"{measure} {means[measure]:.4g}, {low:g} to {high:g}"
        for measure, (low, high) in ranges.items()
        if not low <= means[measure] <= high
    ]
    if not means["tones"] >= thresholds.tones:
        missed.append(f"tones {means['tones']:.4g}, at least {thresholds.tones:g}")
    return missed + _too_high(means, {"relief": thresholds.relief, "pattern": thresholds.pattern})


def _too_high(means: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    # `not <=` and not `>`, so that an undefined figure does not pass.
    return [
        f"{measure} {means[measure]:.4g}, at most {limit:.4g}"
        for measure, limit in limits.items()
        if not means[measure] <= limit
    ]


MUST_BE_LOWER = ("style", "centred", "alexnet_style", "alexnet_centred")
"""Figures on which a network that beats another is lower beyond doubt: the interval of the differences is below 0."""

MUST_NOT_BE_WORSE = ("content", "alexnet_content")
"""Figures whose mean must be no higher: less of the photo for more of the painting is a trade, no win."""


def baseline_verdicts(result: Evaluation) -> list[Verdict]:
    """Whether each network beats the plain photo and the recolored one on style and on the centred figure."""
    return [_beats_baselines(network, [result.row(PLAIN), result.row(MATCHED)]) for network in result.networks]


def gate_verdicts(result: Evaluation) -> list[Verdict]:
    """Whether each network passes the acceptance gate, of which at sizes other than 512 the appearance alone counts."""
    verdicts = []
    for network in result.networks:
        means = network.means()
        whole = result.size == STYLE_SIZE
        missed = check_gate(means, result.row(MATCHED).means()) if whole else check_appearance(means)
        verdicts.append(Verdict(not missed, f"{network.name} passes the acceptance gate", "; ".join(missed)))
    return verdicts


def pair_verdicts(result: Evaluation) -> list[Verdict]:
    """For each pair of networks, whether the one with the lower centred figure beats the other."""
    return [
        _beats(*sorted(pair, key=lambda network: network.interval("centred").mean))
        for pair in combinations(result.networks, 2)
    ]


def _beats_baselines(network: Evaluated, baselines: Sequence[Evaluated]) -> Verdict:
    checks = [
        (f"{measure} {_means(network, row, measure)} of the {row.name}", _is_lower(network, row, measure))
        for row in baselines
        for measure in ("style", "centred")
    ]
    claim = f"{network.name} beats the {PLAIN} and the {MATCHED} on style and centred"
    return _verdict(claim, checks)


def _beats(network: Evaluated, other: Evaluated) -> Verdict:
    claim = f"{network.name} beats {other.name}"
    checks = [
        (_difference(network, other, measure), _is_lower(network, other, measure))
        for measure in MUST_BE_LOWER
        if measure in network.values
    ]
    checks += [
        (
            _difference(network, other, measure),
            paired_interval(network.values[measure], other.values[measure]).mean <= 0,
        )
        for measure in MUST_NOT_BE_WORSE
        if measure in network.values
    ]
    verdict = _verdict(claim, checks)
    if verdict.holds and "alexnet_style" not in network.values:
        return Verdict(None, claim, f"{verdict.reason}; but AlexNet's weights are not at hand")
    return verdict


def _verdict(claim: str, checks: Sequence[tuple[str, bool]]) -> Verdict:
    """All checks must hold; the reason names those that do not, or all where they do."""
    missed = [words for words, holds in checks if not holds]
    if missed:
        return Verdict(False, claim, "not on " + "; ".join(missed))
    return Verdict(True, claim, "; ".join(words for words, _ in checks))


def _is_lower(network: Evaluated, other: Evaluated, measure: str) -> bool:
    return paired_interval(network.values[measure], other.values[measure]).high < 0


def _means(network: Evaluated, other: Evaluated, measure: str) -> str:
    own, reference = network.interval(measure).mean, other.interval(measure).mean
    return f"{own:.3f} against {reference:.3f}"


def _difference(network: Evaluated, other: Evaluated, measure: str) -> str:
    difference = paired_interval(network.values[measure], other.values[measure])
    margin = f" ± {difference.margin:.3f}" if difference.count > 1 else ""
    words = measure.replace("alexnet_", "AlexNet ")
    return f"{words} {_means(network, other, measure)} ({difference.mean:+.3f}{margin})"


CROP = (176, 256)
"""Height and width of the crops shown at 1:1, pixels."""


def summarize(results: Sequence[Evaluation], *, style: Frame, style_name: str, facts: Mapping[str, str]) -> Report:
    """Build the report of an evaluation at one size or at several, of which the first one's figures lead.

    `facts` say what was measured with what: weights, sizes.
    """
    first = results[0]
    count, photos = len(first.networks), len(first.photos)
    networks = "1 network" if count == 1 else f"{count} networks"
    ended = "; stopped before the last" if any(result.interrupted for result in results) else ""
    summary = f"{networks} over {photos} photo{'s' if photos > 1 else ''}, {len(first.skipped)} left out{ended}."
    report = Report(f"Evaluation on {style_name}", summary)
    explained = {
        "Figures": "mean over photos ± half the 95 % interval (Student's t); of pattern the median",
        "Recolored photo": "the photo with the mean and the covariance of the painting's colors",
    }
    report.add(Facts({"Style image": style_name, **facts, "Photos": str(photos), **explained}))
    for result in results:
        _add_size(report, result, style, f" at {result.size} px" if len(results) > 1 else "")
    further = {str(result.size): _data(result) for result in results[1:]}
    report.data = {"style_image": style_name, "facts": facts, **_data(first)} | ({"sizes": further} if further else {})
    return report


def _add_size(report: Report, result: Evaluation, style: Frame, where: str) -> None:
    for title, table in tables(result).items():
        report.add(Heading(title + where), table)
        if title == "Content and style":
            report.add(_plot(result, where))
    for title, lines in _verdicts(result).items():
        report.add(Heading(title + where), Text(_EXPLANATIONS[title]), Verdicts(lines))
    report.add(Heading("Pictures" + where), picture_grid(result, style))


_EXPLANATIONS = {
    "Against the photo itself": "A stylizer must come closer to the painting than the photo does, and than the photo "
    "does once its colors are matched.",
    "Acceptance gate": f"What a shipped style must reach: style at most {THRESHOLDS.style}, centred at most "
    f"{THRESHOLDS.centred_share:.0%} of the recolored photo's, border at most {THRESHOLDS.border}, grid at most "
    f"{THRESHOLDS.grid}, blobs at most {THRESHOLDS.blobs}, all these at 512 px; and at every size contrast from "
    f"{THRESHOLDS.contrast[0]} to {THRESHOLDS.contrast[1]}, chroma from {THRESHOLDS.chroma[0]} to "
    f"{THRESHOLDS.chroma[1]}, each octave from 2 to 32 px from {THRESHOLDS.octaves[0]} to {THRESHOLDS.octaves[1]}, "
    f"tones at least {THRESHOLDS.tones}, relief at most {THRESHOLDS.relief}, pattern at most {THRESHOLDS.pattern}.",
    "Which network beats which": "A network beats another if it is lower beyond doubt (95 % interval of the "
    "differences photo by photo) on style and centred, by VGG-19 and by AlexNet, and no worse on content by either.",
}


def tables(result: Evaluation) -> dict[str, Table]:
    """The tables of an evaluation by title."""
    groups = {
        "Content and style": PERCEPTUAL,
        "Appearance": APPEARANCE,
        "Second opinion": SECOND_OPINION | SIMILARITY,
        "Artifacts": ARTIFACTS,
    }
    return {title: _table(result, group, sizes=title == "Content and style") for title, group in groups.items()}


def picture_grid(result: Evaluation, style: Frame) -> PictureGrid:
    """The painting, photos, and what each row made of them, small; below each a part at 1:1."""
    order = [PLAIN, *(row.name for row in result.networks), MATCHED]
    painting = resize_long_side(style, STYLE_SIZE)
    rows: list[tuple[str, list[Frame | None]]] = []
    notes: list[list[str]] = []
    for number, sample in enumerate(result.samples):
        frames = [sample.frames[name] for name in order]
        rows.append((sample.name, [thumbnail(frame) for frame in (painting, *frames)]))
        rows.append(("", [*crop_detail([painting], CROP), *crop_detail(frames, CROP)]))
        notes += [["", *(_seen(result.row(name), number) for name in order)], [""] * (len(order) + 1)]
    caption = "Below each picture: its figures, and a part of it at 1:1, the painting at 512 px."
    return PictureGrid(["painting", *order], rows, caption, notes)


def _seen(row: Evaluated, photo: int) -> str:
    """What the eye sees of one picture, in a few words."""
    contrast, chroma, pattern = (row.values[key][photo] for key in ("contrast", "chroma", "pattern"))
    return f"contrast {contrast:.2f}, chroma {chroma:.2f}, pattern {pattern:.1f}"


def _table(result: Evaluation, group: Mapping[str, Column], *, sizes: bool) -> Table:
    keys = [key for key in group if key in result.measures]
    rows = []
    for row in result.rows:
        cells: list[Any] = [row.parameters] if sizes else []
        rows.append(Row(row.name, [*cells, *(row.interval(key) for key in keys)], row.baseline))
    columns = [Column(title="parameters")] if sizes else []
    return Table([*columns, *(group[key] for key in keys)], rows, "network")


def _verdicts(result: Evaluation) -> dict[str, list[Verdict]]:
    verdicts = {
        "Against the photo itself": baseline_verdicts(result),
        "Acceptance gate": gate_verdicts(result),
        "Which network beats which": pair_verdicts(result),
    }
    return {title: lines for title, lines in verdicts.items() if lines}


def _plot(result: Evaluation, where: str) -> Plot:
    def draw(panels: "list[Axes]", theme: Theme) -> None:
        for axes, measure in zip(panels, ("style", "centred"), strict=True):
            for index, row in enumerate(result.rows):
                _draw_row(axes, row, measure, index, theme)
            axes.set(xlabel="content: distance to the photo", ylabel=f"{measure}: distance to the painting")
            axes.set(yscale="log", title=measure)
            for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis(_plain_number)
        handles, names = panels[0].get_legend_handles_labels()
        figure = panels[0].get_figure()
        if figure is not None:
            figure.legend(handles, names, loc="outside lower center", ncols=3)

    caption = "Closer to the lower left corner is better. Bars: 95 % intervals of the means."
    name = f"tradeoff-{result.size}" if where else "tradeoff"
    return draw_plot(name, draw, caption=caption, panels=2, size=(10, 5))


def _draw_row(axes: "Axes", row: Evaluated, measure: str, index: int, theme: Theme) -> None:
    content, other = row.interval("content"), row.interval(measure)
    color = theme.muted if row.baseline else theme.series[index % len(theme.series)]
    several = content.count > 1
    axes.errorbar(
        content.mean,
        other.mean,
        xerr=content.margin if several else None,
        yerr=other.margin if several else None,
        fmt=MARKERS[index % len(MARKERS)],
        color=color,
        mfc=theme.paper if row.baseline else color,
        mec=color,
        markersize=8,
        elinewidth=1,
        label=row.name,
    )


def _plain_number(value: float, _position: float) -> str:
    """Ticks of a logarithmic axis: 0.1 0.2 0.5 1, not powers of ten; the others stay without a number."""
    leading = f"{value:.0e}"[0]
    return f"{value:g}" if leading in "125" else ""


def _data(result: Evaluation) -> dict[str, Any]:
    return {
        "size": result.size,
        "photos": result.photos,
        "skipped": result.skipped,
        "rows": [
            {
                "name": row.name,
                "parameters": row.parameters,
                "means": {measure: row.interval(measure) for measure in row.values},
                "values": row.values,
            }
            for row in result.rows
        ],
        "verdicts": {title: [vars(verdict) for verdict in lines] for title, lines in _verdicts(result).items()},
    }

"""The studies: figures of the founding documents, redrawn, and figures that show what fastnst adds.

Each is a function from what is given, photos, styles and settings, to a plan: rows and columns of pictures, and which
settings each is painted with. `PRESET_OF` names the preset whose settings a study starts from. Knows nothing of torch.

Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from fastnst.errors import InputError
from fastnst.exact.presets import PresetName
from fastnst.exact.settings import OptimizeSettings, Style
from fastnst.io.images import Frame


@dataclass(frozen=True)
class Named:
    """A picture with a name for labels, and perhaps its regions."""

    name: str
    frame: Frame
    mask: Frame | None = None


@dataclass(frozen=True)
class Given:
    """What a study is made of."""

    photos: Sequence[Named]
    styles: Sequence[Named]
    settings: OptimizeSettings
    """What holds for every cell, unless the study changes it."""

    network: str = ""
    """A trained network to show beside, for the study that wants one."""


@dataclass(frozen=True)
class StudyRun:
    """One run of the exact method."""

    photo: Named
    styles: Sequence[Style]
    style_names: Sequence[str]
    settings: OptimizeSettings
    content_mask: Frame | None = None


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet: of a run, as it is after a step; or a given one, shown as it is."""

    job: StudyRun | None = None
    step: int | None = None
    """None: the run's result."""

    shown: Frame | None = None
    network: str = ""
    """A trained network that stylizes `shown` instead."""


@dataclass(frozen=True)
class StudyPlan:
    """A study: labelled rows of cells, one cell for each column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


def job(photo: Named, styles: Sequence[Named], settings: OptimizeSettings, *, masks: bool = False) -> StudyRun:
    """A run on a photo with styles of equal weight, with their masks or without."""
    return StudyRun(
        photo,
        [Style(style.frame, mask=style.mask if masks else None) for style in styles],
        [style.name for style in styles],
        settings,
        photo.mask if masks else None,
    )


StudyName: TypeAlias = Literal[
    "content-layers",
    "style-layers",
    "grid",
    "content-weight",
    "pooling",
    "total-variation",
    "init",
    "optimizers",
    "statistics",
    "gallery",
    "masks",
    "library",
    "blend",
    "scale",
    "colour",
    "strength",
]

_DEPTHS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def content_layers(given: Given) -> StudyPlan:
    """Content reconstructed from one layer alone, from noise (Gatys et al. 2015, figure 1; e4040, figure 1)."""
    rows = []
    for photo in given.photos:
        settings = [
            _changed(given, content_layers=(layer,), style_layers=(), style_weight=0.0, init="noise")
            for layer in (*_DEPTHS, "relu4_2")
        ]
        cells = [Cell(job(photo, given.styles[:1], one)) for one in settings]
        rows.append((photo.name, [Cell(shown=photo.frame), *cells]))
    return StudyPlan("Content reconstructed from one layer", ["photo", *_DEPTHS, "relu4_2"], rows)


def style_layers(given: Given) -> StudyPlan:
    """Style reconstructed from ever more layers, from noise (Gatys et al. 2015, figure 1)."""
    rows = []
    for style in given.styles:
        settings = [
            _changed(given, style_layers=_DEPTHS[:depth], content_layers=(), content_weight=0.0, init="noise")
            for depth in range(1, len(_DEPTHS) + 1)
        ]
        cells = [Cell(job(given.photos[0], [style], one)) for one in settings]
        rows.append((style.name, [Cell(shown=style.frame), *cells]))
    titles = [_DEPTHS[0], *(f"up to {layer}" for layer in _DEPTHS[1:])]
    return StudyPlan("Style reconstructed from its layers", ["style", *titles], rows)


def grid(given: Given) -> StudyPlan:
    """Depth of the style layers against the ratio of content to style (gatys2015, rows A to E)."""
    ratios = (1e-5, 1e-4, 1e-3, 1e-2)
    rows = []
    for depth in range(1, len(_DEPTHS) + 1):
        settings = [
            _changed(given, style_layers=_DEPTHS[:depth], content_weight=ratio, style_weight=1.0) for ratio in ratios
        ]
        cells = [Cell(job(given.photos[0], given.styles[:1], one)) for one in settings]
        rows.append((f"{'ABCDE'[depth - 1]} up to {_DEPTHS[depth - 1]}", cells))
    return StudyPlan("Style depth against alpha / beta", [f"{ratio:.0e}" for ratio in ratios], rows)


def content_weight(given: Given) -> StudyPlan:
    """Weight of the content (cs229, figure 1)."""
    weights = (1e-2, 1e-3, 1e-4, 1e-8)
    return _variations(given, "Content weight", [(f"{w:.0e}", {"content_weight": w}) for w in weights])


def pooling(given: Given) -> StudyPlan:
    """Average and max pooling (e4040, figure 7)."""
    return _variations(given, "Pooling", [(pool, {"pool": pool}) for pool in ("average", "max")])


def total_variation(given: Given) -> StudyPlan:
    """With and without total variation, in both forms (e4040, figure 8)."""
    weight = given.settings.tv_weight or 1.0
    return _variations(
        given,
        "Total variation",
        [
            ("none", {"tv_weight": 0.0}),
            (f"l1, {weight:g}", {"tv_weight": weight, "tv_kind": "l1"}),
            (f"squared, {weight / 50:g}", {"tv_weight": weight / 50, "tv_kind": "squared"}),
        ],
    )


def init(given: Given) -> StudyPlan:
    """What the picture starts from: the photo, as in e4040, or noise, as in Gatys et al."""
    return _variations(
        given,
        "Initialisation",
        [
            ("content", {"init": "content"}),
            ("noise", {"init": "noise"}),
            ("noise, other seed", {"init": "noise", "seed": given.settings.seed + 1}),
        ],
    )


def optimizers(given: Given) -> StudyPlan:
    """L-BFGS and Adam after 100, 300 and 500 steps (gatys2015)."""
    steps = sorted({max(1, round(given.settings.steps * share)) for share in (0.2, 0.6, 1)})
    rows = []
    for optimizer in ("lbfgs", "adam"):
        for photo, style in _pairs(given):
            run = job(photo, [style], _changed(given, optimizer=optimizer, learning_rate=None))
            rows.append((f"{optimizer}: {photo.name}, {style.name}", [Cell(run, step) for step in steps]))
    return StudyPlan("L-BFGS and Adam", [f"step {step}" for step in steps], rows)


def statistics(given: Given) -> StudyPlan:
    """What style compares: the Gram matrix, its diagonal, the rest of it, and others (Li et al. 2017)."""
    kinds = ("gram", "diagonal", "off-diagonal", "moments", "covariance", "sliced-wasserstein")
    return _variations(given, "Style statistics", [(kind, {"style_statistic": kind}) for kind in kinds])


def gallery(given: Given) -> StudyPlan:
    """Each style on each photo (e4040, figure 4; cs229, figure 2; kmit, figures 10 and 13)."""
    rows: list[tuple[str, list[Cell | None]]] = [("", [None, *(Cell(shown=style.frame) for style in given.styles)])]
    for photo in given.photos:
        cells = [Cell(job(photo, [style], given.settings)) for style in given.styles]
        rows.append((photo.name, [Cell(shown=photo.frame), *cells]))
    return StudyPlan("Styles on photos", ["", *(style.name for style in given.styles)], rows)


def masks(given: Given) -> StudyPlan:
    """Without and with spatial control (cs229, figures 3 and 4), and without the guard at the borders."""
    if len(given.photos) != len(given.styles):
        raise InputError(
            f"this study wants as many styles as photos, each with its mask; given are {len(given.photos)} photos and "
            f"{len(given.styles)} styles"
        )
    rows = []
    for photo, style in zip(given.photos, given.styles, strict=True):
        if photo.mask is None or style.mask is None:
            raise InputError(f"{photo.name}, {style.name}: this study wants --content-mask and --style-mask for each")
        bare = _changed(given, mask_guard=0.0)
        runs = [
            job(photo, [style], given.settings),
            job(photo, [style], bare, masks=True),
            job(photo, [style], given.settings, masks=True),
        ]
        shown = [Cell(shown=frame) for frame in (photo.frame, photo.mask, style.frame, style.mask)]
        rows.append((f"{photo.name}, {style.name}", [*shown, *(Cell(run) for run in runs)]))
    return StudyPlan("Regions", ["photo", "", "style", "", "no masks", "masks, no guard", "masks"], rows)


def library(given: Given) -> StudyPlan:
    """The document's own method beside a trained network's (aradwad-gauri: "library function output").

    Each style alone, then all of them in one picture, in equal parts.
    """
    if not given.network:
        raise InputError("this study wants --trained-style, a trained style or an .onnx file")
    paired: list[tuple[Named, Sequence[Named]]] = [(photo, [style]) for photo, style in _pairs(given)]
    if len(given.styles) > 1:
        # The document's three styles in one picture. A network paints what it was trained to.
        paired += [(photo, given.styles) for photo in given.photos]
    rows = []
    for photo, styles in paired:
        cells = [
            Cell(shown=photo.frame),
            Cell(shown=styles[0].frame) if len(styles) == 1 else None,
            Cell(shown=photo.frame, network=given.network),
            Cell(job(photo, styles, given.settings)),
        ]
        rows.append((f"{photo.name}, {' + '.join(style.name for style in styles)}", cells))
    return StudyPlan("Beside a library", ["photo", "style", f"network: {given.network}", "exact"], rows)


def blend(given: Given) -> StudyPlan:
    """From one style to the next in five steps, blended in each way."""
    if len(given.styles) < 2:
        raise InputError("a strip between styles wants two or more: --style a.jpg --style b.jpg")
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    rows = []
    for first, second in zip(given.styles, given.styles[1:], strict=False):
        for how in ("gram", "loss", "image"):
            for photo in given.photos:
                settings = _changed(given, style_blend=how)
                cells = [
                    Cell(
                        StudyRun(
                            photo,
                            [Style(first.frame, 1 - share), Style(second.frame, share)],
                            [f"{first.name}:{1 - share:g}", f"{second.name}:{share:g}"],
                            settings,
                        )
                    )
                    for share in shares
                ]
                rows.append((f"{how}: {photo.name}, {first.name} to {second.name}", cells))
    return StudyPlan("Between styles", [f"{share:.0%}" for share in shares], rows)


def scale(given: Given) -> StudyPlan:
    """Size of the strokes."""
    return _variations(given, "Style scale", [(f"{s:g}", {"stroke": s}) for s in (0.5, 1.0, 2.0)])


def colour(given: Given) -> StudyPlan:
    """Whose colours."""
    kinds = ("style", "luminance", "match", "histogram", "chroma")
    return _variations(given, "Colours", [(kind, {"color": kind}) for kind in kinds])


def strength(given: Given) -> StudyPlan:
    """How much of the photo is given up."""
    return _variations(given, "Strength", [(f"{s:g}", {"content_target": s}) for s in (0.2, 0.35, 0.5, 0.7)])


STUDIES: Mapping[StudyName, Callable[[Given], StudyPlan]] = {
    "content-layers": content_layers,
    "style-layers": style_layers,
    "grid": grid,
    "content-weight": content_weight,
    "pooling": pooling,
    "total-variation": total_variation,
    "init": init,
    "optimizers": optimizers,
    "statistics": statistics,
    "gallery": gallery,
    "masks": masks,
    "library": library,
    "blend": blend,
    "scale": scale,
    "colour": colour,
    "strength": strength,
}

PRESET_OF: Mapping[StudyName, PresetName] = {
    "content-layers": "gatys2015",
    "style-layers": "gatys2015",
    "grid": "gatys2015",
    "content-weight": "cs229",
    "pooling": "e4040",
    "total-variation": "e4040",
    "init": "e4040",
    "optimizers": "gatys2015",
    "gallery": "e4040",
    "library": "aradwad-gauri",
}
"""The others start from the default."""


def _changed(given: Given, **changes: Any) -> OptimizeSettings:
    """The settings with changes, without the weights of layers that are changed."""
    dropped = {f"{term}_layer_weights": () for term in ("content", "style") if f"{term}_layers" in changes}
    return replace(given.settings, **{**dropped, **changes})


def _pairs(given: Given) -> list[tuple[Named, Named]]:
    return [(photo, style) for photo in given.photos for style in given.styles]


def _variations(given: Given, title: str, variations: Sequence[tuple[str, Mapping[str, Any]]]) -> StudyPlan:
    """A row for each pair of photo and style, a column for each variation of the settings."""
    rows = []
    for photo, style in _pairs(given):
        runs = [job(photo, [style], _changed(given, **change)) for _, change in variations]
        rows.append((f"{photo.name}, {style.name}", [Cell(run) for run in runs]))
    return StudyPlan(title, [name for name, _ in variations], rows)

"""What a study shows: rows and columns of pictures, and which settings each is painted with. Knows nothing of torch.

Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Style
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
    """A trained network that paints `shown` instead."""


@dataclass(frozen=True)
class StudyPlan:
    """A study: labelled rows of cells, one cell for each column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers for the JSON file."""


def job(photo: Named, styles: Sequence[Named], settings: OptimizeSettings, *, masks: bool = False) -> StudyRun:
    """A run on a photo with styles of equal weight, with their masks or without."""
    return StudyRun(
        photo,
        [Style(style.frame, mask=style.mask if masks else None) for style in styles],
        [style.name for style in styles],
        settings,
        photo.mask if masks else None,
    )

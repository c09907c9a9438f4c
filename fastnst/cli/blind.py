"""`fastnst research blind` and `blind-count`: which of two contenders people prefer, without knowing which is which."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fastnst.cli.console import Console
from fastnst.errors import InputError

if TYPE_CHECKING:
    from fastnst.research.blind import Preference

SEVERAL = Parameter(negative="", consume_multiple=True, show_default=False)


def blind(
    first: str,
    second: str,
    /,
    *,
    style_image: Path,
    photos: Annotated[tuple[str, ...], SEVERAL],
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("blind"),
    key: Path | None = None,
    size: Annotated[int, Parameter(validator=validators.Number(gte=64))] = 512,
    pairs: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    seed: int | None = None,
) -> None:
    """Write numbered sheets that show two contenders' pictures of the same photos, without names, beside the painting.

    Each photo makes one sheet, 001.png and on. Which picture is whose is decided by lot and written to the key. Look
    at the sheets without it, write down a line for each, such as "12 left" ("same" where neither is better), and let
    `fastnst research blind-count` compare the answers with the key.

    Parameters
    ----------
    first:
        A style, such as starry or gallery@olive_trees, an .onnx file, also another project's, or a folder of painted
        pictures with the photos' names, such as those of `fastnst optimize`.
    second:
        The other one.
    style_image:
        The painting.
    photos:
        Pictures, folders or patterns.
    output:
        Folder for the sheets.
    key:
        File for the key, outside that folder; by default beside it, OUTPUT-key.json.
    size:
        Longest side of the photos, pixels.
    pairs:
        Sheets at most, spread evenly over the photos.
    seed:
        Number that decides the lots; by default drawn, and written into the key.
    """
    # onnx takes a second to import: only now that the options are known to be right.
    from fastnst.io.folders import find_pictures  # noqa: PLC0415
    from fastnst.io.images import read_frame  # noqa: PLC0415
    from fastnst.research.blind import open_contender, write_sheets  # noqa: PLC0415

    console = Console(stderr=True)
    painting = read_frame(style_image)
    paths = [found.path for found in find_pictures(photos, skip=output)]
    contenders = open_contender(first), open_contender(second)
    key = key or output.with_name(f"{output.name}-key.json")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("sheets", total=min(pairs or len(paths), len(paths)))
        written = write_sheets(
            contenders,
            painting,
            paths,
            output,
            key,
            size=size,
            pairs=pairs,
            seed=seed,
            on_sheet=lambda number: bar.update(task, completed=number),
        )
    console.print(f"{output}: {len(written.left)} sheets; the key is in {key}", markup=False)


def blind_count(answers: list[Path], /, *, key: Path) -> None:
    """Count answers to blind sheets: which contender was preferred how often, with 95 % intervals.

    Several people's answers are counted together; that they judged the same photos is not allowed for.

    Parameters
    ----------
    answers:
        Text files, one a person, a line for each sheet: "12 left", "12 right", or "12 same".
    key:
        The key that was written with the sheets.
    """
    from fastnst.research.blind import Key, count_answers, read_answers  # noqa: PLC0415

    written = Key.read(key)
    tally = count_answers([read_answers(file, written) for file in answers], written)
    console = Console()
    if not tally.left.total and not tally.same:
        raise InputError(f"{answers[0]}: holds no answers")
    for preference in tally.preferences:
        console.print(_words(preference), markup=False)
    beyond = [preference.name for preference in tally.preferences if preference.low > 0.5]
    console.print(f"{beyond[0]} is preferred beyond chance" if beyond else "neither is preferred beyond chance")
    console.print(f"same: {tally.same}", markup=False)
    console.print(_words(tally.left), markup=False, style="dim")


def _words(preference: "Preference") -> str:
    shown = f"{preference.count} of {preference.total}, {preference.share:.0%}"
    return f"{preference.name}: {shown} ({preference.low:.0%} to {preference.high:.0%})"

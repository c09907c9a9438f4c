"""What `fastnst optimize` is given besides settings: presets, styles with weights, masks."""

from pathlib import Path

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from fastnst.cli.console import Console
from fastnst.errors import InputError, SettingError
from fastnst.exact.presets import preset_values
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Style, is_colour
from fastnst.io.images import Frame, read_frame


def apply_preset(app: App, arguments: ArgumentCollection) -> None:
    """Fill the settings that the command line leaves out from --preset."""
    given = {name: argument.tokens[0].value for argument in arguments for name in argument.names if argument.tokens}
    if "--preset" in given:
        fill_from_preset(app, "optimize", arguments, given["--preset"])


def fill_from_preset(app: App, command: str, arguments: ArgumentCollection, preset: str) -> None:
    """Fill the settings that a command line leaves out from a preset; SettingError for an unknown one."""
    given = {name for argument in arguments for name in argument.names if argument.tokens}
    settings = preset_values(preset, [name.removeprefix("--").replace("-", "_") for name in given])
    values = {
        name.replace("_", "-"): list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
    Dict(values, source="--preset", use_commands_as_keys=False)(app, (command,), arguments)


def with_network(settings: OptimizeSettings, console: Console) -> OptimizeSettings:
    """Name the loss network where the settings leave the choice, and say so where it is the compact one."""
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.losses.weights import COMPACT_CHOSEN, chosen_network  # noqa: PLC0415

    chosen = chosen_network(settings)
    if chosen is not settings and chosen.loss_network == "compact":
        console.print(COMPACT_CHOSEN, markup=False, soft_wrap=True)
    return chosen


def parse_style(text: str) -> tuple[Path, float]:
    """Split FILE:WEIGHT, or FILE of weight 1; a file of that very name goes before.

    Raises SettingError for a weight that is no number from 0 on.
    """
    file, colon, weight = text.rpartition(":")
    if not colon or not file or Path(text).exists():
        return Path(text), 1.0
    try:
        share = float(weight)
    except ValueError:
        if not Path(file).is_file():
            return Path(text), 1.0
        share = -1.0  # the picture is there: what follows is meant as a weight
    if not 0 <= share < float("inf"):
        raise SettingError(
            f"--style {text}: the weight is {weight or 'left out'}; expected a number from 0 on, e.g. {file}:0.5"
        )
    return Path(file), share


def read_styles(styles: list[str], masks: list[str]) -> list[Style]:
    """Read styles and their masks: a file, a colour, or none; one for each style, in their order.

    Raises InputError for an unreadable picture, SettingError for another number of masks.
    """
    if masks and len(masks) != len(styles):
        raise SettingError(
            f"--style-mask is given {len(masks)} times, --style {len(styles)} times; give one for each style in the "
            "same order: a picture, a colour such as #ff0000 for a style that serves one region, or none"
        )
    parsed = [parse_style(style) for style in styles]
    return [
        Style(read_frame(file), weight, _mask(mask))
        for (file, weight), mask in zip(parsed, masks or ["none"] * len(parsed), strict=True)
    ]


def _mask(text: str) -> Frame | str | None:
    if text == "none":
        return None
    if text.startswith("#") and not is_colour(text) and not Path(text).exists():
        raise InputError(f"--style-mask {text}: expected a colour such as #ff0000, a picture, or none")
    return text if is_colour(text) else read_frame(text)

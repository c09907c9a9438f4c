"""What `fastnst optimize` is given besides settings: presets, styles with weights, masks."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.config import Dict

from fastnst.cli import call
from fastnst.cli.console import Console, Resume, asks_to_resume, fetch_loss_weights, optimization_bar, show_steps
from fastnst.errors import DivergedError, InputError, OutputError, SettingError
from fastnst.exact.presets import PresetName, preset_values
from fastnst.exact.settings import OptimizeSettings, Style, is_colour
from fastnst.io.files import read_regular, sha256_of, sole_writer, write_atomically
from fastnst.io.images import Frame, Picture, format_of, read_frame, read_picture, resize_frame, signed, write_picture
from fastnst.losses.settings import LOOK

if TYPE_CHECKING:
    from fastnst.exact.pyramid import MemoryPlan
    from fastnst.exact.result import OptimizeProgress, OptimizeResult


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
        console.print(COMPACT_CHOSEN)
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
    """Read styles and their masks: a file, a color, or none; one for each style, in their order.

    Raises InputError for an unreadable picture, SettingError for another number of masks.
    """
    if masks and len(masks) != len(styles):
        raise SettingError(
            f"--style-mask is given {len(masks)} times, --style {len(styles)} times; give one for each style in the "
            "same order: a picture, a color such as #ff0000 for a style that serves one region, or none"
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
        raise InputError(f"--style-mask {text}: expected a color such as #ff0000, a picture, or none")
    return text if is_colour(text) else read_frame(text)


DEFAULTS = OptimizeSettings()


def optimize(
    photo: Path,
    /,
    *,
    style: list[str],
    content_mask: Annotated[Path | None, LOOK] = None,
    style_mask: Annotated[list[str], LOOK] = [],  # noqa: B006 - never changed
    preset: PresetName = "default",
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    settings: Annotated[OptimizeSettings, Parameter(name="*")] = DEFAULTS,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    log_dir: Path | None = None,
    resume: Resume = "auto",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Stylize one picture with the exact, slow method (Gatys et al. 2016).

    Ctrl-C ends the work early and keeps the best picture so far; with --log-dir the same command resumes.

    Parameters
    ----------
    photo:
        Picture to stylize. Its transparency and color profile are kept.
    style:
        Style: a picture, and its share where there are several: starry.jpg, or --style starry.jpg:0.7
        --style scream.jpg:0.3.
    content_mask:
        Regions of the photo: a picture with each in a color of its own.
    style_mask:
        Regions of each style in the same colors: a picture, one color such as #ff0000 for all of it, or none.
    preset:
        Settings of a paper or a published project: johnson2016 (Johnson, Alahi and Fei-Fei 2016), gatys2015 (Chao,
        Perez and Chen on Gatys et al. 2015), and course and project reports, listed in docs/research/papers.md. Other
        options override it.
    output:
        Output: a file (.png .jpg .webp .tif .bmp).
    json_file:
        Write settings and figures to this file, as JSON: losses of every step, loss weights, hardware, seconds.
    log_dir:
        Folder for TensorBoard events, snapshots and a checkpoint.
    resume:
        Whether to resume what an interrupted run left: auto does where --log-dir holds a run of the same output,
        never starts again, DIR resumes the run in that folder, which is then the --log-dir. Pictures and settings
        must be the same; more --steps may be asked for.
    overwrite:
        Replace files that already exist.
    """
    pictures = [parse_style(text)[0] for text in style]
    masks = [Path(text) for text in style_mask if text != "none" and not is_colour(text)]
    inputs = [photo, *pictures, *masks, *(path for path in (content_mask, settings.init) if isinstance(path, Path))]
    format_of(output)
    log_dir = resume if isinstance(resume, Path) else log_dir
    goes_on = _goes_on(log_dir, output, resume)
    overwrite = overwrite or goes_on
    for path in filter(None, (output, json_file)):
        _check_output(path, inputs, overwrite)
    if json_file is not None and os.path.realpath(json_file) == os.path.realpath(output):
        raise OutputError(f"{json_file}: --json and --output name the same file; give each a name of its own")
    _check_log(log_dir, output, anew=overwrite or resume == "never")
    picture, styles = read_picture(photo), read_styles(style, style_mask)
    mask = None if content_mask is None else read_frame(content_mask)
    console = Console(stderr=True)
    settings = with_network(settings, console)
    fetch_loss_weights(settings, console)
    from fastnst.exact.engine import optimize as run  # noqa: PLC0415 - imports torch

    if goes_on and log_dir is not None and _holds_run(log_dir):
        console.print(f"{log_dir}: going on with the run that it holds")
    with ExitStack() as outputs:
        for path in filter(None, (output, json_file)):
            outputs.enter_context(sole_writer(path, folder=False))
        if log_dir is not None:
            _note_output(log_dir, output)
        # Without --overwrite the first picture must not replace what somebody else wrote there meanwhile.
        write = PictureWriter(picture, output, _made_by(pictures, settings), overwrite=overwrite)
        newest: list[OptimizeProgress] = []
        with _best_is_written(write, newest), optimization_bar(console) as bar:
            result = run(
                picture.frame,
                styles,
                settings,
                content_mask=mask,
                callback=show_steps(bar, write, settings, newest),
                log_dir=log_dir,
                resume=goes_on,
                on_plan=partial(_say_plan, settings, console),
            )
        write.words += f"; judged by {result.loss_weights}"
        write(result.frame)
        if json_file is not None:
            files = {"photo": photo, "style": ", ".join(style), "output": output, "preset": preset}
            words = {name: str(value) for name, value in files.items()}
            _write_json(json_file, words, result, settings, overwrite=overwrite)
    _say(result, output, settings, console)
    if result.interrupted:
        console.print(f"this goes on: {call.again}" if log_dir else "with --log-dir DIR the same command would go on")
        raise SystemExit(130)


def _check_output(path: Path, inputs: list[Path], overwrite: bool) -> None:
    """Find out before the work what would keep its result from being written."""
    if any(os.path.realpath(path) == os.path.realpath(given) for given in inputs):
        raise OutputError(f"{path}: is one of the given pictures, which are never overwritten; choose another name")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: already exists; --overwrite replaces it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} may not be written to; choose another")


OUTPUT_NOTE = "output.txt"
"""File in a --log-dir with the name of the picture that its run writes."""


def _goes_on(log_dir: Path | None, output: Path, resume: Resume) -> bool:
    """Whether to resume the run in a log folder: with one of this output, or whichever where the folder is
    named."""
    if isinstance(resume, Path):
        return True
    return log_dir is not None and asks_to_resume(resume) and _holds_run(log_dir) and _noted(log_dir, output)


def _holds_run(log_dir: Path) -> bool:
    return (log_dir / "checkpoint.safetensors").is_file()


def _noted(log_dir: Path, output: Path) -> bool:
    try:
        noted = read_regular(log_dir / OUTPUT_NOTE, 1 << 16)
    except OSError:
        return False
    return noted == os.fsencode(os.path.realpath(output))


def _note_output(log_dir: Path, output: Path) -> None:
    with suppress(OSError):  # the run itself says what is wrong with the folder
        log_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(log_dir / OUTPUT_NOTE, os.fsencode(os.path.realpath(output)))


def _check_log(log_dir: Path | None, output: Path, *, anew: bool) -> None:
    if log_dir is None:
        return
    if log_dir.exists() and not log_dir.is_dir():
        raise OutputError(f"{log_dir}: is a file; expected the name of a folder")
    if not anew and _holds_run(log_dir):
        raise OutputError(
            f"{log_dir}: holds a run of another picture than {output}; --resume {log_dir} resumes it, "
            "--resume never starts again"
        )


@contextmanager
def _best_is_written(write: "PictureWriter", newest: "list[OptimizeProgress]") -> Iterator[None]:
    """Write the best picture until then where the work fails; the error that is raised says so."""
    from fastnst.exact.result import OptimizeDivergedError  # noqa: PLC0415 - imports torch

    try:
        yield
    except OptimizeDivergedError as error:
        if error.result is None:
            raise
        write(error.result.frame)
        raise DivergedError(f"{error} ({write.output} holds the best picture until then)") from error
    except OutputError as error:
        # What cannot be kept in the log must not take the picture along.
        if not newest:
            raise
        write(newest[0].best_frame())
        raise OutputError(f"{error} ({write.output} holds the best picture until then)") from error


def _say_plan(settings: OptimizeSettings, console: Console, plan: "MemoryPlan") -> None:
    line = str(plan)
    if settings.optimizer == "lbfgs" and plan.history < settings.history:
        console.print(f"{settings.history} steps would not fit: lbfgs remembers {plan.history}")
    console.note(line)


def _write_json(
    file: Path, files: dict[str, str], result: "OptimizeResult", settings: OptimizeSettings, *, overwrite: bool
) -> None:
    from fastnst.exact.result import report  # noqa: PLC0415 - imports torch

    content = json.dumps(files | report(result, settings), indent=1) + "\n"
    write_atomically(file, content.encode(errors="backslashreplace"), overwrite=overwrite)


def _made_by(styles: list[Path], settings: OptimizeSettings) -> str:
    """How a picture is made, for its EXIF block: the style pictures, and what is not as usual."""
    names = [f"{path.name} ({sha256_of(path)[:12]})" for path in styles]
    values = {name: getattr(settings, name) for name in OptimizeSettings.__dataclass_fields__}
    chosen = [
        f"{name.replace('_', ' ')} {value.name if isinstance(value, Path) else value}"
        for name, value in values.items()
        if value != getattr(DEFAULTS, name)
    ]
    return ", ".join(["optimized", *names, *chosen])


class PictureWriter:
    """Writes the painted picture, several times on the way, with what is kept of the photo."""

    def __init__(self, picture: Picture, output: Path, words: str = "optimized", *, overwrite: bool) -> None:
        self.output, self.words = output, words
        self._picture, self._overwrite = picture, overwrite

    def __call__(self, frame: Frame) -> None:
        """Write a frame; where that fails the picture is kept elsewhere, and OutputError says where."""
        height, width = frame.shape[:2]
        alpha = None if self._picture.alpha is None else resize_frame(self._picture.alpha, (height, width))
        painted = signed(replace(self._picture, frame=frame, alpha=alpha), self.words)
        try:
            write_picture(self.output, painted, overwrite=self._overwrite)
        except OutputError as error:
            # A full disk must not take an hour's work along.
            rescue = Path(tempfile.gettempdir()) / f"fastnst-{os.getpid()}-{self.output.name}"
            try:
                write_picture(rescue, painted)
            except OutputError:
                raise error from None
            raise OutputError(f"{error}; the picture is kept as {rescue}") from error
        self._overwrite = True


def _say(result: "OptimizeResult", output: Path, settings: OptimizeSettings, console: Console) -> None:
    losses = result.losses
    line = f"{output}: content {losses['content']:.4g}, style {losses['style']:.4g}, total {losses['total']:.4g}"
    if settings.content_target is not None:
        line += f", by style weight {result.style_weight:.4g}"
    if result.interrupted:
        line += f"; stopped at step {len(result.history)} of {settings.steps}, this is the best picture so far"
    console.print(f"{line}; {result.elapsed_s:.0f} s")
    console.note(f"computed on {result.hardware}; judged by {result.loss_weights}")

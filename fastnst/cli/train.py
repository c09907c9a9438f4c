"""`fastnst train` and `coco`: a style picture becomes a trained network; photographs to learn from; recipes."""

import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, ArgumentCollection, Parameter
from cyclopts.config import Dict
from rich.progress import BarColumn, Progress, TextColumn

from fastnst.cli import call
from fastnst.cli.console import (
    FEW_PHOTOGRAPHS,
    Console,
    Resume,
    asks_to_resume,
    content_folder,
    fetch_coco,
    fetch_loss_weights,
)
from fastnst.errors import SettingError, nearest_hint
from fastnst.io.files import read_regular
from fastnst.renamed import new_name
from fastnst.training.settings import TrainSettings

if TYPE_CHECKING:
    from fastnst.training import engine


LARGEST_RECIPE = 1 << 20
"""Bytes; ours have two thousand."""


_ASKED_OUTRIGHT = {"output", "o", "-o", "recipe", "resume"}
"""Options that are no settings: where files are written is said on the command line, never by a file of another's."""


def fill_settings(app: App, command: str, arguments: ArgumentCollection, states: str) -> None:
    """Fill the settings that the command line leaves out from --resume DIR's checkpoint or --recipe's file.

    Args:
        app: the command line.
        command: the command's name.
        arguments: its arguments, as parsed so far.
        states: the module whose `saved_settings` reads those of a folder that is to be resumed; imports torch.

    Raises SettingError for a setting that the command does not have.
    """
    given = {name: argument.tokens[0].value for argument in arguments for name in argument.names if argument.tokens}
    if given.get("--resume", "auto") not in ("auto", "never"):
        source = given["--resume"]
        values: dict[str, Any] = import_module(states).saved_settings(Path(source))
    elif "--recipe" in given:
        source, values = given["--recipe"], read_recipe(Path(given["--recipe"]))
    else:
        return
    values = {name.replace("_", "-"): value for name, value in values.items()}
    known = {name.removeprefix("--") for argument in arguments for name in argument.names} - _ASKED_OUTRIGHT
    for name in values:
        if name not in known:
            now = new_name(command if command == "train" else f"research {command}", name)
            hint = f"it is now {now}" if now else nearest_hint(name, known)
            raise SettingError(f"{source}: no setting is called {name!r}; {hint}")
    Dict(values, source=source, use_commands_as_keys=False)(app, (command,), arguments)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe, a TOML file with the settings that differ from the defaults, by name.

    Raises SettingError where it is none.
    """
    try:
        return tomllib.loads(read_regular(path, LARGEST_RECIPE).decode("utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read as a recipe ({error.strerror})") from error
    except RecursionError as error:
        raise SettingError(f"{path}: not a TOML file (lists in lists without end)") from error
    except ValueError as error:  # TOML's own, of an encoding, or of a number with 4,300 digits
        raise SettingError(f"{path}: not a TOML file ({error})") from error


LOG_EVERY = 100
"""Steps between two lines where there is no terminal to draw a bar on."""


def apply_recipe(app: App, arguments: ArgumentCollection) -> None:
    """Fill the settings that the command line leaves out from --resume's checkpoint or --recipe's file."""
    fill_settings(app, "train", arguments, "fastnst.training.checkpoint")


def train(
    *,
    settings: Annotated[TrainSettings, Parameter(name="*")],
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    recipe: Path | None = None,  # noqa: ARG001 - apply_recipe has read it
    resume: Resume = "auto",
) -> None:
    """Train style pictures into a network and export it to ONNX.

    Several pictures, each by its own --style, make one network that mixes them (docs/train.md).
    Everything goes into one folder: checkpoint, TensorBoard events, preview.png, and at the end NAME.onnx,
    NAME.safetensors, NAME.md and NAME.jpg. Nothing else is asked. Several processes or machines train one network
    when torchrun starts them: torchrun --nproc-per-node 2 -m fastnst train ...

    Parameters
    ----------
    output:
        Output: a folder for the training; by default runs/NAME.
    recipe:
        TOML file of settings; options given here override it.
    resume:
        Whether to resume what an interrupted run left: auto does where the folder holds a training with the same
        settings, never starts again, DIR resumes the training in that folder, with its settings but for those
        given.
    """
    began = time.monotonic()
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.io.files import check_folder_for_results  # noqa: PLC0415
    from fastnst.io.images import read_frame  # noqa: PLC0415
    from fastnst.training.checkpoint import holds_training, set_training_aside  # noqa: PLC0415
    from fastnst.training.engine import TrainCallbacks  # noqa: PLC0415
    from fastnst.training.photographs import list_pictures  # noqa: PLC0415
    from fastnst.training.processes import is_main  # noqa: PLC0415
    from fastnst.training.train import check_teacher  # noqa: PLC0415
    from fastnst.training.train import train as run  # noqa: PLC0415

    console = Console(stderr=True, quiet=not is_main())
    folder = resume if isinstance(resume, Path) else output or Path("runs") / settings.style_name
    check_folder_for_results(folder)
    goes_on: bool | Literal["force"] = asks_to_resume(resume) and holds_training(folder)
    if isinstance(resume, Path):
        goes_on = "force"
    check_teacher(settings, folder, resume=goes_on or resume == "never")
    for picture in settings.style:
        read_frame(picture)  # a wrong name is better noticed before a gigabyte is fetched
    fetching = time.monotonic()
    content = content_folder(settings.content, console)
    if (found := len(list_pictures(content))) < FEW_PHOTOGRAPHS:
        console.print(
            f"{content}: {found} photographs are few; {FEW_PHOTOGRAPHS} or more make a style that suits others as well"
        )
    fetch_loss_weights(settings, console)
    began += time.monotonic() - fetching
    for kept in set_training_aside(folder) if resume == "never" and not goes_on and is_main() else ():
        console.print(f"{kept}: kept of the training before")
    console.print(f"Training {settings.style_name} in {folder}; watch it with: tensorboard --logdir {folder}")
    with _said_when_stopped(folder, console), _progress(console) as bar:
        callbacks = TrainCallbacks(on_step=_show(bar, settings.budget_s, began), on_note=console.print)
        trained = run(settings, folder, content=content, resume=goes_on, callbacks=callbacks, began=began)
    if trained.files is None:
        return
    if trained.result.skipped:
        console.print(f"{len(trained.result.skipped)} content pictures could not be used:")
        for path, reason in trained.result.skipped.items():
            console.print(f"  {path}: {reason}")
    console.print(f"Done in {time.strftime('%H:%M:%S', time.gmtime(time.monotonic() - began))}. Stylize with it:")
    console.print(f"  fastnst stylize photo.jpg --style {trained.files.onnx} -o painted.png")


@contextmanager
def _said_when_stopped(folder: Path, console: Console) -> Iterator[None]:
    """Say after Ctrl-C what is kept, and the command that goes on."""
    from fastnst.training.checkpoint import holds_training  # noqa: PLC0415 - imports torch

    try:
        yield
    except KeyboardInterrupt:
        if holds_training(folder):
            console.print(f"{folder}: the training so far is kept; this goes on: {call.again}")
        raise


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
        speed_estimate_period=120,
        disable=not console.is_terminal,
    )


def _show(bar: Progress, budget_s: float | None, began: float) -> "engine.OnStep":
    """Show each step on a bar: in steps, or in time where there is a budget; and the time left."""
    task = bar.add_task("starting", total=1.0, steps="", left="")
    started = time.monotonic()

    def show(progress: "engine.TrainProgress") -> None:
        losses = progress.losses
        named = [f"{name} {losses[name]:.3f}" for name in ("content", "style", "imitation") if name in losses]
        line = f"{' '.join(named)} {progress.images_per_s:.1f} images/s"
        steps = f"{progress.step} steps" if budget_s else f"{progress.step}/{progress.steps}"
        done, now = max(progress.done, progress.step / progress.steps), time.monotonic()
        rest_s = (now - started) * (1 - done) / max(done, 1e-6)
        if budget_s is not None:
            done, rest_s = min(1.0, (now - began) / budget_s), budget_s - (now - began)
        left = f"{timedelta(seconds=max(0, round(rest_s)))} left"
        bar.update(task, completed=done, description=line, steps=steps, left=left)
        if bar.disable and progress.step % LOG_EVERY == 0:
            bar.console.print(f"step {progress.step} of {progress.steps}: {line}")

    return show


def coco(*, split: Literal["val2017", "train2017"] = "val2017", folder: Path | None = None) -> None:
    """Fetch COCO's photographs: download, check and unpack what is not there yet.

    An interrupted download resumes. The folder of photographs appears only when it is complete; its
    name is printed last. `fastnst train` finds it by itself where --folder is left out.

    Parameters
    ----------
    split:
        Which photographs: val2017 (5,000; 0.8 GB) or train2017 (118,287; 19 GB). Twice that is needed while unpacking.
    folder:
        Folder: that of the split is put there; by default data/coco if that is there, else the user's cache.
    """
    pictures = fetch_coco(split, folder, Console(stderr=True))
    print(pictures)

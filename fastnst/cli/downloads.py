"""What commands fetch once, with a word about it and a bar: photographs to learn from, weights of loss networks."""

from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from fastnst.cli.console import Console
from fastnst.errors import InputError
from fastnst.losses.settings import LossSettings


def content_folder(content: str, console: Console) -> Path:
    """Return the folder that --content names; raises InputError where there is none, or a failed download's error."""
    folder = Path(content)
    if folder.is_dir():
        return folder
    if content not in ("val2017", "train2017"):
        raise InputError(f"{content}: no such folder; --content expects a folder of pictures, val2017 or train2017")
    return fetch_coco(content, None, console)


def fetch_coco(split: str, root: Path | None, console: Console) -> Path:
    """Return the folder of COCO's photographs below `root`, by default the usual place; fetches them, with a bar.

    Raises SettingError for a split that is not known, DownloadError for what goes wrong.
    """
    from fastnst.training.coco import coco_folder  # noqa: PLC0415

    with Progress(console=console) as bar:
        return coco_folder(split, root, announce=console.print, progress=_shown_on(bar, f"COCO {split}"))


def fetch_loss_weights(settings: LossSettings, console: Console) -> None:
    """Fetch the weights of the loss network that the settings name, where they are neither there nor in a file.

    With `settings.fine_tune` those of the fine-tuning as well, unless they are in a file. Raises WeightsError.
    """
    # torch takes a second to import: only now that the options are known to be right.
    from fastnst.losses.weights import fetch_weights, weights_to_fetch  # noqa: PLC0415

    for name, option in weights_to_fetch(settings):
        with Progress(console=console) as bar:
            fetch_weights(name, announce=console.print, progress=_shown_on(bar, name), option=option)


def _shown_on(bar: Progress, what: str) -> Callable[[int, int], None]:
    task = bar.add_task(what, total=None, visible=False)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, visible=True)

    return show

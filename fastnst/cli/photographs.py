"""The photographs that networks learn from: a folder, or COCO's, fetched with a word about it."""

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from fastnst.errors import InputError


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
        task = bar.add_task(f"COCO {split}", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        return coco_folder(split, root, announce=console.print, progress=show)

"""`fastnst coco`: COCO's photographs, the usual pictures to learn from, fetched once and checked."""

from pathlib import Path
from typing import Literal

from fastnst.cli.console import Console
from fastnst.cli.downloads import fetch_coco


def coco(*, split: Literal["val2017", "train2017"] = "val2017", folder: Path | None = None) -> None:
    """Fetch COCO's photographs: download, check and unpack what is not there yet.

    An interrupted download goes on where it stopped. The folder of photographs appears only when it is complete; its
    name is printed last. `fastnst train` finds it by itself where --folder is left out.

    Parameters
    ----------
    split:
        Which photographs: val2017 (5,000; 0.8 GB) or train2017 (118,287; 19 GB). Twice that is needed while unpacking.
    folder:
        Where the folder of the split is put; by default data/coco if that is there, else the user's cache.
    """
    pictures = fetch_coco(split, folder, Console(stderr=True))
    print(pictures)

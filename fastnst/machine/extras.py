"""What pip installs: fastnst's version, and its extras, of which stylizing needs none."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fastnst.errors import MissingPackageError

TRAINING_PACKAGES = ("torch", "torchvision", "onnxscript", "tensorboard", "matplotlib")
"""What the extra `train` of pyproject.toml brings: for training, the exact method and everything that measures."""

INSTALL_TRAINING = 'pip install "fastnst[train]"'
"""What brings them, also where fastnst was installed from a checkout."""


def installed_version() -> str:
    """Version of the installed fastnst."""
    try:
        return version("fastnst")
    except PackageNotFoundError:
        return "unknown (not installed)"


def missing_for_training() -> list[str]:
    """Return those of TRAINING_PACKAGES that are not installed; imports none of them, and takes a millisecond."""
    return [package for package in TRAINING_PACKAGES if find_spec(package) is None]


def check_training_installed(what: str) -> None:
    """Raise MissingPackageError, which says what `what` lacks and what brings it, where a package is not installed."""
    if missing := missing_for_training():
        raise MissingPackageError(
            f"{what} needs what is not installed for training: {', '.join(missing)}; {INSTALL_TRAINING}"
        )

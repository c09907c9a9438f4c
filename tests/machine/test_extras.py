"""What is said where the packages for training are not installed, and that stylizing goes on without them."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fastnst import cli
from fastnst.errors import FastNSTError, MissingPackageError
from fastnst.machine import extras

# Python finds none of them, as if they were not installed.
WITHOUT = """
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
hidden = {"torch", "torchvision", "onnxscript", "tensorboard", "matplotlib"}
PathFinder.find_spec = classmethod(
    lambda _class, name, *rest: None if name.split(".")[0] in hidden else real(name, *rest)
)
"""
MAIN = WITHOUT + "from fastnst.cli import main; main(sys.argv[1:])"


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_table_is_the_extra_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [line.partition(">")[0] for line in project["optional-dependencies"]["train"]]
    assert sorted(extra) == sorted(extras.TRAINING_PACKAGES)


@pytest.mark.parametrize(
    "command",
    ["train --style a.jpg", "optimize a.jpg --style b.jpg -o c.png", "export a", "compare", "quantize a", "evaluate"]
    + [f"research {name}" for name in cli.RESEARCH],
)
def test_what_brings_the_packages_is_said_before_anything_else(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "missing_for_training", lambda: ["torch", "torchvision"])
    with pytest.raises(SystemExit, match="1"):
        cli.main(command.split())
    name = " ".join(command.split()[: 2 if command.startswith("research") else 1])
    assert capfd.readouterr() == (
        "",
        f"fastnst: fastnst {name} needs what is not installed for training: torch, torchvision; "
        'pip install "fastnst[train]"\n',
    )


@pytest.mark.parametrize("arguments", ["train --help", "optimize -h", "research", "research study --help", "styles"])
def test_help_and_the_rest_need_none(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "missing_for_training", lambda: ["torch"])
    with pytest.raises(SystemExit, match="0"):
        cli.main(arguments.split())
    assert "not installed" not in capfd.readouterr().err


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "TRAINING_PACKAGES", ("numpy", "no_such_package"))
    assert extras.missing_for_training() == ["no_such_package"]
    with pytest.raises(MissingPackageError, match=r"fastnst train needs .*: no_such_package; pip install"):
        extras.check_training_installed("fastnst train")


def test_a_picture_is_stylized_without_them(invert: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    ended = run(MAIN, "stylize", str(photos / "photo0.png"), "--style", str(invert), "-o", str(output))
    assert (ended.returncode, output.is_file()) == (0, True), ended.stderr


def test_public_names_say_what_they_need() -> None:
    code = WITHOUT + "import fastnst; fastnst.Stylizer; fastnst.TrainSettings; fastnst.optimize"
    ended = run(code)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(
        "fastnst.errors.MissingPackageError: fastnst.optimize needs what is not installed for training: torch, "
    )
    assert issubclass(MissingPackageError, ImportError)
    assert issubclass(MissingPackageError, FastNSTError)

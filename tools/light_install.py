"""Install fastnst without extras into a fresh environment and stylize there: python tools/light_install.py

Prints the seconds and megabytes of the environment (without pip itself) and the seconds of each command; fails where a
command that needs no torch does not work, or where one that needs it says more or less than the one line that brings
it. `--extra train` installs that extra and prints its figures only.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parents[1]
PHOTO = REPOSITORY / "data" / "content" / "harbour.jpg"

FILM = """
import av, numpy
from fractions import Fraction
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("mpeg4", rate=Fraction(10))
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
    for level in (0, 100, 200):
        frame = av.VideoFrame.from_ndarray(numpy.full((64, 96, 3), level, numpy.uint8), format="rgb24")
        film.mux(stream.encode(frame))
    film.mux(stream.encode(None))
"""
NAMES = """
import fastnst, sys
from importlib.util import find_spec
assert [name for name in ("torch", "torchvision", "onnxscript", "tensorboard", "matplotlib") if find_spec(name)] == []
for name in fastnst.__all__:
    try:
        getattr(fastnst, name)
    except ImportError as error:
        assert isinstance(error, fastnst.FastNSTError) and '[train]"' in str(error), error
        print(name, end=" ")
"""
NEED_TRAINING = "TrainCallbacks optimize train "
"""Public names that cannot be had without torch."""

WORK = (
    ("--help",),
    ("styles",),
    ("stylize", str(PHOTO), "--style", "starry", "-o", "out.png", "--size", "256"),
    ("video", "film.mp4", "--style", "starry-live", "--steady", "0.8", "-o", "painted.mp4"),
    ("export", "starry", "-o", "starry.onnx"),
    ("bench", "--style", "starry-live", "--frame-size", "64x64", "--runs", "1"),
    ("train", "--help"),
    ("optimize", "--help"),
    ("webcam", "--help"),
    ("doctor",),
)
"""Commands that must end well."""

REFUSED = ("train", "optimize", "export a.safetensors", "compare", "quantize", "evaluate", "research study")
"""Commands that must name the extra before anything else."""


def main() -> None:
    """Build the environment, measure it, and try the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", default="")
    extra = parser.parse_args().extra
    with TemporaryDirectory() as folder:
        environment, work = Path(folder) / "environment", Path(folder) / "work"
        work.mkdir()
        programs = install(environment, extra)
        if not extra:
            try_commands(programs, work)


def install(environment: Path, extra: str) -> Path:
    """Install into a new environment, print what that takes, and return the folder of its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    programs = environment / ("Scripts" if sys.platform == "win32" else "bin")
    what = f"{REPOSITORY}[{extra}]" if extra else str(REPOSITORY)
    began = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    subprocess.run([*pip, "install", "--quiet", what], check=True)
    size = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"pip install {f'.[{extra}]' if extra else '.'}: {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")
    return programs


def try_commands(programs: Path, work: Path) -> None:
    """Run what needs no torch, and what must say that it does; SystemExit where one does otherwise."""
    python = programs / "python"
    run([python, "-c", FILM], work)
    for arguments in WORK:
        began = time.monotonic()
        ended = run([python, "-m", "fastnst", *arguments], work)
        print(f"fastnst {' '.join(arguments[:1])}: {time.monotonic() - began:.1f} s")
        if arguments[0] == "doctor":
            last = ended.stdout.splitlines()[-1]
            expect(last.startswith("Stylizing works; training needs torch, ") and last.endswith('[train]"'), last)
    for name in ("out.png", "painted.mp4", "starry.onnx"):
        expect((work / name).stat().st_size > 0, name)
    for command in REFUSED:
        ended = run([python, "-m", "fastnst", *command.split()], work, status=1)
        line = f"fastnst: fastnst {command} needs what is not installed for training: torch, "
        expect(
            ended.stderr.startswith(line) and ended.stderr.endswith(f'; pip install "{REPOSITORY}[train]"\n'),
            ended.stderr,
        )
        expect(ended.stderr.count("\n") == 1, ended.stderr)
    found = run([python, "-c", NAMES], work).stdout
    expect(found == NEED_TRAINING, found)


def run(command: list[str | Path], folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program away from the checkout's code; SystemExit where it ends otherwise."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"PYTHONUTF8": "1"}
    ended = subprocess.run(command, cwd=folder, env=clean, capture_output=True, encoding="utf-8", check=False)
    expect(ended.returncode == status, f"{command}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    return ended


def expect(true: bool, otherwise: str) -> None:
    """Raise SystemExit with what was found instead."""
    if not true:
        raise SystemExit(f"not as expected: {otherwise}")


if __name__ == "__main__":
    main()

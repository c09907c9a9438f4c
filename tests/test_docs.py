"""The pages say what is: commands have these options, snippets run, and the examples of docs/embed.md agree.

Two of the examples need what Python's packages do not bring. FASTNST_NODE_MODULES names a node_modules folder with
onnxruntime-node and sharp, FASTNST_ONNXRUNTIME an unpacked release of ONNX Runtime with include/ and lib/ for C++;
without them these two are skipped.
"""

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import fastnst
from fastnst import cli
from fastnst.backends import choosing
from fastnst.models.variants import Variant, load_onnx, vary
from fastnst.training import train as training

REAL_TRAIN = training.train
REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md"), *(REPOSITORY / "exports").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> Iterator[tuple[str, str]]:
    """Title, "" for none, and text of a page's code blocks."""
    for language, title, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield title, text


def commands(page: Path) -> Iterator[list[str]]:
    """Command lines of a page that call fastnst, split into words without the name."""
    for _, text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.split(r"\s+#\s|&&", line.replace(" -m fastnst ", " && fastnst "))[:2]:
                words = shlex.split(command)
                if words[:1] == ["fastnst"]:
                    yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_have_these_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.app, "config", [])  # recipes of the pages' readers are not there
    for words in commands(page):
        cli.app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_pages_have_commands() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 40


@cache
def known_options() -> set[str]:
    """Options of all commands, and some of others: TensorBoard's, and those that every command has."""
    apps = [*(cli.app[name] for name in cli.COMMANDS), *(cli.app["research"][name] for name in cli.RESEARCH)]
    apps += [cli.app["styles"][name] for name in ("add", "remove")]
    options = {option for app in apps for argument in app.assemble_argument_collection() for option in argument.names}
    return options | {"--logdir", "--help", "--verbose"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_options_in_prose_are_those_of_some_command(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    options = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"(?<!\S)--[a-z][a-z-]+", span)}
    renamed = page.name == "CHANGELOG.md"  # names old options, too
    assert renamed or options - known_options() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_python_takes_public_names(page: Path) -> None:
    for _, text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == "fastnst":
                assert {name.name for name in node.names} <= set(fastnst.__all__)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fastnst":
                assert node.attr in fastnst.__all__


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the examples take: photo.jpg, painting.jpg, photos/, mask.png, starry.onnx with its noise."""
    with Image.open(REPOSITORY / "data" / "content" / "harbour.jpg") as photo:
        photo.resize((160, 121)).save(tmp_path / "photo.jpg", quality=95)
    (tmp_path / "photos").mkdir()
    for name in ("painting.jpg", "photos/a.jpg", "photos/b.jpg"):
        shutil.copy(tmp_path / "photo.jpg", tmp_path / name)
    Image.new("L", (160, 121), 255).save(tmp_path / "mask.png")
    noisy = vary(load_onnx(REPOSITORY / "exports" / "starry.onnx"), Variant(noise=12))
    (tmp_path / "starry.onnx").write_bytes(noisy.SerializeToString())
    return tmp_path


def trained_at_once(*given: object, **options: object) -> SimpleNamespace:
    """In the place of a training, which takes a minute."""
    assert inspect.signature(REAL_TRAIN).bind(*given, **options)
    return SimpleNamespace(files=SimpleNamespace(onnx=Path("painting.onnx")))


PYTHON = [text for _, text in blocks(DOCS / "python.md", "python")]


@pytest.mark.parametrize("text", PYTHON, ids=map(str, range(len(PYTHON))))
def test_snippets_of_the_python_page_run(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(choosing, "candidates", lambda: ())  # to try all takes seconds
    monkeypatch.setattr(training, "train", trained_at_once)
    text = text.replace("steps=50", "steps=2").replace("size=256", "size=64")
    found: dict[str, object] = {"__name__": "__main__"}
    exec(text, found)
    stylized = found.get("stylized")
    assert stylized is None or (isinstance(stylized, np.ndarray) and stylized.shape == (121, 160, 3))
    written = [name for name in ("out.png", "out.jpg") if name in text]
    assert all((folder / name).exists() for name in written)


def test_the_python_page_lists_every_public_name() -> None:
    table = (DOCS / "python.md").read_text(encoding="utf-8")
    assert [name for name in fastnst.__all__ if f"`{name}`" not in table] == []
    imported = {name for text in PYTHON for name in re.findall(r"\w+", text)}
    assert set(fastnst.__all__) - imported == set()


def run_python(folder: Path, program: str) -> None:
    subprocess.run([sys.executable, program], cwd=folder, check=True)


def run_node(folder: Path, program: str) -> None:
    modules = os.environ.get("FASTNST_NODE_MODULES")
    if shutil.which("node") is None or modules is None:
        pytest.skip("needs Node.js, and FASTNST_NODE_MODULES")
    (folder / "node_modules").symlink_to(modules, target_is_directory=True)
    subprocess.run(["node", program], cwd=folder, check=True)


def run_cpp(folder: Path, program: str) -> None:
    onnx_runtime = os.environ.get("FASTNST_ONNXRUNTIME")
    if shutil.which("g++") is None or onnx_runtime is None:
        pytest.skip("needs g++, and FASTNST_ONNXRUNTIME")
    (folder / "onnxruntime").symlink_to(onnx_runtime, target_is_directory=True)
    (compiler,) = (text for _, text in blocks(DOCS / "embed.md", "sh") if text.startswith("g++ "))
    subprocess.run(shlex.split(compiler), cwd=folder, check=True)
    frame = fastnst.read_frame(folder / "photo.jpg")
    frame.tofile(folder / "photo.rgb")
    height, width = map(str, frame.shape[:2])
    subprocess.run(["./stylize", "photo.rgb", width, height, "stylized.rgb"], cwd=folder, check=True)
    stylized = np.fromfile(folder / "stylized.rgb", np.uint8).reshape(frame.shape)
    Image.fromarray(stylized).save(folder / "stylized.png")


RUN = {
    "stylize.py": run_python,
    "stylize_opencv.py": run_python,
    "stylize.mjs": run_node,
    "stylize.cpp": run_cpp,
}


def test_every_example_is_run() -> None:
    assert {title for title, _ in blocks(DOCS / "embed.md", "python", "js", "cpp")} == set(RUN)


@pytest.mark.parametrize("program", RUN)
def test_examples_of_other_programs_agree(program: str, folder: Path) -> None:
    if program == "stylize_opencv.py" and int(cv2.__version__.partition(".")[0]) < 5:
        pytest.skip("OpenCV 4 cannot import dynamic sizes, as the page says")
    (text,) = (text for title, text in blocks(DOCS / "embed.md", "python", "js", "cpp") if title == program)
    (folder / program).write_text(text, encoding="utf-8")
    RUN[program](folder, program)
    session = onnxruntime.InferenceSession(folder / "starry.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(["stylized"], {"frame": fastnst.read_frame(folder / "photo.jpg")[None]})
    stylized = fastnst.read_frame(folder / "stylized.png")
    # Decoders of JPEG files differ by a level or two, which the network may enlarge at single pixels.
    difference = np.abs(stylized.astype(int) - expected[0])
    assert np.mean(difference) < 0.5
    assert np.quantile(difference, 0.99) <= 4

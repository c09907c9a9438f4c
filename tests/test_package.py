"""The public names, what importing costs, and errors in one line."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastnst
from fastnst.errors import InputError, nearest_hint, on_one_line
from fastnst.renamed import with_current_names
from fastnst.training.settings import TrainSettings

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("name", fastnst.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fastnst, name).__name__ == name
    assert name in dir(fastnst)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        _ = fastnst.stylise


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import fastnst, sys; assert not {'torch', 'onnxruntime', 'numpy', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Opens a network as `stylize` does. Whatever Python looks up is printed; strace, where it is there, sees the rest.
QUIET = """
import socket, sys, time
def refuse(host, *_args, **_options):
    print("look-up of", host)
    raise OSError
socket.getaddrinfo = socket.gethostbyname = refuse
import numpy as np
from fastnst import Stylizer
with Stylizer(sys.argv[1], provider=sys.argv[2], threads=1) as stylizer:
    stylizer(np.zeros((32, 32, 3), np.uint8))
time.sleep(float(sys.argv[3]))  # reports are sent by threads, or on the way out
"""


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_nobody_is_told_that_a_photo_is_stylized(provider: str, invert: Path, tmp_path: Path) -> None:
    if provider != "cpu":
        pytest.importorskip(provider)
    home, temporary, victim, trace = (tmp_path / name for name in ("home", "tmp", "victim", "trace"))
    home.mkdir()
    temporary.mkdir()
    victim.write_text("mine")
    (temporary / ".ses").symlink_to(victim)  # ONNX Runtime would empty it
    homes = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "USERPROFILE", "LOCALAPPDATA"), str(home))
    kept = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    strace = shutil.which("strace")
    traced = [] if strace is None else [strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmmsg", "-o", str(trace)]
    told = subprocess.run(
        [*traced, sys.executable, "-c", QUIET, str(invert), provider, "0.5"],
        capture_output=True,
        text=True,
        check=True,
        env=kept | homes | {"TMPDIR": str(temporary), "TEMP": str(temporary)},
    )
    assert told.stdout == ""
    assert victim.read_text() == "mine"
    written = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert written <= {"fastnst"}  # our own cache
    if traced:
        assert "AF_INET" not in trace.read_text()


def test_what_a_wheel_adds_lies_beside_the_code() -> None:
    hatch = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    added = hatch["build"]["targets"]["wheel"]["force-include"]
    assert {added["exports"], added["models"]} == {"fastnst/exports", "fastnst/weights"}
    assert [place for place in added.values() if (REPOSITORY / place).exists()] == []


def test_every_style_shipped_has_weights_a_card_and_a_recipe() -> None:
    taken_out = {"starry-live": "gallery-live"}  # by fastnst export
    for exported in (REPOSITORY / "exports").glob("*.onnx"):
        name = taken_out.get(exported.stem, exported.stem)
        for other in (f"models/{name}.safetensors", f"models/{name}.md", f"train/{name}.toml"):
            assert (REPOSITORY / other).is_file(), other


def test_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    missing = [link for link in links if "://" not in link and not (REPOSITORY / link.partition("#")[0]).exists()]
    assert missing == []


def test_the_workflow_and_the_local_run_call_the_same_checks() -> None:
    known = set(re.findall(r"^    (\w+)\)", (REPOSITORY / ".ci" / "check").read_text(encoding="utf-8"), re.MULTILINE))
    called = {}
    for place in (".ci/run", ".github/workflows/ci.yml"):
        calls = re.findall(r"\.ci/check ([\w ]+)", (REPOSITORY / place).read_text(encoding="utf-8"))
        called[place] = set(" ".join(calls).split()) & known
    assert called == {".ci/run": known - {"lowest"}, ".github/workflows/ci.yml": known}
    assert {"tests", "docs", "lowest"} <= known


def test_dependencies_of_the_design_card_are_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared, training = " ".join(project["dependencies"]), " ".join(project["optional-dependencies"]["train"])
    for name in ("pillow", "opencv-python", "onnx", "onnxruntime"):
        assert name in declared
    assert "onnxruntime-gpu" in " ".join(project["optional-dependencies"]["gpu"])
    assert "onnxruntime-gpu" not in declared, "three times as large, and of use with an NVIDIA GPU alone"
    for name in ("torch", "torchvision", "onnxscript", "tensorboard", "matplotlib"):
        assert name in training
        assert name not in declared, "stylizing needs none of it"
    assert any(each.startswith("fastnst[train") for each in project["optional-dependencies"]["dev"])


@pytest.mark.parametrize("recipe", [path for path in (REPOSITORY / "train").glob("*.toml") if path.stem != "compact"])
def test_every_recipe_of_a_training_makes_settings(recipe: Path) -> None:
    values = {name.replace("-", "_"): value for name, value in tomllib.loads(recipe.read_text("utf-8")).items()}
    settings = TrainSettings(style=(Path("painting.jpg"),), **with_current_names("train", values))
    assert settings.style_name == recipe.stem
    assert settings.license == "CC0-1.0"
    assert recipe.read_text("utf-8").startswith("# "), "what it is, what it took and what came of it"


def test_the_nearest_word_is_named_or_all() -> None:
    assert nearest_hint("relu4_22", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("RELU4_2", ["relu4_2", "conv1_1"]) == "did you mean 'relu4_2'?"
    assert nearest_hint("Starry", ["STARRY"]) == "did you mean 'STARRY'?"
    assert nearest_hint("zzz", ["b", "a"]) == "known: a, b"
    assert nearest_hint("zzz", []) == "known: none"


def test_a_message_is_one_line_of_what_can_be_printed() -> None:
    assert str(InputError("a\nb\x1b[31m\udcff ü写.png: no such file")) == "a\\nb\\x1b[31m\\udcff ü写.png: no such file"
    assert on_one_line("Bild\u202f\u3000\\n 👩\u200d🎨") == "Bild\u202f\u3000\\n 👩\u200d🎨"

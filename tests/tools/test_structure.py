"""The figures of a checkout, on one of a few lines."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "tools" / "structure.py"

MODULES = {
    "__init__.py": "",
    "errors.py": "class Error(Exception): ...\n",
    "io/__init__.py": "",
    "io/files.py": "from fastnst.errors import Error\nclass Files: ...\n",
    "losses/__init__.py": "",
    "losses/gram.py": "from fastnst.io.files import Files\nclass Gram: ...\nclass Files: ...\n",
    "train/__init__.py": "",
    "train/loop.py": "from fastnst.losses import gram\ndef go():\n    from fastnst.train import state\n",
    "train/state.py": "from fastnst.train.loop import go\nfrom fastnst.losses.gram import Gram\n",
}
UP = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fastnst.losses.gram\nimport fastnst.train.loop\n"
TABLE = 'MAY_IMPORT = {"io": set(), "losses": {"io"}, "train": {"losses"}}\nKNOWN = {("fastnst.io.files", "train")}\n'


@pytest.fixture
def structure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("structure", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / "fastnst" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fastnst" / name).write_text(text)
    return tmp_path


def test_figures_by_hand(structure: ModuleType, checkout: Path) -> None:
    found = structure.figures(checkout, with_calls=False)
    assert found["files of the package"] == "9"
    assert found["lines of the package"] == "11"
    assert found["lines of the tests"] == "0"
    assert found["class names that stand twice"] == "1"
    assert found["cycles of modules"] == "1"  # loop and state
    assert found["cycles of packages"] == found["imports against the best order"] == "0"


def test_an_import_upwards_makes_a_cycle_of_packages(structure: ModuleType, checkout: Path) -> None:
    (checkout / "fastnst" / "io" / "files.py").write_text(UP)
    (checkout / "tests").mkdir()
    (checkout / "tests" / "test_architecture.py").write_text(TABLE)
    found = structure.figures(checkout, with_calls=False)
    assert found["cycles of packages"] == "1"
    # io -> train is one import; losses -> io one, train -> losses two.
    assert found["imports against the best order"] == "1"
    assert found["imports outside the table"] == "0, 1 excused"
    (checkout / "fastnst" / "losses" / "gram.py").write_text("import fastnst.train.state\n")
    assert structure.figures(checkout, with_calls=False)["imports outside the table"] == "1, 1 excused"


def test_the_best_order_is_found_in_larger_cycles(structure: ModuleType) -> None:
    counted = structure.Counter({("a", "b"): 3, ("b", "c"): 4, ("c", "a"): 2, ("b", "a"): 1, ("d", "a"): 9})
    # a above b above c: c -> a and b -> a go up.
    assert structure.against_the_best_order(counted) == 3


def test_stacks_are_counted_across_threads(structure: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "fastnst" / "painting.py"
    file.parent.mkdir()
    file.write_text(
        "import threading\n"
        "def command():\n    thread = threading.Thread(target=worker)\n    thread.start()\n    thread.join()\n"
        "def worker():\n    [network() for _ in range(2)]\n"
        "def network(): ...\n"
    )
    scope: dict[str, object] = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    counter = structure.CallCounter(lambda code: code.co_name == "network")
    structure.threading.setprofile(counter)
    structure.sys.setprofile(counter)
    try:
        scope["command"]()  # type: ignore[operator]
    finally:
        structure.sys.setprofile(None)
        structure.threading.setprofile(None)
    [(stack, count)] = counter.stacks.items()
    assert count == 2
    assert [place.partition(":")[2] for place in stack] == ["command", "worker", "network"]


def test_calls_inside_the_backend_do_not_count(structure: ModuleType) -> None:
    stack = ["cli/video.py:run", "inference/session.py:__call__", "backends/cpu.py:run"]
    assert structure.to_the_backend([*stack, "backends/cpu.py:_end"]) == stack
    assert structure.to_the_backend(stack[:2]) == stack[:2]

"""What figures were taken on; and what is said where the packages for training are not installed."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fastnst import cli, machine
from fastnst.errors import FastNSTError, MissingPackageError, SettingError
from fastnst.machine import check_threads, default_threads, describe_machine, install_line, peak_memory_mb


def test_machine_in_words() -> None:
    found = describe_machine()
    assert found["packages"]["numpy"]
    assert "torch" not in found["packages"]
    assert found["processors"] >= 1
    assert all(found[name] for name in ("system", "processor", "python"))
    json.dumps(found)


@pytest.fixture
def processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight processors on four cores (0 and 4 share one, and so on), all of them allowed, no quota."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    allow(monkeypatch, set(range(8)))
    return tmp_path


def allow(monkeypatch: pytest.MonkeyPatch, allowed: set[int]) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: allowed, raising=False)


def test_a_thread_for_each_physical_core_that_is_allowed(processors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads() == 0
    allow(monkeypatch, {0, 4, 1})
    assert default_threads() == 2
    monkeypatch.setattr(machine, "CPUS", processors / "gone")
    allow(monkeypatch, {0, 4, 1})
    assert default_threads() == 3


@pytest.mark.parametrize(("quota", "threads"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", 0)])
def test_share_of_a_container(processors: Path, quota: str, threads: int) -> None:
    (processors / "cgroup" / "cpu.max").write_text(quota + "\n")
    assert default_threads() == threads


def test_share_of_an_older_container(processors: Path) -> None:
    (processors / "cgroup" / "cpu").mkdir()
    for name, value in (("quota", 300_000), ("period", 100_000)):
        (processors / "cgroup" / "cpu" / f"cpu.cfs_{name}_us").write_text(f"{value}\n")
    assert default_threads() == 3
    (processors / "cgroup" / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert default_threads() == 0


def test_the_smaller_limit_counts(processors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, {0, 1, 2})
    (processors / "cgroup" / "cpu.max").write_text("150000 100000\n")
    assert default_threads() == 2
    (processors / "cgroup" / "cpu.max").write_text("700000 100000\n")
    assert default_threads() == 3


def test_systems_that_do_not_say(processors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    assert default_threads() == 0


@pytest.mark.parametrize(("processors", "most"), [(2, 64), (None, 64), (384, 384)])
def test_far_more_threads_than_processors_are_refused(
    processors: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    check_threads(None)
    check_threads(1)
    check_threads(most)
    for threads in (0, most + 1):
        with pytest.raises(SettingError, match=f"^codec threads {threads}; expected at least 1 and at most {most}$"):
            check_threads(threads, "codec threads")


def test_peak_outlasts_what_was_given_back() -> None:
    code = (
        "from fastnst.machine import peak_memory_mb as peak\n"
        "before = peak(); block = bytearray(64 << 20); block[::4096] = b'1' * len(block[::4096]); del block\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 60 < float(done.stdout) < 80


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the figure starts again with each process anyway")
def test_the_parents_memory_does_not_count() -> None:
    block = bytearray(200 << 20)
    block[::4096] = b"1" * len(block[::4096])
    code = "from fastnst.machine import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 5 < float(done.stdout) < 100
    own = peak_memory_mb()
    assert own is not None
    assert own > 200


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container with 8000 kB left, and no containers."""
    left = SimpleNamespace(available=8000 * 1024)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: left)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "groups")
    return tmp_path


def test_memory_of_the_machine_and_of_a_container(container: Path) -> None:
    assert machine.available_memory() == 8000 * 1024
    (container / "memory.max").write_text("max\n")
    (container / "memory.current").write_text("123\n")
    assert machine.available_memory() == 8000 * 1024
    (container / "memory.max").write_text("5000000\n")
    (container / "memory.current").write_text("4000000\n")
    (container / "memory.stat").write_text("anon 3000000\ninactive_file 700000\n")
    assert machine.available_memory() == 1_700_000


@pytest.mark.parametrize(("line", "below"), [("0::/slurm/job", ""), ("4:cpu,memory:/slurm/job", "memory")])
def test_the_group_of_a_batch_job_has_a_limit(container: Path, line: str, below: str) -> None:
    (container / "groups").write_text(f"1:pids:/\n{line}\n")
    group = container / below / "slurm"
    (group / "job").mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if below else ("memory.max", "memory.current")
    for name, number in zip(names, ("5000000", "4000000"), strict=True):
        (group / name).write_text(number + "\n")
    (group / "memory.stat").write_text("inactive_file 0\n")
    assert machine.available_memory() == 1_000_000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no address space")
def test_a_limit_of_addresses(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = psutil.Process().memory_info().vms
    monkeypatch.setattr("resource.getrlimit", lambda _kind: (taken + 3_000_000, -1))
    assert 0 < machine.available_memory() <= 8000 * 1024
    monkeypatch.setattr("resource.getrlimit", lambda _kind: (taken - 3_000_000, -1))
    assert machine.available_memory() == 0


def test_an_older_container_with_a_limit(container: Path) -> None:
    (container / "memory").mkdir()
    (container / "memory" / "memory.limit_in_bytes").write_text("5000000\n")
    (container / "memory" / "memory.usage_in_bytes").write_text("4000000\n")
    (container / "memory" / "memory.stat").write_text("inactive_file 5\ntotal_inactive_file 700000\n")
    assert machine.available_memory() == 1_700_000


def test_here() -> None:
    available = machine.available_memory()
    assert 2**20 < available < 2**50


def test_no_work_begins_without_memory_for_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 50_000_000)
    monkeypatch.setattr(machine, "_left_of_addresses", lambda: [700_000_000])
    machine.check_memory("fastnst video", 50_000_000, 700_000_000)
    with pytest.raises(SettingError, match="fastnst video needs 60 MB of memory to begin with, and 50 MB are free"):
        machine.check_memory("fastnst video", 60_000_000, 0)
    with pytest.raises(SettingError, match=r"needs 701 MB of addresses \(ulimit -v\)"):
        machine.check_memory("fastnst video", 0, 701_000_000)


# Packages for training


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (None, 'pip install "fastnst[train]"'),
        ({"url": "file://{folder}", "dir_info": {}}, 'pip install "{folder}[train]"'),
        ({"url": "file://{folder}", "dir_info": {"editable": True}}, 'pip install -e "{folder}[train]"'),
        ({"url": "file:///gone", "dir_info": {}}, 'pip install "fastnst[train]"'),
        ({"url": "file://{here}", "dir_info": {}}, 'pip install ".[train]"'),
    ],
)
def test_pip_is_told_where_fastnst_came_from(
    said: dict[str, object] | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "folder", tmp_path / "here"
    for each in (folder, here):
        each.mkdir()
        (each / "pyproject.toml").touch()
    monkeypatch.chdir(here)

    def filled(text: str) -> str:
        return text.replace("{folder}", str(folder)).replace("{here}", str(here))

    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if said is None else filled(json.dumps(said))

    monkeypatch.setattr(machine, "distribution", lambda _name: Installed())
    assert install_line("train") == filled(line)


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
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [line.partition(">")[0] for line in project["optional-dependencies"]["train"]]
    assert sorted(extra) == sorted(machine.TRAINING_PACKAGES)


@pytest.mark.parametrize(
    "command",
    [
        "train --style a.jpg",
        "optimize a.jpg --style b.jpg -o c.png",
        "export a.safetensors",
        "compare",
        "quantize a",
        "evaluate",
    ]
    + [f"research {name}" for name in cli.RESEARCH],
)
def test_what_brings_the_packages_is_said_before_anything_else(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "TRAINING_PACKAGES", ("no_torch", "no_torchvision"))
    with pytest.raises(SystemExit, match="1"):
        cli.main(command.split())
    name = " ".join(command.split()[: 2 if command.startswith(("research", "export")) else 1])
    assert capfd.readouterr() == (
        "",
        f"fastnst: fastnst {name} needs what is not installed for training: no_torch, no_torchvision; "
        f"{install_line('train')}\n",
    )


@pytest.mark.parametrize("arguments", ["train --help", "optimize -h", "research", "research study --help", "styles"])
def test_help_and_the_rest_need_none(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "missing_for_training", lambda: ["torch"])
    with pytest.raises(SystemExit, match="0"):
        cli.main(arguments.split())
    assert "not installed" not in capfd.readouterr().err


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "TRAINING_PACKAGES", ("numpy", "no_such_package"))
    assert machine.missing_for_training() == ["no_such_package"]
    with pytest.raises(MissingPackageError, match=r"fastnst train needs .*: no_such_package; pip install"):
        machine.check_training_installed("fastnst train")


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

"""Memory: what there is, and what was held at most."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fastnst.machine import memory
from fastnst.machine.memory import peak_memory_mb


def test_peak_outlasts_what_was_given_back() -> None:
    code = (
        "from fastnst.machine.memory import peak_memory_mb as peak\n"
        "before = peak(); block = bytearray(64 << 20); block[::4096] = b'1' * len(block[::4096]); del block\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 60 < float(done.stdout) < 80


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the figure begins anew with each process anyway")
def test_the_parents_memory_does_not_count() -> None:
    block = bytearray(200 << 20)
    block[::4096] = b"1" * len(block[::4096])
    code = "from fastnst.machine.memory import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 5 < float(done.stdout) < 100
    own = peak_memory_mb()
    assert own is not None
    assert own > 200


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8000 kB left, and no containers."""
    left = SimpleNamespace(available=8000 * 1024)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: left)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    return tmp_path


def test_memory_of_the_machine(machine: Path) -> None:
    assert memory.available_memory() == 8000 * 1024


def test_a_container_without_a_limit(machine: Path) -> None:
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("123\n")
    assert memory.available_memory() == 8000 * 1024


def test_a_container_with_a_limit(machine: Path) -> None:
    (machine / "memory.max").write_text("5000000\n")
    (machine / "memory.current").write_text("4000000\n")
    (machine / "memory.stat").write_text("anon 3000000\ninactive_file 700000\n")
    assert memory.available_memory() == 1_700_000


def test_an_older_container_with_a_limit(machine: Path) -> None:
    (machine / "memory").mkdir()
    (machine / "memory" / "memory.limit_in_bytes").write_text("5000000\n")
    (machine / "memory" / "memory.usage_in_bytes").write_text("4000000\n")
    (machine / "memory" / "memory.stat").write_text("inactive_file 5\ntotal_inactive_file 700000\n")
    assert memory.available_memory() == 1_700_000


def test_here() -> None:
    available = memory.available_memory()
    assert 2**20 < available < 2**50

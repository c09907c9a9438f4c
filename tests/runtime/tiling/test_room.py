"""How much memory there is."""

import sys
from pathlib import Path

import pytest

from fastnst.runtime.tiling import room

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own files")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8000 kB left, and no containers."""
    (tmp_path / "meminfo").write_text("MemTotal: 16000 kB\nMemFree: 200 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(room, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_CGROUPS", tmp_path)
    return tmp_path


def test_memory_of_the_machine(machine: Path) -> None:
    assert room.available_memory() == 8000 * 1024


def test_a_container_without_a_limit(machine: Path) -> None:
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("123\n")
    assert room.available_memory() == 8000 * 1024


def test_a_container_with_a_limit(machine: Path) -> None:
    (machine / "memory.max").write_text("5000000\n")
    (machine / "memory.current").write_text("4000000\n")
    (machine / "memory.stat").write_text("anon 3000000\ninactive_file 700000\n")
    assert room.available_memory() == 1_700_000


def test_an_older_container_with_a_limit(machine: Path) -> None:
    (machine / "memory").mkdir()
    (machine / "memory" / "memory.limit_in_bytes").write_text("5000000\n")
    (machine / "memory" / "memory.usage_in_bytes").write_text("4000000\n")
    (machine / "memory" / "memory.stat").write_text("inactive_file 5\ntotal_inactive_file 700000\n")
    assert room.available_memory() == 1_700_000


def test_a_system_that_does_not_say(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert room.available_memory() is None


def test_here() -> None:
    available = room.available_memory()
    assert available is None or 2**20 < available < 2**50

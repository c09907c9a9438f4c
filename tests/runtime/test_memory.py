"""Peak memory."""

import subprocess
import sys

import pytest

from fastnst.runtime.memory import peak_memory_mb


def test_peak_outlasts_what_was_given_back() -> None:
    code = (
        "from fastnst.runtime.memory import peak_memory_mb as peak\n"
        "before = peak(); block = bytearray(64 << 20); block[::4096] = b'1' * len(block[::4096]); del block\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 60 < float(done.stdout) < 80


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the figure begins anew with each process anyway")
def test_the_parents_memory_does_not_count() -> None:
    block = bytearray(200 << 20)
    block[::4096] = b"1" * len(block[::4096])
    code = "from fastnst.runtime.memory import peak_memory_mb; print(peak_memory_mb())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 5 < float(done.stdout) < 100
    own = peak_memory_mb()
    assert own is not None
    assert own > 200

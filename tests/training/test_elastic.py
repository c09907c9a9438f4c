"""Trainings under torchrun go on by themselves when a worker, or a whole agent, is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch

from fastnst.models.checkpoint import read_safetensors
from fastnst.training.checkpoint import CHECKPOINT

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not torch.distributed.is_available(), reason="gloo processes are started as on Linux"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(1300),
]

LIMIT_S = 600
STEPS = 10


def options(style_picture: Path, loss_weights: Path, photos: Path, folder: Path, batch: int = 4) -> list[str]:
    look = ("--content-layers=relu2_1", "--style-layers=relu1_1", "--style-layers=relu2_1", "--style-statistic=gram")
    plain = ("--style-scales=1", "--statistics-over=image", "--detail-weight=0", "--pattern-weight=0")
    return [
        *("train", f"--style={style_picture}", f"--content={photos}", f"-o={folder}", f"--steps={STEPS}"),
        *("--width=8", "--blocks=1", "--learning-rate=1e-4", f"--batch-size={batch}", "--crop-size=64"),
        *("--style-size=64", "--workers=0", "--preview-every=10", f"--loss-weights={loss_weights}", "--style-weight=5"),
        *("--precision=float32", "--early-export-s=0", "--checkpoint-every-s=0", *look, *plain),
    ]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def torchrun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start it; what it has begun does not outlive the block."""
    command = [sys.executable, "-m", "torch.distributed.run", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment) as agent:
        try:
            yield agent
        finally:
            for process in [*workers(agent), agent]:
                process.kill()


def workers(agent: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(agent.pid).children()
    except psutil.NoSuchProcess:
        return []


def wait_for_checkpoint(folder: Path, agent: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not (folder / CHECKPOINT).exists():
        assert agent.poll() is None and time.monotonic() < deadline, agent.communicate()[0]
        time.sleep(0.005)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    tensors, metadata = read_safetensors(folder / CHECKPOINT)
    assert f'"step": {STEPS}' in metadata["progress"]
    return {name: value for name, value in tensors.items() if name.startswith("network.") and name.endswith("weight")}


def assert_same(folder: Path, other: Path) -> None:
    unbroken = weights(other)
    for name, value in weights(folder).items():
        assert (value - unbroken[name]).norm() <= 1e-4 * unbroken[name].norm(), name


@pytest.fixture(scope="module")
def unbroken(style_picture: Path, loss_weights: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupts, in one process."""
    folder = tmp_path_factory.mktemp("elastic") / "unbroken"
    command = [sys.executable, "-m", "fastnst", *options(style_picture, loss_weights, photos, folder)]
    subprocess.run(command, check=True, timeout=LIMIT_S, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return folder


def test_a_killed_worker_is_started_again_and_goes_on(
    unbroken: Path, style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path
) -> None:
    train = options(style_picture, loss_weights, photos, tmp_path / "out")
    start = ("--standalone", "--nproc-per-node=2", "--max-restarts=2", "-m", "fastnst")
    with torchrun(*start, *train) as agent:
        wait_for_checkpoint(tmp_path / "out", agent)
        workers(agent)[-1].send_signal(signal.SIGKILL)
        said = agent.communicate(timeout=LIMIT_S)[0]
    assert agent.returncode == 0, said
    assert "Signal 9 (SIGKILL)" in said or "exitcode: -9" in said or "exitcode  : -9" in said, said
    assert_same(tmp_path / "out", unbroken)


def test_the_agent_that_is_left_goes_on_alone(
    unbroken: Path, style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path
) -> None:
    """Two agents of one process each; the one that does not hold the meeting point is killed with its worker."""
    train = options(style_picture, loss_weights, photos, tmp_path / "out")
    meet = ("--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=2", "--rdzv-backend=c10d", "--rdzv-id=test")
    meet = (*meet, f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-conf=last_call_timeout=15")
    with torchrun(*meet, "-m", "fastnst", *train) as first:
        time.sleep(3)  # the first one opens the meeting point
        with torchrun(*meet, "-m", "fastnst", *train) as second:
            wait_for_checkpoint(tmp_path / "out", first)
            lost = workers(second)
            second.kill()
            for worker in lost:
                worker.kill()
            said = first.communicate(timeout=LIMIT_S)[0]
    assert lost, said
    assert first.returncode == 0, said
    assert_same(tmp_path / "out", unbroken)


def test_three_processes_share_a_batch_of_four(
    unbroken: Path, style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path
) -> None:
    train = options(style_picture, loss_weights, photos, tmp_path / "out")
    with torchrun("--standalone", "--nproc-per-node=3", "-m", "fastnst", *train) as agent:
        said = agent.communicate(timeout=LIMIT_S)[0]
    assert agent.returncode == 0, said
    assert_same(tmp_path / "out", unbroken)

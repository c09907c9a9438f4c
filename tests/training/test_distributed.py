"""Two processes over gloo on the CPU train the network that one trains."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fastnst.models.checkpoint import read_safetensors
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.distributed import Processes, is_main, joined, usual_device

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not torch.distributed.is_available(), reason="gloo processes are started as on Linux"
)

STEPS = 20
LIMIT_S = 120


def options(style_picture: Path, loss_weights: Path, photos: Path, folder: Path, batch: int = 4) -> list[str]:
    return [
        *("train", f"--style={style_picture}", f"--content={photos}", f"-o={folder}", f"--steps={STEPS}"),
        *(
            "--width=8",
            "--blocks=1",
            "--learning-rate=1e-4",
            f"--batch-size={batch}",
            "--crop-size=64",
            "--style-size=64",
            "--workers=0",
        ),
        *("--content-layers=relu2_1", "--style-layers=relu1_1", "--style-layers=relu2_1", "--preview-every=10"),
        *(f"--loss-weights={loss_weights}", "--precision=float32", "--ema-decay=0.9", "--early-export-s=0"),
        # Each picture by itself: statistics over the batch are those of a process's own pictures.
        *(
            "--style-statistic=gram",
            "--style-scales=1",
            "--statistics-over=image",
            "--detail-weight=0",
            "--pattern-weight=0",
            "--style-weight=5",
        ),
    ]


def start(arguments: list[str], processes: int) -> list[subprocess.Popen[str]]:
    """Start what torchrun would, so that a test may kill them all at once; a thread each, as torchrun has it.

    More threads than cores wait for each other by spinning, which takes minutes for these seconds of work.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        group = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "RANK": rank, "LOCAL_RANK": rank}
        group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment |= {name: str(value) for name, value in group.items()} if processes > 1 else {}
        command = [sys.executable, "-m", "fastnst", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment))
    return started


def ended(started: list[subprocess.Popen[str]], status: int) -> list[str]:
    """What each process said, when all have ended with that status; none outlives the test that waits for it."""
    try:
        said = [process.communicate(timeout=LIMIT_S)[1] for process in started]
    finally:
        kill(started)
    assert [process.returncode for process in started] == [status] * len(started), said
    return said


def kill(started: list[subprocess.Popen[str]]) -> None:
    for process in started:
        process.kill()
    for process in started:
        process.wait(LIMIT_S)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def tensors(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    found, _ = read_safetensors(folder / CHECKPOINT)
    return {name: value for name, value in found.items() if name.startswith(prefix)}


@pytest.mark.timeout(4 * LIMIT_S)
@pytest.mark.slow
def test_two_processes_give_the_network_of_one_and_survive_being_killed(
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path
) -> None:
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    ended(start(options(style_picture, loss_weights, photos, one), 1), 0)
    leader, follower = ended(start(options(style_picture, loss_weights, photos, two), 2), 0)
    assert "Done in" in leader
    assert "Traceback" not in leader
    assert follower.strip() == ""
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    for prefix in ("network.", "ema."):
        # Not the biases: what a normalisation takes off again has rounding errors for a gradient, other ones in each
        # run, and Adam makes steps of full size of them. Nor a learning rate of 1e-3, at which that spreads to 3e-3.
        weights = {name: value for name, value in tensors(one, prefix).items() if name.endswith("weight")}
        for name, value in weights.items():
            assert (tensors(two, prefix)[name] - value).norm() <= 1e-4 * value.norm(), name

    eager = [*options(style_picture, loss_weights, photos, killed), "--checkpoint-every-s=0"]
    running = start(eager, 2)
    deadline = time.monotonic() + LIMIT_S
    while not (killed / CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    kill(running)
    ended(start(eager, 2), 0)  # the same command goes on
    for name, value in tensors(two, "network.").items():
        torch.testing.assert_close(tensors(killed, "network.")[name], value, rtol=0, atol=0)


def test_a_process_alone_is_the_leader_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(torch.device("cpu")) as processes:
        assert (processes.rank, processes.count, processes.is_main) == (0, 1, True)
        assert processes.broadcast([3.0]) == [3.0]
        assert processes.mean({"a": torch.tensor(2.0)}) == {"a": 2.0}
    assert is_main()


def test_only_the_first_process_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not is_main()
    assert not Processes(1, 2).is_main


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert usual_device() == torch.device("cuda", 1)


def test_a_batch_that_gives_a_process_no_picture_is_one_line(
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path
) -> None:
    started = start(options(style_picture, loss_weights, photos, tmp_path, batch=1), 2)
    said = ended(started, 1)
    expected = "batch size 1: 2 processes train, and each needs a picture; give 2 or more"
    assert said[0].strip().splitlines()[-1].endswith(expected)

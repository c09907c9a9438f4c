"""Processes over gloo on the CPU train the network that one trains, also when torchrun has to begin one again."""

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from fastnst.cli import main
from fastnst.models import export
from fastnst.models.checkpoint import read_safetensors
from fastnst.training.checkpoint import CHECKPOINT
from fastnst.training.processes import Processes, is_main, joined, store_of_restart, usual_device

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not torch.distributed.is_available(), reason="gloo processes are started as on Linux"
)

STEPS = 10
LIMIT_S = 600


def options(style_picture: Path, loss_weights: Path, photos: Path, folder: Path, batch: int = 4) -> list[str]:
    return [
        *("train", f"--style={style_picture}", f"--content={photos}", f"-o={folder}", f"--steps={STEPS}"),
        *(
            "--width=2",
            "--blocks=1",
            "--learning-rate=1e-4",
            f"--batch-size={batch}",
            "--crop-size=64",
            "--style-size=64",
            "--workers=0",
        ),
        *("--content-layers=relu1_1", "--style-layers=relu1_1", f"--preview-every={STEPS}"),
        *(f"--loss-weights={loss_weights}", "--precision=float32", "--ema-decay=0.9", "--early-export-s=0"),
        # Each picture by itself: statistics over the batch are those of a process's own pictures.
        *(
            "--style-statistic=gram",
            "--style-scales=1",
            "--statistics-over=image",
            "--detail-weight=0",
            "--pattern-weight=0",
            "--relief-weight=0",
            "--color-weight=0",
            "--style-weight=5",
        ),
    ]


SERVER = """
import json, os, pickle, sys
import torch.distributed, fastnst.cli.train, fastnst.training.train
from fastnst.__main__ import run
from fastnst.models import export
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

def work(arguments):
    sys.argv[1:] = arguments
    try:
        run()
    except SystemExit as ended:  # an agent waits for an answer of what it has begun
        if ended.code:
            raise RuntimeError(f"exit status {ended.code}") from ended

with open(sys.argv[1], "rb") as graphs:
    export.GRAPHS.update(pickle.load(graphs))
for line in sys.stdin:
    asked = json.loads(line)
    if "ended" in asked:
        pid, status = os.waitpid(asked["ended"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        os.environ |= asked["environment"]
        os.dup2(os.open(asked["says"], os.O_CREAT | os.O_WRONLY), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if "agent" in asked:
            config, *_ = config_from_args(parse_args([*asked["agent"], "fastnst"]))
            config.start_method = "fork"
            elastic_launch(config, work)(asked["arguments"])
        else:
            sys.argv[1:] = asked["arguments"]
            run()
        sys.exit()
"""
"""Imports what a training imports, which takes seconds, once, then forks a process for each rank asked for, or an
agent as torchrun has it, which forks its workers in turn."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """The process that starts the others; each of them has a thread, as torchrun has it.

    More threads than cores wait for each other by spinning, which takes minutes for these seconds of work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        # Without those of networks that tests define, which processes started anew cannot import.
        own = {key: graph for key, graph in export.GRAPHS.items() if "fastnst." in repr(key[0])}
        (folder / "graphs").write_bytes(pickle.dumps(own))
        command = [sys.executable, "-c", SERVER, str(folder / "graphs")]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone)

    def ask(self, **question: object) -> int | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def start(self, arguments: list[str], count: int = 2) -> list[tuple[int, Path]]:
        """Start what torchrun would start for so many processes; their numbers, and where they write what they say."""
        port, started = free_port(), []
        for rank in range(count):
            group: dict[str, object] = {
                "WORLD_SIZE": count,
                "LOCAL_WORLD_SIZE": count,
                "RANK": rank,
                "LOCAL_RANK": rank,
            }
            group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            started.append(self._fork(arguments, group))
        return started

    def agent(self, settings: list[str], arguments: list[str]) -> tuple[int, Path]:
        """Start torchrun's agent with its own settings; its number, and where it and its workers write."""
        # As docs/scale.md says for several agents.
        environment = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": int("--nnodes=1:2" in settings)}
        return self._fork(arguments, environment, agent=settings)

    def _fork(self, arguments: list[str], environment: dict[str, object], **further: object) -> tuple[int, Path]:
        self.count += 1
        says = self.folder / f"said{self.count}"
        says.touch()
        given = {name: str(value) for name, value in environment.items()}
        pid = self.ask(arguments=arguments, environment=given, says=str(says), **further)
        assert pid is not None
        return pid, says

    def statuses(self, started: list[tuple[int, Path]]) -> list[int | None]:
        """The exit status of each, when all have ended; what has not in time is killed."""
        deadline, found = time.monotonic() + LIMIT_S, dict.fromkeys(pid for pid, _ in started)
        while None in found.values() and time.monotonic() < deadline:
            found |= {pid: self.ask(ended=pid) for pid, status in found.items() if status is None}
            time.sleep(0.02)
        for pid in [pid for pid, status in found.items() if status is None]:
            os.kill(pid, signal.SIGKILL)
        return list(found.values())

    def ended(self, started: list[tuple[int, Path]], status: int) -> list[str]:
        """What each process said, when all have ended with that status."""
        statuses, said = self.statuses(started), [says.read_text() for _, says in started]
        assert statuses == [status] * len(started), said
        return said

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LIMIT_S)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def one(style_picture: Path, loss_weights: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trains."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.raises(SystemExit) as ended:
        main(options(style_picture, loss_weights, photos, folder / "run"))
    assert not ended.value.code
    return folder / "run"


@pytest.fixture(scope="module")
def server(one: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with contextlib.closing(Server(tmp_path_factory.mktemp("server"))) as started:
        yield started


def assert_same(folder: Path, one: Path) -> None:
    # Not the biases: what a normalisation takes off again has rounding errors for a gradient, other ones in each
    # run, and Adam makes steps of full size of them. Nor a learning rate of 1e-3, at which that spreads to 3e-3.
    assert f'"step": {STEPS}' in read_safetensors(folder / CHECKPOINT)[1]["progress"]
    for prefix in ("network.", "ema."):
        found = tensors(folder, prefix)
        for name, value in tensors(one, prefix).items():
            if name.endswith("weight"):
                assert (found[name] - value).norm() <= 1e-4 * value.norm(), name


def wait_for_checkpoint(folder: Path, said: Path | None = None) -> None:
    """Until the first is written; not where an agent has said, in that file, that its workers failed."""
    deadline = time.monotonic() + LIMIT_S
    while not (folder / CHECKPOINT).exists():
        assert time.monotonic() < deadline
        assert said is None or "Traceback" not in said.read_text(), said.read_text()
        time.sleep(0.005)


def tensors(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    found, _ = read_safetensors(folder / CHECKPOINT)
    return {name: value for name, value in found.items() if name.startswith(prefix)}


@pytest.mark.timeout(4 * LIMIT_S)
@pytest.mark.slow
def test_three_processes_share_a_batch_of_four_and_give_the_network_of_one(
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path, one: Path, server: Server
) -> None:
    run = tmp_path / "run"
    leader, *followers = server.ended(server.start(options(style_picture, loss_weights, photos, run), count=3), 0)
    assert "Done in" in leader
    assert "Traceback" not in leader
    assert [said.strip() for said in followers] == ["", ""]
    assert {path.name for path in run.iterdir()} == {path.name for path in one.iterdir()}
    assert_same(run, one)


@contextlib.contextmanager
def left_to_end(*agents: tuple[int, Path]) -> Iterator[None]:
    """What agents have begun does not outlive the block."""
    try:
        yield
    finally:
        for pid, _ in agents:
            for process in workers(pid):
                process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def workers(agent: int) -> list[psutil.Process]:
    try:
        return psutil.Process(agent).children()
    except psutil.NoSuchProcess:
        return []


def test_processes_started_again_do_not_find_the_addresses_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    held = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    agent = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": held.port, "WORLD_SIZE": 1, "GROUP_WORLD_SIZE": 1}
    for name, value in {**agent, "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}.items():
        monkeypatch.setenv(name, str(value))
    before = store_of_restart()
    assert before is not None
    before.set("address", "of a process that is gone")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    after = store_of_restart()
    assert after is not None
    assert not after.check(["address"])
    assert before.check(["address"])
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")  # whose agents count by themselves
    assert store_of_restart() is None


MEET = ("--rdzv-backend=c10d", "--rdzv-id=test", "--max-restarts=2")


@pytest.mark.timeout(4 * LIMIT_S)
@pytest.mark.slow
def test_an_agent_begins_a_killed_worker_again(
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path, one: Path, server: Server
) -> None:
    train = [*options(style_picture, loss_weights, photos, tmp_path / "run"), "--checkpoint-every-s=0"]
    agent = server.agent([*MEET, "--nproc-per-node=2", "--rdzv-endpoint=localhost:0"], train)
    with left_to_end(agent):
        wait_for_checkpoint(tmp_path / "run", agent[1])
        workers(agent[0])[-1].send_signal(signal.SIGKILL)
        (said,) = server.ended([agent], 0)
    assert "Going on with" in said, said
    assert_same(tmp_path / "run", one)


@pytest.mark.timeout(4 * LIMIT_S)
@pytest.mark.slow
def test_the_agent_that_is_left_goes_on_alone(
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path, one: Path, server: Server
) -> None:
    """Two agents of one process each; the one that does not hold the meeting point is killed with its worker."""
    train = [*options(style_picture, loss_weights, photos, tmp_path / "run"), "--checkpoint-every-s=0"]
    meet = [*MEET, "--nnodes=1:2", "--nproc-per-node=1", f"--rdzv-endpoint=127.0.0.1:{free_port()}"]
    times = "last_call_timeout=4,read_timeout=300,keep_alive_interval=2"
    first, second = (server.agent([*meet, f"--rdzv-conf={times},is_host={number}"], train) for number in (1, 0))
    with left_to_end(first, second):
        wait_for_checkpoint(tmp_path / "run", first[1])
        lost = workers(second[0])
        os.kill(second[0], signal.SIGKILL)
        for worker in lost:
            worker.kill()
        (said,) = server.ended([first], 0)
    assert lost, said
    assert_same(tmp_path / "run", one)


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
    style_picture: Path, loss_weights: Path, photos: Path, tmp_path: Path, server: Server
) -> None:
    started = server.start(options(style_picture, loss_weights, photos, tmp_path, batch=1))
    said = server.ended(started, 1)
    expected = "batch size 1: 2 processes train, and each needs a picture; give 2 or more"
    assert said[0].strip().splitlines()[-1].endswith(expected)
